package controller_test

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

// reached runs until the limit has served 92 % of the peak for a second, and
// returns how long that took.
func reached(p *plant, s controller.State, peak float64) (controller.State, time.Duration) {
	begun := p.at
	for held := time.Duration(0); held < time.Second && p.at-begun < time.Minute; {
		was := p.at
		s = p.run(config(), s, 100*time.Millisecond, nil)
		if p.curve(float64(p.limit)) >= 0.92*peak {
			held += p.at - was
		} else {
			held = 0
		}
	}
	return s, p.at - begun - time.Second
}

// trying is a pool whose controller knows the knee and is trying another limit.
func trying(t *testing.T) (p *plant, s controller.State, knee int) {
	t.Helper()
	p = newPlant(pureSearch, 150, 100, 0.02, 1)
	s = p.run(config(), controller.State{}, 30*time.Second, nil)
	knee = p.limit
	for !s.Learn.Verify {
		s = p.run(config(), s, 100*time.Millisecond, nil)
		if p.at > 5*time.Minute {
			t.Fatal("no other limit was tried within five minutes; the test proves nothing")
		}
	}
	return p, s, knee
}

// Of many who are let in at once the first come back in step, and fewer than later.
func TestAMemoryIsNotJudgedByTheFirstInstantAtItsLimit(t *testing.T) {
	slow := 0
	for seed := range uint64(20) {
		p := newPlant(holdingSearch, 150, 4, 0.03, seed)
		limit, since := p.limit, p.at
		inStep := func(c curve) curve {
			return func(n float64) float64 {
				if limit != p.limit {
					if limit = p.limit; limit > 16 {
						since = p.at
					}
				}
				if p.at-since < 500*time.Millisecond {
					return 0.6 * c(n)
				}
				return c(n)
			}
		}
		s := p.run(config(), controller.State{}, 30*time.Second, nil)
		known := holdingSearch(float64(p.limit)) // what is remembered, which may be less than the peak
		p.curve = pureSearch
		s = p.run(config(), s, 30*time.Second, nil)
		p.curve = inStep(holdingSearch)
		if _, took := reached(p, s, known); took > 3*time.Second {
			t.Logf("seed %d: %s", seed, took)
			slow++
		}
	}
	if slow > 2 { // without asking again, most of them
		t.Errorf("%d of 20 times it took more than three seconds until the load that was known is served", slow)
	}
}

func TestALoadThatComesBackIsRecognisedWithinTwoSeconds(t *testing.T) {
	slow := 0
	for seed := range uint64(20) {
		p := newPlant(pureSearch, 150, 100, 0.03, seed)
		s := p.run(config(), controller.State{}, 30*time.Second, nil)
		p.curve = holdingSearch
		s = p.run(config(), s, 30*time.Second, nil)
		for i := range 6 {
			peak := 4098.0
			p.curve = pureSearch
			if i%2 == 1 {
				p.curve, peak = holdingSearch, 2286
			}
			var took time.Duration
			if s, took = reached(p, s, peak); took > 2*time.Second {
				t.Logf("seed %d, shift %d: %s", seed, i, took)
				slow++
			}
			s = p.run(config(), s, 10*time.Second, nil)
		}
	}
	if slow > 12 {
		t.Errorf("%d of 120 shifts to a known load took more than two seconds", slow)
	}
}

// Held searches at a limit for plain ones give a tenth: no machine does that, and each
// tenth of a second until the limit is theirs is one in which 150 callers wait for half a
// second.
func TestAKnownLoadThatGivesAFractionAtThisLimitIsServedAtOnce(t *testing.T) {
	late := 0
	for seed := range uint64(20) {
		p := newPlant(holdingSearch, 150, 4, 0.03, seed)
		s := p.run(config(), controller.State{}, 30*time.Second, nil)
		p.curve = pureSearch
		s = p.run(config(), s, 30*time.Second, nil)
		p.curve = holdingSearch
		if _, took := reached(p, s, 2286); took > 700*time.Millisecond {
			t.Logf("seed %d: %s", seed, took)
			late++
		}
	}
	if late > 3 {
		t.Errorf("%d of 20 times it took more than 0.7 s", late)
	}
}

func TestAMemoryThatIsContradictedIsNotBelieved(t *testing.T) {
	p := newPlant(pureSearch, 150, 100, 0.02, 3)
	s := p.run(config(), controller.State{}, 30*time.Second, nil)
	knee := p.limit
	// As slow as the search at its knee, so that it looks like it there; but it
	// rises on and on.
	p.curve = holdingSearch
	s = p.run(config(), s, 30*time.Second, nil)
	p.curve = func(n float64) float64 { return pureSearch(float64(knee)) * n / float64(knee) }
	_, took := reached(p, s, p.curve(100))
	if took > 15*time.Second {
		t.Errorf("the limit is %d after %s; a curve that only looked like a known one was not learned", p.limit, took)
	}
}

func TestATrialOfAnotherLimitWhoseQueueGoesAwayReturnsToTheKnownLimit(t *testing.T) {
	p, s, knee := trying(t)
	p.callers = 1
	s = p.run(config(), s, 5*time.Second, nil)
	if p.limit != knee || !s.Learn.Known {
		t.Errorf("the limit is %d (known: %t), want the knee of %d", p.limit, s.Learn.Known, knee)
	}
}
