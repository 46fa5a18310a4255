package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Learner finds the knee of the throughput curve by moving the limit on
// purpose, while callers queue. Only then does throughput say anything about
// capacity: without a queue it equals the arrival rate whatever the limit is.
//
// An episode visits limits one after the other, in steps of two, then finer
// around the best, counts what each completes, and ends at the smallest limit
// that serves the objective. It is started by a queue that stays, and again
// when throughput at the limit is no longer what it was.
//
// Going down it does not stop at the first loss: pgvector's index search on two
// cores gives 3,286/s at 32, 2,841 at 16 and 4,098 at 2 connections. It stops
// where the time a connection is held no longer shrinks with the limit, because
// from there on fewer connections can only serve less.
type Learner struct {
	Episode bool // an episode is under way
	Known   bool // an episode ended with a limit to stay at
	Base    int  // the limit before the episode: the last good one

	Trials   int              // limits measured in this episode
	Measured [maxTrials]Trial // in order of N
	Current  Trial            // being measured
	From     time.Duration    // measuring starts: before it, the pool settles

	Knee  model.Knee // what the last episode found
	PeakX float64    // throughput there, per second
	BestX float64    // throughput measured at the limit it ended at

	SaturatedSince time.Duration // since when callers have queued without a break
	Saturated      bool
	IdleFor        time.Duration // time without saturation within the current trial

	Store  model.Samples // evidence at the limit it ended at, for drift
	Window Trial         // being gathered for the store
	Far    int           // consecutive windows far off the throughput measured

	VerifyAt    time.Duration // when to try another limit again
	VerifyEvery time.Duration
	Verify      bool // the episode is only a trial of one other limit
	VerifyUp    bool
}

// Trial is what was counted at one limit while callers queued.
type Trial struct {
	N           int     // the limit
	Seconds     float64 // measured
	Completions float64
	InUse       float64 // integral of in use, connection seconds
	Looks       int
	SumX, SumXX float64 // of the throughput of each look, for its noise
}

// maxTrials bounds an episode: 9 doublings span 1 to 500, the rest is refinement.
const maxTrials = 20

// A trial ends when its throughput is known to trialNoise or it took as long as
// it may; a service time of seconds needs longer for the same count.
const (
	trialLeast       = 0.3  // seconds
	trialMost        = 1.2  // seconds, given trialCompletions
	trialHard        = 6.0  // seconds, whatever was counted
	trialCompletions = 60   // 13 % standard error for exponential service, less for a closed loop
	trialNoise       = 0.02 // relative standard error
	trialPoor        = 0.7  // of the best so far: clearly worse, no need to know by how much

	// A change by this factor in consecutive windows is believed at once; a
	// smaller one has to stand out of the noise (see model.Drift).
	farRatio      = 1.5
	farWindows    = 2
	storeHalfLife = 2 * time.Minute

	settleLeast = 100 * time.Millisecond
	settleMost  = 1500 * time.Millisecond
)

func (t *Trial) rate() float64 {
	if t.Seconds <= 0 {
		return 0
	}
	return t.Completions / t.Seconds
}

// noise is the relative standard error of the rate.
func (t *Trial) noise() float64 {
	if t.Looks < 3 || t.SumX <= 0 {
		return 1
	}
	k := float64(t.Looks)
	mean := t.SumX / k
	variance := math.Max(0, t.SumXX/k-mean*mean) * k / (k - 1)
	return math.Sqrt(variance/k) / mean
}

func (t *Trial) add(w window) {
	dt := w.Elapsed.Seconds()
	x := float64(w.Completions) / dt
	t.Seconds += dt
	t.Completions += float64(w.Completions)
	t.InUse += w.InUseTime.Seconds()
	t.Looks++
	t.SumX += x
	t.SumXX += x * x
}

// move is what the learner wants after a look.
type move struct {
	limit  int // 0: no say
	reason sizing.Reason
	fast   bool // look again soon
}

