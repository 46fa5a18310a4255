package model

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func steady(dt time.Duration, perSecond float64, service time.Duration) Window {
	n := int64(math.Round(perSecond * dt.Seconds()))
	s := service.Seconds()
	return Window{
		Elapsed: dt, Arrivals: n, Completions: n,
		ServiceTime: time.Duration(n) * service, ServiceTimeSq: float64(n) * s * s,
		InUseTime: time.Duration(n) * service, Limit: 100,
	}
}

func TestDemandKnowsASteadyLoadFromTheFirstWindow(t *testing.T) {
	var d Demand
	for range 100 {
		if seen := d.Observe(steady(time.Second, 200, 25*time.Millisecond)); seen != Counted {
			t.Fatalf("window %v", seen)
		}
		r := d.Rates()
		if !near(r.Arrival, 200, 1e-9) || !near(r.ArrivalSlow, 200, 1e-9) || !near(r.Throughput, 200, 1e-9) ||
			!near(float64(r.Service), float64(25*time.Millisecond), 1e-6) || !near(r.OfferedLoad, 5, 1e-6) ||
			!near(r.InUse, 5, 1e-6) || r.Queued != 0 || !near(r.Concurrency, 5, 1e-6) || r.ServiceCV2 > 1e-9 {
			t.Fatalf("%+v", r)
		}
	}
	if r := d.Rates(); r.Dispersion > 1e-9 {
		t.Errorf("a metronome has dispersion %v, want 0", r.Dispersion)
	}
}

func TestDemandDoesNotDependOnTheTicker(t *testing.T) {
	// A step from 100 to 300 per second, looked at every 0.1, 1 and 5 s.
	for _, dt := range []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second} {
		var d Demand
		for range int(10 * time.Minute / dt) {
			d.Observe(steady(dt, 100, 10*time.Millisecond))
		}
		for range int(10 * time.Second / dt) {
			d.Observe(steady(dt, 300, 10*time.Millisecond))
		}
		r := d.Rates()
		if want := 300 - 200*math.Exp(-1); !near(r.Arrival, want, 1e-6) {
			t.Errorf("every %v: fast rate %v one time constant after the step, want %v", dt, r.Arrival, want)
		}
		if want := 300 - 200*math.Exp(-1.0/6); !near(r.ArrivalSlow, want, 1e-4) {
			t.Errorf("every %v: slow rate %v, want %v", dt, r.ArrivalSlow, want)
		}
	}
}

func TestDemandMeasuresVariability(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name string
		// arrivals and service seconds drawn per window and per call
		arrivals    func() int64
		service     func() float64
		dispersion  float64
		cv2         float64
		within      float64
		cv2Tolerant float64
	}{
		{"poisson arrivals, exponential service", func() int64 { return poisson(random, 50) }, func() float64 { return 0.02 * random.ExpFloat64() }, 1, 1, 0.35, 0.1},
		{"bursts: 0 or 100, constant service", func() int64 { return 100 * int64(random.IntN(2)) }, func() float64 { return 0.02 }, 50, 0, 0.35, 1e-6},
	} {
		var d Demand
		sum, count := 0.0, 0.0
		for i := range 3000 {
			w := Window{Elapsed: time.Second, Arrivals: c.arrivals()}
			w.Completions = w.Arrivals
			for range w.Arrivals {
				s := c.service()
				w.ServiceTime += seconds(s)
				w.ServiceTimeSq += s * s
			}
			d.Observe(w)
			if i > 300 {
				sum += d.Rates().Dispersion
				count++
			}
		}
		if got := sum / count; !near(got, c.dispersion, c.within) {
			t.Errorf("%s: dispersion %v, want %v", c.name, got, c.dispersion)
		}
		if got := d.Rates().ServiceCV2; math.Abs(got-c.cv2) > c.cv2Tolerant {
			t.Errorf("%s: cv² %v, want %v", c.name, got, c.cv2)
		}
	}
}

func poisson(random *rand.Rand, mean float64) (n int64) {
	for t := random.ExpFloat64(); t < mean; t += random.ExpFloat64() {
		n++
	}
	return n
}

