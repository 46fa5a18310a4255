package controller

import (
	"math"

	"github.com/pgautotune/autotune/internal/model"
)

// A machine that is shared changes its speed from moment to moment, and what it does now
// it does for a while: on two virtual cores with busy neighbours, throughput at one limit
// had a standard deviation of 19 % over 50 ms, half of which was still there after 0.3 s,
// of 15 % over the 0.8 s of a trial and of 9 % over 5 s. The scatter within one trial shows
// a third of that. Here is how a learner knows, and what it then makes of what it counted;
// see turns.go for how it counts.

const (
	wanderLeast = 2.0   // times the variance of counting that throughput scatters by beyond it
	wanderLooks = 3     // that tell
	wanderNoise = 0.034 // in a second, if looks were independent, that it must be: 11 % from look to look of 0.1 s
	wanderSpan  = 5.0   // seconds
	wanderSpans = 60    // remembered
)

// wanders tells whether throughput at one limit scatters by so much more than counting
// explains that it is the machine's speed that changes. Once a limit has been watched, it
// shows in that windows of half a second scatter by more than looks of a tenth would make
// them. Before, in the looks themselves: at the limits that serve about the most, because
// below them the machine is not what limits. With too few looks it is what it was.
func (l *Learner) wanders() bool {
	best := l.best()
	if best < 0 {
		return l.Wanders
	}
	most := l.Measured[best].rate()
	var scatter, counted, looks float64 // of one second, if looks were independent
	for i := range l.Trials {
		if t := &l.Measured[i]; t.Looks > 1 && t.rate() >= trialPoor*most {
			looks += float64(t.Looks - 1)
			scatter += math.Max(0, t.SumXX/(t.rate()*t.rate())-t.Seconds)
			counted += float64(t.Looks-1) * max(1, t.spread()*t.spread()) / t.rate()
		}
	}
	if looks < wanderLooks {
		return l.Wanders
	}
	if rest := l.Store.Drift.Noise(); rest > 0 {
		return rest > wanderNoise && rest*rest*looks > wanderLeast*math.Max(scatter, counted)
	}
	return l.Wanders && l.Counted > 0 || scatter-counted > math.Max(wanderLeast*counted, wanderNoise*wanderNoise*looks)
}

// Strays is how far throughput at rest is from its mean over wanderSpan: a machine whose
// speed changes within seconds too has not averaged out within the trial of another limit.
type Strays struct {
	Span  Trial   // being gathered
	Sum   float64 // of squared log ratios
	Spans float64
}

// add takes a window at rest, where expected per second is what was seen there so far.
func (w *Strays) add(t *Trial, expected float64) {
	w.Span.join(t)
	if w.Span.Seconds < wanderSpan {
		return
	}
	if r := math.Log(math.Max(w.Span.rate(), 1e-9) / expected); expected > 0 {
		w.Sum += r * r
		w.Spans++
	}
	if w.Span = (Trial{}); w.Spans > wanderSpans {
		w.Sum *= wanderSpans / w.Spans
		w.Spans = wanderSpans
	}
}

// over is the standard deviation of throughput over so many seconds; 0: not known.
func (w *Strays) over(seconds float64) float64 {
	if w.Spans < 5 {
		return 0
	}
	return math.Sqrt(w.Sum / w.Spans * wanderSpan / math.Max(seconds, wanderSpan))
}

// surest is the choice among trials on a machine that wanders, and the best that it is
// compared with: each counts for half a standard error less than was measured, because of
// several that serve alike the one that was measured for the shortest is the luckiest.
func (l *Learner) surest(o model.Objective) (choice, best int) {
	sure := func(t *Trial) float64 { return t.rate() * (1 - l.error(t)/2) }
	best = l.highest(sure)
	return l.enough(o, best, sure), best
}
