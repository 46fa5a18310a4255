package sizing_test

import (
	"math"
	"testing"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
	"pgregory.net/rapid"
)

func TestTheGuidelineFollowsItsTable(t *testing.T) {
	for _, c := range []struct {
		vectors float64
		users   int
		want    int
	}{
		{0, 100, 50}, {999, 100, 50}, {1_000, 100, 100}, {100_000, 100, 100}, {100_001, 100, 150},
		{1e6, 100, 150}, {1e6, 50, 150}, {1e6, 200, 300}, {1e6, 150, 225}, {50_000, 1000, 100},
		{-1, 100, 50}, {math.NaN(), 100, 50}, {math.Inf(1), 100, 150}, {1e9, 0, 150}, {1e9, math.MaxInt, math.MaxInt32},
	} {
		if got := sizing.Guideline(c.vectors, c.users); got != c.want {
			t.Errorf("Guideline(%v vectors, %d users) = %d, want %d", c.vectors, c.users, got, c.want)
		}
	}
}

func TestThePriorCountsCoresAndWhoWaits(t *testing.T) {
	for _, c := range []struct {
		cores              int
		computing, waiting float64
		want               int
		why                string
	}{
		{0, 4, 4, 0, "cores unknown"},
		{2, 100, 0, 2, "all compute: the cores"},
		{2, 1, 10, 22, "cores × (1 + 10/1)"},
		{2, 80, 20, 22, "saturated: cores + waiting, however long the run queue is"},
		{8, 4, 4, 16, "half wait"},
		{2, 0, 3, 14, "no computing seen: at most four times what is in use"},
		{2, math.NaN(), 0, 0, "not a number"},
		{2, 0, math.Inf(1), math.MaxInt32, "absurd stays a number"},
	} {
		if got := sizing.Prior(c.cores, c.computing, c.waiting); got != c.want {
			t.Errorf("Prior(%d, %v, %v) = %d, want %d (%s)", c.cores, c.computing, c.waiting, got, c.want, c.why)
		}
	}
}

