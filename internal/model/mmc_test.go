package model

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"
)

// markovThroughput solves the Markov chain of the closed queue: state k customers
// at the station of c servers, n−k in the delay; π·Q = 0, Σπ = 1 by LU.
func markovThroughput(t interface{ Fatal(...any) }, n, c int, service, delay float64) float64 {
	q := mat.NewDense(n+1, n+1, nil)
	for k := 0; k <= n; k++ {
		if k < n {
			rate := float64(n-k) / delay
			q.Set(k+1, k, q.At(k+1, k)+rate) // transposed: column = from
			q.Set(k, k, q.At(k, k)-rate)
		}
		if k > 0 {
			rate := float64(min(k, c)) / service
			q.Set(k-1, k, q.At(k-1, k)+rate)
			q.Set(k, k, q.At(k, k)-rate)
		}
	}
	b := mat.NewVecDense(n+1, nil)
	for k := 0; k <= n; k++ {
		q.Set(n, k, 1)
	}
	b.SetVec(n, 1)
	var pi mat.VecDense
	if err := pi.SolveVec(q, b); err != nil {
		t.Fatal(err)
	}
	x := 0.0
	for k := 1; k <= n; k++ {
		x += pi.AtVec(k) * float64(min(k, c)) / service
	}
	return x
}

func TestClosedMMCAgainstTheMarkovChain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.IntRange(1, 20).Draw(t, "servers")
		n := rapid.IntRange(1, 40).Draw(t, "n")
		service := rapid.Float64Range(0.01, 1).Draw(t, "service")
		delay := service * math.Exp(rapid.Float64Range(-3, 3).Draw(t, "log z/s"))
		m := ClosedMMC{Servers: c, Service: service, Delay: delay}
		got, want := m.Throughput(float64(n)), markovThroughput(t, n, c, service, delay)
		if !near(got, want, 1e-7) {
			t.Fatalf("X(%d) = %v, chain %v", n, got, want)
		}
	})
}

func TestClosedMMCAgainstExactMeanValueAnalysisForLargeN(t *testing.T) {
	// Product form in logs: p(k) ∝ C(n,k)·k!/Πmin(j,c) · (s/z)^k.
	direct := func(n, c int, s, z float64) float64 {
		logs, most := make([]float64, n+1), math.Inf(-1)
		for k := range logs {
			if k > 0 {
				logs[k] = logs[k-1] + math.Log(float64(n-k+1)*s/z) - math.Log(float64(min(k, c)))
			}
			most = math.Max(most, logs[k])
		}
		sum, x := 0.0, 0.0
		for k, l := range logs {
			p := math.Exp(l - most)
			sum += p
			x += p * float64(min(k, c)) / s
		}
		return x / sum
	}
	for _, m := range []ClosedMMC{{1, 0.001, 0.1}, {64, 0.02, 0.2}, {200, 0.01, 0.04}, {500, 0.01, 1e-6}, {4, 0.003, 2}, {900, 0.01, 0.1}} {
		xs := make([]float64, 1000)
		m.fill(xs)
		for n := 1; n <= 1000; n++ {
			if want := direct(n, m.Servers, m.Service, m.Delay); !near(xs[n-1], want, 1e-8) {
				t.Fatalf("%+v X(%d) = %v, product form %v", m, n, xs[n-1], want)
			}
		}
	}
}

func TestClosedMMCWithoutDelayIsSharp(t *testing.T) {
	m := ClosedMMC{Servers: 8, Service: 0.01}
	for n, want := range map[float64]float64{0: 0, 0.5: 50, 1: 100, 7: 700, 8: 800, 8.5: 800, 9: 800, 100: 800} {
		if got := m.Throughput(n); !near(got, want, 1e-12) {
			t.Errorf("X(%v) = %v, want %v", n, got, want)
		}
	}
	if got := (ClosedMMC{}).Throughput(3); got != 0 {
		t.Errorf("the zero value serves %v", got)
	}
}

