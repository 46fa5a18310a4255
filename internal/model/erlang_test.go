package model

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestErlangCServersGoldenTable(t *testing.T) {
	for _, c := range []struct {
		a    float64
		want int
	}{{2, 6}, {5, 10}, {10, 17}, {20, 29}, {50, 64}, {100, 119}} {
		if got := ErlangCServers(c.a, 0.05); got != c.want {
			t.Errorf("a = %v: %d servers, want %d", c.a, got, c.want)
		}
	}
}

// directErlangC sums the textbook formula, in logs so that factorials fit.
func directErlangC(c int, a float64) float64 {
	term := func(k int) float64 {
		g, _ := math.Lgamma(float64(k + 1))
		return float64(k)*math.Log(a) - g
	}
	top := math.Log(float64(c)/(float64(c)-a)) + term(c)
	sum := 0.0
	for k := range c {
		sum += math.Exp(term(k) - top)
	}
	return 1 / (1 + sum)
}

func TestErlangCAgainstTheDirectSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.IntRange(1, 400).Draw(t, "servers")
		a := float64(c) * rapid.Float64Range(0.01, 0.999).Draw(t, "utilization")
		got, want := ErlangC(c, a), directErlangC(c, a)
		if math.Abs(got-want) > 1e-9*want+1e-300 {
			t.Fatalf("C(%d, %v) = %v, direct %v", c, a, got, want)
		}
	})
}

func TestErlangCServersIsTheSmallest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Float64Range(0, 3000).Draw(t, "erlangs")
		p := rapid.Float64Range(1e-6, 0.9).Draw(t, "P(wait)")
		c := ErlangCServers(a, p)
		if ErlangC(c, a) > p*(1+1e-9) {
			t.Fatalf("%d servers still wait with %v > %v", c, ErlangC(c, a), p)
		}
		if c > 1 && ErlangC(c-1, a) <= p*(1-1e-9) {
			t.Fatalf("%d servers would have done", c-1)
		}
	})
}

func TestErlangForLargePoolsStaysFinite(t *testing.T) {
	if got := ErlangC(100_000, 99_000); !(got > 0 && got < 0.01) {
		t.Errorf("C(100000, 99000) = %v, want small and above 0", got)
	}
	// Halfin and Whitt: with a + β√a servers 1/(1 + β·Φ(β)/φ(β)) wait, 5 % for β = 1.74.
	if got := ErlangCServers(100_000, 0.05); math.Abs(float64(got)-(100_000+1.74*math.Sqrt(100_000))) > 5 {
		t.Errorf("100,000 erlangs: %d servers", got)
	}
}

func TestServersForWait(t *testing.T) {
	const s = 10 * time.Millisecond
	for _, c := range []struct {
		name     string
		a        float64
		quantile float64
		wait     time.Duration
		v        float64
		want     int
	}{
		{"no wait allowed is the table for P(wait)", 10, 0.95, 0, 1, 17},
		{"nobody arrives", 0, 0.99, time.Millisecond, 1, 1},
		{"all may wait for ever: just stable", 10, 0, 0, 1, 11},
		{"nothing varies, so any tolerated wait needs just stability", 10, 0.99, time.Nanosecond, 0, 11},
		{"overload of what exists", 1e9, 0.99, time.Second, 1, 0},
	} {
		if got := ErlangCServersForWait(c.a, s, c.quantile, c.wait, c.v); got != c.want {
			t.Errorf("%s: %d servers, want %d", c.name, got, c.want)
		}
	}
	if got := ErlangCServersForWait(10, 0, 0.99, time.Second, 1); got != 0 {
		t.Errorf("no service time: %d servers, want no answer", got)
	}
	// P(Wq > t), the share of callers that wait longer.
	exceeds := func(servers int, a float64, t time.Duration, v float64) float64 {
		return ErlangC(servers, a) * longerThan(servers, a, s, t, v)
	}
	// The smallest c, by the tail formula itself.
	for _, v := range []float64{0.5, 1, 4} {
		c := ErlangCServersForWait(20, s, 0.99, 5*time.Millisecond, v)
		if got := exceeds(c, 20, 5*time.Millisecond, v); got > 0.01 {
			t.Errorf("v = %v: %d servers exceed 5 ms in %v of the cases", v, c, got)
		}
		if got := exceeds(c-1, 20, 5*time.Millisecond, v); got <= 0.01 {
			t.Errorf("v = %v: %d servers would have done", v, c-1)
		}
	}
	// M/M/1 has a closed form: P(Wq > t) = ρ·exp(−μ(1−ρ)t).
	if got, want := exceeds(1, 0.8, 20*time.Millisecond, 1), 0.8*math.Exp(-0.2*2); math.Abs(got-want) > 1e-12 {
		t.Errorf("M/M/1 tail %v, want %v", got, want)
	}
	if steady, bursty := ErlangCServersForWait(20, s, 0.99, 5*time.Millisecond, 0.5), ErlangCServersForWait(20, s, 0.99, 5*time.Millisecond, 4); steady >= bursty {
		t.Errorf("bursts need more: %d for v = 0.5, %d for v = 4", steady, bursty)
	}
}

func TestErlangHasNoAnswerToAbsurdQuestions(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1} {
		if got := ErlangCServers(bad, 0.05); got != 0 {
			t.Errorf("a = %v: %d servers", bad, got)
		}
		if got := ErlangC(3, bad); !math.IsNaN(got) {
			t.Errorf("C(3, %v) = %v, want NaN", bad, got)
		}
	}
	for _, bad := range []float64{math.NaN(), 0, -1} {
		if got := ErlangCServers(5, bad); got != 0 {
			t.Errorf("P(wait) ≤ %v: %d servers", bad, got)
		}
	}
	if got := ErlangCServersForWait(5, time.Second, 0.9, time.Second, math.NaN()); got != ErlangCServersForWait(5, time.Second, 0.9, time.Second, 1) {
		t.Errorf("unknown variability must count as 1, got %d servers", got)
	}
}
