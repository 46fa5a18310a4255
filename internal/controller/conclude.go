package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// How an episode ends: with a limit to rest at, with its queue gone, or with a
// trial that has to wait.

// conclude ends an episode at the limit that its trials recommend. Until the next
// one the machine wanders if they say so, all together, whether they took turns or not.
func (l *Learner) conclude(cfg Config, at time.Duration, low, high int) move {
	l.Episode = false
	if l.Trials == 0 {
		return move{limit: min(max(l.Base, low), high), reason: sizing.Learning}
	}
	l.absolute()
	n := min(max(l.choose(cfg.Objective), low), high)
	l.Wanders = l.wanders()
	if l.Knee.Missing != model.MissingAbove { // else it is that of a wall, or of how many asked
		l.remember(at)
	}
	if l.Made > 0 && !l.worthMaking(cfg.Objective, n) {
		return l.inVain(at)
	}
	if l.Made > 0 {
		l.CrowdEvery = 0 // it was worth it
	}
	for i := range l.Trials {
		t := &l.Measured[i]
		l.Seen.Add(at, float64(t.N), t.Completions, t.Seconds)
	}
	l.rest(at, l.at(l.Knee.N).Seconds)
	l.heed(at, n)
	return move{limit: n, reason: l.came(n), soon: watchLook}
}

// heed notes whether the change that started an episode was one: where the limit is as
// good as the one before, it was the machine's, and the next has to last for longer.
func (l *Learner) heed(at time.Duration, n int) {
	same := 2*n <= 3*l.Base && 2*l.Base <= 3*n || l.Base >= l.Knee.Lower && l.Base <= l.Knee.Upper
	switch {
	case (l.Drifted || l.OtherKind) && same:
		l.DriftEvery = doubled(l.DriftEvery, verifyFirst, verifyMost)
	case l.Alarmed && same:
		l.Patience = doubled(l.Patience, patienceLeast, patienceMost)
	case l.Alarmed:
		l.Patience /= 2
		fallthrough
	default:
		l.DriftEvery = 0
	}
	l.DriftAt = at + l.DriftEvery
}

// doubled is how long to wait after one more that was in vain: twice as long as before,
// from the first to the most.
func doubled(before, first, most time.Duration) time.Duration {
	return min(max(2*before, first), most)
}

// came is the reason of an episode that ends at n.
func (l *Learner) came(n int) sizing.Reason {
	switch {
	case n < l.Base:
		return sizing.PastKnee
	case n > l.Base:
		return sizing.BelowKnee
	}
	return sizing.ServerSaturated
}

// rest stays at a limit from now on: it is watched from an empty store, and
// another one is tried in a while. seconds is how long its throughput was measured.
func (l *Learner) rest(at time.Duration, seconds float64) {
	l.Known, l.Doubted, l.BrokenOff, l.Shown = true, false, 0, Shown{}
	l.Store.HalfLife = storeHalfLife
	l.Store.Forget(0) // what is known of the noise stays
	l.Seen.HalfLife = seenHalfLife
	l.Window, l.Glance, l.Far = Trial{}, Trial{}, 0
	l.Kind, l.KindTrial = 0, Trial{}
	l.RestX = l.BestX
	l.BaseSeconds, l.BaseCount = trialLeast, seconds*l.BestX
	if seconds > baseSeconds { // of slow requests: no short trial that needs refining
		l.BaseSeconds = seconds
	}
	l.VerifyEvery, l.VainUp, l.VainDown = verifyFirst, 0, 0
	l.Fewest, l.Longest = 0, 0
	l.VerifyAt, l.OverrunAt, l.RestedAt, l.CallersThen = at+l.VerifyEvery, at, at, 0
	l.VerifyUp = true // down is next: a smaller limit that serves as much is worth more
}

// choose is the limit that serves the objective, and notes what is known of the
// knee. It is one of the limits tried, never one that a fitted curve suggests, because
// models make knees sharper than databases do: see TestTheChoiceIsGoodOnMeasuredCurves.
func (l *Learner) choose(o model.Objective) int {
	choice, best := l.smallest(o), l.best()
	if l.Wanders && o != model.Latency {
		choice, best = l.surest(o)
	}
	// The highest of several measurements is on the average too high.
	l.BestX = l.Measured[choice].rate()
	l.PeakX = math.Max(l.BestX, l.Measured[best].rate()*(1-l.error(&l.Measured[best])))
	l.Knee = l.interval(o, choice, best)
	return l.Knee.N
}

