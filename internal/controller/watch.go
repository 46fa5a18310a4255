package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// watch looks, at the limit an episode ended at, for a change of the curve, and
// now and then tries another limit.
func (l *Learner) watch(at time.Duration, w window, limit, low, high int, service time.Duration) move {
	l.Window.add(w)
	if l.Window.Seconds < 0.45 || l.Window.Completions < 30 && l.Window.Seconds < 5 {
		return move{soon: watchLook}
	}
	t := l.Window
	l.Window = Trial{}
	if math.Abs(math.Log(math.Max(t.Completions, 0.5)/t.Seconds/l.BestX)) > math.Log(farRatio) {
		l.Far++
	} else {
		l.Far = 0
	}
	if l.Store.Add(at, t.InUse/t.Seconds, t.Completions, t.Seconds) != model.Unchanged || l.Far == farWindows {
		l.Known = false
		m := l.begin(at, limit, low)
		m.reason = sizing.CapacityChanged
		return m
	}
	if at < l.VerifyAt {
		return move{soon: watchLook}
	}
	l.Episode, l.Verify, l.Base, l.Trials = true, true, limit, 0
	t.N = limit
	l.keep(t)
	l.VerifyUp = !l.VerifyUp
	n := max(low, int(float64(limit)/1.5))
	if l.VerifyUp || n == limit {
		n = min(high, max(limit+1, int(math.Ceil(float64(limit)*1.5))))
	}
	if n == limit {
		l.Episode = false
		l.VerifyAt = at + verifyMost
		return move{}
	}
	return l.try(at, n, service, sizing.Learning)
}

// verified ends the trial of one other limit: back, unless it serves the
// objective better. What the peak was when it was measured is carried along with
// the throughput at the limit in force, so that small losses do not add up.
func (l *Learner) verified(at time.Duration) move {
	l.Episode, l.Verify = false, false
	other, base := l.Current, Trial{}
	for i := range l.Trials {
		if l.Measured[i].N == l.Base {
			base = l.Measured[i]
		}
	}
	gain := math.Log(other.rate() / base.rate())
	doubt := math.Hypot(l.error(&other), l.error(&base))
	better := gain > tolerance+2*doubt
	if other.N < l.Base {
		peak := math.Log(l.PeakX / l.BestX) // of the peak over the limit in force
		better = gain-doubt > math.Log(1-tolerance)+peak
	}
	if !better {
		l.VerifyEvery = min(2*l.VerifyEvery, verifyMost)
		l.VerifyAt = at + l.VerifyEvery
		return move{limit: l.Base, reason: sizing.ServerSaturated}
	}
	reason := sizing.PastKnee
	if other.N > l.Base {
		reason = sizing.BelowKnee
		l.PeakX = math.Max(l.PeakX, other.rate())
		l.VerifyUp = false // goes on upward next time
	}
	l.BestX = other.rate()
	l.Knee.N = other.N
	l.Knee.Lower, l.Knee.Upper = min(l.Knee.Lower, other.N), max(l.Knee.Upper, other.N)
	l.rest(at)
	return move{limit: other.N, reason: reason}
}
