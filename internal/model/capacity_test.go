package model

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestHaasKneeIsFoundOnceItWasSeenFromBothSides(t *testing.T) {
	for _, c := range []struct {
		upTo       float64
		identified bool
	}{{64, true}, {32, true}, {28, true}, {24, true}, {20, false}, {16, false}, {12, false}} {
		fit := FitCapacity(upTo(haas, c.upTo))
		t.Logf("N ≤ %v: %s, %v, peak %d", c.upTo, fit.Model, fit.Knee, fit.PeakN)
		for _, o := range []Objective{Balanced, Throughput} {
			k := fit.For(o)
			if k.Identified != c.identified {
				t.Errorf("N ≤ %v: %v, want identified %v", c.upTo, k, c.identified)
			}
			if !c.identified {
				if k.Missing != MissingAbove {
					t.Errorf("N ≤ %v: missing %q, want %q", c.upTo, k.Missing, MissingAbove)
				}
				continue
			}
			if k.N < 18 || k.N > 22 {
				t.Errorf("N ≤ %v: knee %d, want 18 to 22", c.upTo, k.N)
			}
			if k.Lower > k.N || k.Upper < k.N {
				t.Errorf("N ≤ %v: interval %d–%d is not around %d", c.upTo, k.Lower, k.Upper, k.N)
			}
		}
		if c.identified && (fit.PeakN < 18 || fit.PeakN > 22) {
			t.Errorf("N ≤ %v: peak at %d, want 18 to 22", c.upTo, fit.PeakN)
		}
	}
}

func TestAnUnidentifiedKneeSaysWhatMustBeSeen(t *testing.T) {
	flat := func(ns ...float64) (pts []Point) {
		for _, n := range ns {
			pts = append(pts, Point{N: n, X: 100 * math.Min(n, 10)})
		}
		return pts
	}
	for _, c := range []struct {
		name   string
		points []Point
		want   Missing
		says   string
	}{
		{"nothing", nil, MissingPoints, "too few different n"},
		{"three points", flat(1, 10, 100), MissingPoints, "too few different n"},
		{"a narrow range", flat(8, 8.5, 9, 9.5, 10), MissingSpan, "between 8 and 10"},
		{"the rise only", flat(1, 2, 4, 6, 8, 9), MissingAbove, "still rises at 9"},
		{"barely past the knee", flat(1, 2, 4, 8, 10, 11), MissingAbove, "only seen up to 11"},
		{"the plateau only", flat(12, 16, 24, 48, 96), MissingBelow, "already flat at 12"},
		{"both sides", flat(1, 2, 4, 8, 12, 16, 32), "", "knee at"},
	} {
		k := FitCapacity(c.points).Knee
		if k.Missing != c.want || k.Identified != (c.want == "") || !strings.Contains(k.String(), c.says) {
			t.Errorf("%s: %+v %q, want missing %q and %q", c.name, k.Missing, k, c.want, c.says)
		}
	}
}

func TestNoiseIsNoKnee(t *testing.T) {
	// A flat curve with 10 % noise from 2 to 64: the knee is below what was seen,
	// or drowned; it must not be invented in between.
	invented := 0
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		var points []Point
		for n := 2.0; n <= 64; n *= 1.5 {
			points = append(points, Point{N: n, X: 100 * math.Exp(0.1*random.NormFloat64())})
		}
		if k := FitCapacity(points).Knee; k.Identified {
			invented++
		}
	}
	t.Logf("%d of 200 flat curves with 10 %% noise gave a knee", invented)
	if invented > 20 {
		t.Errorf("%d of 200 flat curves gave a knee, want at most 10 %%", invented)
	}
}

// truth is a curve whose knee is known.
type truth struct {
	name string
	law  law
}

var truths = []truth{
	{"usl", USL{Gamma: 100, Alpha: 0.03, Beta: 0.0008}},
	{"usl, hardly falling", USL{Gamma: 300, Alpha: 0.05, Beta: 0.0001}},
	{"closed-mmc, sharp", ClosedMMC{Servers: 8, Service: 0.01}},
	{"closed-mmc, with delay", ClosedMMC{Servers: 4, Service: 0.005, Delay: 0.02}},
	{"bounded", Bounded{Slope: 50, KneeN: 22}},
	{"bounded, declining", Bounded{Slope: 50, KneeN: 12, Decline: 0.1}},
	{"bounded, cliff", Bounded{Slope: 50, KneeN: 16, CliffN: 50, CliffFactor: 0.3}},
}