func TestClosedMMCFitRecoversItsOwnCurve(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := ClosedMMC{Servers: rapid.IntRange(1, 24).Draw(t, "c"), Service: rapid.Float64Range(0.001, 1).Draw(t, "s")}
		if rapid.Bool().Draw(t, "with delay") {
			want.Delay = want.Service * rapid.Float64Range(0.1, 3).Draw(t, "z/s")
		}
		var points []Point
		for _, n := range []float64{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128} {
			points = append(points, Point{N: n, X: want.Throughput(n)})
		}
		got, err := FitClosedMMC(points, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range points {
			if !near(got.Throughput(p.N), p.X, 0.01) {
				t.Fatalf("%+v fitted to %+v: X(%v) = %v, want %v", got, want, p.N, got.Throughput(p.N), p.X)
			}
		}
		if want.Delay == 0 && got.Servers != want.Servers {
			t.Fatalf("without delay c is identified: %+v, want %+v", got, want)
		}
	})
}

func TestBoundedFitRecoversKneeDeclineAndCliff(t *testing.T) {
	ns := []float64{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128}
	for name, want := range map[string]Bounded{
		"flat":      {Slope: 100, KneeN: 10},
		"declining": {Slope: 100, KneeN: 10, Decline: 0.1},
		"cliff":     {Slope: 100, KneeN: 10, CliffN: math.Sqrt(48 * 64), CliffFactor: 0.4},
		"both":      {Slope: 100, KneeN: 10, Decline: 0.05, CliffN: math.Sqrt(48 * 64), CliffFactor: 0.3},
	} {
		var points []Point
		for _, n := range ns {
			points = append(points, Point{N: n, X: want.Throughput(n)})
		}
		got, err := FitBounded(points, want.Decline > 0, want.CliffN > 0)
		if err != nil || !near(got.Slope, 100, 1e-3) || !near(got.KneeN, 10, 1e-2) || math.Abs(got.Decline-want.Decline) > 1e-3 ||
			!near(got.CliffN, want.CliffN, 1e-9) || math.Abs(got.CliffFactor-want.CliffFactor) > 1e-3 {
			t.Errorf("%s: %+v, want %+v (%v)", name, got, want, err)
		}
	}
	rising := []Point{{N: 1, X: 10}, {N: 2, X: 20}, {N: 4, X: 40}}
	if _, err := FitBounded(rising, false, true); err == nil {
		t.Error("a cliff was found where nothing falls")
	}
}

// The states of the machine-repair model, one by one: k of n are at the servers.
func repairStates(n, servers int, r float64) (at, idle float64) {
	p, sum := 1.0, 0.0
	for k := 0; k <= n; k++ {
		sum += p
		at += p * float64(k)
		idle += p * float64(max(0, servers-k)) / float64(servers)
		p *= float64(n-k) / r / float64(min(k+1, servers))
	}
	return at / sum, idle / sum
}

func TestIdleServersIsThatOfTheStates(t *testing.T) {
	for _, servers := range []int{1, 2, 3, 8, 32} {
		for _, n := range []int{1, 2, 3, 6, 17, 100} {
			for _, r := range []float64{0.01, 0.3, 1, 3, 10, 50} {
				at, want := repairStates(n, servers, r)
				if got := IdleServers(float64(n), at, servers); math.Abs(got-want) > 1e-6 {
					t.Errorf("%d connections, %d servers, delay %g, %.3f there: idle %.6f, want %.6f", n, servers, r, at, got, want)
				}
			}
		}
	}
}

func TestIdleServersOfWhatCannotBe(t *testing.T) {
	for _, c := range []struct {
		n, at   float64
		servers int
		want    float64
	}{
		{0, 0, 2, 1}, {8, 0, 2, 1}, {8, 3, 0, 1}, {8, 8, 2, 0}, {8, 20, 2, 0}, {1, 1, 4, 0.75}, {1, 9, 4, 0.75},
		{math.NaN(), 3, 2, 1}, {8, math.NaN(), 2, 1},
	} {
		if got := IdleServers(c.n, c.at, c.servers); got != c.want {
			t.Errorf("%g of %g at %d: %g, want %g", c.at, c.n, c.servers, got, c.want)
		}
	}
}