// observe takes one window into account. limit is the pool's, low and high the
// walls that bind it, callers the number in the pool (in use + queued).
func (l *Learner) observe(cfg Config, at time.Duration, w window, limit, low, high int, callers float64, service time.Duration) move {
	saturated := w.saturated > 0.8 && w.inUse > 0.7*float64(min(limit, w.Limit))
	switch {
	case !saturated:
		l.Saturated = false
	case !l.Saturated:
		l.Saturated, l.SaturatedSince = true, at-w.Elapsed
	}
	if l.Episode {
		return l.trial(cfg, at, w, saturated, limit, low, high, callers, service)
	}
	if !saturated {
		return move{fast: w.saturated > 0}
	}
	if l.Known {
		return l.watch(cfg, at, w, limit, low, high, service)
	}
	if at-l.SaturatedSince < saturatedFor {
		return move{fast: true}
	}
	return l.begin(at, limit, service)
}

// begin starts an episode by measuring the limit that is in force.
func (l *Learner) begin(at time.Duration, limit int, service time.Duration) move {
	l.Episode, l.Verify, l.Base, l.Trials, l.IdleFor = true, false, limit, 0, 0
	l.Current = Trial{N: limit}
	l.From = at
	return move{limit: limit, reason: sizing.Learning, fast: true}
}

// try moves the limit to n, to be measured once the pool has settled: a lowered
// limit is reached when the surplus has been given back, a raised one when the
// new connections are open.
func (l *Learner) try(at time.Duration, n int, service time.Duration, reason sizing.Reason) move {
	l.Current = Trial{N: n}
	l.From = at + min(max(2*service, settleLeast), settleMost)
	l.IdleFor = 0
	return move{limit: n, reason: reason, fast: true}
}

// trial continues the measurement of the current limit.
func (l *Learner) trial(cfg Config, at time.Duration, w window, saturated bool, limit, low, high int, callers float64, service time.Duration) move {
	stay := move{limit: l.Current.N, reason: sizing.Learning, fast: true}
	if !saturated {
		// The queue is gone. A short gap may be a lull; a longer one means
		// that this limit serves the demand, or that the demand is gone.
		l.IdleFor += w.Elapsed
		if l.IdleFor > max(time.Second, 3*service) && at > l.From {
			return l.settle(at, limit)
		}
		return stay
	}
	l.IdleFor = 0
	if l.Current.N > high || l.Current.N < low {
		return l.conclude(cfg, at, low, high)
	}
	if at-w.Elapsed < l.From-fastLook/2 {
		if at > l.From+settleMost { // looks are slow; measure whatever comes
			l.From = at
		}
		return stay
	}
	if w.inUse < 0.85*float64(l.Current.N) && at < l.From+settleMost {
		return stay // still filling up, or still dialling
	}
	l.Current.add(w)
	if !l.done() {
		return stay
	}
	l.keep(l.Current)
	if l.Verify {
		return l.verified(cfg, at, low, high, service)
	}
	n := l.next(cfg, low, min(high, max(low, int(callers)-1)))
	if n == 0 || l.Trials == maxTrials {
		return l.conclude(cfg, at, low, high)
	}
	return l.try(at, n, service, sizing.Learning)
}

// done tells whether the current trial is known well enough.
func (l *Learner) done() bool {
	t := &l.Current
	if t.Seconds >= trialHard {
		return true
	}
	if t.Seconds < trialLeast || t.Completions < trialCompletions {
		return false
	}
	if best := l.best(); best >= 0 && t.rate() < trialPoor*l.Measured[best].rate() {
		return true
	}
	return t.noise() < trialNoise || t.Seconds >= trialMost
}

// keep files a trial in order of N; a second one at the same N replaces the first.
func (l *Learner) keep(t Trial) {
	i := 0
	for i < l.Trials && l.Measured[i].N < t.N {
		i++
	}
	if i < l.Trials && l.Measured[i].N == t.N {
		l.Measured[i] = t
		return
	}
	if l.Trials == maxTrials {
		return
	}
	copy(l.Measured[i+1:l.Trials+1], l.Measured[i:l.Trials])
	l.Measured[i] = t
	l.Trials++
}