func TestUnderNoiseTheKneeLosesLittleOfTheTruePeak(t *testing.T) {
	seeds := 8
	if os.Getenv("AUTOTUNE_FIRE") == "full" { // as make theory does
		seeds = 30
	}
	// A point that scatters by 5 % cannot place a knee to 5 %: its own deviation
	// is allowed on top of the tolerance.
	for _, c := range []struct{ noise, loss float64 }{{0.005, 0.05}, {0.02, 0.05}, {0.05, 0.03 + 0.05}} {
		noise, loss := c.noise, c.loss
		fits, identified, good, covered, wasted := 0, 0, 0, 0, 0.0
		for i, c := range truths {
			table := tabulate(c.law, 128)
			g := grid{1, 128}
			want := kneeOf(table, g, Balanced, 0)
			_, peak := peakOf(table, g)
			for seed := range uint64(seeds) {
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				var points []Point
				for n := 1.0; n <= 128; n = math.Ceil(n * 1.2) {
					points = append(points, Point{N: n, X: c.law.Throughput(n) * math.Exp(noise*random.NormFloat64()), Weight: 10})
				}
				fit := FitCapacity(points)
				fits++
				if !fit.Knee.Identified {
					continue
				}
				identified++
				if c.law.Throughput(float64(fit.Knee.N)) >= (1-loss)*peak {
					good++
				}
				if fit.Knee.Lower <= want && want <= fit.Knee.Upper {
					covered++
				}
				wasted += math.Max(0, float64(fit.Knee.N)/float64(want)-1)
			}
		}
		t.Logf("noise %.1f %%: %d fits, %d identified, %d lose at most %.0f %%, interval covers the true knee in %d, %.0f %% more connections than needed",
			100*noise, fits, identified, good, 100*loss, covered, 100*wasted/float64(identified))
		if float64(good) < 0.95*float64(identified) {
			t.Errorf("noise %v: %d of %d lose at most %v of the peak, want 95 %%", noise, good, identified, loss)
		}
		if float64(identified) < 0.8*float64(fits) {
			t.Errorf("noise %v: only %d of %d identified", noise, identified, fits)
		}
		if float64(covered) < 0.8*float64(identified) {
			t.Errorf("noise %v: interval covers the true knee in %d of %d, want 80 %%", noise, covered, identified)
		}
		if wasted/float64(identified) > 0.3 {
			t.Errorf("noise %v: knees are %.0f %% too large on average", noise, 100*wasted/float64(identified))
		}
	}
}

func TestEvidenceChoosesTheFamilyThatMadeThePoints(t *testing.T) {
	for _, c := range truths {
		var points []Point
		for n := 1.0; n <= 128; n = math.Ceil(n * 1.2) {
			points = append(points, Point{N: n, X: c.law.Throughput(n)})
		}
		fit := FitCapacity(points)
		family, _, _ := strings.Cut(c.name, ",")
		// Without delay and decline the two sharp families are the same curve.
		if same := c.name == "closed-mmc, sharp" || c.name == "bounded"; string(fit.Model) != family && (!same || fit.Model == USLModel) {
			t.Errorf("%s: chose %s", c.name, fit.Model)
		}
		if fit.RMSLogError > 0.01 {
			t.Errorf("%s: %+v is off by %.3f", c.name, fit, fit.RMSLogError)
		}
		for _, p := range points {
			if !near(fit.Predict(p.N), p.X, 0.03) {
				t.Errorf("%s: predicts X(%v) = %v, want %v", c.name, p.N, fit.Predict(p.N), p.X)
			}
		}
	}
}

func TestObjectivesOrderTheKnees(t *testing.T) {
	for _, c := range truths {
		var points []Point
		for n := 1.0; n <= 128; n = math.Ceil(n * 1.15) {
			points = append(points, Point{N: n, X: c.law.Throughput(n)})
		}
		fit := FitCapacity(points)
		if !(fit.LatencyKnee.N <= fit.Knee.N && fit.Knee.N <= fit.ThroughputKnee.N) {
			t.Errorf("%s: latency %d, balanced %d, throughput %d", c.name, fit.LatencyKnee.N, fit.Knee.N, fit.ThroughputKnee.N)
		}
	}
	// M/M/1-like closed queue of 1 server: power is highest near n = z/s + 1.
	var points []Point
	m := ClosedMMC{Servers: 1, Service: 0.01, Delay: 0.09}
	for n := 1.0; n <= 60; n++ {
		points = append(points, Point{N: n, X: m.Throughput(n)})
	}
	if k := FitCapacity(points).LatencyKnee; !k.Identified || k.N < 8 || k.N > 12 {
		t.Errorf("power peaks at %v, want about 10", k)
	}
}

