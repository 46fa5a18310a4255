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
	Noise    Noise            // of throughput, pooled over all trials
	From     time.Duration    // measuring starts: before it, the pool settles

	Knee  model.Knee // what the last episode found
	PeakX float64    // throughput there, per second
	BestX float64    // throughput measured at the limit it ended at

	SaturatedSince time.Duration // since when callers have queued without a break
	Saturated      bool
	Crowded        time.Duration // for how long the server has been crowded without a queue
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
	SumXX       float64 // sum over looks of (completions in the look)²/its seconds
}

// Noise is how much throughput scatters from look to look, pooled over trials: a
// single trial has too few looks to know. It starts as an assumption, worth
// noiseLooks looks.
type Noise struct {
	Sum   float64 // of squared relative deviations, × seconds
	Looks float64 // degrees of freedom behind it
}

const (
	noisePrior = 0.04 // relative, over one second: what a two-core machine that is not quiet shows
	noiseLooks = 4
)

// perSecond is the relative standard deviation of throughput over one second.
func (n Noise) perSecond() float64 {
	return math.Sqrt((n.Sum + noiseLooks*noisePrior*noisePrior) / (n.Looks + noiseLooks))
}

// learn adds a trial's own scatter.
func (n *Noise) learn(t Trial) {
	if x := t.rate(); t.Looks > 1 && x > 0 {
		// Σ dt(xᵢ−x)² = Σ dt·xᵢ² − T·x², with dt·xᵢ² = completions²/dt.
		n.Sum += math.Max(0, t.SumXX-t.Seconds*x*x) / (x * x)
		n.Looks += float64(t.Looks - 1)
	}
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
	trialNoise       = 0.04 // relative standard error; what decides is measured again
	duelMost         = 2.4  // seconds that a limit is measured for at most, to tell it from its rival
	tolerance        = 0.03 // of the peak throughput that "balanced" gives for a smaller limit
	trialPoor        = 0.7  // of the best so far, or the best of it: clearly apart, no need to know by how much

	// A change by this factor in consecutive windows is believed at once; a
	// smaller one has to stand out of the noise (see model.Drift).
	farRatio      = 1.5
	farWindows    = 2
	storeHalfLife = 2 * time.Minute

	// stillRising is the slope of log X on log n above which throughput still
	// rises: 5 % for a doubling.
	stillRising = 0.07

	crowdedFor = 2 * time.Second // a few looks at the server agree

	settleLeast = 100 * time.Millisecond
	settleMost  = 1500 * time.Millisecond
)

func (t *Trial) rate() float64 {
	if t.Seconds <= 0 {
		return 0
	}
	return t.Completions / t.Seconds
}

func (t *Trial) add(w window) {
	dt := w.Elapsed.Seconds()
	t.Seconds += dt
	t.Completions += float64(w.Completions)
	t.InUse += w.InUseTime.Seconds()
	t.Looks++
	t.SumXX += float64(w.Completions) * float64(w.Completions) / dt
}

// error is the relative standard error of a trial's throughput: the scatter
// between looks, and never less than the counting itself allows.
func (l *Learner) error(t *Trial) float64 {
	if t.Seconds <= 0 {
		return 1
	}
	counting := 0.3 / math.Sqrt(math.Max(t.Completions, 1)) // a closed loop counts more evenly than Poisson
	return math.Max(l.Noise.perSecond()/math.Sqrt(t.Seconds), counting)
}

// move is what the learner wants after a look.
type move struct {
	limit  int // 0: no say
	reason sizing.Reason
	soon   time.Duration // when to look again, 0: at the usual time
}

// observe takes one window into account. limit is the pool's, low and high the
// walls that bind it, callers the number in the pool (in use + queued).
func (l *Learner) observe(cfg Config, at time.Duration, w window, limit, low, high int, callers float64, est model.Estimate) move {
	service := est.Service
	saturated := w.saturated > 0.8 && w.inUse > 0.7*float64(min(limit, w.Limit))
	switch {
	case !saturated:
		l.Saturated = false
	case !l.Saturated:
		l.Saturated, l.SaturatedSince = true, at-w.Elapsed
	}
	if l.Episode {
		return l.trial(cfg, at, w, saturated, limit, low, high, callers, est)
	}
	if l.crowd(w, est) {
		l.Crowded += w.Elapsed
	} else {
		l.Crowded = 0
	}
	if l.Crowded >= crowdedFor {
		l.begin(at, limit, service)
		l.Crowded = 0
		return l.try(at, max(low, int(0.8*w.inUse)), service, sizing.Learning)
	}
	if !saturated {
		m := move{}
		if w.saturated > 0 {
			m.soon = fastLook
		}
		return m
	}
	if l.Known {
		return l.watch(cfg, at, w, limit, low, high, service)
	}
	if at-l.SaturatedSince < saturatedFor {
		return move{soon: fastLook}
	}
	return l.begin(at, limit, service)
}

// crowd tells whether the server is crowded although nobody queues, because the
// limit is above what callers ask for: at least twice as many connections in use
// as the prior finds useful, and the cores busy twice over. Throughput says
// nothing about capacity then, but the census does, and it takes a queue, made by
// a limit a little below what is in use, to learn more.
func (l *Learner) crowd(w window, est model.Estimate) bool {
	return est.Prior > 0 && est.Crowded && w.saturated < 0.05 && w.inUse >= 2*float64(est.Prior) && w.inUse >= 4
}

// begin starts an episode by measuring the limit that is in force.
func (l *Learner) begin(at time.Duration, limit int, service time.Duration) move {
	l.Episode, l.Verify, l.Base, l.Trials, l.IdleFor = true, false, limit, 0, 0
	l.Current = Trial{N: limit}
	l.From = at
	return move{limit: limit, reason: sizing.Learning, soon: fastLook}
}