// best is the index of the trial with the highest throughput, −1 without trials.
func (l *Learner) best() int {
	best := -1
	for i := range l.Trials {
		if best < 0 || l.Measured[i].rate() > l.Measured[best].rate() {
			best = i
		}
	}
	return best
}

// smallest is the index of the smallest limit that serves the objective as far
// as the trials tell.
func (l *Learner) smallest(o model.Objective) int {
	best := l.best()
	if best < 0 {
		return -1
	}
	if o == model.Latency {
		power, at := 0.0, best
		for i := range l.Trials {
			x := l.Measured[i].rate()
			if p := x * x / float64(l.Measured[i].N); p > power {
				power, at = p, i
			}
		}
		return at
	}
	tolerance := 0.03
	if o == model.Throughput {
		tolerance = 0.005
	}
	for i := range best {
		if l.Measured[i].rate() >= (1-tolerance)*l.Measured[best].rate() {
			return i
		}
	}
	return best
}

// next is the limit to measure next, or 0 when the knee is bracketed closely
// enough. It depends on the trials alone.
func (l *Learner) next(cfg Config, low, high int) int {
	best := l.best()
	bottom, top := l.Measured[0], l.Measured[l.Trials-1]
	x := l.Measured[best].rate()

	down, up := l.openBelow(low, x), l.openAbove(high, best)
	if down && up && l.Trials == 1 {
		// Nothing is known of the direction. A small limit costs little to
		// double; a large one costs little to halve.
		down = bottom.N > 8
		up = !down
	}
	if up {
		return min(high, top.N*2)
	}
	if down {
		return max(low, bottom.N/2)
	}

	// Both ends are closed: refine around the choice, first the side that may
	// hold a higher peak.
	choice := l.smallest(cfg.Objective)
	if best+1 < l.Trials {
		if n := between2(l.Measured[best].N, l.Measured[best+1].N, 1.5); n != 0 {
			return n
		}
	}
	if choice > 0 {
		if n := between2(l.Measured[choice-1].N, l.Measured[choice].N, 1.3); n != 0 {
			return n
		}
	}
	return 0
}

// openBelow tells whether a limit below the smallest trial may still be worth
// having. The rate per connection, X/n, is what one connection completes; it
// rises as the limit falls while connections hinder each other. Where it has
// nearly stopped rising, throughput falls with the limit from there on.
func (l *Learner) openBelow(low int, bestX float64) bool {
	bottom := &l.Measured[0]
	if bottom.N <= low {
		return false
	}
	if bottom.rate() < 0.5*bestX {
		return false
	}
	if l.Trials == 1 {
		return true
	}
	above := &l.Measured[1]
	rise := math.Log(bottom.rate()/float64(bottom.N)) - math.Log(above.rate()/float64(above.N))
	return rise/math.Log(float64(above.N)/float64(bottom.N)) > 0.38 // 30 % more per connection at half the limit
}

// openAbove tells whether a limit above the largest trial may serve more.
func (l *Learner) openAbove(high, best int) bool {
	top := &l.Measured[l.Trials-1]
	if top.N >= high {
		return false
	}
	if l.Trials == 1 {
		return true
	}
	// A doubling beyond the best that gained nothing closes the upper end.
	return float64(top.N) < 1.9*float64(l.Measured[best].N) && top.rate() > 0.9*l.Measured[best].rate()
}

// between2 is the whole number at the geometric middle of a and b, or 0 where
// they are within ratio of each other or have nothing between.
func between2(a, b int, ratio float64) int {
	if b-a < 2 || float64(b) < ratio*float64(a) {
		return 0
	}
	n := int(math.Round(math.Sqrt(float64(a) * float64(b))))
	return min(max(n, a+1), b-1)
}

