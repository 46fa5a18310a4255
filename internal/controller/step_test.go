package controller_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/sizing"
	"pgregory.net/rapid"
)

func TestTheKneeIsFoundFromSmallAndLargeStarts(t *testing.T) {
	for _, c := range []struct {
		name  string
		curve curve
		peak  float64
	}{{"pure search", pureSearch, 4098}, {"search in a held transaction", holdingSearch, 2286}} {
		for _, start := range []int{4, 12, 30, 100} {
			t.Run(fmt.Sprintf("%s from %d", c.name, start), func(t *testing.T) {
				missed := 0
				const seeds = 20
				for seed := range uint64(seeds) {
					p := newPlant(c.curve, 150, start, 0.02, seed)
					s := p.run(config(), controller.State{}, 15*time.Second, nil)
					// 3 % are given away on purpose, 3 % are the noise of a
					// trial, and the rest is the width of the grid.
					if got := c.curve(float64(p.limit)); got < 0.92*c.peak {
						missed++
					}
					moves, swaps := p.moves, p.swaps
					p.run(config(), s, 3*time.Minute, nil)
					if p.moves-moves > 6 || p.swaps-swaps > 1 {
						t.Errorf("seed %d: %d moves and %d swaps in three steady minutes, want at most 6 and 1", seed, p.moves-moves, p.swaps-swaps)
					}
				}
				if missed > seeds/10 {
					t.Errorf("after 15 s %d of %d seeds were more than 8 %% below the peak", missed, seeds)
				}
			})
		}
	}
}

func TestAChangedWorkloadIsLearnedAfreshWithinFifteenSeconds(t *testing.T) {
	for _, start := range []int{4, 100} {
		p := newPlant(pureSearch, 150, start, 0.02, 5)
		s := p.run(config(), controller.State{}, 30*time.Second, nil)
		for i := range 4 {
			peak := 2286.0
			p.curve = holdingSearch
			if i%2 == 1 {
				p.curve, peak = pureSearch, 4098
			}
			s = p.run(config(), s, 15*time.Second, nil)
			if got := p.curve(float64(p.limit)); got < 0.92*peak {
				t.Errorf("from %d, shift %d: limit %d serves %.0f/s of %.0f/s after 15 s", start, i, p.limit, got, peak)
			}
			s = p.run(config(), s, 30*time.Second, nil)
		}
	}
}

func TestThroughputThatRisesWithNoEndIsFollowedToTheCeiling(t *testing.T) {
	p := newPlant(func(n float64) float64 { return 50 * n }, 500, 4, 0.02, 1)
	s := p.run(config(), controller.State{}, 20*time.Second, nil)
	if p.limit != 200 {
		t.Errorf("limit is %d, want the ceiling of 200", p.limit)
	}
	if s.Learn.Knee.Identified {
		t.Errorf("the knee counts as identified (%v) although throughput never stopped rising", s.Learn.Knee)
	}
}

func TestWithoutAQueueNothingMoves(t *testing.T) {
	for _, start := range []int{10, 100} {
		p := newPlant(pureSearch, 5, start, 0.05, 1)
		p.run(config(), controller.State{}, 10*time.Minute, nil)
		if p.moves != 0 {
			t.Errorf("from %d: %d moves of the limit for 5 callers that never queue", start, p.moves)
		}
	}
}

// Where backends only compute, without a queue, nothing is tried: a limit far above the demand comes down, by
// what callers ask for, and to no fewer than they have asked for.
func TestWithoutAQueueTheLimitFollowsDemandAndNothingElse(t *testing.T) {
	for start, moves := range map[int]int{10: 0, 100: 2} { // once the limit, and minutes later the size
		p := newPlant(pureSearch, 5, start, 0.05, 1)
		p.server.Ours.OnCPU = 2
		p.run(config(), controller.State{}, 30*time.Minute, func(o controller.Observation, d controller.Decision) {
			if d.Limit != o.Gauges.Limit && (d.Reason != sizing.DemandFell || o.At < time.Minute) {
				t.Errorf("from %d, at %s: the limit goes to %d, %s", start, o.At, d.Limit, d.Reason)
			}
		})
		if p.moves != moves || p.limit < 10 {
			t.Errorf("from %d: %d moves of the limit for 5 callers that never queue, to %d", start, p.moves, p.limit)
		}
	}
}

