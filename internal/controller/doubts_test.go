package controller_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Ten reports of two seconds that come together every seven seconds, beside 2,000
// queries of a millisecond, on a server that all of them are nothing to: while the
// reports run, little comes back out of the levels above ten, which is no capacity.
func TestSlowRequestsThatComeTogetherAreNoKnee(t *testing.T) {
	const limit = 40
	rng := rand.New(rand.NewPCG(1, 1))
	var s controller.State
	var c controller.Counters
	var fast, slow []float64 // ends, in order
	inUse, at, fastNext, slowNext, look := 0.0, 0.0, 0.0, 3.0, 1.0
	for at < 240 {
		n := len(fast) + len(slow)
		next := min(fastNext, slowNext, look)
		if len(fast) > 0 {
			next = min(next, fast[0])
		}
		if len(slow) > 0 {
			next = min(next, slow[0])
		}
		inUse += (next - at) * float64(n)
		if n > 0 {
			c.Levels[model.LevelOf(n)].Time += time.Duration((next - at) * 1e9)
		}
		at = next
		left := func(ends *[]float64, held float64) {
			*ends = (*ends)[1:]
			c.Completions++
			c.Levels[model.LevelOf(n)].Left++
			c.ServiceTime += time.Duration(held * 1e9)
			c.ServiceTimeSq += held * held
		}
		switch {
		case len(fast) > 0 && at == fast[0]:
			left(&fast, 0.001)
		case len(slow) > 0 && at == slow[0]:
			left(&slow, 2)
		case at == fastNext:
			c.Arrivals++
			fast = append(fast, at+0.001)
			fastNext = at + rng.ExpFloat64()/2000
		case at == slowNext:
			for range 10 {
				c.Arrivals++
				slow = append(slow, at+2+0.01*float64(len(slow)))
			}
			slowNext = at + 7
		default:
			look = at + 1
			c.InUseTime = time.Duration(inUse * 1e9)
			o := controller.Observation{At: time.Duration(at * 1e9), Counters: c,
				Gauges: controller.Gauges{Limit: limit, Max: limit, InUse: n, Idle: limit - n, Budget: 200, Peak: n},
				Server: &controller.Server{MaxConnections: 500, Reserved: 3}}
			var d controller.Decision
			if s, d = controller.Step(config(), s, o); d.Limit < limit {
				t.Fatalf("at %.0f s, with nobody queued and up to 19 in use, the limit went to %d: %s", at, d.Limit, d.Reason)
			}
		}
	}
}

// What an open load showed of its own curve does not bound the trials of the next.
func TestTheUpsAndDownsOfAnotherLoadDoNotEndTheDescent(t *testing.T) {
	p := newPlant(pureSearch, 100, 64, 0.02, 1)
	var s controller.State
	for range 60 { // held transactions, up and down between 1 and 40 in use
		for n := 1; n <= 40; n++ {
			const dt = 25 * time.Millisecond
			done := int64(holdingSearch(float64(n)) * dt.Seconds())
			level := &p.c.Levels[model.LevelOf(n)]
			level.Time += dt
			level.Left += done
			p.c.Completions += done
			p.c.Arrivals += done
			p.c.InUseTime += time.Duration(n) * dt
			p.c.ServiceTime += time.Duration(n) * dt
		}
		p.at += time.Second
		o := p.observe()
		o.Gauges.InUse, o.Gauges.Queued, o.Gauges.Peak = 20, 0, 40
		s, _ = controller.Step(config(), s, o)
	}
	p.served = float64(p.c.Completions)
	for _, known := range []bool{false, true} {
		p, s := *p, s
		if s.Learn.Known = known; known { // what the ups and downs said of the load before
			s.Learn.Knee, s.Learn.BestX, s.Learn.PeakX = model.Knee{N: 32, Lower: 25, Upper: 40, Identified: true}, 2286, 2286
			s.Learn.BaseSeconds, s.Learn.BaseCount = 5, 5*2286
			s.Learn.VerifyEvery, s.Learn.VerifyAt = time.Minute, p.at+time.Minute // it rests there
		}
		p.run(config(), s, time.Minute, nil)
		if p.limit > 5 {
			t.Errorf("known %t: the limit rests at %d; 2 give a quarter more", known, p.limit)
		}
	}
}

