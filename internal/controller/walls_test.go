package controller

import (
	"math"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

// At the ceiling there is no limit above to try. The one below is tried as often as two
// are elsewhere.
func TestAtAWallTheOtherSideIsTried(t *testing.T) {
	trials := map[int]int{}
	for _, high := range []int{16, 17} {
		l := Learner{Known: true}
		l.rest(0, 1)
		l.BestX, l.PeakX, l.RestX = 100, 100, 100
		for at := time.Duration(0); at < time.Hour; at += 200 * time.Millisecond {
			w := queuedWindow(16, 20, 20)
			l.queue(at, w, 16)
			m := l.watch(Config{}, at, w, 16, 1, high, 150, model.Estimate{})
			if !l.Episode {
				if l.Verify {
					t.Fatalf("at %s no trial is under way and yet one counts as being", at)
				}
				continue
			}
			if m.limit == 16 || m.limit > high {
				t.Fatalf("ceiling %d: a trial of %d", high, m.limit)
			}
			trials[high]++
			l.Current = Trial{N: m.limit, Seconds: 1, Completions: 90, InUse: float64(m.limit)}
			l.keep(l.Current)
			l.verified(at, model.Balanced)
		}
	}
	if trials[16] != trials[17] || trials[17] < 20 {
		t.Errorf("in an hour of queueing %d trials at the ceiling, %d below it", trials[16], trials[17])
	}
}

// Where both sides are walls nothing is tried, and it is not asked at each look.
func TestBetweenTwoWallsNothingIsTried(t *testing.T) {
	l := Learner{Known: true}
	l.rest(0, 1)
	l.BestX, l.PeakX = 100, 100
	at := time.Minute
	if m := l.verify(at, Trial{Seconds: 1, Completions: 100, InUse: 16}, 16, verifyStep, 16, 16, model.Estimate{}); m.limit != 0 {
		t.Errorf("a trial of %d between 16 and 16", m.limit)
	}
	if l.Episode || l.Verify || l.VerifyAt <= at || l.OverrunAt <= at {
		t.Errorf("episode %t, trial %t, the next at %s and %s", l.Episode, l.Verify, l.VerifyAt, l.OverrunAt)
	}
}

// queuedWindow is a fifth of a second in which so many came and were served.
func queuedWindow(limit int, came, served int64) window {
	held := time.Duration(limit) * 200 * time.Millisecond
	return window{
		Window: model.Window{Elapsed: 200 * time.Millisecond, Arrivals: came, Completions: served, InUseTime: held,
			ServiceTime: held, ServiceTimeSq: held.Seconds() * held.Seconds() / math.Max(1, float64(served)), Limit: limit},
		inUse: float64(limit), saturated: 1,
	}
}

func TestAKneeThatMovesTakesWhatWasSeenAlong(t *testing.T) {
	l := Learner{Known: true, Base: 16, Episode: true, Verify: true, BestX: 100, PeakX: 100}
	l.Knee = model.Knee{N: 16, Lower: 16, Upper: 16, Missing: model.MissingAbove, SeenMin: 2, SeenMax: 16}
	l.keep(Trial{N: 16, Seconds: 10, Completions: 1000, Looks: 50})
	l.Current = Trial{N: 24, Seconds: 10, Completions: 1150, Looks: 50}
	l.keep(l.Current)
	if m, ok := l.verified(time.Minute, model.Balanced); !ok || m.limit != 24 {
		t.Fatalf("15 %% more at 24 led to %+v, %t", m, ok)
	}
	if k := l.Knee; k.N != 24 || k.SeenMax != 24 || k.SeenMin != 2 {
		t.Errorf("the knee is %d, seen from %g to %g", k.N, k.SeenMin, k.SeenMax)
	}
}

// Four fifths more while the upper half is in use is a gain, although what was opened
// last has entries of its own only from there on.
func TestAGainOfTheLastDoublingShows(t *testing.T) {
	for _, c := range []struct {
		above int64 // per second at 100, with 1,000 at 40
		want  bool
	}{{1900, true}, {1250, true}, {1150, false}} {
		var s State
		var before, now model.Levels
		now[model.LevelOf(40)] = model.Level{Time: time.Second, Left: 1000}
		now[model.LevelOf(100)] = model.Level{Time: 9 * time.Second, Left: 9 * c.above}
		s.Occupancy.Add(time.Second, &before, &now)
		if got := s.gained(64); got != c.want {
			t.Errorf("1,000/s at 40 and %d at 100: gained %t", c.above, got)
		}
	}
}