// What came down for want of demand has room for the bursts that were seen before, also
// for those of minutes ago.
func TestALimitThatFollowsDemandHasRoomForTheBurstsSeen(t *testing.T) {
	p := newPlant(func(n float64) float64 { return 50 * n }, 5, 100, 0.02, 1)
	p.server.Ours.OnCPU = 2
	var s controller.State
	for range 6 {
		p.callers = 30
		s = p.run(config(), s, time.Second, nil)
		p.callers = 5
		s = p.run(config(), s, 4*time.Minute, nil)
	}
	if p.limit < 30 || p.limit > 90 {
		t.Errorf("the limit is %d for the 30 that come every four minutes", p.limit)
	}
}

// Where connections wait for their callers or for storage, a burst needs many.
func TestALimitStaysAboveDemandWhereBackendsWait(t *testing.T) {
	for waiting, want := range map[int]int{0: 16, 3: 100} {
		p := newPlant(pureSearch, 5, 100, 0.05, 1)
		p.server.Ours.OnCPU, p.server.Ours.IdleInTransaction = 2, waiting
		p.run(config(), controller.State{}, 9*time.Minute, nil)
		if p.limit != want {
			t.Errorf("with 2 of 5 computing and %d waiting for their callers the limit is %d, want %d", waiting, p.limit, want)
		}
	}
}

// Bursts raise the limit, but not far beyond four times the cores where backends only
// compute, or, whatever the last census has seen, where more of them give no more.
func TestBurstsDoNotRaiseTheLimitFarAboveTheCoresWhereMoreGiveNoMore(t *testing.T) {
	flat, rising := func(float64) float64 { return 4000 }, func(n float64) float64 { return 60 * n }
	for name, c := range map[string]struct {
		curve                             curve
		cores, computing, waiting, lo, hi int
	}{
		"cores that are not known":     {curve: flat, computing: 2, lo: 64, hi: 200},
		"computing":                    {curve: rising, cores: 2, computing: 2, lo: 8, hi: 16},
		"waiting as well":              {curve: rising, cores: 2, computing: 2, waiting: 2, lo: 64, hi: 200},
		"idle at each census, flat":    {curve: flat, cores: 2, lo: 8, hi: 16},
		"idle at each census, rising":  {curve: rising, cores: 2, lo: 64, hi: 200},
		"waiting at each census, flat": {curve: flat, cores: 2, computing: 2, waiting: 2, lo: 8, hi: 32},
	} {
		p := newPlant(c.curve, 1, 4, 0.02, 1)
		p.server.Cores, p.server.Ours.OnCPU, p.server.Ours.IdleInTransaction = c.cores, c.computing, c.waiting
		highest := 0
		var s controller.State
		for range 100 {
			p.callers = 150
			p.advance(150 * time.Millisecond)
			p.callers = 1
			s = p.run(config(), s, 2*time.Second, nil)
			highest = max(highest, p.limit)
		}
		if highest < c.lo || highest > c.hi {
			t.Errorf("%s: bursts raise the limit to %d, want %d to %d", name, highest, c.lo, c.hi)
		}
	}
}

func TestBurstsShorterThanAnEpisodeAreLearnedOverSeveral(t *testing.T) {
	p := newPlant(pureSearch, 150, 100, 0.02, 1)
	var s controller.State
	for range 12 {
		p.callers = 150
		s = p.run(config(), s, 2500*time.Millisecond, nil)
		p.callers = 0
		s = p.run(config(), s, 5*time.Second, nil)
	}
	if got := pureSearch(float64(p.limit)); got < 0.92*4098 {
		t.Errorf("after 12 bursts of 2.5 s limit %d serves %.0f/s, want at least 92 %% of 4098/s", p.limit, got)
	}
}