func TestTrueDemandIsNotClippedAtTheLimit(t *testing.T) {
	var d Demand
	d.Observe(Window{
		Elapsed: 2 * time.Second, Arrivals: 300, Completions: 200, Canceled: 50, Limit: 10,
		ServiceTime: 20 * time.Second, ServiceTimeSq: 2, InUseTime: 20 * time.Second, WaitTime: 60 * time.Second, SaturatedTime: 2 * time.Second,
	})
	// 10 in use + 30 queued + 50 canceled × 0.1 s held each / 2 s.
	if got := d.Rates().Concurrency; !near(got, 42.5, 1e-9) {
		t.Errorf("true demand %v, want 42.5", got)
	}
}

func TestDemandDropsWhatCannotBe(t *testing.T) {
	var d Demand
	d.Observe(steady(time.Second, 200, 25*time.Millisecond))
	before := d
	for name, c := range map[string]struct {
		change func(*Window)
		want   Seen
	}{
		"no time":          {func(w *Window) { w.Elapsed = 0 }, Ignored},
		"time backward":    {func(w *Window) { w.Elapsed = -time.Second }, Ignored},
		"NaN":              {func(w *Window) { w.ServiceTimeSq = math.NaN() }, Ignored},
		"infinity":         {func(w *Window) { w.ServiceTimeSq = math.Inf(1) }, Ignored},
		"arrivals fell":    {func(w *Window) { w.Arrivals = -5 }, Reset},
		"completions fell": {func(w *Window) { w.Completions = -5 }, Reset},
		"wait time fell":   {func(w *Window) { w.WaitTime = -5 }, Reset},
		"squares fell":     {func(w *Window) { w.ServiceTimeSq = -0.1 }, Reset},
	} {
		w := steady(time.Second, 200, 25*time.Millisecond)
		c.change(&w)
		if got := d.Observe(w); got != c.want || d != before {
			t.Errorf("%s: %v, want %v and no change", name, got, c.want)
		}
	}
}

func TestACorruptSumOfSquaresStaysHarmless(t *testing.T) {
	var d Demand
	w := steady(time.Second, 200, 25*time.Millisecond)
	w.ServiceTimeSq = 1e290 // more than (200 × 25 ms)² = 25 s² cannot be
	d.Observe(w)
	if got := d.Rates().ServiceCV2; !near(got, 199, 1e-9) { // one call held all the time
		t.Errorf("cv² %v, want 199, the most 200 calls can have", got)
	}
	w.ServiceTimeSq = 0 // less than 200 × (25 ms)² cannot be either
	d = Demand{}
	d.Observe(w)
	if got := d.Rates().ServiceCV2; got > 1e-9 {
		t.Errorf("cv² %v, want 0", got)
	}
}

func TestDemandRemembersServiceTimeThroughAPause(t *testing.T) {
	var d Demand
	d.Observe(steady(time.Second, 200, 25*time.Millisecond))
	for range 3600 {
		d.Observe(Window{Elapsed: time.Second})
	}
	r := d.Rates()
	if !near(float64(r.Service), float64(25*time.Millisecond), 1e-3) || r.Arrival > 1e-6 || r.Concurrency != 0 {
		t.Errorf("an idle hour later: %+v", r)
	}
}

func TestDemandStaysFinite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d Demand
		for range rapid.IntRange(1, 50).Draw(t, "windows") {
			d.Observe(Window{
				Elapsed:  time.Duration(rapid.Int64().Draw(t, "elapsed")),
				Arrivals: rapid.Int64().Draw(t, "arrivals"), Completions: rapid.Int64().Draw(t, "completions"),
				Canceled: rapid.Int64().Draw(t, "canceled"), WaitTime: time.Duration(rapid.Int64().Draw(t, "wait")),
				ServiceTime: time.Duration(rapid.Int64().Draw(t, "service")), InUseTime: time.Duration(rapid.Int64().Draw(t, "in use")),
				ServiceTimeSq: rapid.Float64().Draw(t, "squares"),
			})
			r := d.Rates()
			for name, v := range map[string]float64{"λ": r.Arrival, "slow λ": r.ArrivalSlow, "X": r.Throughput, "cv²": r.ServiceCV2,
				"a": r.OfferedLoad, "in use": r.InUse, "queued": r.Queued, "concurrency": r.Concurrency, "dispersion": r.Dispersion} {
				if !finite(v) || v < 0 {
					t.Fatalf("%s = %v", name, v)
				}
			}
			if r.Service < 0 {
				t.Fatalf("service %v", r.Service)
			}
		}
	})
}
