package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// At rest one other limit is tried now and then, beside the one in force: because some
// time has passed, or because more callers come than are served. This is when, which one,
// and what comes of it.

// nextStep is how far the next trial of another limit goes: half as far, and half of that,
// where those before it the same way were in vain.
func (l *Learner) nextStep() float64 {
	vain := l.VainDown
	if !l.VerifyUp { // it turns
		vain = l.VainUp
	}
	return math.Pow(verifyStep, math.Exp2(-float64(vain%verifyFiner)))
}

// growing tells whether the queue has become longer since another limit was tried last:
// the callers do not wait for each other, and more come than are served. Then the
// throughput that the tolerance gives away may be what is missing. By five standard errors
// it has to be, until it has been looked for on both sides, then by a third. Where it is
// four times as long and outruns what is served, that is known after a second.
func (l *Learner) growing(at time.Duration, callers float64) bool {
	if l.untried(at, callers) || l.outrun(at) && callers > outrunGrowth*l.CallersThen {
		return true
	}
	if at < max(l.RestedAt, l.SaturatedSince)+verifySoon {
		return false
	}
	if min(l.VainUp, l.VainDown) < verifyFiner && l.open() {
		return callers > l.CallersThen+5*math.Sqrt(callers)
	}
	return callers > 1.33*l.CallersThen+3*math.Sqrt(callers)
}

// untried tells whether it swells at a limit beside which no other has been tried since
// it rests there.
func (l *Learner) untried(at time.Duration, callers float64) bool {
	return l.swells(at, callers) && l.VerifyEvery == verifyFirst
}

// swells tells whether callers have queued for three seconds, there are four times as many
// as then, and more have come than were served, by three standard errors: that is no
// burst any more, and if it is, a trial is all that is lost. It notes how many there are
// where that has not been done since they began to queue.
func (l *Learner) swells(at time.Duration, callers float64) bool {
	if l.CallersThen == 0 {
		l.CallersThen, l.OtherWay = callers, false
	}
	return l.saturatedFor(at) >= swellsFor && callers > outrunGrowth*l.CallersThen && l.moreCame(l.Served.Completions, 3)
}

// open tells whether the callers do not wait for each other: how many there are has
// varied by more, since it rests here, than that of those who come back and pause does.
// Then a queue that does not end is one of hardly more than is served, and the
// throughput that the objective gives away would end it.
func (l *Learner) open() bool { return l.Longest-l.Fewest > 5*math.Sqrt(l.Longest) }

// overrun is how many times what this limit serves has asked for it since callers
// began to queue, and 1 as long as that may be chance, by five standard errors, or the
// limit serves less than it did, because the queries are other queries.
func (l *Learner) overrun(at time.Duration) (ratio float64) {
	served := l.BestX * l.saturatedFor(at).Seconds()
	if !l.moreCame(served, 5) || l.Served.Completions < served/farLeast {
		return 1
	}
	return l.Came / served
}

// verify begins the trial of one other limit, up to so many times the one in force,
// beside what was seen there.
func (l *Learner) verify(at time.Duration, t Trial, limit int, step float64, low, high int, est model.Estimate) move {
	l.Episode, l.Verify, l.Base, l.Trials = true, true, limit, 0
	if x, seconds, ok := l.Store.Near(at, t.concurrency()); ok { // what was seen since it rests here, not only the last window
		t = t.times(x * seconds / math.Max(t.Completions, 1))
		t.Seconds, t.Completions = seconds, x*seconds
	}
	t.N = limit
	if before, ok := l.seenAt(at, limit, &t); ok && before.Seconds > t.Seconds { // it has rested here before
		t = before
	}
	l.Current = t
	l.keep(t)
	n := l.other(limit, step, low, high, est)
	for range 2 * verifyFiner {
		if n == limit || !l.open() || !l.seenWorse(at, n, &t) {
			break
		}
		l.inVainAt(n)
		n = l.other(limit, l.nextStep(), low, high, est)
	}
	if n == limit {
		l.Episode, l.Verify = false, false
		l.VerifyAt = at + verifyMost
		if l.open() {
			l.VerifyAt = at + l.VerifyEvery
		}
		l.OverrunAt = l.VerifyAt
		return move{}
	}
	m := l.try(at, n, est.Service, sizing.Learning)
	l.VerifyUp = n > limit
	l.Before, _ = l.seenAt(at, n, &t)
	return m
}