func TestABlindControllerHoldsThenFreezesThenGoesOn(t *testing.T) {
	p := newPlant(pureSearch, 150, 100, 0.02, 1)
	s := p.run(config(), controller.State{}, 2*time.Second, nil) // in the middle of an episode
	if !s.Learn.Episode {
		t.Fatal("no episode is under way after 2 s of queueing; the test proves nothing")
	}
	see := func(blind bool) controller.Decision {
		o := p.observe()
		if blind {
			o.Server = nil
		}
		var d controller.Decision
		s, d = controller.Step(config(), s, o)
		p.limit = d.Limit
		p.advance(time.Second)
		return d
	}
	if d := see(true); d.Limit != 100 || d.Reason != sizing.Blind {
		t.Errorf("going blind in the middle of learning decides limit %d, %s; want the last good limit 100, blind", d.Limit, d.Reason)
	}
	if d := see(true); d.Action != controller.Hold || d.Limit != 100 {
		t.Errorf("blind for a second decides %s at %d, want hold at 100", d.Action, d.Limit)
	}
	for range 10 {
		see(true)
	}
	if d := see(true); d.Action != controller.Freeze || d.Limit != 100 || d.Max != 100 {
		t.Errorf("blind for 12 s decides %s at limit %d max %d, want freeze at 100, 100", d.Action, d.Limit, d.Max)
	}
	if d := see(false); d.Action == controller.Freeze {
		t.Errorf("seeing again decides %s", d.Action)
	}
}

func TestTheServersRoomIsAWall(t *testing.T) {
	p := newPlant(func(n float64) float64 { return 50 * n }, 500, 4, 0.02, 1)
	p.server.MaxConnections, p.server.Others = 60, 20 // room for 60 − 3 − 20 − 1
	var last controller.Decision
	p.run(config(), controller.State{}, 30*time.Second, func(_ controller.Observation, d controller.Decision) {
		last = d
		if d.Max > 36 || d.Limit > 36 {
			t.Fatalf("decided limit %d, max %d with room for 36", d.Limit, d.Max)
		}
	})
	if last.Limit != 36 || last.Bound != sizing.ServerBound || last.Reason != sizing.Exhausted {
		t.Errorf("ends at limit %d, bound %s, reason %s; want 36, server, budget_exhausted", last.Limit, last.Bound, last.Reason)
	}
}

func TestAWallThatComesNearerTakesTheLimitWithItAndIsNamed(t *testing.T) {
	p := newPlant(pureSearch, 5, 100, 0.02, 1) // nobody queues
	s := p.run(config(), controller.State{}, 5*time.Second, nil)
	p.server.MaxConnections, p.server.Others = 100, 56 // room for 100 − 3 − 56 − 1
	var moved []controller.Decision
	p.run(config(), s, 5*time.Second, func(o controller.Observation, d controller.Decision) {
		if d.Limit != o.Gauges.Limit {
			moved = append(moved, d)
		}
	})
	if len(moved) != 1 || moved[0].Limit != 40 || moved[0].Reason != sizing.Bounded || moved[0].Bound != sizing.ServerBound {
		t.Errorf("moved by %+v, want once, to 40, reason bounded, bound server", moved)
	}
}

// TestTheChoiceIsGoodOnMeasuredCurves visits the points by the controller's own
// policy: the plant serves what the table says (straight in logs between its
// points), with 2 % of noise, to more callers than the largest n, and the
// controller starts at 4 and at 100 and is given a minute.
func TestTheChoiceIsGoodOnMeasuredCurves(t *testing.T) {
	f, err := os.Open(filepath.FromSlash("../../../shared/curves/scalability-dev.csv"))
	if err != nil {
		t.Skip("the measured curves are not here")
	}
	defer f.Close()
	records := csv.NewReader(f)
	records.FieldsPerRecord = -1
	all, err := records.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]map[int]float64{}
	for _, r := range all[1:] {
		n, _ := strconv.Atoi(r[4])
		x, _ := strconv.ParseFloat(r[5], 64)
		if n < 1 || x <= 0 {
			continue
		}
		if tables[r[0]] == nil {
			tables[r[0]] = map[int]float64{}
		}
		tables[r[0]][n] = x
	}
	good, tried := 0, 0
	for name, points := range tables {
		if len(points) < 4 {
			continue
		}
		peak, most := 0.0, 0
		for n, x := range points {
			peak, most = max(peak, x), max(most, n)
		}
		if peak < 200 { // per hour, or relative: as if per second of a faster server
			for n := range points {
				points[n] *= 1000 / peak
			}
			peak = 1000
		}
		for _, start := range []int{4, 100} {
			for seed := range uint64(5) {
				cfg := config()
				cfg.Ceiling = max(4, most)
				cfg.Budget = cfg.Ceiling
				p := newPlant(table(points), most+20, min(start, cfg.Ceiling), 0.02, seed)
				p.server.MaxConnections = 2 * cfg.Ceiling
				p.run(cfg, controller.State{}, time.Minute, nil)
				tried++
				if loss := 1 - table(points)(float64(p.limit))/peak; loss <= 0.05 {
					good++
				} else {
					t.Logf("%s from %d: %.1f %% below the peak at %d", name, start, 100*loss, p.limit)
				}
			}
		}
	}
	t.Logf("%d of %d within 5 %% of the peak", good, tried)
	if float64(good) < 0.95*float64(tried) {
		t.Errorf("only %d of %d within 5 %% of the peak", good, tried)
	}
}

