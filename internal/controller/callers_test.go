package controller_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Where throughput rises up to the last caller, it ends at a limit for all of them:
// nobody queues there, and one less is one that nobody is served by.
func TestFewCallersInAClosedLoopAreAllServed(t *testing.T) {
	for callers := 2; callers <= 20; callers++ {
		p := newPlant(func(n float64) float64 { return 100 * n }, callers, min(4, callers-1), 0.02, uint64(callers))
		p.run(config(), controller.State{}, 5*time.Minute, nil)
		if p.limit < callers {
			t.Errorf("%d callers: the limit is %d after five minutes", callers, p.limit)
		}
	}
	p := newPlant(func(n float64) float64 { return 100 * min(n, 6) }, 10, 4, 0.02, 1)
	if p.run(config(), controller.State{}, 5*time.Minute, nil); p.limit >= 10 {
		t.Errorf("six serve as much as ten, and the limit is %d", p.limit)
	}
}

// A trial above at which nobody queues any more has served what it has served.
func TestATrialThatServesAllCallersCounts(t *testing.T) {
	p := newPlant(func(n float64) float64 { return 100 * min(n, 8) }, 60, 4, 0.01, 1)
	s := p.run(config(), controller.State{}, 50*time.Second, nil)
	if limit := p.limit; !s.Learn.Known || limit != 8 {
		t.Fatalf("known %t, the limit is %d", s.Learn.Known, limit)
	}
	p.callers = 10
	p.curve = func(n float64) float64 { return 100 * n }
	p.run(config(), s, 20*time.Minute, nil)
	if p.limit < p.callers {
		t.Errorf("%d callers, each served as well as the next, and the limit rests at %d", p.callers, p.limit)
	}
}

// How many asked is nothing that a kind of load is remembered by.
func TestAKneeOfTooFewCallersIsNotRemembered(t *testing.T) {
	p := newPlant(func(n float64) float64 { return 100 * n }, 60, 4, 0.01, 1)
	s := p.run(config(), controller.State{}, time.Minute, nil)
	for i := range s.Learn.Memories {
		if m := &s.Learn.Memories[i]; m.Trials > 0 {
			t.Errorf("of a curve that rises as far as it was seen, %d is remembered", m.Knee.N)
		}
	}
}

// An open load of slow requests went up and down between 1 and 16 in use, as many as
// the limit lets in, each of them served as well as the next. A queue that does not end
// after that is no reason to let in fewer.
func TestAQueueLowersNoLimitOnACurveThatStillRises(t *testing.T) {
	slow := func(n float64) float64 { return n / 9 }
	for seed := range uint64(30) {
		top := time.Duration(200 + 10*(seed%10))
		p := newPlant(slow, 40, 16, 0, seed)
		var s controller.State
		p.server.Cores, p.server.Ours = 32, controller.Backends{IO: 12}
		rng := rand.New(rand.NewPCG(seed, 2))
		for range 600 {
			for n := 1; n <= 16; n++ {
				dt := (1000 - top) * time.Millisecond / 15
				if n == 16 {
					dt = top * time.Millisecond
				}
				done := int64(0) // Poisson
				for u := rng.ExpFloat64(); u < slow(float64(n))*dt.Seconds(); u += rng.ExpFloat64() {
					done++
				}
				level := &p.c.Levels[model.LevelOf(n)]
				level.Time += dt
				level.Left += done
				p.c.Completions += done
				p.c.Arrivals += done
				p.c.InUseTime += time.Duration(n) * dt
				p.c.ServiceTime += time.Duration(done) * 9 * time.Second
				p.c.ServiceTimeSq += float64(done) * 81
			}
			p.at += time.Second
			o := p.observe()
			o.Gauges.InUse, o.Gauges.Queued, o.Gauges.Peak = 8, 0, 16
			s, _ = controller.Step(config(), s, o)
		}
		p.served = float64(p.c.Completions)
		p.run(config(), s, 3*time.Minute, func(o controller.Observation, d controller.Decision) {
			if d.Limit < p.limit && d.Reason == sizing.PastKnee {
				t.Errorf("at %s the limit went from %d to %d: %s", o.At, p.limit, d.Limit, d.Reason)
			}
		})
	}
}

// varying is a load whose ups and downs, of 20 in use at most, show a top at ten.
type varying struct {
	s controller.State
	o controller.Observation
}

