package controller_test

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/sizing"
)

// frozenLook is a look at a pool that an operator has frozen.
func frozenLook(p *plant, s controller.State) (controller.State, controller.Decision) {
	o := p.observe()
	o.Frozen = true
	s, d := controller.Step(config(), s, o)
	p.limit = d.Limit
	p.advance(time.Second)
	return s, d
}

func TestFreezingTakesBackWhatWasOnlyTried(t *testing.T) {
	p, s, knee := trying(t)
	if p.limit == knee {
		t.Fatal("the limit tried is the knee; the test proves nothing")
	}
	s, d := frozenLook(p, s)
	if d.Action != controller.Freeze || d.Reason != sizing.Operator || d.Limit != knee {
		t.Errorf("frozen in a trial decides %s, %s, limit %d; want freeze, operator, %d", d.Action, d.Reason, d.Limit, knee)
	}
	if s, d = frozenLook(p, s); d.Limit != knee || !s.Learn.Known {
		t.Errorf("then limit %d (known: %t), want %d, known", d.Limit, s.Learn.Known, knee)
	}
}

func TestAQueueFromBeforeAFreezeDoesNotCountAfterIt(t *testing.T) {
	p := newPlant(pureSearch, 150, 100, 0.02, 1)
	s := p.run(config(), controller.State{}, time.Second, nil)
	p.callers = 2 // nobody queues any more
	for range 600 {
		s, _ = frozenLook(p, s)
	}
	if s.Learn.Saturated {
		t.Error("after ten minutes without a queue it still counts as one")
	}
	p.callers = 150
	s = p.run(config(), s, 200*time.Millisecond, nil)
	if s.Learn.Episode && p.limit != 100 {
		t.Errorf("0.2 s of queue have moved the limit to %d", p.limit)
	}
}

func TestAWallThatCrossesATrialLeavesTheKneeAsItWas(t *testing.T) {
	p := newPlant(pureSearch, 150, 100, 0.02, 1)
	s := p.run(config(), controller.State{}, 30*time.Second, nil)
	for !s.Learn.Verify || p.limit <= s.Learn.Base {
		s = p.run(config(), s, 100*time.Millisecond, nil)
		if p.at > 20*time.Minute {
			t.Fatal("no higher limit was tried within twenty minutes; the test proves nothing")
		}
	}
	knee := s.Learn.Knee
	p.server.MaxConnections = s.Learn.Base + 5 // room for the knee, and no more
	p.server.Reserved, p.server.Others = 3, 1
	s = p.run(config(), s, time.Second, nil)
	if p.limit != knee.N || s.Learn.Knee != knee || !s.Learn.Known {
		t.Errorf("limit %d, knee %v (known: %t); want %d, %v, known", p.limit, s.Learn.Knee, s.Learn.Known, knee.N, knee)
	}
}

// What was enough before nobody could look does not become old meanwhile.
func TestTimeOutOfSightIsNoEvidenceForASmallerPool(t *testing.T) {
	for _, c := range []struct {
		why string
		cut func(*controller.Observation)
	}{
		{"frozen", func(o *controller.Observation) { o.Frozen = true }},
		{"blind", func(o *controller.Observation) { o.Server = nil }},
	} {
		var s controller.State
		var d controller.Decision
		p := newPlant(pureSearch, 1, 64, 0, 1)
		for p.at < 21*time.Minute {
			o := p.observe()
			if o.At >= 30*time.Second && o.At < 20*time.Minute {
				c.cut(&o)
			}
			if s, d = controller.Step(config(), s, o); d.Swap {
				t.Errorf("%s from 30 s to 20 minutes, at %s a swap to %d: %s", c.why, o.At, d.Max, d.Reason)
				break
			}
			p.limit = d.Limit
			p.advance(time.Second)
		}
	}
}

// A limit that is taken back is a move, and is told as one. The knee that was being
// doubted is the best guess still.
func TestGoingBlindInADoubtTakesTheTrialBackAndKeepsTheKnee(t *testing.T) {
	p := newPlant(pureSearch, 150, 100, 0.02, 1)
	s := p.run(config(), controller.State{}, 30*time.Second, nil)
	if !s.Learn.Known {
		t.Fatal("no knee was learned; the test proves nothing")
	}
	knee := s.Learn.Knee
	p.curve = func(n float64) float64 { return 0.4 * pureSearch(n) } // the same, on a slower machine
	for !s.Learn.Episode || s.Learn.Verify || p.limit == s.Learn.Base {
		s = p.run(config(), s, 100*time.Millisecond, nil)
		if p.at > 5*time.Minute {
			t.Fatal("the change started no episode; the test proves nothing")
		}
	}
	o := p.observe()
	o.Server = nil
	for range 100 { // until it has been out of sight for long enough
		var d controller.Decision
		s, d = controller.Step(config(), s, o)
		if d.Limit != o.Gauges.Limit && d.Action != controller.Grow && d.Action != controller.Shrink {
			t.Errorf("%s from %d to %d", d.Action, o.Gauges.Limit, d.Limit)
		}
		p.limit = d.Limit
		p.advance(100 * time.Millisecond)
		o = p.observe()
		if s.Blind {
			break
		}
		o.Server = nil
	}
	if s.Learn.Episode || !s.Learn.Doubted || s.Learn.Knee != knee {
		t.Errorf("episode %t, doubted %t, knee %v instead of %v", s.Learn.Episode, s.Learn.Doubted, s.Learn.Knee, knee)
	}
}
