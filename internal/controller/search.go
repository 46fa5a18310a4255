package controller

import (
	"math"

	"github.com/pgautotune/autotune/internal/model"
)

// Where to look next: which limits an episode visits, and which one it chooses.
// Everything here depends on the trials so far, the prior and the walls.

// best is the index of the trial with the highest throughput, −1 without trials.
func (l *Learner) best() int { return l.highest((*Trial).rate) }

// highest is the index of the trial of the highest value, −1 without trials.
func (l *Learner) highest(value func(*Trial) float64) int {
	best := -1
	for i := range l.Trials {
		if best < 0 || value(&l.Measured[i]) > value(&l.Measured[best]) {
			best = i
		}
	}
	return best
}

// enough is the index of the smallest limit whose value is that of the best, less what
// the objective gives.
func (l *Learner) enough(o model.Objective, best int, value func(*Trial) float64) int {
	for i := range best {
		if value(&l.Measured[i]) >= (1-give(o))*value(&l.Measured[best]) {
			return i
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
	return l.enough(o, best, (*Trial).rate)
}

// give is the share of the peak throughput that an objective gives for a smaller
// limit.
func give(o model.Objective) float64 {
	if o == model.Throughput {
		return 0.005
	}
	return tolerance
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
		n := min(max(low, beyondPrior(prior)), high, 8*top.N)
		if 2*n <= bottom.N || n >= 2*top.N {
			return n
		}
	}
	down, up := l.openBelow(low, x), l.openAbove(high, best)
	if !up && l.doubtAbove(high) {
		return top.N // once more, before a stroke of bad luck ends the climb
	}
	if down && up {
		// Halving a large limit costs little, doubling it opens connections
		// that may be in each other's way; with a small one it is the reverse.
		down = bottom.N > 8
		up = !down
	}
	if up {
		n := l.stepAbove(&top)
		if prior >= 2*top.N { // the more are in use, the better what they do is known
			n = max(n, min(beyondPrior(prior), priorStep*top.N))
		}
		return min(high, n)
	}
	if down {
		if bottom.N >= farDown && !l.Relearns { // nothing is known of the curve
			return max(low, bottom.N/4) // too many by far, most likely, and a queue grows while it is found out
		}
		return max(low, bottom.N/2)
	}

	if n := l.scout(high, x); n != 0 {
		l.Scouted = true
		return n
	}

	// Both ends are closed: refine around the choice, first the side that may
	// hold a higher peak.
	choice := l.smallest(cfg.Objective)
	refine, again := refinements, duels
	if l.Wanders {
		refine, again = refine/2, again-1
	}
	if l.Refined < refine {
		if n := l.between(cfg.Objective, choice, best); n != 0 {
			l.Refined++
			return n
		}
	}
	if l.Duels >= again {
		return 0
	}
	n := l.duel(cfg.Objective, choice, best)
	if n != 0 {
		l.Duels++
	}
	return n
}

// scout is a limit far above the largest trial, once in an episode whose climb ended on a
// plateau although callers queue and the server's cores have little to run: a curve may
// have a second rise behind one. An exact scan whose callers share two cores with the
// server gives 5,100/s from 4 to 8 connections and 5,900 at 32. Not where the cores are
// unknown or busy, where it could only harm, nor where throughput falls already.
func (l *Learner) scout(high int, bestX float64) int {
	top := &l.Measured[l.Trials-1]
	idle := l.Cores > 0 && top.Censuses > 0 && !top.mostlyBusy(l.Cores)
	if l.Scouted || l.Relearns || !idle || top.N >= min(high, farDown) || top.rate() < scoutFrom*bestX {
		return 0
	}
	return min(high, scoutStep*top.N)
}

const (
	scoutStep = 4
	scoutFrom = 0.95 // of the best throughput, at the largest limit tried
)

// priorStep is how many times as large a limit the prior may lead to, beyond the first.
const priorStep = 4

// farDown is the limit from which an episode goes down by quarters: no server that has a
// knee so high loses much in the third of a second in which a quarter of it is tried.
const farDown = 32

// beyondPrior is the prior and half as much again: the first limit to try, on the side
// of the expected knee that costs little.
func beyondPrior(prior int) int { return prior + (prior+1)/2 }

// between is a limit between those measured that may be the peak, or may be the
// smallest that does; 0 when they are close enough together. The peak is looked for where
// the lines through the trials on either side leave most room for it.
func (l *Learner) between(o model.Objective, choice, best int) int {
	peak, most := 0, -math.Log(1-give(o))
	for i := max(0, best-1); i <= best && i+1 < l.Trials; i++ {
		if n, room := l.room(i, best); n != 0 && room > most {
			peak, most = n, room
		}
	}
	if peak != 0 {
		return peak
	}
	for _, i := range [...]int{best, best - 1, choice - 1} { // no curve is as smooth as that
		if i >= 0 && i+1 < l.Trials {
			if n := middle(l.Measured[i].N, l.Measured[i+1].N, 1.4); n != 0 {
				return n
			}
		}
	}
	return 0
}

// room is how much more than the best trial one between the i-th and the next can give,
// as a log ratio, and at which limit. On logarithmic scales a capacity curve bends down
// only, at most as steep as one connection's share, so that neither of the lines through
// the trials to the left and to the right can be crossed. n is 0 where the two trials are
// close enough together.
func (l *Learner) room(i, best int) (n int, room float64) {
	a, b := &l.Measured[i], &l.Measured[i+1]
	if n = middle(a.N, b.N, closest); n == 0 {
		return 0, 0
	}
	left := 1.0
	if i > 0 {
		left = min(left, slope(&l.Measured[i-1], a))
	}
	wide := math.Log(float64(b.N) / float64(a.N))
	at := 3 * wide / 4 // from a
	top := left * at
	if i+2 < l.Trials {
		right, rise := slope(b, &l.Measured[i+2]), math.Log(b.rate()/a.rate())
		if left > right { // where the lines cross
			at = min(max((rise-right*wide)/(left-right), wide/4), at)
		}
		top = min(left*at, rise+right*(at-wide))
	}
	n = min(max(int(math.Round(float64(a.N)*math.Exp(at))), a.N+1), b.N-1)
	return n, top - math.Log(l.Measured[best].rate()/a.rate())
}

// closest is the ratio of two limits between which there is nothing to look for: a peak
// between them is at most 7 % of the connections away from one of them.
const closest = 1.15

// duel is the limit to measure once more because it decides and is not known
// well enough: the choice or the peak it is compared with. 0 when it is clear
// which one serves the objective, or both were measured for long.
func (l *Learner) duel(o model.Objective, choice, best int) int {
	if c := &l.Measured[choice]; c.Seconds < confirmed && !c.Paired {
		return c.N // what was best of several was also lucky
	}
	if choice == best {
		if choice == 0 {
			return 0
		}
		choice-- // the next smaller one was turned down: rightly?
	}
	c, b := &l.Measured[choice], &l.Measured[best]
	long := duelMost
	if c.Paired && b.Paired {
		long /= 2
	}
	if c.Seconds >= long && b.Seconds >= long {
		return 0
	}
	gain, doubt := l.gain(c, b)
	if math.Abs(gain-math.Log(1-give(o))) > 1.5*doubt {
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
	if bottom.rate()*(1+l.error(bottom)) < 0.75*bestX {
		return false // pgvector's search dips by 14 % between two peaks, not by more
	}
	if l.Trials == 1 {
		return true
	}
	above := &l.Measured[1]
	for i := 2; i < l.Trials && 5*above.N < 7*bottom.N; i++ { // next to it, the slope would be that of the noise
		above = &l.Measured[i]
	}
	ratio := math.Log(float64(above.N) / float64(bottom.N))
	rise := (math.Log(bottom.rate()/float64(bottom.N)) - math.Log(above.rate()/float64(above.N))) / ratio
	// Half the limit gives as much if each connection completes twice as much, a slope
	// of 1; where throughput has fallen already, it takes more.
	needed := 1 + math.Log(bestX/bottom.rate())/max(ratio, math.Ln2)
	return rise > max(0.5, needed-openSlope)
}

// openAbove tells whether a limit above the largest trial may serve more: the
// largest is the best so far, and the last step up to it gained. A step from far
// below proves no gain at the top; what lies between is measured first.
func (l *Learner) openAbove(high, best int) bool {
	top := &l.Measured[l.Trials-1]
	if top.N >= high || top.fullyBusy(l.Cores) {
		return false
	}
	if l.Trials == 1 {
		return true
	}
	ratio := float64(top.N) / float64(l.Measured[l.Trials-2].N)
	slope := l.slope()
	return best == l.Trials-1 && (ratio < 2.5 && slope > stillRising || slope > nearlyLinear)
}

// stepAbove is the limit to try above the largest trial: its double, or where the cores
// were nearly always busy there, half as much again, because every connection has to be
// opened and few can be of use.
func (l *Learner) stepAbove(top *Trial) int {
	if top.mostlyBusy(l.Cores) {
		return top.N + (top.N+1)/2
	}
	return 2 * top.N
}

// slope is that of log X on log n up to the largest trial of two at least.
func (l *Learner) slope() float64 { return slope(&l.Measured[l.Trials-2], &l.Measured[l.Trials-1]) }

// slope is that of log X on log n from one trial to another.
func slope(from, to *Trial) float64 {
	return math.Log(to.rate()/from.rate()) / math.Log(float64(to.N)/float64(from.N))
}

// forAll is the limit that serves all callers at once, where the episode would end
// short of it and lose more than the objective gives; 0 otherwise. It cannot be a trial
// like others, because nobody queues there: that is why it is the last, and stays.
//
// How much is lost shows in how throughput rises with what is in use: where few more
// ask than are let in, a limit is not always filled, and the next seems to give less
// than it would. It is not trusted further than half as much again.
func (l *Learner) forAll(o model.Objective, callers, high int) int {
	choice, top := l.smallest(o), l.Trials-1
	n := callers
	c := &l.Measured[choice]
	if n <= c.N || 2*n > 3*c.N && n > c.N+1 || n > high || n <= l.Measured[top].N && l.at(n) != nil {
		return 0
	}
	slope := 1.0
	for i := choice; i >= 0; i-- { // from clearly below, or it is that of the noise
		if below := &l.Measured[i]; 4*l.Measured[top].N >= 5*below.N {
			slope = math.Log(l.Measured[top].rate()/below.rate()) / math.Log(l.Measured[top].concurrency()/below.concurrency())
			break
		}
	}
	wider := math.Log(float64(n) / float64(c.N))
	if o == model.Latency && 2*slope <= 1 || o != model.Latency && !(slope*wider > -math.Log(1-give(o))) {
		return 0
	}
	return n
}

// doubtAbove tells whether the largest trial, which ends the climb, was measured
// too shortly for that: throughput may still rise within three standard errors.
func (l *Learner) doubtAbove(high int) bool {
	top := &l.Measured[l.Trials-1]
	if l.Trials < 2 || l.best() < l.Trials-2 || top.N >= high || top.fullyBusy(l.Cores) || (top.Seconds >= confirmed || top.Paired) && top.Completions >= trialCompletions || top.Seconds >= trialEnd {
		return false
	}
	below := &l.Measured[l.Trials-2]
	ratio := float64(top.N) / float64(below.N)
	gain, doubt := l.gain(top, below)
	return ratio < 2.5 && gain+3*doubt > stillRising*math.Log(ratio)
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