// try moves the limit to n, to be measured once the pool has settled: a lowered
// limit is reached when the surplus has been given back, a raised one when the
// new connections are open.
func (l *Learner) try(at time.Duration, n int, service time.Duration, reason sizing.Reason) move {
	l.Current = Trial{N: n}
	l.From = at + min(max(2*service, settleLeast), settleMost)
	l.IdleFor = 0
	return move{limit: n, reason: reason, soon: fastLook}
}

// trial continues the measurement of the current limit.
func (l *Learner) trial(cfg Config, at time.Duration, w window, saturated bool, limit, low, high int, callers float64, est model.Estimate) move {
	service := est.Service
	stay := move{limit: l.Current.N, reason: sizing.Learning, soon: fastLook}
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
	l.Noise.learn(l.Current)
	l.keep(l.Current)
	if l.Verify {
		return l.verified(cfg, at, low, high, service)
	}
	n := l.next(cfg, low, min(high, max(low, int(callers)-1)), est.Prior)
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
	if best := l.best(); best >= 0 {
		if ratio := t.rate() / l.Measured[best].rate(); ratio < trialPoor || ratio > 1/trialPoor {
			return true
		}
	}
	return l.error(t) < trialNoise || t.Seconds >= trialMost
}

// keep files a trial in order of N, adding it to one at the same N.
func (l *Learner) keep(t Trial) {
	i := 0
	for i < l.Trials && l.Measured[i].N < t.N {
		i++
	}
	if i < l.Trials && l.Measured[i].N == t.N {
		m := &l.Measured[i]
		m.Seconds += t.Seconds
		m.Completions += t.Completions
		m.InUse += t.InUse
		m.Looks += t.Looks
		m.SumXX += t.SumXX
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
	give := tolerance
	if o == model.Throughput {
		give = 0.005
	}
	for i := range best {
		if l.Measured[i].rate() >= (1-give)*l.Measured[best].rate() {
			return i
		}
	}
	return best
}

// next is the limit to measure next, or 0 when the knee is bracketed closely
// enough. It depends on the trials and the prior alone.
func (l *Learner) next(cfg Config, low, high, prior int) int {
	best := l.best()
	bottom, top := l.Measured[0], l.Measured[l.Trials-1]
	x := l.Measured[best].rate()

	if l.Trials == 1 && prior > 0 {
		// Straight to where the knee is expected, half as much again to be on
		// the side that costs little; not further up than eight times, because
		// every new connection has to be opened.
		n := min(max(low, prior+(prior+1)/2), high, 8*top.N)
		if 2*n <= bottom.N || n >= 2*top.N {
			return n
		}
	}
	down, up := l.openBelow(low, x), l.openAbove(high, best)
	if down && up {
		// Halving a large limit costs little, doubling it opens connections
		// that may be in each other's way; with a small one it is the reverse.
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
		if n := middle(l.Measured[best].N, l.Measured[best+1].N, 1.4); n != 0 {
			return n
		}
	}
	if best > 0 {
		if n := middle(l.Measured[best-1].N, l.Measured[best].N, 1.4); n != 0 {
			return n
		}
	}
	if choice > 0 {
		if n := middle(l.Measured[choice-1].N, l.Measured[choice].N, 1.3); n != 0 {
			return n
		}
	}
	return l.duel(choice, best)
}

// duel is the limit to measure once more because it decides and is not known
// well enough: the choice or the peak it is compared with. 0 when it is clear
// which one serves the objective, or both were measured for long.
func (l *Learner) duel(choice, best int) int {
	if choice == best {
		if choice == 0 {
			return 0
		}
		choice-- // the next smaller one was turned down: rightly?
	}
	c, b := &l.Measured[choice], &l.Measured[best]
	if c.Seconds >= duelMost && b.Seconds >= duelMost {
		return 0
	}
	margin := math.Abs(math.Log(c.rate()/b.rate()) - math.Log(1-tolerance))
	if margin > 1.5*math.Hypot(l.error(c), l.error(b)) {
		return 0
	}
	if c.Seconds <= b.Seconds {
		return c.N
	}
	return b.N
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
	return rise/math.Log(float64(above.N)/float64(bottom.N)) > 0.5 // 41 % more per connection at half the limit
}

// openAbove tells whether a limit above the largest trial may serve more: the
// largest is the best so far, and the last step up to it gained. A step from far
// below proves no gain at the top; what lies between is measured first.
func (l *Learner) openAbove(high, best int) bool {
	top := &l.Measured[l.Trials-1]
	if top.N >= high {
		return false
	}
	if l.Trials == 1 {
		return true
	}
	below := &l.Measured[l.Trials-2]
	ratio := float64(top.N) / float64(below.N)
	return best == l.Trials-1 && ratio < 2.5 &&
		math.Log(top.rate()/below.rate())/math.Log(ratio) > stillRising
}

// middle is the whole number at the geometric middle of a and b, or 0 where
// they are within ratio of each other or have nothing between.
func middle(a, b int, ratio float64) int {
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
		slack := tolerance + 2*math.Hypot(min(l.error(t), 0.1), min(l.error(peak), 0.1))
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
		m := l.begin(at, limit, service)
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
func (l *Learner) verified(cfg Config, at time.Duration, low, high int, service time.Duration) move {
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
	l.Store.Forget(0)
	l.Window, l.Far = Trial{}, 0
	l.VerifyEvery = verifyFirst
	l.VerifyAt = at + l.VerifyEvery
	return move{limit: other.N, reason: reason}
}
