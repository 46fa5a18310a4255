package controller

import (
	"math"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

// tried is a trial of one second.
func tried(n int, perSecond float64) Trial {
	return Trial{N: n, Seconds: 1, Completions: perSecond, Looks: 10}
}

func TestTheNextLimitIsWhereAPeakHasMostRoom(t *testing.T) {
	for name, c := range map[string]struct {
		trials        []Trial
		best          int // index
		least, atMost int
	}{
		// 16 cores whose contention bends the curve at once: measured, 16 gives 1,990.
		"a peak left of the best": {[]Trial{tried(5, 615), tried(10, 1248), tried(20, 1816), tried(28, 1530), tried(40, 1371)}, 2, 14, 18},
		"a cliff right of it":     {[]Trial{tried(9, 855), tried(18, 1640), tried(36, 825), tried(72, 700)}, 1, 20, 32},
		"as flat as can be":       {[]Trial{tried(6, 990), tried(8, 1000), tried(11, 1010), tried(15, 1005), tried(20, 1003)}, 2, 0, 0},
		"flat, with wide gaps":    {[]Trial{tried(4, 990), tried(8, 1000), tried(16, 1010), tried(32, 1005), tried(64, 1003)}, 2, 20, 26},
		"a straight line":         {[]Trial{tried(8, 800), tried(9, 900), tried(10, 1000)}, 2, 0, 0},
	} {
		l := learner(true, false, c.trials...)
		if n := l.between(model.Balanced, c.best, c.best); n < c.least || n > c.atMost {
			t.Errorf("%s: %d is next, want %d to %d", name, n, c.least, c.atMost)
		}
	}
}

// The best of several trials was lucky too, and is counted for longer before it is chosen.
func TestTheChoiceIsMeasuredOnceMore(t *testing.T) {
	l := learner(true, false, tried(4, 500), tried(8, 1000), tried(16, 1020))
	l.Measured[1].Seconds, l.Measured[1].Completions = 0.3, 300
	if n := l.duel(model.Balanced, 1, 2); n != 8 {
		t.Errorf("%d is measured once more, want 8, which was for 0.3 s", n)
	}
}

func TestTrialsAtRestBecomeFiner(t *testing.T) {
	l := &Learner{VerifyUp: false}
	for i, want := range []float64{1.5, 1.22, 1.11, 1.5} {
		l.VainUp = i
		if step := l.nextStep(); math.Abs(step-want) > 0.01 {
			t.Errorf("after %d in vain the next goes up by %.2f, want %.2f", i, step, want)
		}
	}
	if l.VerifyUp = true; l.nextStep() != verifyStep {
		t.Error("what was in vain above makes the trials below finer")
	}
}

// Two limits that differ by less than the objective gives: callers in a closed loop lose
// nothing that they were not to lose, those who come anyhow wait for what is missing.
func TestWhereAnOpenLoadQueuesTheBetterLimitIsTaken(t *testing.T) {
	for _, c := range []struct {
		open  bool
		other int
		gives float64
		taken bool
	}{
		{false, 15, 1.02, false}, {true, 15, 1.02, true}, {true, 15, 0.99, false},
		{false, 8, 0.985, true}, {true, 8, 0.985, false}, {true, 8, 1.01, true},
	} {
		l := learner(true, true, Trial{N: 12, Seconds: 120, Completions: 120_000, Looks: 1200})
		l.Base, l.BestX, l.PeakX = 12, 1000, 1000
		l.Fewest, l.Longest = 150, 160
		if c.open {
			l.Longest = 900
		}
		l.Current = Trial{N: c.other, Seconds: 60, Completions: 60_000 * c.gives, Looks: 600}
		l.keep(l.Current)
		if m, ok := l.verified(time.Minute, model.Balanced); !ok || (m.limit == c.other) != c.taken {
			t.Errorf("open %t: %d gives %.3f times as much as 12, and the limit goes to %d", c.open, c.other, c.gives, m.limit)
		}
	}
}

func TestAQueueThatSwellsIsNoBurst(t *testing.T) {
	for _, c := range []struct {
		at            time.Duration
		callers, came float64
		swells        bool
	}{
		{4 * time.Second, 500, 3200, true},
		{2 * time.Second, 500, 3200, false}, // a burst may last so long
		{4 * time.Second, 70, 3200, false},  // not four times as many
		{4 * time.Second, 500, 2850, false}, // chance
	} {
		l := &Learner{Saturated: true, CallersThen: 20, Came: c.came, Served: Trial{Completions: 2700}}
		if got := l.swells(c.at, c.callers); got != c.swells {
			t.Errorf("%.0f callers, %.0f came and 2,700 were served in %s: swells %t", c.callers, c.came, c.at, got)
		}
	}
}

// A wall that rises above the limit being tried ends that trial, not the episode.
func TestAWallThatRisesAboveATrialDoesNotEndTheEpisode(t *testing.T) {
	l := learner(true, false, tried(14, 2577))
	l.Base, l.Current, l.Saturated, l.Walled, l.Cores = 14, Trial{N: 11}, true, 16, 16
	w := look(2500)
	w.saturated, w.inUse = 1, 11
	m := l.trial(Config{Floor: 1, Ceiling: 200, Budget: 200}, time.Minute, w, 16, 200, 500, model.Estimate{Prior: 16})
	if !l.Episode || m.limit < 16 || l.Current.N != m.limit {
		t.Errorf("episode %t, and the next limit is %d; want one of 16 or more to be tried", l.Episode, m.limit)
	}
}

// What the ups and downs of the load before showed keeps no episode from where the
// backends point.
func TestTheBackendsMayLeadBelowWhatTheLoadBeforeShowed(t *testing.T) {
	for _, c := range []struct{ prior, low int }{{0, 21}, {5, 5}, {40, 21}, {1, 2}} {
		l := &Learner{Prior: c.prior, Walled: 2}
		if l.begin(time.Second, 28, 21); l.Low != c.low {
			t.Errorf("with a prior of %d an episode goes down to %d, want %d", c.prior, l.Low, c.low)
		}
	}
}

// A trial that leads to a limit outside of what the ups and downs show is believed more
// than they are, for a while that doubles.
func TestATrialContradictsTheUpsAndDowns(t *testing.T) {
	s := shown(40, 10*time.Second, func(n int) float64 {
		return 1000 * min(float64(n), 4) / (1 + 0.02*max(0, float64(n)-4))
	})
	if s.contradict(Config{}, time.Minute, 4); s.NaturalEvery != 0 {
		t.Errorf("a trial that led to the knee they show makes them wait for %s", s.NaturalEvery)
	}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute} {
		if s.contradict(Config{}, time.Minute, 20); s.NaturalEvery != want {
			t.Errorf("they wait for %s after a trial that led to 20, want %s", s.NaturalEvery, want)
		}
	}
}