// interval is the knee with what its trials cannot tell apart: every limit next
// to it whose throughput is within what the objective gives and noise of the peak.
func (l *Learner) interval(o model.Objective, choice, best int) model.Knee {
	k := model.Knee{N: l.Measured[choice].N, SeenMin: float64(l.Measured[0].N), SeenMax: float64(l.Measured[l.Trials-1].N)}
	k.Lower, k.Upper = k.N, k.N
	peak := &l.Measured[best]
	for i := range l.Trials {
		t := &l.Measured[i]
		slack := give(o) + 2*math.Hypot(min(l.error(t), 0.1), min(l.error(peak), 0.1))
		if t.rate() >= (1-slack)*peak.rate() {
			k.Lower, k.Upper = min(k.Lower, t.N), max(k.Upper, t.N)
		}
	}
	k.Identified = true
	switch {
	case l.Trials < 3:
		k.Identified, k.Missing = false, model.MissingPoints
	case choice == l.Trials-1 && l.slope() > stillRising: // less would do, else
		k.Identified, k.Missing = false, model.MissingAbove
	}
	return k
}

// settle ends an episode whose queue went away: the limit in force serves the
// demand, unless it was measured and found clearly worse than another, or the demand
// went away with the queue. It is then the best of those tried so far.
func (l *Learner) settle(o model.Objective, at time.Duration) move {
	l.Episode = false
	if l.Verify {
		return l.putOff(at)
	}
	l.Known = false
	l.Doubted = l.Relearns
	n := l.inForce()
	if l.unasked() {
		n = l.Measured[l.smallest(o)].N
	}
	t := l.at(n)
	if t == nil {
		t = &l.Current
	}
	if l.Made > 0 && l.crowdBeats(t) {
		return l.inVain(at)
	}
	l.BrokenOff = at
	if best := l.best(); best >= 0 {
		if gain, doubt := l.gain(&l.Measured[best], t); t.Seconds > 0 && gain > math.Max(math.Log(1/0.9), 2*doubt) {
			n = l.Measured[best].N
		}
	}
	return move{limit: n, reason: sizing.Steady}
}

// unasked tells whether the demand went away before the limit in force could show what it
// serves: far less has come back since than a limit tried before gave.
func (l *Learner) unasked() bool {
	best := l.best()
	return best >= 0 && l.at(l.inForce()) == nil && 2*l.Lull.rate() < l.Measured[best].rate()
}

// putOff ends the trial of one other limit without a result: the knee is known, and
// stays. But if the queue went because the other limit serves more, the knee is not
// where it was, or never was. What comes back without a queue counts too: a limit that
// has served so much can.
func (l *Learner) putOff(at time.Duration) move {
	l.Episode, l.Verify = false, false
	base := l.at(l.Base)
	for _, t := range [...]*Trial{&l.Current, &l.Lull} {
		if base == nil || l.Current.N <= l.Base || t.Seconds == 0 {
			continue
		}
		if gain, doubt := l.gain(t, base); gain > 2*doubt {
			l.Known = false
			reason := sizing.BelowKnee
			if gain > math.Log(farLeast) {
				reason = sizing.CapacityChanged
			}
			return move{limit: l.Current.N, reason: reason}
		}
	}
	l.VerifyAt = at + l.VerifyEvery
	l.OverrunAt = l.VerifyAt
	return move{limit: l.Base, reason: sizing.Steady}
}

// stalled ends an episode at whose limit nothing comes back: that is no measurement,
// and callers wait.
func (l *Learner) stalled(at time.Duration, low, high int) move {
	if n := l.inForce(); n < l.Base {
		l.Stuck = max(0, l.stuckBelow(at)-1)          // one of long ago is over
		if n == l.StallN && at-l.StallAt < stuckFor { // once may have been a lock
			l.Stuck = max(n, l.Stuck)
		}
		l.StallN, l.StallAt = n, at
	}
	if l.Verify {
		return l.putOff(at)
	}
	l.Episode, l.Doubted, l.BrokenOff = false, l.Relearns, at
	return move{limit: min(max(l.Base, low), high), reason: sizing.Steady}
}

// stuckBelow is the lowest limit worth trying since nothing came back at a lower one,
// twice; 0: any.
func (l *Learner) stuckBelow(at time.Duration) int {
	if l.Stuck == 0 || at-l.StallAt > stuckFor {
		return 0
	}
	return l.Stuck + 1
}