// Of requests of seconds, few end in any few seconds, now more and now fewer.
func TestSlowRequestsAreNoChangeOfCapacity(t *testing.T) {
	for _, perSecond := range []float64{0.5, 1, 2} {
		for seed := range uint64(6) {
			p := newPlant(func(n float64) float64 { return perSecond * min(n, 8) / 8 }, 40, 8, 0, seed)
			p.noise = 1 / math.Sqrt(perSecond) // that of counting them
			changes := 0
			last := sizing.Start
			p.run(config(), controller.State{}, time.Hour, func(_ controller.Observation, d controller.Decision) {
				if d.Reason == sizing.CapacityChanged && last != d.Reason {
					changes++
				}
				last = d.Reason
			})
			if changes > 4 {
				t.Errorf("%g/s, seed %d: %d changes of capacity in an hour without any", perSecond, seed, changes)
			}
		}
	}
}

// Who looks once a minute has windows of a minute.
func TestALongIntervalIsNoGap(t *testing.T) {
	cfg := config()
	cfg.Interval = time.Minute
	p := newPlant(pureSearch, 150, 100, 0.02, 1)
	p.run(cfg, controller.State{}, 10*time.Minute, nil)
	if p.limit > 5 {
		t.Errorf("the limit is %d after ten minutes", p.limit)
	}
}

// A low limit at which nothing came back an hour ago is no floor because another one
// stalls for a moment.
func TestAStallOfLongAgoIsOver(t *testing.T) {
	p := newPlant(pureSearch, 60, 8, 0.02, 1)
	p.at = time.Hour
	s := controller.State{Learn: controller.Learner{Stuck: 26, StallN: 26, StallAt: time.Minute}}
	for !s.Learn.Episode || s.Learn.Current.N >= 8 {
		if s = p.run(config(), s, 100*time.Millisecond, nil); p.at > time.Hour+time.Minute {
			t.Fatal("nothing lower is tried")
		}
	}
	p.curve = func(float64) float64 { return 0 }
	s = p.run(config(), s, 1200*time.Millisecond, nil)
	p.curve = pureSearch
	p.run(config(), s, time.Minute, nil)
	if p.limit > 5 {
		t.Errorf("the limit rests at %d", p.limit)
	}
}

// A ceiling of one or two leaves too few limits to see a knee: it is the ceiling that binds.
func TestALowCeilingIsNamed(t *testing.T) {
	for _, ceiling := range []int{1, 2} {
		cfg := config()
		cfg.Ceiling = ceiling
		p := newPlant(func(n float64) float64 { return 100 * n }, 20, 1, 0.01, 1)
		var last controller.Decision
		p.run(cfg, controller.State{}, 50*time.Second, func(_ controller.Observation, d controller.Decision) {
			if d.Reason != sizing.Learning {
				last = d
			}
		})
		if last.Limit != ceiling || last.Reason != sizing.Bounded || last.Bound != sizing.CeilingBound {
			t.Errorf("ceiling %d: limit %d, %s by %s", ceiling, last.Limit, last.Reason, last.Bound)
		}
	}
}

// Backends that queue for each other keep no core busy.
func TestBackendsAsleepOnEachOtherAreNoBusyCores(t *testing.T) {
	contended := table(map[int]float64{1: 3000, 4: 12000, 10: 28000, 20: 46900, 32: 38900, 64: 37200, 128: 30000})
	p := newPlant(contended, 200, 64, 0.02, 1)
	p.server.Cores = 32
	p.server.Ours = controller.Backends{OnCPU: 16, LWLock: 48}
	p.run(config(), controller.State{}, 5*time.Minute, nil)
	if p.limit < 15 || p.limit > 26 {
		t.Errorf("the limit is %d, and 20 serve a fifth more", p.limit)
	}
}