// other is the limit beside the one in force whose turn it is, below and above in turn;
// the one in force where there is none.
func (l *Learner) other(limit int, step float64, low, high int, est model.Estimate) int {
	l.VerifyUp = !l.VerifyUp
	below, above := max(low, int(float64(limit)/step)), min(high, max(limit+1, int(math.Ceil(float64(limit)*step))))
	if est.Varied >= limit {
		below = limit // it is known
	}
	if l.VerifyUp && above != limit || below == limit { // else there is a wall above
		return above
	}
	return below
}

// seenWorse tells whether a limit was seen to give clearly less than the one in force.
func (l *Learner) seenWorse(at time.Duration, n int, here *Trial) bool {
	there, ok := l.seenAt(at, n, here)
	if !ok {
		return false
	}
	gain, doubt := l.advantage(&there, here)
	if there.Seconds >= besideLeast {
		return gain < -doubt
	}
	return gain < math.Log(1-tolerance)-2*doubt
}

// seenAt is what was seen of a limit since the last episode, as uneven as another trial.
func (l *Learner) seenAt(at time.Duration, n int, like *Trial) (t Trial, ok bool) {
	b := l.Seen.At(at, float64(n))
	if b.Completions == 0 || math.Round(b.N()) != float64(n) {
		return Trial{}, false
	}
	t = like.times(b.Completions / math.Max(like.Completions, 1))
	t.N, t.Seconds, t.Completions = n, b.Seconds, b.Completions
	return t, true
}

// advantage is the gain of a limit beside the one in force, and its standard error: over
// seconds a few slow requests do not average out.
func (l *Learner) advantage(t, than *Trial) (gain, doubt float64) {
	gain, doubt = l.gain(t, than)
	return gain, doubt * max(1, t.spread()/spreadMost)
}

// inVainAt counts a trial at n that was in vain, or would be.
func (l *Learner) inVainAt(n int) {
	if n > l.Base {
		l.VainUp++
	} else {
		l.VainDown++
	}
}

// verified ends the trial of one other limit: back, unless it serves the
// objective better. What the peak was when it was measured is carried along with
// the throughput at the limit in force, so that small losses do not add up.
//
// ok is false when the other limit gave so much more that the curve must be another
// one than was learned: then it is the first trial of a new episode.
func (l *Learner) verified(at time.Duration, o model.Objective) (m move, ok bool) {
	l.Episode, l.Verify = false, false
	l.Seen.Add(at, float64(l.Current.N), l.Current.Completions, l.Current.Seconds)
	other, base := l.Current.with(l.Before), Trial{}
	if b := l.at(l.Base); b != nil {
		base = *b
	}
	gain, doubt := l.advantage(&other, &base)
	wider := math.Log(float64(other.N) / float64(l.Base))
	another := math.Log(farLeast) // so much more, and it is another curve
	if o == model.Latency {       // a rising one is none
		another += math.Max(0, wider)
	}
	switch {
	case !l.better(o, gain, doubt, wider):
		return l.stayBeside(at, other.N), true
	case gain > another+2*doubt:
		l.beginFrom(at, other.N, 1, other)
		return move{}, false
	}
	return l.moveBeside(at, other, base.rate(), doubt), true
}

