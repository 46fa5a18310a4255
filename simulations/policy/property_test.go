package policy

import (
	"math"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
	"pgregory.net/rapid"
)

// beliefs are the numbers with a fraction that a policy reckons with.
func beliefs(p plant.Tuner) []float64 {
	switch p := p.(type) {
	case *vegas:
		return []float64{p.limit, p.jitter}
	case *gradient2:
		return []float64{p.limit, p.long}
	case *failsafe:
		return []float64{p.limit, p.baseline.value, p.recent.value}
	case *arc:
		return []float64{p.mean, p.variance, p.current}
	case *hillClimbing:
		return []float64{p.control, p.noise}
	}
	return nil
}

// drawName draws a policy; those with a number get one within the ceiling.
func drawName(t *rapid.T, e Env) string {
	names := append(Names(), "fixed-1", "auto-1")
	return rapid.SampledFrom(names).Draw(t, "policy")
}

func drawEnv(t *rapid.T) Env {
	e := Env{
		Cores:      rapid.IntRange(1, 256).Draw(t, "cores"),
		ClientCPUs: rapid.IntRange(1, 256).Draw(t, "client CPUs"),
		Vectors:    rapid.Float64Range(-1, 1e9).Draw(t, "vectors"),
		Users:      rapid.IntRange(0, 10_000).Draw(t, "users"),
		Workers:    rapid.IntRange(0, 500).Draw(t, "workers"),
		Ceiling:    rapid.IntRange(1, 2000).Draw(t, "ceiling"),
		Seed:       rapid.Uint64().Draw(t, "seed"),
	}
	e.Start = rapid.IntRange(0, e.Ceiling).Draw(t, "start")
	return e
}

// TestNoPolicyLeavesItsBounds drives two of the same policy through the same
// absurd hour: the limit stays within 1 and the ceiling and within max, no number
// is lost, and both do the same.
func TestNoPolicyLeavesItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEnv(t)
		name := drawName(t, e)
		a, err := New(name, e)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := New(name, e)
		bounded := func(what string, s plant.Setting) {
			if s.Limit < 1 || s.Limit > s.Max || s.Max > e.Ceiling || s.Min < 0 || s.Min > s.Max {
				t.Fatalf("%s in %+v after %s: %+v", name, e, what, s)
			}
			for _, v := range beliefs(a) {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("%s after %s believes %v", name, what, beliefs(a))
				}
			}
		}
		now := a.Start()
		bounded("start", now)
		if other := b.Start(); other != now {
			t.Fatalf("two of %s start with %+v and %+v", name, now, other)
		}
		var clock time.Duration
		duration := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, int64(time.Millisecond)), rapid.Int64Range(0, int64(20*time.Second)))
		var counters controller.Counters
		for range rapid.IntRange(1, 40).Draw(t, "phases") {
			r := plant.Sample{
				Wait:     time.Duration(duration.Draw(t, "wait")),
				Service:  time.Duration(duration.Draw(t, "service")),
				InFlight: rapid.IntRange(0, e.Ceiling+1).Draw(t, "in flight"),
				Queued:   rapid.IntRange(0, 1000).Draw(t, "queued"),
				GaveUp:   rapid.IntRange(0, 4).Draw(t, "gave up") == 0,
			}
			if r.GaveUp {
				r.Service, r.InFlight = 0, 0
			}
			gap := time.Duration(duration.Draw(t, "gap"))
			for i := range rapid.IntRange(0, 120).Draw(t, "requests") {
				sampler, ok := a.(plant.Sampler)
				if !ok {
					break
				}
				clock += gap
				r.At = clock
				r.Service += time.Duration(i) // not quite the same
				now.Limit = sampler.Completed(r)
				bounded("a sample", now)
				if other := b.(plant.Sampler).Completed(r); other != now.Limit {
					t.Fatalf("two of %s go to %d and %d", name, now.Limit, other)
				}
				counters.Arrivals++
				counters.Completions++
			}
			clock += time.Duration(duration.Draw(t, "until the look"))
			o := controller.Observation{At: clock, Counters: counters}
			o.Gauges = controller.Gauges{Limit: now.Limit, Max: now.Max, Min: now.Min, InUse: min(r.InFlight, now.Limit),
				Queued: r.Queued, Budget: e.Ceiling, Peak: r.InFlight + r.Queued}
			if rapid.Bool().Draw(t, "seen") {
				o.Server = &controller.Server{MaxConnections: rapid.IntRange(0, 5000).Draw(t, "max_connections"), Others: rapid.IntRange(0, 5000).Draw(t, "others")}
				o.Host = &controller.Host{CPU: rapid.Float64Range(0, 1).Draw(t, "cpu")}
			}
			var next time.Duration
			now, next = a.Look(o)
			bounded("a look", now)
			if next < 0 {
				t.Fatalf("%s looks again after %s", name, next)
			}
			if other, otherNext := b.Look(o); other != now || otherNext != next {
				t.Fatalf("two of %s go to %+v and %+v", name, now, other)
			}
		}
	})
}

// steady is the n-th of the requests of a pool of 30 that is now and then full.
func steady(n int) plant.Sample {
	return plant.Sample{
		At:       time.Duration(n) * ms,
		Service:  10*ms + time.Duration(n%97)*100*time.Microsecond,
		Wait:     time.Duration(n%7) * ms,
		InFlight: 1 + n%30,
		Queued:   n % 3,
		GaveUp:   n%1000 == 999,
	}
}

func TestASampleAllocatesNothing(t *testing.T) {
	for _, name := range Names() {
		s, ok := open(t, name, world()).(plant.Sampler)
		if !ok {
			continue
		}
		n := 0
		for ; n < 20_000; n++ { // 20 s: windows, sums and digests have their size
			s.Completed(steady(n))
		}
		per := testing.AllocsPerRun(10, func() {
			for range 10_000 {
				n++
				s.Completed(steady(n))
			}
		})
		if per != 0 {
			t.Errorf("%s allocates %v times in 10,000 samples", name, per)
		}
	}
}

func BenchmarkSample(b *testing.B) {
	for _, name := range Names() {
		s, ok := open(b, name, world()).(plant.Sampler)
		if !ok {
			continue
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				s.Completed(steady(n))
			}
		})
	}
}