func TestTheTightestWallBindsAndIsNamed(t *testing.T) {
	base := sizing.Walls{Floor: 2, Ceiling: 200, Budget: 200}
	for _, c := range []struct {
		name   string
		change func(*sizing.Walls)
		want   sizing.Range
	}{
		{"ceiling", func(*sizing.Walls) {}, sizing.Range{Low: 2, LowBy: sizing.FloorBound, High: 200, HighBy: sizing.CeilingBound}},
		{"what is unknown binds nothing", func(w *sizing.Walls) { *w = sizing.Walls{} },
			sizing.Range{Low: 1, LowBy: sizing.FloorBound, High: sizing.NoWall, HighBy: sizing.NoBound}},
		{"budget", func(w *sizing.Walls) { w.Budget = 90 }, sizing.Range{Low: 2, LowBy: sizing.FloorBound, High: 90, HighBy: sizing.BudgetBound}},
		{"server", func(w *sizing.Walls) { w.ServerMax, w.ServerReserved, w.ServerOthers = 100, 3, 57 },
			sizing.Range{Low: 2, LowBy: sizing.FloorBound, High: 40, HighBy: sizing.ServerBound}},
		{"memory", func(w *sizing.Walls) { w.FreeBytes, w.Open = 20*sizing.ConnectionBytes, 5 },
			sizing.Range{Low: 2, LowBy: sizing.FloorBound, High: 15, HighBy: sizing.MemoryBound}},
		{"profile floor", func(w *sizing.Walls) { w.ProfileFloor = 100 },
			sizing.Range{Low: 100, LowBy: sizing.ProfileBound, High: 200, HighBy: sizing.CeilingBound}},
		{"a floor cannot make a server larger", func(w *sizing.Walls) { w.ProfileFloor, w.ServerMax, w.ServerOthers = 100, 20, 10 },
			sizing.Range{Low: 10, LowBy: sizing.ServerBound, High: 10, HighBy: sizing.ServerBound}},
		{"a full server leaves one", func(w *sizing.Walls) { w.ServerMax, w.ServerOthers = 20, 40 },
			sizing.Range{Low: 1, LowBy: sizing.ServerBound, High: 1, HighBy: sizing.ServerBound}},
		{"however much memory is free", func(w *sizing.Walls) { w.ServerMax, w.ServerOthers, w.FreeBytes, w.Open = 20, 40, 1<<40, 5 },
			sizing.Range{Low: 1, LowBy: sizing.ServerBound, High: 1, HighBy: sizing.ServerBound}},
	} {
		w := base
		c.change(&w)
		if got := w.Allowed(); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestAKneeCapsWhatDemandAsksFor(t *testing.T) {
	in := sizing.Input{Walls: sizing.Walls{Floor: 1, Ceiling: 200, Budget: 200}, Users: 100,
		Estimate: model.Estimate{DemandLower: 40, DemandTarget: 90, DemandUpper: 140}}
	if r := sizing.Recommend(in); r.Lower != 40 || r.Target != 90 || r.Upper != 140 || r.Max != 187 {
		t.Errorf("by demand alone: %+v, want 40–90–140 and a max a third above 140", r)
	}
	in.Estimate.Knee = model.Knee{N: 8, Lower: 6, Upper: 11, Identified: true}
	if r := sizing.Recommend(in); r.Lower != 6 || r.Target != 8 || r.Upper != 11 || r.Max != 11 || r.Bound != sizing.CapacityBound {
		t.Errorf("with a knee at 8: %+v, want 6–8–11 and max 11, bound by capacity", r)
	}
	in.Walls.Ceiling = 5
	if r := sizing.Recommend(in); r.Max != 5 || r.Target != 5 || r.Bound != sizing.CeilingBound {
		t.Errorf("under a ceiling of 5: %+v", r)
	}
}

func TestTheVectorProfileKeepsAFifthWarm(t *testing.T) {
	in := sizing.Input{Walls: sizing.Walls{Floor: 1, ProfileFloor: 100, Ceiling: 200, Budget: 200}, MinShare: 5, FloorMin: 20}
	if r := sizing.Recommend(in); r.Max != 100 || r.Min != 20 {
		t.Errorf("%+v, want max 100 and min 20", r)
	}
	in.Walls.ProfileFloor = 150
	if r := sizing.Recommend(in); r.Max != 150 || r.Min != 30 {
		t.Errorf("%+v, want max 150 and min 30", r)
	}
}

func TestARecommendationIsAlwaysInOrderAndWithinItsWalls(t *testing.T) {
	real := rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 1e4), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), -3}))
	n := rapid.IntRange(-5, 5000)
	rapid.Check(t, func(t *rapid.T) {
		in := sizing.Input{
			Estimate: model.Estimate{DemandLower: real.Draw(t, "lower"), DemandTarget: real.Draw(t, "target"), DemandUpper: real.Draw(t, "upper"), Wanted: n.Draw(t, "wanted"),
				Knee: model.Knee{N: rapid.IntRange(1, 500).Draw(t, "knee"), Lower: 1, Upper: 500, Identified: rapid.Bool().Draw(t, "identified")}},
			Walls: sizing.Walls{Floor: n.Draw(t, "floor"), Ceiling: rapid.IntRange(1, 5000).Draw(t, "ceiling"), Budget: n.Draw(t, "budget"), ProfileFloor: n.Draw(t, "profile"),
				ServerMax: n.Draw(t, "server"), ServerReserved: n.Draw(t, "reserved"), ServerOthers: n.Draw(t, "others"),
				FreeBytes: rapid.Int64().Draw(t, "free"), Open: n.Draw(t, "open")},
			Vectors: real.Draw(t, "vectors"), Users: n.Draw(t, "users"), MinShare: rapid.IntRange(0, 9).Draw(t, "share"), FloorMin: n.Draw(t, "min"),
		}
		r := sizing.Recommend(in)
		allowed := in.Walls.Allowed()
		if !(1 <= r.Lower && r.Lower <= r.Target && r.Target <= r.Upper && r.Upper <= allowed.High) || allowed.High > in.Walls.Ceiling || r.Max < allowed.Low || r.Max > allowed.High || r.Min < 0 || r.Min > r.Max {
			t.Fatalf("%+v within %+v", r, allowed)
		}
	})
}