// better tells whether a limit that gives so much more throughput than the one in force, as
// a log ratio with its standard error, and is so much wider, serves the objective better.
func (l *Learner) better(o model.Objective, gain, doubt, wider float64) bool {
	up := wider > 0
	switch power := 2*gain - wider; { // throughput over response time, X²/n
	case o == model.Latency && up:
		return power > 0 && power > 4*doubt
	case o == model.Latency:
		return power > 0
	case up:
		return gain > give(o)+2*doubt || l.open() && gain > doubt
	}
	peak := math.Max(0, math.Log(l.PeakX/l.BestX)) // over the limit in force
	return gain > 0 || !l.open() && gain-doubt > math.Log(1-give(o))+peak
}

// stayBeside goes back from a trial of n that was in vain, and puts the next one off.
func (l *Learner) stayBeside(at time.Duration, n int) move {
	most := verifyMost
	if l.Grows && l.open() || l.saturatedFor(at) >= l.VerifyEvery {
		most = verifyQueued
	}
	l.inVainAt(n)
	l.VerifyEvery = min(2*l.VerifyEvery, most)
	l.VerifyAt, l.RestedAt = at+l.VerifyEvery, at
	l.OverrunAt = l.VerifyAt
	l.OtherWay = l.Grows && !l.OtherWay
	if !l.OtherWay { // else it has answered half of the question
		l.CallersThen = 0
	}
	return move{limit: l.Base, reason: sizing.ServerSaturated, soon: watchLook}
}

// moveBeside stays at the other limit, which is better than the one that gave base per
// second, and goes on the same way soon.
func (l *Learner) moveBeside(at time.Duration, other Trial, base, doubt float64) move {
	reason := sizing.PastKnee
	if other.N > l.Base {
		reason = sizing.BelowKnee
		l.PeakX = math.Max(l.PeakX, other.rate())
	} else {
		// What was for the better was on the average also lucky: the peak is further
		// above it than it seems.
		l.PeakX = math.Max(other.rate(), l.PeakX*base/l.BestX) * math.Exp(doubt)
	}
	l.BestX = other.rate()
	k, n := &l.Knee, other.N
	k.N, k.Lower, k.Upper = n, min(k.Lower, n), max(k.Upper, n)
	k.SeenMin, k.SeenMax = math.Min(k.SeenMin, float64(n)), math.Max(k.SeenMax, float64(n))
	l.correct(at)
	fewest, longest := l.Fewest, l.Longest
	l.rest(at, other.Seconds)
	l.Fewest, l.Longest = fewest, longest // they are the same callers
	l.VerifyUp = n < l.Base
	l.VerifyAt = at + verifySoon
	return move{limit: n, reason: reason, soon: watchLook}
}

// goBack moves to a limit that was seen to give more than the one in force, at rest or
// beside it, since the last episode. Where callers of an open load queue without end, the
// limits to choose from differ by less than one trial tells; what all of them gave does.
func (l *Learner) goBack(o model.Objective, at time.Duration, t Trial, limit, low, high int) move {
	if o == model.Latency || !l.open() || at < max(l.RestedAt, l.SaturatedSince)+verifySoon {
		return move{}
	}
	here, ok := l.seenAt(at, limit, &t)
	if !ok {
		return move{}
	}
	best, most := Trial{}, 0.0
	for n := max(low, (limit+1)/2); n <= min(high, 2*limit); n++ {
		there, ok := l.seenAt(at, n, &here)
		if n == limit || !ok || there.Seconds < besideLeast {
			continue
		}
		if gain, doubt := l.advantage(&there, &here); gain-backDoubts*doubt > most {
			best, most = there, gain-backDoubts*doubt
		}
	}
	if best.N == 0 {
		return move{}
	}
	l.Base = limit
	return l.moveBeside(at, best, here.rate(), 0)
}

const (
	// seenHalfLife is how long what was seen at a limit counts while others are in force.
	seenHalfLife = 5 * time.Minute
	besideLeast  = 3.0 // seconds of a limit that count beside what was seen of it before
	backDoubts   = 2.0 // standard errors
)
