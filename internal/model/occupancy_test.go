package model

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// visited is what a load leaves behind that spent so many seconds at each of n = 1,
// 2, …, where the server gives x(n): Poisson departures, drawn by their normal limit.
func visited(rng *rand.Rand, x func(n float64) float64, seconds ...float64) (l Levels) {
	for i, dt := range seconds {
		n := i + 1
		mean := x(float64(n)) * dt
		e := &l[LevelOf(n)]
		e.Time += time.Duration(dt * 1e9)
		e.Left += int64(math.Max(0, math.Round(mean+math.Sqrt(mean)*rng.NormFloat64())))
	}
	return l
}

func fourCores(n float64) float64 { return math.Min(n, 4) * 50 / (1 + 0.02*math.Max(0, n-4)) }

func occupied(now Levels) *Occupancy {
	var o Occupancy
	o.Add(time.Second, &Levels{}, &now)
	return &o
}

func TestTheKneeIsReadFromTheLevelsThatALoadPassesThrough(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	off := 0
	for range 100 {
		k, peak, best, least := occupied(visited(rng, fourCores, 60, 80, 90, 80, 60, 40, 30, 20, 15, 12, 10, 8, 6, 5, 4, 3)).Knee(Balanced, 0)
		if !k.Identified || k.N < 4 || k.N > 5 || k.Lower > 4 || least > 4 || math.Abs(peak-200) > 20 || best < 0.9*peak {
			off++
		}
	}
	if off > 5 {
		t.Errorf("%d of 100 loads on four cores do not show a knee of 4 or 5 at about 200 a second", off)
	}
}

func TestWhatWasNotSeenToServeLessIsNoKnee(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	plateau := func(n float64) float64 { return math.Min(n, 4) * 50 }
	for _, c := range []struct {
		name    string
		levels  Levels
		missing Missing
	}{
		{"nothing seen", Levels{}, MissingPoints},
		{"still rising at the highest level", visited(rng, func(n float64) float64 { return 50 * n }, 60, 60, 60, 60, 60), MissingAbove},
		{"a plateau", visited(rng, plateau, 60, 80, 90, 80, 60, 40, 30, 20), MissingAbove},
		{"only high levels, as of a closed loop at its limit", visited(rng, plateau, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 60, 60), MissingSpan},
		{"the same, and less at the higher ones", visited(rng, fourCores, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 60, 60, 60, 60, 60, 60, 60, 60), MissingBelow},
	} {
		if k, _, _, _ := occupied(c.levels).Knee(Balanced, 0); k.Identified || k.Missing != c.missing {
			t.Errorf("%s: identified %t, missing %q, want %q", c.name, k.Identified, k.Missing, c.missing)
		}
	}
}

func TestAGapInTheLevelsEndsTheCurve(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	seconds := make([]float64, 60)
	for i := range 4 {
		seconds[i] = 60
	}
	seconds[59] = 600 // a limit of 60, tried for long
	if k, _, _, _ := occupied(visited(rng, fourCores, seconds...)).Knee(Balanced, 0); k.Identified || k.SeenMax > 4 {
		t.Errorf("knee %+v from levels 1 to 4 and 60, want none, seen up to 4", k)
	}
}

func TestOldEvidenceFadesAndAFallenCounterIsNone(t *testing.T) {
	now := visited(rand.New(rand.NewPCG(4, 1)), fourCores, 60, 60)
	o := Occupancy{HalfLife: time.Minute}
	o.Add(time.Second, &Levels{}, &now)
	o.Add(time.Second+time.Minute, &now, &Levels{}) // fell: the pool was replaced
	if got := o.Observed(); math.Abs(got-60) > 1e-6 {
		t.Errorf("%v seconds are left after a half-life of 120, want 60", got)
	}
}

func TestLevelsSurviveJSONAndRejectWhatIsOutside(t *testing.T) {
	want := visited(rand.New(rand.NewPCG(5, 1)), fourCores, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Levels
	if err := json.Unmarshal(data, &got); err != nil || got != want {
		t.Errorf("%s gives %v, %v; want %v", data, got, err, want)
	}
	if err := json.Unmarshal([]byte(`[[52,1,1]]`), &got); err == nil {
		t.Error("a level beyond the last one is accepted")
	}
}

// The share of the peak that the objective gives away is not to be given where it is
// asked for.
func TestTheKneeGivesWhatIsAskedFor(t *testing.T) {
	nearly := func(n float64) float64 {
		return 2000 * math.Min(math.Min(n/4, 0.98+0.0025*(n-4)), 1) / (1 + 0.02*math.Max(0, n-12))
	}
	o := occupied(visited(rand.New(rand.NewPCG(7, 1)), nearly, slices.Repeat([]float64{600}, 24)...))
	if k, _, _, _ := o.Knee(Balanced, 1000); k.N != 4 || k.Lower > 4 {
		t.Errorf("1,000 a second are asked for, and the knee is %+v", k)
	}
	if k, _, _, _ := o.Knee(Balanced, 1985); k.N < 6 || k.N > 12 || k.Lower < 6 {
		t.Errorf("1,985 a second are asked for, of which 4 give 1,960, and the knee is %+v", k)
	}
	if k, peak, _, _ := o.Knee(Balanced, 3000); !k.Identified || k.N < 10 || k.N > 14 || peak > 2050 {
		t.Errorf("3,000 a second are asked for, of which the peak gives 2,000, and the knee is %+v", k)
	}
}

// A level that was in use for a moment is known as far as that goes, whatever its rate.
func TestWhatIsBehindALevelIsWhatWasCountedThere(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	o := occupied(visited(rng, fourCores, 60, 80, 0.5))
	if often, seldom := o.Behind(2), o.Behind(3); seldom < 50 || seldom > 100 || often < 1000 {
		t.Errorf("%.0f connections are behind what is known of 2 in use, %.0f behind 3, which were for half a second", often, seldom)
	}
	if n := (&Occupancy{}).Behind(3); n != 0 {
		t.Errorf("%.0f are behind nothing", n)
	}
}

func TestARateIsOfTheLevelsBetweenTwoNumbersOfConnections(t *testing.T) {
	for _, c := range []struct{ from, below, inside, beyond int }{{4, 8, 4, 8}, {32, 64, 40, 100}, {8, 16, 15, 16}, {16, 32, 16, 33}} {
		var l Levels
		l[LevelOf(c.inside)] = Level{Time: time.Second, Left: 1000}
		l[LevelOf(c.beyond)] = Level{Time: time.Second, Left: 5000}
		o := occupied(l)
		if got := o.RateAt(c.from, c.below); got != 1000 {
			t.Errorf("from %d to less than %d: %.0f/s, want that of %d alone, 1000", c.from, c.below, got, c.inside)
		}
		if got := o.RateAt(c.from, math.MaxInt); got != 3000 {
			t.Errorf("from %d: %.0f/s, want 3000", c.from, got)
		}
	}
}