func TestPredictNeverExtrapolates(t *testing.T) {
	fit := FitCapacity(upTo(haas, 32)[1:]) // 4 to 32
	if got, want := fit.Predict(64), fit.Predict(32); got != want {
		t.Errorf("X(64) = %v, want that of the largest seen, %v", got, want)
	}
	if got, want := fit.Predict(1), fit.Predict(4)/4; !near(got, want, 1e-12) {
		t.Errorf("X(1) = %v, want a straight line from the origin, %v", got, want)
	}
	for _, n := range []float64{0, -1, math.NaN()} {
		if got := fit.Predict(n); got != 0 {
			t.Errorf("X(%v) = %v, want 0", n, got)
		}
	}
	var none Curve
	if none.Predict(5) != 0 {
		t.Error("an unknown curve predicts something")
	}
	if k := fit.Knee; float64(k.N) < fit.MinN || float64(k.N) > fit.MaxN {
		t.Errorf("knee %d outside of what was seen", k.N)
	}
}

func TestFitDependsOnThePointsOnly(t *testing.T) {
	want := FitCapacity(haas)
	dirty := slices.Clone(haas)
	slices.Reverse(dirty)
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, -3} {
		dirty = append(dirty, Point{N: bad, X: 100}, Point{N: 10, X: bad})
	}
	dirty = append(dirty, Point{N: 3, X: 1, Weight: math.NaN()})
	for range 3 {
		if got := FitCapacity(dirty); got != want {
			t.Fatalf("reversed, with rubbish: %+v\nwant %+v", got, want)
		}
	}
	if !near(FitCapacity([]Point{{N: 1, X: 3}, {N: 1, X: 5}}).MaxN, 1, 0) {
		t.Error("points of the same n must merge")
	}
}

func TestFitSurvivesAnyPoints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Float64Range(0.01, 300), rapid.Float64Range(-1e12, 1e12),
			rapid.Just(math.NaN()), rapid.Just(math.Inf(1)), rapid.Just(1e-300))
		var points []Point
		for range rapid.IntRange(0, 12).Draw(t, "points") {
			n := rapid.OneOf(rapid.Float64Range(0.01, 300), rapid.Just(math.NaN()), rapid.Just(math.Inf(1)), rapid.Just(-1.0)).Draw(t, "n")
			points = append(points, Point{N: n, X: number.Draw(t, "x"), Weight: number.Draw(t, "w"), S: number.Draw(t, "s")})
		}
		fit := FitCapacity(points)
		if _, err := json.Marshal(fit); err != nil { // JSON has no NaN or infinity
			t.Fatalf("%+v: %v", fit, err)
		}
		for _, o := range objectives {
			k := fit.For(o)
			if fit.Points > 0 && (k.N < 1 || float64(k.N) > math.Max(1, math.Ceil(fit.MaxN)) || k.Lower > k.N || k.Upper < k.N) {
				t.Fatalf("knee %+v of points from %v to %v", k, fit.MinN, fit.MaxN)
			}
			if k.Identified != (k.Missing == "") {
				t.Fatalf("%+v", k)
			}
		}
	})
}

func TestSmoothingIsTheBestUnimodalCurve(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var points []Point
		for n := range rapid.IntRange(1, 9).Draw(t, "points") {
			points = append(points, Point{N: float64(n + 1), X: math.Exp(rapid.Float64Range(-2, 2).Draw(t, "log X")), Weight: rapid.Float64Range(0.1, 5).Draw(t, "w")})
		}
		pts := clean(points)
		u := smooth(pts)
		rss := func(y []float64) (sum float64) {
			for i, p := range pts {
				sum += p.Weight * (math.Log(p.X) - y[i]) * (math.Log(p.X) - y[i])
			}
			return sum
		}
		for i := 1; i < len(pts); i++ {
			if i <= u.top && u.logX[i] < u.logX[i-1]-1e-12 || i > u.top && u.logX[i] > u.logX[i-1]+1e-12 {
				t.Fatalf("not unimodal: %v, top %d", u.logX, u.top)
			}
		}
		// No other rise and fall fits better: try random ones.
		for range 20 {
			other := make([]float64, len(pts))
			top := rapid.IntRange(0, len(pts)-1).Draw(t, "top")
			for i := range other {
				other[i] = math.Log(pts[i].X) + rapid.Float64Range(-0.5, 0.5).Draw(t, "move")
			}
			slices.Sort(other[:top+1])
			slices.Sort(other[top:])
			slices.Reverse(other[top:])
			slices.Sort(other[:top+1])
			if !slices.IsSorted(other[:top+1]) || rss(other) < rss(u.logX)-1e-9 {
				t.Fatalf("%v fits better than %v", other, u.logX)
			}
		}
	})
}
