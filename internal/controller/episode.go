package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// The course of an episode: a limit is tried, counted until it is known well enough,
// filed, and followed by the next, which search.go chooses, or by the end, see conclude.go.

// begin starts an episode by measuring the limit that is in force. One that was
// broken off when its queue went away goes on where it was: load that comes in
// bursts shorter than an episode is learned over several of them.
func (l *Learner) begin(at time.Duration, limit, low int) move {
	l.Episode, l.Verify, l.Recalled, l.Made, l.Base, l.IdleFor = true, false, 0, 0, limit, 0
	l.Drifted, l.Alarmed, l.OtherKind, l.All = false, false, false, false
	l.Seen.Forget(0)
	l.Relearns = l.Known || l.Doubted
	l.Known = false
	l.Resumed = l.Trials > 0 && l.BrokenOff > 0 && at-l.BrokenOff < resumeWithin
	l.BrokenOff = 0
	if !l.Resumed {
		l.discard()
		l.Low = low
		if l.Prior > 0 { // what the backends do is as good a witness
			l.Low = min(low, max(l.Walled, l.Prior))
		}
	}
	l.Current, l.Most, l.Turns = Trial{N: limit}, 0, Turns{}
	l.From, l.Moved, l.BackAt, l.Left = at, at, at, 0
	l.Short, l.Begun = Shortfall{}, at
	return move{limit: limit, reason: sizing.Learning, soon: fastLook}
}

// beginFrom starts an episode with a trial that was counted already.
func (l *Learner) beginFrom(at time.Duration, limit, low int, seen Trial) {
	l.begin(at, limit, low)
	l.Current, l.Resumed = seen, false
	l.discard()
	l.keep(seen)
}

// discard drops the trials of the episode before.
func (l *Learner) discard() {
	l.Trials, l.Duels, l.Refined, l.Scouted, l.Counted, l.Leveled = 0, 0, 0, false, 0, 0
}

// try moves the limit to n, to be measured once the pool has settled: a lowered
// limit is reached when the surplus has been given back, a raised one when the
// new connections are open.
func (l *Learner) try(at time.Duration, n int, service time.Duration, reason sizing.Reason) move {
	l.Moved, l.BackAt, l.Left = at, at, float64(max(l.Current.N, n))
	l.Entry, l.Poor = Trial{N: l.Current.N}, false
	l.Current, l.Lull, l.Asking, l.Most, l.Again, l.All = Trial{N: n}, Trial{}, 0, 0, false, false
	l.From = at + min(max(2*service, settleLeast), settleMost)
	l.IdleFor = 0
	l.Short, l.Begun = Shortfall{}, at
	l.takeTurns(service)
	return move{limit: n, reason: reason, soon: fastLook}
}

// trial continues the measurement of the current limit.
func (l *Learner) trial(cfg Config, at time.Duration, w window, low, high int, callers float64, est model.Estimate) move {
	if est.Natural && est.Knee.Identified && !l.Verify { // meanwhile the load itself has shown the knee
		l.Episode = false
		return move{}
	}
	n := l.inForce()
	stay := move{limit: n, reason: sizing.Learning, soon: fastLook}
	if l.Turns.Rival.N > 0 {
		stay.soon = turnLook
	}
	if w.Completions > 0 {
		l.BackAt = at
	}
	if l.Asking == 0 {
		l.Asking = callers
	}
	l.Most = max(l.Most, w.Peak)
	letIn := float64(n)
	if letIn <= verifyStep*l.Asking { // a limit just above them all
		letIn = math.Min(letIn, l.Asking)
	}
	inside := callers >= insideLeast*l.Asking && w.inUse >= insideLeast*letIn
	if !l.Saturated && !inside {
		// The queue is gone. A short gap may be a lull; a longer one means
		// that this limit serves the demand, or that the demand is gone.
		l.IdleFor += w.Elapsed
		if at-w.Elapsed >= l.From {
			l.Lull.add(w)
		}
		if l.IdleFor > max(time.Second, 3*est.Service) && at > l.From {
			return l.settle(cfg.Objective, at)
		}
		return stay
	}
	l.IdleFor = 0
	switch {
	case n <= high && n >= low:
	case l.Verify:
		return l.putOff(at)
	case n > high || l.Trials == 0 && n < l.Walled: // a wall has moved
		return l.conclude(cfg, at, low, high)
	case l.Trials > 0: // one from below, or the ups and downs advise against it now
		return l.further(cfg, at, low, high, callers, est, sizing.Learning)
	}
	if at-l.BackAt > max(stallLeast, stallServices*est.Service) {
		return l.stalled(at, low, high)
	}
	if l.entering(at, w, n, stay.soon) {
		if !l.ruins(n) {
			return stay
		}
		l.Current = l.Entry
		l.Current.N = n
		return l.file(cfg, at, low, high, callers, est)
	}
	if l.fallsShort(n, w) {
		return l.interrupted(cfg, at, n, low, high, callers, est)
	}
	if !l.Turns.Theirs {
		l.Current.Running += math.Min(est.Running, float64(n)) // it may have been read at the limit before
		l.Current.Censuses++
	}
	if l.Turns.Rival.N == 0 {
		l.Current.add(w)
	} else if over, pair := l.takeTurn(w, est.Service); !over {
		return stay
	} else if !pair {
		return l.turn(at)
	}
	if !l.done(cfg.Objective) {
		if l.Turns.Rival.N > 0 {
			return l.turn(at)
		}
		return stay
	}
	if l.Current.Completions == 0 {
		return l.stalled(at, low, high)
	}
	if l.Recalled > 0 && !l.Again && !l.agrees(&l.Memories[l.Recalled-1], &l.Current) {
		l.Again, l.Current = true, Trial{N: l.Current.N} // many who are let in at once start in step
		return stay
	}
	return l.file(cfg, at, low, high, callers, est)
}