// One stall, or one long report, is no mixture.
func TestOneLongHoldLeavesTheCurveReadable(t *testing.T) {
	second := func(completions int64, mean float64, long ...float64) (w controller.Observation) {
		w.Counters = controller.Counters{Completions: completions, Arrivals: completions, ServiceTime: time.Duration(float64(completions) * mean * 1e9), ServiceTimeSq: 2 * float64(completions) * mean * mean}
		for _, l := range long {
			w.Counters.ServiceTime += time.Duration(l * 1e9)
			w.Counters.ServiceTimeSq += l * l
		}
		return w
	}
	for name, c := range map[string]struct {
		long  func(at int) []float64
		mixed bool
	}{
		"a stall":           {func(at int) []float64 { return map[int][]float64{60: {10, 10, 10, 10, 10, 10, 10, 10, 10, 10}}[at] }, false},
		"one report":        {func(at int) []float64 { return map[int][]float64{60: {60}}[at] }, false},
		"reports that come": {func(at int) []float64 { return map[int][]float64{0: {2, 2, 2, 2, 2, 2, 2, 2, 2, 2}}[at%7] }, true},
	} {
		var s controller.State
		o := controller.Observation{Gauges: controller.Gauges{Limit: 40, Max: 40}, Server: &controller.Server{}}
		for at := range 120 {
			next := second(1000, 0.001, c.long(at)...).Counters
			o.At += time.Second
			o.Counters.Completions += next.Completions
			o.Counters.Arrivals += next.Arrivals
			o.Counters.ServiceTime += next.ServiceTime
			o.Counters.InUseTime += next.ServiceTime
			o.Counters.ServiceTimeSq += next.ServiceTimeSq
			for n := 1; n <= 20; n++ { // a curve with its top at ten
				level := &o.Counters.Levels[model.LevelOf(n)]
				level.Time += 50 * time.Millisecond
				level.Left += int64(5 * min(n, max(1, 20-n)))
			}
			var d controller.Decision
			s, d = controller.Step(config(), s, o)
			o.Gauges.Limit, o.Gauges.Max = d.Limit, d.Max
			if at == 119 && (d.Estimate.Varied == 0) != c.mixed {
				t.Errorf("%s: the ups and downs reach to %d", name, d.Estimate.Varied)
			}
		}
	}
}

// Nothing came back for minutes: that is no trial of anything.
func TestAStallOfSlowRequestsIsNoEvidence(t *testing.T) {
	slow := func(n float64) float64 { return 0.1 * min(n, 8) / 8 }
	p := newPlant(slow, 40, 8, 0, 3)
	s := p.run(config(), controller.State{}, 20*time.Minute, nil)
	p.curve = func(float64) float64 { return 0 }
	s = p.run(config(), s, 15*time.Minute, nil)
	for _, m := range s.Learn.Measured[:s.Learn.Trials] {
		if m.Completions == 0 {
			t.Errorf("a trial of %d connections with nothing in it counts: %+v", m.N, m)
		}
	}
}

// Where all cores compute, no ceiling is what holds throughput back.
func TestBusyCoresAreNoCeiling(t *testing.T) {
	cfg := config()
	cfg.Ceiling = 4
	p := newPlant(func(n float64) float64 { return 100 * n }, 20, 4, 0.01, 1)
	p.server.Cores, p.server.Ours = 4, controller.Backends{OnCPU: 4}
	var last controller.Decision
	p.run(cfg, controller.State{}, 50*time.Second, func(_ controller.Observation, d controller.Decision) {
		if d.Reason != sizing.Learning {
			last = d
		}
	})
	if last.Reason != sizing.ServerSaturated {
		t.Errorf("limit %d, %s by %s", last.Limit, last.Reason, last.Bound)
	}
}
