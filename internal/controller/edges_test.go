package controller_test

import (
	"math"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// A pool that stands nearly idle gets a smaller max, and its limit within that.
func TestAShrunkSizeTakesTheLimitAlong(t *testing.T) {
	p := newPlant(pureSearch, 3, 100, 0.02, 1)
	shrunk := false
	p.run(config(), controller.State{}, 30*time.Minute, func(o controller.Observation, d controller.Decision) {
		if d.Limit > d.Max {
			t.Fatalf("at %s limit %d is above max %d", o.At, d.Limit, d.Max)
		}
		shrunk = shrunk || d.Max < 100
	})
	if !shrunk {
		t.Error("it never shrank: this proves nothing")
	}
}

// What was learned of one load does not shrink the pool beneath another that needs more.
func TestAKneeOfAnotherLoadDoesNotShrinkThePoolBelowItsDemand(t *testing.T) {
	p := newPlant(pureSearch, 30, 4, 0.02, 1)
	s := p.run(config(), controller.State{}, time.Minute, nil)
	if !s.Learn.Known || s.Learn.Knee.N > 8 {
		t.Fatalf("the first load was not learned: %+v", s.Learn.Knee)
	}
	p.curve, p.callers = func(n float64) float64 { return 20 * n }, 60 // held for 50 ms, as many as one likes
	for s.Learn.Known || !s.Learn.Episode || p.limit < 32 {
		if s = p.run(config(), s, 100*time.Millisecond, nil); p.at > 3*time.Minute {
			t.Fatalf("it does not climb: limit %d", p.limit)
		}
	}
	p.callers = 30 // in the middle of it the queue goes away
	s = p.run(config(), s, 30*time.Second, nil)
	p.run(config(), s, 40*time.Minute, func(o controller.Observation, d controller.Decision) {
		if d.Max < 30 || d.Limit < 30 {
			t.Fatalf("at %s 30 are in use, and it decides limit %d, max %d: %s", o.At, d.Limit, d.Max, d.Reason)
		}
	})
}

// No free memory at all is a wall, not an unknown.
func TestAMachineWithoutFreeMemoryOpensNothing(t *testing.T) {
	for _, free := range []int64{0, 1 << 20} {
		p := newPlant(func(n float64) float64 { return 100 * n }, 80, 8, 0.02, 1)
		s := controller.State{}
		for range 60 {
			o := p.observe()
			o.Host = &controller.Host{Cores: 8, RAMTotal: 8 << 30, RAMFree: free, SharedBox: true}
			var d controller.Decision
			s, d = controller.Step(config(), s, o)
			if d.Limit > 8 || d.Max > 8 {
				t.Fatalf("%d bytes free: limit %d, max %d", free, d.Limit, d.Max)
			}
			p.limit = d.Limit
			p.advance(500 * time.Millisecond)
		}
	}
}

// Where the user's own ceiling holds throughput back, the reason names it.
func TestACeilingBelowTheKneeIsNamed(t *testing.T) {
	cfg := config()
	cfg.Ceiling = 10
	p := newPlant(func(n float64) float64 { return 100 * n }, 80, 4, 0.01, 1)
	var last controller.Decision
	p.run(cfg, controller.State{}, 50*time.Second, func(_ controller.Observation, d controller.Decision) {
		if d.Reason != sizing.Learning {
			last = d
		}
	})
	if last.Limit != 10 || last.Reason != sizing.Bounded || last.Bound != sizing.CeilingBound {
		t.Errorf("limit %d: %s by %s", last.Limit, last.Reason, last.Bound)
	}
}

// What is tried at rest is judged by the objective, too: the limit does not walk to
// where another objective would have it.
func TestTheObjectiveHoldsAtRest(t *testing.T) {
	gradual := func(n float64) float64 { return 1000 * n / (1 + 0.1*(n-1) + 0.001*n*(n-1)) }
	best := func(value func(n float64) float64) (at int) {
		for n := 1; n <= 200; n++ {
			if at == 0 || value(float64(n)) > value(float64(at)) {
				at = n
			}
		}
		return at
	}
	power := best(func(n float64) float64 { return gradual(n) * gradual(n) / n })
	peak := best(gradual)
	for _, c := range []struct {
		objective model.Objective
		low, high float64 // of what is right
		right     int
	}{{model.Latency, 0.5, 2, power}, {model.Throughput, 0.5, 2, peak}} {
		cfg := config()
		cfg.Objective = c.objective
		p := newPlant(gradual, 150, 4, 0.01, 7)
		s := p.run(cfg, controller.State{}, time.Minute, nil)
		sum, n := 0.0, 0
		before := p.moves
		p.run(cfg, s, 30*time.Minute, func(_ controller.Observation, d controller.Decision) {
			sum += float64(d.Limit)
			n++
		})
		if mean := sum / float64(n); mean < c.low*float64(c.right) || mean > c.high*float64(c.right) {
			t.Errorf("objective %v: a limit of %.1f in the mean, %d is right; %d moves", c.objective, mean, c.right, p.moves-before)
		}
	}
}

// What a hand does while the controller is frozen is not taken for its own decision.
func TestAMoveByHandDuringAFreezeIsNoticed(t *testing.T) {
	p := newPlant(pureSearch, 60, 32, 0.02, 1)
	s := p.run(config(), controller.State{}, 40*time.Second, nil)
	if !s.Learn.Known {
		t.Fatal("nothing was learned")
	}
	p.limit = 40
	for range 5 { // frozen
		o := p.observe()
		o.Frozen = true
		s, _ = controller.Step(config(), s, o)
		p.advance(time.Second)
	}
	o := p.observe()
	s, _ = controller.Step(config(), s, o)
	if s.Learn.Known && s.Learn.BestX > 0 && p.limit == 40 && s.Learn.Base != 40 {
		t.Errorf("at 40 it goes on with what it knows of %d", s.Learn.Knee.N)
	}
}

// While nothing at all comes back, no limit has been measured.
func TestAStallIsNotEvidence(t *testing.T) {
	p := newPlant(holdingSearch, 60, 16, 0.02, 1)
	s := p.run(config(), controller.State{}, time.Minute, nil)
	limit := p.limit
	p.curve = func(float64) float64 { return 0 } // behind a lock
	s = p.run(config(), s, 3*time.Minute, nil)
	for _, m := range s.Learn.Measured[:s.Learn.Trials] {
		if m.Completions == 0 {
			t.Errorf("a trial of %d connections with nothing in it counts: %+v", m.N, m)
		}
	}
	p.curve = holdingSearch
	p.run(config(), s, 40*time.Second, nil)
	if float64(p.limit) < 0.7*float64(limit) {
		t.Errorf("limit %d before the stall, %d after it", limit, p.limit)
	}
}

// A swap that fails just before the server is out of sight leaves a limit that was only
// to be tried: it is taken back all the same.
func TestATrialWhoseSwapFailedIsTakenBackWhenBlind(t *testing.T) {
	p := newPlant(func(n float64) float64 { return 20 * n }, 80, 4, 0.01, 1)
	var s controller.State
	for d := (controller.Decision{}); ; {
		o := p.observe()
		if s, d = controller.Step(config(), s, o); d.Swap {
			if p.max > s.Learn.Base {
				break // and it fails: the limit goes as far as the old max allows
			}
			p.max = d.Max
		}
		p.limit = min(d.Limit, p.max)
		if p.advance(200 * time.Millisecond); p.at > time.Minute {
			t.Fatal("it asks for no swap")
		}
	}
	base := s.Learn.Base
	p.limit = p.max
	p.advance(time.Second)
	o := p.observe()
	o.Server = nil
	if _, d := controller.Step(config(), s, o); d.Limit != base {
		t.Errorf("blind, it stays at %d instead of %d", d.Limit, base)
	}
}

// Connections that are held for good serve nobody: no limit leaves only them.
func TestALimitLeavesRoomBesideConnectionsHeldForGood(t *testing.T) {
	for _, pinned := range []int{1, 3, 12} {
		// Of n in use, pinned never come back; the rest meet a flat top from 2 on.
		left := func(n float64) float64 { return 2000 * math.Max(0, math.Min(n-float64(pinned), 2)) }
		p := newPlant(left, 60, 16, 0.02, uint64(pinned))
		var s controller.State
		for p.at < 3*time.Minute {
			o := p.observe()
			o.Gauges.Pinned = min(pinned, o.Gauges.InUse)
			var d controller.Decision
			if s, d = controller.Step(config(), s, o); d.Limit <= pinned {
				t.Fatalf("%d are held for good, and at %s the limit is %d: %s", pinned, o.At, d.Limit, d.Reason)
			}
			p.limit, p.max = d.Limit, d.Max
			p.advance(200 * time.Millisecond)
		}
		if p.limit < pinned+2 || p.limit > 2*pinned+6 {
			t.Errorf("%d are held for good, two more do all the work, and the limit is %d", pinned, p.limit)
		}
	}
}

// That holds of a pool from which nothing has ever come back, too.
func TestAPoolWhoseConnectionsAreHeldFromItsStartGetsOneMore(t *testing.T) {
	for _, before := range []int64{0, 7} {
		var s controller.State
		var d controller.Decision
		o := controller.Observation{
			Counters: controller.Counters{Arrivals: 14 + before, Completions: before},
			Gauges:   controller.Gauges{Limit: 4, Max: 64, InUse: 4, Queued: 10, Peak: 14, Room: 64, Budget: 64},
			Server:   &controller.Server{MaxConnections: 200},
		}
		for o.At = 0; o.At < 2*time.Minute; o.At += time.Second {
			if o.At > time.Minute {
				o.Gauges.Pinned = 4
			}
			s, d = controller.Step(config(), s, o)
			o.Gauges.Limit = d.Limit
			o.Counters.InUseTime += 4 * time.Second
			o.Counters.WaitTime += 10 * time.Second
			o.Counters.SaturatedTime += time.Second
		}
		if d.Limit <= 4 {
			t.Errorf("%d came back before, four are held for good, ten wait, and the limit is %d: %s", before, d.Limit, d.Reason)
		}
	}
}

// A look whose numbers are none is as if it had not been.
func TestALookThatIsNoNumberLeavesNoTrace(t *testing.T) {
	for _, absurd := range []float64{math.NaN(), math.Inf(1), -1} {
		cfg := config()
		cfg.WaitObjective = 10 * time.Millisecond
		after := func(bad bool) controller.Decision {
			var s controller.State
			var d controller.Decision
			var c controller.Counters
			for i := range 92 {
				o := controller.Observation{At: time.Duration(i) * time.Second, Counters: c,
					Gauges: controller.Gauges{Limit: 64, Max: 64, InUse: 2, Peak: 2, Room: 64, Budget: 64}, Server: &controller.Server{MaxConnections: 200}}
				if bad && i == 90 {
					o.Counters.ServiceTimeSq = absurd
				}
				s, d = controller.Step(cfg, s, o)
				c.Arrivals += 100
				c.Completions += 100
				c.ServiceTime += 2 * time.Second
				c.ServiceTimeSq += 100 * 0.02 * 0.02
				c.InUseTime += 2 * time.Second
			}
			return d
		}
		good, bad := after(false), after(true)
		if math.Abs(good.Estimate.ServiceCV2-bad.Estimate.ServiceCV2) > 0.01 || good.Estimate.Wanted != bad.Estimate.Wanted {
			t.Errorf("one look at %g: CV² %.2f and %d wanted instead of %.2f and %d", absurd, bad.Estimate.ServiceCV2, bad.Estimate.Wanted, good.Estimate.ServiceCV2, good.Estimate.Wanted)
		}
	}
}

// Where callers hold a connection while they ask for another, a low limit lets nothing
// come back. That is noticed soon, and not tried again.
func TestALimitAtWhichNothingComesBackIsLeftSoon(t *testing.T) {
	nested := func(n float64) float64 { return 300 * math.Max(0, math.Min(n-10, 10)) }
	p := newPlant(nested, 80, 64, 0.02, 1)
	var stuck, longest time.Duration
	tries := map[int]int{}
	last := 0
	p.run(config(), controller.State{}, 8*time.Minute, func(o controller.Observation, d controller.Decision) {
		if p.limit <= 10 {
			if p.limit != last {
				tries[p.limit]++
			}
			if stuck == 0 {
				stuck = o.At
			}
			longest = max(longest, o.At-stuck)
		} else {
			stuck = 0
		}
		last = p.limit
	})
	if longest > 3*time.Second || len(tries) > 2 {
		t.Errorf("nobody was served for up to %s; limits tried at which nobody is: %v", longest, tries)
	}
	if p.limit < 19 || p.limit > 30 {
		t.Errorf("the limit is %d, 20 is right", p.limit)
	}
}

// The surplus that drains after a limit was lowered is no sign of life.
func TestAStallAfterTheSurplusHasDrainedIsLeftSoon(t *testing.T) {
	var moved time.Duration
	var p *plant
	p = newPlant(func(n float64) float64 {
		if n <= 10 && p.at > moved+400*time.Millisecond {
			return 0
		}
		return 300 * math.Max(1, math.Min(n-10, 10))
	}, 80, 64, 0.02, 1)
	var stuck, longest time.Duration
	p.run(config(), controller.State{}, 8*time.Minute, func(o controller.Observation, d controller.Decision) {
		if d.Limit != p.limit {
			moved = o.At
		}
		if p.limit > 10 {
			stuck = o.At
		}
		longest = max(longest, o.At-stuck)
	})
	if longest > 3*time.Second {
		t.Errorf("nobody was served for %s", longest)
	}
}

// Callers that all wait for one lock are held for minutes, too. More of them would
// only wait with them.
func TestALongLockDoesNotRaiseTheLimitStepByStep(t *testing.T) {
	p := newPlant(pureSearch, 60, 8, 0.02, 1)
	s := p.run(config(), controller.State{}, time.Minute, nil)
	before := p.limit
	p.curve = func(float64) float64 { return 0 }
	locked := p.at
	for p.at < locked+15*time.Minute {
		o := p.observe()
		if p.at > locked+time.Minute {
			o.Gauges.Pinned = o.Gauges.InUse
		}
		var d controller.Decision
		s, d = controller.Step(config(), s, o)
		p.limit, p.max = d.Limit, d.Max
		p.advance(500 * time.Millisecond)
	}
	if p.limit > before+4 {
		t.Errorf("the limit went from %d to %d behind a lock", before, p.limit)
	}
}

// What comes back while nobody queues is a sign of life, too.
func TestALullIsNotAStall(t *testing.T) {
	p := newPlant(func(n float64) float64 { return 20 * n }, 80, 4, 0.01, 1)
	var s controller.State
	for s.Learn.Moved == 0 || !s.Learn.Episode || s.Learn.Left > 0 {
		if s = p.run(config(), s, 100*time.Millisecond, nil); p.at > time.Minute {
			t.Fatal("nothing is tried")
		}
	}
	n := s.Learn.Current.N
	p.callers = n // for a moment nobody queues, and all are served
	s = p.run(config(), s, 900*time.Millisecond, nil)
	p.callers = 80
	busy := p.curve
	p.curve = func(float64) float64 { return 0 } // and the next look sees none come back
	s = p.run(config(), s, 300*time.Millisecond, nil)
	p.curve = busy
	if !s.Learn.Episode || s.Learn.Current.N != n {
		t.Errorf("the trial of %d ended: episode %v, now %d", n, s.Learn.Episode, s.Learn.Current.N)
	}
}