// file keeps the trial that is done and goes on.
func (l *Learner) file(cfg Config, at time.Duration, low, high int, callers float64, est model.Estimate) (m move) {
	l.Noise.learn(l.Current)
	l.endTurns()
	if l.Resumed {
		l.Resumed = false
		if l.contradicts(l.Current) {
			l.discard()
		}
	}
	l.keep(l.Current)
	l.Wanders = l.wanders()
	if more, less := l.foreign(); more || less {
		defer func() { m.forget = true }()
		l.Shown = Shown{}
		if more { // one that was slower all over has kept its shape
			l.Low, low = 0, min(l.Walled, low)
		}
	}
	reason := sizing.Learning
	if l.Verify {
		m, ok := l.verified(at, cfg.Objective)
		if ok {
			return m
		}
		reason = sizing.CapacityChanged
	}
	if m, ok := l.known(at, low, high, est.Service); ok {
		return m
	}
	return l.further(cfg, at, low, high, callers, est, reason)
}

// further goes on to the next trial, or ends the episode.
func (l *Learner) further(cfg Config, at time.Duration, low, high int, callers float64, est model.Estimate, reason sizing.Reason) move {
	// A load that was known and has changed has mostly kept its shape; of another one
	// the trials say, once there, whether it goes on.
	if expected := min(l.Low, high); l.Relearns || l.Measured[0].N > expected {
		low = max(low, expected)
	}
	asking := max(int(callers), l.Most)
	n, all := l.next(cfg, low, min(high, max(low, asking-1)), est.Prior), false
	if l.All && (n == 0 || n == l.Current.N) {
		return l.settle(cfg.Objective, at) // the queue that is left is of those who come back this moment
	}
	if n == 0 {
		n = l.forAll(cfg.Objective, asking, high)
		all = n != 0
	}
	if n == 0 || l.Trials == maxTrials {
		return l.conclude(cfg, at, low, high)
	}
	m := l.try(at, n, est.Service, reason)
	if l.All = all; all {
		l.Turns = Turns{} // nobody queues there
	}
	return m
}

// foreign tells whether the trial just filed is of another load than the one whose ups
// and downs are known: it gives clearly more than those ever did, or less where they
// gave four fifths of their peak.
func (l *Learner) foreign() (more, less bool) {
	t, shown := &l.Current, &l.Shown
	if shown.Least == 0 || t.N < shown.Least || t.N > shown.Varied {
		return false, false
	}
	slack := math.Log(sameLoad) + 2*l.error(t)
	apart := math.Log(t.rate() / shown.Peak)
	return apart > slack, apart < math.Log(0.8)-slack && t.N <= shown.Plateau
}

// known goes to the limit remembered for the load that the first trial looks
// like, and stays there if the trial there agrees. ok is false when nothing is
// remembered of such a load.
func (l *Learner) known(at time.Duration, low, high int, service time.Duration) (m move, ok bool) {
	if l.Recalled > 0 {
		memory := &l.Memories[l.Recalled-1]
		l.Recalled = 0
		return l.adopt(at, memory, l.Current)
	}
	if l.Trials > 1 || l.Drifted { // a small change looks like the load it was a change of
		return move{}, false
	}
	i := l.recall(l.Current, low, high)
	if i < 0 {
		return move{}, false
	}
	if n := l.Memories[i].Knee.N; n != l.Current.N {
		l.Recalled = i + 1
		return l.try(at, n, service, sizing.Learning), true
	}
	return l.adopt(at, &l.Memories[i], l.Current)
}

// done tells whether the current trial is known well enough.
func (l *Learner) done(o model.Objective) bool {
	level := l.level()
	if l.Verify && level.Seconds >= besideLeast {
		level = level.with(l.Before)
	}
	t, most, hard := &level, trialMost, trialHard
	enough := trialSlow
	if l.Trials == 0 {
		enough /= 2 // what it is compared with is counted for longer
	}
	if l.Turns.Rival.N > 0 {
		most, hard = turnMost, turnEnd
	}
	switch {
	case t.Seconds >= hard && t.Completions >= enough || t.Seconds >= trialEnd:
		return true
	case t.Seconds < trialLeast || t.Completions < trialCompletions || l.Again && t.Seconds < confirmed:
		return false
	}
	if l.Verify {
		return l.error(t) < verifyNoise || l.decided(o, t)
	}
	if best := l.best(); best >= 0 {
		if ratio := t.rate() / l.Measured[best].rate(); ratio < trialPoor || ratio > 1/trialPoor {
			return true
		}
	} else if l.Alarmed && l.beyond(t) {
		return true
	}
	return l.error(t) < trialNoise || t.Seconds >= most && l.error(t) < 2*trialNoise
}

// decided tells whether a trial of one other limit is clearly worse than the limit in
// force, or so much better that the curve must have become another one, or, where the
// queue grows and it is above, clearly better.
func (l *Learner) decided(o model.Objective, t *Trial) bool {
	b := l.at(l.Base)
	if b == nil {
		return false
	}
	gain, doubt := l.gain(t, b)
	worse, another := gain < math.Log(1-give(o))-2*doubt, gain > math.Log(farLeast)+2*doubt
	awaited := o != model.Latency && l.Grows && t.N > b.N // each moment here makes the queue shorter or longer
	return worse || another || awaited && gain > give(o)+3*doubt
}