// conclude ends an episode at the limit that its trials recommend.
func (l *Learner) conclude(cfg Config, at time.Duration, low, high int) move {
	l.Episode = false
	if l.Trials == 0 {
		return move{limit: min(max(l.Base, low), high), reason: sizing.Learning}
	}
	choice := l.smallest(cfg.Objective)
	best := l.best()
	n := l.Measured[choice].N
	l.Knee = l.interval(cfg, choice, best)
	l.PeakX, l.BestX = l.Measured[best].rate(), l.Measured[choice].rate()
	l.Known = true
	l.Store.HalfLife = storeHalfLife
	l.Store.Forget(0) // what is known of the noise stays
	l.Window, l.Far = Trial{}, 0
	l.VerifyEvery = verifyFirst
	l.VerifyAt = at + l.VerifyEvery
	reason := sizing.ServerSaturated
	switch {
	case n < l.Base:
		reason = sizing.PastKnee
	case n > l.Base:
		reason = sizing.BelowKnee
	}
	return move{limit: min(max(n, low), high), reason: reason}
}

// interval is the knee with what its trials cannot tell apart: every limit next
// to it whose throughput is within tolerance and noise of the peak.
func (l *Learner) interval(cfg Config, choice, best int) model.Knee {
	k := model.Knee{N: l.Measured[choice].N, SeenMin: float64(l.Measured[0].N), SeenMax: float64(l.Measured[l.Trials-1].N)}
	k.Lower, k.Upper = k.N, k.N
	peak := &l.Measured[best]
	for i := range l.Trials {
		t := &l.Measured[i]
		slack := 0.03 + 2*math.Hypot(min(t.noise(), 0.1), min(peak.noise(), 0.1))
		if t.rate() >= (1-slack)*peak.rate() {
			k.Lower, k.Upper = min(k.Lower, t.N), max(k.Upper, t.N)
		}
	}
	k.Identified = true
	switch {
	case l.Trials < 3:
		k.Identified, k.Missing = false, model.MissingPoints
	case best == l.Trials-1 && l.Measured[best].rate() > 1.07*l.Measured[best-1].rate():
		k.Identified, k.Missing = false, model.MissingAbove
	}
	return k
}

// settle ends an episode whose queue went away: the limit in force serves the
// demand, unless it was measured and found clearly worse than another.
func (l *Learner) settle(at time.Duration, limit int) move {
	l.Episode, l.Known = false, false
	n := l.Current.N
	if best := l.best(); best >= 0 {
		t := &l.Current
		for i := range l.Trials {
			if l.Measured[i].N == n {
				t = &l.Measured[i]
			}
		}
		if t.Seconds > 0 && t.rate() < 0.9*l.Measured[best].rate() {
			n = l.Measured[best].N
		}
	} else {
		n = l.Base
	}
	return move{limit: n, reason: sizing.Steady}
}

// watch looks, at the limit an episode ended at, for a change of the curve, and
// now and then tries another limit.
func (l *Learner) watch(cfg Config, at time.Duration, w window, limit, low, high int, service time.Duration) move {
	l.Window.add(w)
	if l.Window.Seconds < 0.5 || l.Window.Completions < 30 && l.Window.Seconds < 5 {
		return move{}
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
		m := l.begin(at, limit, service)
		m.reason = sizing.CapacityChanged
		return m
	}
	if at < l.VerifyAt {
		return move{}
	}
	l.Episode, l.Verify, l.Base, l.Trials = true, true, limit, 0
	l.keep(Trial{N: limit, Seconds: t.Seconds, Completions: t.Completions, InUse: t.InUse, Looks: t.Looks, SumX: t.SumX, SumXX: t.SumXX})
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

// verified ends the trial of one other limit: back, unless it was better.
func (l *Learner) verified(cfg Config, at time.Duration, low, high int, service time.Duration) move {
	l.Episode = false
	other := l.Current
	var base Trial
	for i := range l.Trials {
		if l.Measured[i].N == l.Base {
			base = l.Measured[i]
		}
	}
	gain := other.rate()/base.rate() - 1
	needed := 0.03 + 2*math.Hypot(other.noise(), base.noise())
	if other.N < l.Base {
		needed = -0.01 // fewer connections need only lose nothing
	}
	if gain > needed {
		l.Known = false
		m := l.begin(at, other.N, service)
		m.reason = sizing.CapacityChanged
		return m
	}
	l.VerifyEvery = min(2*l.VerifyEvery, verifyMost)
	l.VerifyAt = at + l.VerifyEvery
	return move{limit: l.Base, reason: sizing.ServerSaturated}
}