// shown is that load once its ups and downs have moved the limit.
func shown(t *testing.T) *varying {
	v := &varying{o: controller.Observation{Gauges: controller.Gauges{Limit: 20, Max: 100}, Server: &controller.Server{}}}
	for v.s.NaturalAt == 0 {
		if v.second(); v.o.At > time.Minute {
			t.Fatal("the ups and downs show nothing")
		}
	}
	return v
}

func (v *varying) second() (d controller.Decision) {
	o := &v.o
	o.At += time.Second
	o.Counters.Completions += 1000
	o.Counters.Arrivals += 1000
	o.Counters.ServiceTime += 10 * time.Second
	o.Counters.InUseTime += 10 * time.Second
	o.Counters.ServiceTimeSq += 0.2
	for n := 1; n <= 20; n++ {
		level := &o.Counters.Levels[model.LevelOf(n)]
		level.Time += 50 * time.Millisecond
		level.Left += int64(5 * min(n, max(1, 20-n)))
	}
	v.s, d = controller.Step(config(), v.s, *o)
	o.Gauges.Limit = d.Limit
	return d
}

// try is an episode's trial of another limit.
func (v *varying) try(limit int) {
	v.s.Learn.Episode, v.s.Learn.Base, v.s.Learn.Current = true, v.o.Gauges.Limit, controller.Trial{N: limit}
	v.s.Limit, v.o.Gauges.Limit = limit, limit
}

// A trial that is cut short because the load has shown its knee by itself leaves no
// limit behind that was only to be tried.
func TestATrialCutShortByTheUpsAndDownsGoesBack(t *testing.T) {
	v := shown(t)
	base := v.o.Gauges.Limit
	v.try(64)
	if d := v.second(); d.Limit != base {
		t.Errorf("it was at %d, 64 was to be tried, and it stays at %d: %s", base, d.Limit, d.Reason)
	}
}

// A step from 16 to 17 gains 6 % on a straight line: still as much as there is to gain.
func TestASmallLastStepOfAStraightLineIsNoKnee(t *testing.T) {
	cfg := config()
	cfg.Ceiling = 17
	p := newPlant(func(n float64) float64 { return 100 * n }, 60, 4, 0.005, 1)
	s := p.run(cfg, controller.State{}, 50*time.Second, nil)
	if k := s.Learn.Knee; k.N != 17 || k.Identified {
		t.Errorf("at the ceiling of 17 the knee is said to be %+v", k)
	}
}

// Connections that a raised limit still has to open are no end of the queue.
func TestDialingIsNoEndOfTheQueue(t *testing.T) {
	p := newPlant(func(n float64) float64 { return 100 * n }, 80, 4, 0.01, 1)
	var s controller.State
	for p.at < time.Minute {
		var d controller.Decision
		s, d = controller.Step(config(), s, p.observe())
		p.advance(200 * time.Millisecond) // at the old limit: the new ones are being opened
		if d.Limit > p.limit {
			p.limit, p.max = d.Limit, d.Max
			if s, _ = controller.Step(config(), s, p.observe()); !s.Learn.Saturated {
				t.Fatalf("80 callers, and no queue while the limit goes to %d", p.limit)
			}
			return
		}
		p.limit, p.max = d.Limit, d.Max
	}
	t.Fatal("nothing is tried")
}

// While the queue grows, a trial in one direction that was in vain is soon followed by
// one in the other.
func TestAGrowingQueueIsAnsweredInBothDirections(t *testing.T) {
	p := newPlant(func(n float64) float64 { return 100 * min(n, 16) }, 60, 4, 0.01, 1)
	s := p.run(config(), controller.State{}, 50*time.Second, nil)
	if !s.Learn.Known {
		t.Fatal("nothing was learned")
	}
	p.callers = 150
	var down, up time.Duration
	for p.at < 5*time.Minute && down == 0 {
		s = p.run(config(), s, 200*time.Millisecond, nil)
		if l := &s.Learn; l.Verify && l.Current.N > l.Base && up == 0 {
			up = p.at
		} else if l.Verify && l.Current.N < l.Base && up > 0 {
			down = p.at
		}
	}
	if down == 0 || down-up > 30*time.Second {
		t.Errorf("the queue grows: one above was tried at %s, one below at %s", up, down)
	}
}

