package model

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// haas is R. Haas's PostgreSQL 9.1 read-only pgbench on 32 cores, the data of
// Gunther's "PostgreSQL Scalability Analysis Deconstructed" (2012).
var haas = func() (pts []Point) {
	n := []float64{1, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64}
	x := []float64{4373.30, 15582.91, 27353.51, 37502.23, 45365.16, 46926.75, 42854.19, 39835.95, 38862.98,
		38303.05, 37881.29, 37647.48, 37379.05, 37421.44, 37306.11, 37235.20, 37220.38}
	for i := range n {
		pts = append(pts, Point{N: n[i], X: x[i]})
	}
	return pts
}()

func upTo(points []Point, n float64) (kept []Point) {
	for _, p := range points {
		if p.N <= n {
			kept = append(kept, p)
		}
	}
	return kept
}

// pinnedUSL is how the first versions of the R package usl fit: γ is X at the
// smallest n, and the deviation from linearity γN/X − 1 is regressed, unweighted,
// on (N−1) and N(N−1). Pinning is kept in the tests only, to reproduce what was
// published with it: it lets one noisy point, the first, scale the whole curve.
func pinnedUSL(points []Point) USL {
	gamma := points[0].X / points[0].N
	var uu, vv, uv, yu, yv float64
	for _, p := range points {
		u, v, y := p.N-1, p.N*(p.N-1), gamma*p.N/p.X-1
		uu, vv, uv, yu, yv = uu+u*u, vv+v*v, uv+u*v, yu+y*u, yv+y*v
	}
	det := uu*vv - uv*uv
	return USL{Gamma: gamma, Alpha: (yu*vv - yv*uv) / det, Beta: (yv*uu - yu*uv) / det}
}

func near(got, want, tolerance float64) bool { return math.Abs(got-want) <= tolerance*math.Abs(want) }

func TestPublishedUSLParametersAreReproduced(t *testing.T) {
	absolute := func(points []Point) USL {
		u, err := fitUSL(clean(points), absoluteError)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	t.Run("Haas, N ≤ 32, by least squares of X with γ pinned to X(1)", func(t *testing.T) {
		points := clean(upTo(haas, 32))
		at := func(logs []float64) USL {
			return USL{Gamma: haas[0].X, Alpha: math.Exp(logs[0]), Beta: math.Exp(logs[1])}
		}
		u := at(nelderMead([]float64{-4, -6}, func(logs []float64) float64 {
			return misfit(points, at(logs).Throughput, absoluteError)
		}))
		if !near(u.Alpha, 0.0009561, 0.001) || !near(u.Beta, 0.0025427, 0.0001) || !near(u.PeakN(), 19.82, 0.001) {
			t.Errorf("%+v N* %.2f, published α .0009561 β .0025427 N* 19.8", u, u.PeakN())
		}
	})
	t.Run("Haas, N ≤ 32, our fits put the peak at the same place", func(t *testing.T) {
		for name, fit := range map[string]func([]Point) (USL, error){"linear": FitUSLLinear, "refined": FitUSL} {
			u, err := fit(upTo(haas, 32))
			if err != nil || !near(u.PeakN(), 19.8, 0.05) {
				t.Errorf("%s: %+v N* %.2f, want 19.8 ± 5 %% (%v)", name, u, u.PeakN(), err)
			}
		}
	})
	t.Run("ray tracer, by the pinned linear fit of the R package usl", func(t *testing.T) {
		u := pinnedUSL(published(t, "gunther-raytracer"))
		if !near(u.Alpha, 0.05002, 0.001) || !near(u.Beta, 4.709e-6, 0.001) {
			t.Errorf("%+v, published σ 0.05002 κ 4.709e-6", u)
		}
	})
	t.Run("SPEC SDM91, by least squares of X", func(t *testing.T) {
		u := absolute(published(t, "gunther-specsdm91"))
		if !near(u.Alpha, 0.02772985, 0.001) || !near(u.Beta, 0.0001043434, 0.001) || !near(u.Gamma, 89.99, 0.001) || !near(u.PeakN(), 96.5, 0.002) {
			t.Errorf("%+v N* %.2f, published σ .02773 κ .00010434 λ 89.99 N* 96.5", u, u.PeakN())
		}
	})
	t.Run("Cisco, by least squares of X", func(t *testing.T) {
		u := absolute(published(t, "schwartz-cisco"))
		if !near(u.Alpha, 0.02671591, 0.001) || !near(u.Beta, 7.690945e-4, 0.001) || !near(u.Gamma, 995.6486, 0.001) || !near(u.PeakN(), 35.6, 0.01) {
			t.Errorf("%+v N* %.2f, published σ .02671591 κ 7.690945e-4 λ 995.6486 Nmax 35", u, u.PeakN())
		}
	})
}

// uslPoints are points of an exact law, each moved by a fixed pattern of ±wobble.
func uslPoints(u USL, ns []float64, wobble float64) (pts []Point) {
	pattern := []float64{0.3, -1, 0.7, 0.1, -0.6, 1, -0.4}
	for i, n := range ns {
		pts = append(pts, Point{N: n, X: u.Throughput(n) * (1 + wobble*pattern[i%len(pattern)])})
	}
	return pts
}

func TestUSLFitRecoversItsOwnParameters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := USL{
			Gamma: math.Exp(rapid.Float64Range(-5, 10).Draw(t, "log γ")),
			Alpha: math.Exp(rapid.Float64Range(-7, -0.7).Draw(t, "log α")),
			Beta:  math.Exp(rapid.Float64Range(-10, -3).Draw(t, "log β")),
		}
		points := uslPoints(want, []float64{1, 2, 4, 8, 16, 32, 64, 128}, 0)
		for name, fit := range map[string]func([]Point) (USL, error){"linear": FitUSLLinear, "refined": FitUSL} {
			got, err := fit(points)
			if err != nil || !near(got.Gamma, want.Gamma, 1e-4) || !near(got.Alpha, want.Alpha, 1e-3) || !near(got.Beta, want.Beta, 1e-3) {
				t.Fatalf("%s: %+v, want %+v (%v)", name, got, want, err)
			}
		}
	})
}