// Three of six backends run on the one core: the others wait for storage and come back at
// random, so that it is idle for 6 % of the time.
func TestCoresWithRoomAreNotBusy(t *testing.T) {
	for _, c := range []struct {
		cores          int
		inUse, running float64
		mostly, fully  bool
	}{
		{0, 6, 3, false, false},
		{1, 6, 3, false, false},
		{1, 12, 6, true, false},
		{1, 12, 8, true, true},
		{2, 12, 5, true, false},
		{2, 24, 12, true, true},
		{2, 3, 3, false, false}, // all run: what is seen on a core may wait for memory
	} {
		trial := Trial{Seconds: 1, InUse: c.inUse, Running: 4 * c.running, Censuses: 4}
		if mostly, fully := trial.mostlyBusy(c.cores), trial.fullyBusy(c.cores); mostly != c.mostly || fully != c.fully {
			t.Errorf("%g of %g run on %d cores: mostly busy %t, fully %t", c.running, c.inUse, c.cores, mostly, fully)
		}
	}
}

// 2 % more in six seconds at 1,000 a second is beyond doubt where requests are alike, and
// chance where a few take a hundred times as long.
func TestAFewSlowRequestsMakeATrialDoubtful(t *testing.T) {
	for _, c := range []struct {
		cv    float64
		taken bool
	}{{1, true}, {4, false}} {
		of := func(n int, seconds, x float64) Trial {
			k, s := seconds*x, 0.01
			return Trial{N: n, Seconds: seconds, Completions: k, Looks: int(10 * seconds), Service: k * s, ServiceSq: k * s * s * (1 + c.cv*c.cv)}
		}
		l := learner(true, true, of(12, 120, 1000))
		l.Base, l.BestX, l.PeakX, l.Longest = 12, 1000, 1000, 900
		l.Noise = Noise{Looks: 1000}
		l.Current = of(15, 6, 1021)
		l.keep(l.Current)
		if m, ok := l.verified(time.Minute, model.Balanced); !ok || (m.limit == 15) != c.taken {
			t.Errorf("service that varies by %g: the limit goes to %d", c.cv, m.limit)
		}
	}
}