// observations draws sequences that a live pool could never give: counters that
// fall, gaps, clocks that go back, NaN, negative and huge numbers.
func observations(t *rapid.T) []controller.Observation {
	count := rapid.Int64Range(-5, 1<<40)
	gauge := rapid.IntRange(-10, 5000)
	span := rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.Int64Range(-1e9, 1e15).Draw(t, "span"))
	})
	real := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0}))
	one := rapid.Custom(func(t *rapid.T) controller.Observation {
		o := controller.Observation{
			At: span.Draw(t, "at"),
			Counters: controller.Counters{
				Arrivals: count.Draw(t, "arrivals"), Completions: count.Draw(t, "completions"), Canceled: count.Draw(t, "canceled"),
				Failed: count.Draw(t, "failed"), Waited: count.Draw(t, "waited"), WaitTime: span.Draw(t, "wait"), ServiceTime: span.Draw(t, "service"),
				InUseTime: span.Draw(t, "inuse"), SaturatedTime: span.Draw(t, "saturated"), ServiceTimeSq: real.Draw(t, "sq"),
			},
			Gauges: controller.Gauges{Limit: gauge.Draw(t, "limit"), Max: gauge.Draw(t, "max"), Min: gauge.Draw(t, "min"), InUse: gauge.Draw(t, "in use"),
				Idle: gauge.Draw(t, "idle"), Queued: gauge.Draw(t, "queued"), Connecting: gauge.Draw(t, "connecting"), Budget: gauge.Draw(t, "budget"), Peak: gauge.Draw(t, "peak"),
				Room: gauge.Draw(t, "room"), Reach: gauge.Draw(t, "reach"), Pinned: gauge.Draw(t, "pinned")},
			WaitP99: span.Draw(t, "p99"),
			Frozen:  rapid.IntRange(0, 20).Draw(t, "frozen") == 0,
		}
		if rapid.IntRange(0, 4).Draw(t, "sight") > 0 {
			o.Server = &controller.Server{Ours: controller.Backends{OnCPU: gauge.Draw(t, "cpu"), Lock: gauge.Draw(t, "lock"), IdleInTransaction: gauge.Draw(t, "idle tx")},
				Others: gauge.Draw(t, "others"), MaxConnections: gauge.Draw(t, "max_connections"), Reserved: gauge.Draw(t, "reserved"),
				Vectors: controller.VectorFacts{Installed: true, Rows: real.Draw(t, "rows")}}
		}
		if rapid.Bool().Draw(t, "host") {
			o.Host = &controller.Host{CPU: real.Draw(t, "cpu share"), RAMFree: count.Draw(t, "ram"), SharedBox: true}
		}
		return o
	})
	return rapid.SliceOfN(one, 1, 60).Draw(t, "observations")
}

func TestNothingAbsurdEverReachesADecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := config()
		cfg.Floor = rapid.IntRange(1, 20).Draw(t, "floor")
		cfg.Ceiling = rapid.IntRange(cfg.Floor, 500).Draw(t, "ceiling")
		cfg.Budget = cfg.Ceiling
		cfg.FixedSize = rapid.Bool().Draw(t, "fixed")
		var s controller.State
		for _, o := range observations(t) {
			var d controller.Decision
			s, d = controller.Step(cfg, s, o)
			switch {
			case d.Limit < 1 || d.Limit > d.Max:
				t.Fatalf("limit %d with max %d", d.Limit, d.Max)
			case d.Min < 0 || d.Min > d.Max:
				t.Fatalf("min %d with max %d", d.Min, d.Max)
			case d.Swap && d.Max > cfg.Ceiling:
				t.Fatalf("a swap to max %d above the ceiling %d", d.Max, cfg.Ceiling)
			case d.Swap && d.Action == controller.Freeze:
				t.Fatal("a swap while frozen")
			case d.Next < 0:
				t.Fatalf("next look in %s", d.Next)
			}
			if _, err := json.Marshal(d); err != nil {
				t.Fatalf("the decision holds what JSON cannot: %v", err)
			}
			if !known(sizing.Reasons, d.Reason) || !known(sizing.Bounds, d.Bound) {
				t.Fatalf("reason %q or bound %q is outside the closed set", d.Reason, d.Bound)
			}
		}
	})
}

func known[T comparable](set []T, v T) bool {
	for _, x := range set {
		if x == v {
			return true
		}
	}
	return false
}

func TestTheSameObservationsGiveTheSameDecisionsAlsoFromAJournal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPlant(pureSearch, rapid.IntRange(1, 200).Draw(t, "callers"), rapid.IntRange(1, 150).Draw(t, "start"), 0.05, rapid.Uint64().Draw(t, "seed"))
		var first []controller.Decision
		var journal [][]byte
		p.run(config(), controller.State{}, 20*time.Second, func(o controller.Observation, d controller.Decision) {
			line, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			journal, first = append(journal, line), append(first, d)
		})
		var s controller.State
		for i, line := range journal {
			var o controller.Observation
			if err := json.Unmarshal(line, &o); err != nil {
				t.Fatal(err)
			}
			var d controller.Decision
			if s, d = controller.Step(config(), s, o); !reflect.DeepEqual(d, first[i]) {
				t.Fatalf("decision %d differs in the replay:\n%+v\n%+v", i, first[i], d)
			}
		}
	})
}

func TestStepAllocatesNothingInSteadyState(t *testing.T) {
	p := newPlant(pureSearch, 150, 100, 0.02, 1)
	s := p.run(config(), controller.State{}, 30*time.Second, nil)
	if s.Learn.Episode {
		t.Fatal("still learning; the test proves nothing")
	}
	cfg, o := config(), p.observe()
	if n := testing.AllocsPerRun(100, func() {
		p.advance(time.Second)
		o.At, o.Counters = p.at, p.c
		s, _ = controller.Step(cfg, s, o)
	}); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}

func BenchmarkStep(b *testing.B) {
	p := newPlant(pureSearch, 150, 100, 0.02, 1)
	s := p.run(config(), controller.State{}, 30*time.Second, nil)
	cfg, o := config(), p.observe()
	b.ReportAllocs()
	for b.Loop() {
		p.advance(time.Second)
		o.At, o.Counters = p.at, p.c
		s, _ = controller.Step(cfg, s, o)
	}
}

// Each limit tried on the way down builds a queue while it is measured, so the way from
// far too many is short; but of a load that is known, it is not cut short.
func TestTheWayDownFromFarTooManyIsShort(t *testing.T) {
	p := newPlant(func(n float64) float64 { return 800 * min(n/4, 1) / (1 + 0.005*max(0, n-4)) }, 150, 100, 0.02, 1)
	var tried []int
	p.run(config(), controller.State{}, 20*time.Second, func(_ controller.Observation, d controller.Decision) {
		if len(tried) == 0 || tried[len(tried)-1] != d.Limit {
			tried = append(tried, d.Limit)
		}
	})
	if len(tried) < 3 || tried[0] != 100 || tried[1] > 25 || tried[2] > 12 {
		t.Errorf("from 100 to a knee of 4 by %v", tried)
	}
	if p.limit < 4 || p.limit > 6 {
		t.Errorf("the limit rests at %d, the knee is at 4", p.limit)
	}
}
