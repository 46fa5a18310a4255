package controller

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

// resting is a learner at rest at a limit, with what it has seen of others since its last
// episode, in seconds and completions per second. Callers queue without end.
func resting(at time.Duration, open bool, seen map[int][2]float64) *Learner {
	l := &Learner{Known: true, Saturated: true, SaturatedSince: 0, BestX: 784, PeakX: 800}
	l.rest(0, 1)
	for n, v := range seen {
		l.Seen.Add(at, float64(n), v[0]*v[1], v[0])
	}
	l.Fewest, l.Longest = 150, 160
	if open {
		l.Longest = 900
	}
	return l
}

// One trial of a few seconds does not tell 784 a second from 797. All that was seen of
// both limits does, and callers who do not wait for each other need the difference.
func TestALimitIsLeftForOneThatWasSeenToGiveMore(t *testing.T) {
	const at = 2 * time.Minute
	window := Trial{N: 8, Seconds: 0.5, Completions: 392, InUse: 4, Looks: 5}
	for name, c := range map[string]struct {
		objective model.Objective
		open      bool
		seen      map[int][2]float64
		low, want int
	}{
		"more by two standard errors":  {model.Balanced, true, map[int][2]float64{8: {200, 774}, 5: {120, 800}}, 1, 5},
		"above, too":                   {model.Throughput, true, map[int][2]float64{8: {200, 774}, 10: {120, 800}}, 1, 10},
		"of two, the surer":            {model.Balanced, true, map[int][2]float64{8: {200, 774}, 5: {120, 800}, 6: {4, 806}}, 1, 5},
		"too little":                   {model.Balanced, true, map[int][2]float64{8: {200, 784}, 5: {10, 797}}, 1, 0},
		"of a moment":                  {model.Balanced, true, map[int][2]float64{8: {200, 700}, 5: {1, 900}}, 1, 0},
		"less":                         {model.Balanced, true, map[int][2]float64{8: {200, 797}, 5: {120, 774}}, 1, 0},
		"callers who come back":        {model.Balanced, false, map[int][2]float64{8: {200, 774}, 5: {120, 800}}, 1, 0},
		"for the latency it is enough": {model.Latency, true, map[int][2]float64{8: {200, 774}, 5: {120, 800}}, 1, 0},
		"beyond a wall":                {model.Balanced, true, map[int][2]float64{8: {200, 774}, 5: {120, 800}}, 6, 0},
	} {
		l := resting(at, c.open, c.seen)
		if m := l.goBack(c.objective, at, window, 8, c.low, 100); m.limit != c.want {
			t.Errorf("%s: the limit goes to %d, want %d", name, m.limit, c.want)
		} else if m.limit != 0 && (l.Knee.N != c.want || l.BestX < 799 || !l.open()) {
			t.Errorf("%s: the knee is %d with %.0f/s, open %t", name, l.Knee.N, l.BestX, l.open())
		}
	}
	if l := resting(at, true, map[int][2]float64{8: {200, 774}, 5: {120, 800}}); l.goBack(model.Balanced, 10*time.Second, window, 8, 1, 100).limit != 0 {
		t.Error("the limit moves within seconds of the move before")
	}
}

func TestALimitThatWasSeenToGiveLessIsNotTriedAgain(t *testing.T) {
	const at = 2 * time.Minute
	for name, c := range map[string]struct {
		open bool
		seen map[int][2]float64
		want int
	}{
		"nothing is known":     {true, map[int][2]float64{8: {60, 784}}, 5},
		"below is worse":       {true, map[int][2]float64{8: {60, 784}, 5: {4, 600}}, 12},
		"and so is far above":  {true, map[int][2]float64{8: {60, 784}, 5: {4, 600}, 12: {4, 700}}, 6},
		"a moment is enough":   {true, map[int][2]float64{8: {60, 784}, 5: {0.5, 300}}, 12},
		"unless it is of luck": {true, map[int][2]float64{8: {60, 784}, 5: {0.5, 700}}, 5},
		"a closed loop":        {false, map[int][2]float64{8: {60, 784}, 5: {4, 600}}, 5}, // tells at once whether the curve is another
	} {
		l := resting(at, c.open, c.seen)
		window := Trial{N: 8, Seconds: 0.5, Completions: 392, InUse: 4, Looks: 5}
		if m := l.verify(at, window, 8, l.nextStep(), 1, 100, model.Estimate{}); m.limit != c.want {
			t.Errorf("%s: %d is tried, want %d", name, m.limit, c.want)
		}
	}
}

// What was seen of a limit before counts in its next trial.
func TestTrialsOfALimitAddUp(t *testing.T) {
	for before, want := range map[float64]int{790: 6, 740: 8} {
		l := resting(0, true, map[int][2]float64{6: {30, before}})
		l.Episode, l.Verify, l.Base = true, true, 8
		l.keep(Trial{N: 8, Seconds: 120, Completions: 120 * 774, Looks: 1200})
		l.Current = Trial{N: 6, Seconds: 5, Completions: 5 * 784, Looks: 50}
		l.Before, _ = l.seenAt(0, 6, &l.Current)
		l.keep(l.Current)
		if m, ok := l.verified(0, model.Balanced); !ok || m.limit != want {
			t.Errorf("784/s now and %.0f/s before against 774: the limit goes to %d, want %d", before, m.limit, want)
		}
		if b := l.Seen.At(0, 6); b.Seconds != 35 {
			t.Errorf("then %g s are known of it, want 35", b.Seconds)
		}
	}
}

// Trials that a growing queue asks for come soon after each other. They do not put off
// those that come with time.
func TestAGrowingQueueDoesNotPutTrialsOff(t *testing.T) {
	l := resting(0, true, nil)
	l.SaturatedSince = 5 * time.Minute
	for i := range 6 {
		at := 5*time.Minute + time.Duration(i+1)*verifySoon
		l.Grows, l.Base = true, 8
		l.stayBeside(at, 8+i%2*4)
		if left := l.VerifyAt - at; left > verifyQueued {
			t.Fatalf("after %d trials in vain the next is %s away", i+1, left)
		}
	}
}

func TestAQueueIsSeenToGrowUntilBothSidesHaveBeenTried(t *testing.T) {
	for name, c := range map[string]struct {
		callers  float64
		up, down int
		open     bool
		want     bool
	}{
		"by chance":          {2100, 0, 0, true, false},
		"surely":             {2300, 0, 0, true, true},
		"one side was tried": {2300, 3, 1, true, true},
		"both were":          {2300, 3, 3, true, false},
		"by a third":         {2900, 3, 3, true, true},
		"a closed loop":      {2300, 0, 0, false, false},
	} {
		l := resting(0, c.open, nil)
		l.CallersThen, l.VainUp, l.VainDown, l.VerifyEvery = 2000, c.up, c.down, verifyQueued
		if got := l.growing(time.Minute, c.callers); got != c.want {
			t.Errorf("%s: growing %t", name, got)
		}
	}
}
