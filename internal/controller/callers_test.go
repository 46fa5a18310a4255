package controller_test

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
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