func TestUSLFitUnderAFixedPerturbationStaysNear(t *testing.T) {
	want := USL{Gamma: 1000, Alpha: 0.02, Beta: 0.0005} // N* = 44.3
	got, err := FitUSL(uslPoints(want, []float64{1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128}, 0.01))
	if err != nil || !near(got.PeakN(), want.PeakN(), 0.03) || !near(got.Gamma, 1000, 0.02) {
		t.Errorf("%+v N* %.1f, want %+v N* %.1f (%v)", got, got.PeakN(), want, want.PeakN(), err)
	}
}

func TestUSLNeverFitsNegativeTerms(t *testing.T) {
	linear := []Point{{N: 1, X: 10}, {N: 2, X: 20}, {N: 4, X: 40}, {N: 8, X: 80}, {N: 16, X: 160}}
	u, err := FitUSL(linear)
	if err != nil || u.Alpha > 1e-9 || u.Beta > 1e-9 || !near(u.Gamma, 10, 1e-9) {
		t.Errorf("a straight line: %+v (%v)", u, err)
	}
	faster := []Point{{N: 1, X: 10}, {N: 2, X: 24}, {N: 4, X: 55}, {N: 8, X: 120}} // superlinear
	if u, err = FitUSL(faster); err != nil || u.Alpha < 0 || u.Beta < 0 || !math.IsInf(u.PeakN(), 1) {
		t.Errorf("superlinear points: %+v N* %v (%v)", u, u.PeakN(), err)
	}
	rapid.Check(t, func(t *rapid.T) {
		var points []Point
		for n := 1.0; n <= 64; n *= 2 {
			points = append(points, Point{N: n, X: rapid.Float64Range(1, 1000).Draw(t, "X")})
		}
		u, err := FitUSL(points)
		if err != nil && !errors.Is(err, ErrNoFit) {
			t.Fatal(err)
		}
		if err == nil && (!(u.Gamma > 0) || !(u.Alpha >= 0) || !(u.Beta >= 0)) {
			t.Fatalf("%+v", u)
		}
	})
}

func TestFittersRefuseTooFewPoints(t *testing.T) {
	two := []Point{{N: 1, X: 1}, {N: 2, X: 2}, {N: math.NaN(), X: 3}, {N: 3, X: math.Inf(1)}, {N: 2, X: 2}, {N: -1, X: 1}}
	if _, err := FitUSL(two); !errors.Is(err, ErrTooFewPoints) {
		t.Errorf("USL: %v", err)
	}
	if _, err := FitClosedMMC(two, 0); !errors.Is(err, ErrTooFewPoints) {
		t.Errorf("closed M/M/c: %v", err)
	}
	if _, err := FitBounded(two[:1], false, false); !errors.Is(err, ErrTooFewPoints) {
		t.Errorf("bounded: %v", err)
	}
}