// What an episode has refuted is not believed again at once, and later and later.
func TestUpsAndDownsThatMisledAreBelievedLater(t *testing.T) {
	v := shown(t)
	for _, least := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		v.try(64) // and nobody queues there
		v.s.Occupancy.Forget()
		for v.s.Learn.Episode {
			v.second()
		}
		moved := v.s.NaturalAt
		for v.o.Gauges.Limit == 64 {
			if v.second(); v.o.At > time.Hour {
				t.Fatal("it never believes them again")
			}
		}
		if v.o.At < moved+least {
			t.Errorf("the limit goes to %d again %s after it went there in vain", v.o.Gauges.Limit, v.o.At-moved)
		}
	}
}

// A raised limit that lets all callers of a closed loop in ends no queue: it has moved
// into the server, which serves them no faster. So that limit is judged by what it gave.
func TestAQueueThatMovesIntoTheServerIsNotGone(t *testing.T) {
	flat := func(n float64) float64 { return 500 * min(n/8, 1) / (1 + 0.001*max(0, n-8)) }
	for seed := range uint64(20) {
		p := newPlant(flat, 40, 4, 0.05, seed)
		s := controller.State{}
		for p.at < 5*time.Minute {
			s = p.run(config(), s, 100*time.Millisecond, nil)
			p.callers = 40
			if p.limit >= 35 { // think times: not all are there at each instant
				p.callers = p.limit
			}
		}
		if p.limit > 20 {
			t.Errorf("seed %d: eight serve as much as any, and the limit is %d of 40 callers", seed, p.limit)
		}
	}
}

// Callers who pause between their requests are not all there at each instant, and a limit
// just below them is not always filled. While each of them adds what the last did, all
// are let in.
func TestCallersWhoPauseAreAllServed(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 2))
		p := newPlant(func(n float64) float64 { return 70 * n }, 10, 4, 0.03, seed)
		s := controller.State{}
		for p.at < 2*time.Minute {
			p.callers = 8 + rng.IntN(3)
			s = p.run(config(), s, 100*time.Millisecond, nil)
		}
		if p.limit < 9 {
			t.Errorf("seed %d: ten callers who pause, and the limit is %d", seed, p.limit)
		}
	}
}

// The ups and downs may come to advise against a limit while it is being tried: the
// episode goes on elsewhere, and does not end with the one limit that it has measured.
func TestATrialThatTheUpsAndDownsAdviseAgainstIsNotTheLast(t *testing.T) {
	o := controller.Observation{Gauges: controller.Gauges{Limit: 16, Max: 100}, Server: &controller.Server{}}
	var s controller.State
	var d controller.Decision
	second := func(n int) {
		o.At += time.Second
		o.Counters.Arrivals += 1600
		o.Counters.Completions += int64(100 * n)
		o.Counters.ServiceTime += time.Duration(n) * time.Second
		o.Counters.InUseTime += time.Duration(n) * time.Second
		for n := 1; n <= 16; n++ { // 100 n a second come back out of n
			level := &o.Counters.Levels[model.LevelOf(n)]
			level.Time += 50 * time.Millisecond
			level.Left += int64(5 * n)
		}
		s, d = controller.Step(config(), s, o)
	}
	for range 20 {
		second(8)
	}
	if d.Estimate.Least < 10 {
		t.Fatalf("the ups and downs advise against no limit below %d", d.Estimate.Least)
	}
	l := &s.Learn
	l.Episode, l.Base, l.Trials, l.Current, l.Moved = true, 16, 1, controller.Trial{N: 9}, o.At
	l.Measured[0] = controller.Trial{N: 16, Seconds: 1, Completions: 1600, InUse: 16, Looks: 10}
	s.Limit, s.LimitBefore, o.Gauges.Limit = 9, 9, 9
	o.Gauges.InUse, o.Gauges.Queued, o.Gauges.Peak = 9, 60, 69
	o.Counters.SaturatedTime += time.Second
	second(9)
	if least := d.Estimate.Least; !s.Learn.Episode || d.Limit < least || d.Limit == 16 {
		t.Errorf("16 was measured, below %d nothing is worth trying, 60 callers queue, and the limit goes to %d: %s", least, d.Limit, d.Reason)
	}
}
