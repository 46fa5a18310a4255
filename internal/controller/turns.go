package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// A machine that is shared changes its speed from moment to moment, and what it does
// now it does for a while: on two virtual cores with busy neighbours, throughput at one
// limit had a standard deviation of 19 % over 50 ms, half of which was still there after
// 0.3 s, and 15 % over the 0.8 s of a trial. Two limits that are tried one after the
// other meet two machines. Tried by turns of a tenth of a second, they meet the same one:
// the ratio of neighbouring turns scatters by 15 %, that of trials by 17 %, of which a
// trial is one and turns are many.
//
// So where throughput scatters from look to look by more than counting explains, a trial
// takes turns with the limit that was best so far, its rival, and is worth what the rival
// is known to give times the ratio of the two. It also costs less: half of the time the
// best is in force. Where the machine is quiet, turns would only halve what is counted.

const (
	turnLook        = 50 * time.Millisecond // how often to look meanwhile
	turnLeast       = 0.095                 // seconds counted in each, two looks
	turnServices    = 5                     // or so many service times
	turnLongest     = 300 * time.Millisecond
	turnMost        = 0.29  // seconds of its own that a trial needs, where it is not close
	turnEnd         = 0.9   // and that it has at most
	turnCompletions = 30    // due in a turn, or counting would say more than the machine
	wanderLeast     = 2.0   // times the variance of counting that throughput scatters by beyond it
	wanderLooks     = 3     // that tell
	wanderNoise     = 0.034 // in a second, if looks were independent, that it must be: 11 % from look to look of 0.1 s
	wanderSpan      = 5.0   // seconds
	wanderSpans     = 60    // remembered
)

// Turns are those of the trial under way and its rival.
type Turns struct {
	Rival  Trial   // what the other limit gave in its turns; N is 0 where there is none
	Theirs bool    // it is the rival's turn
	Now    Trial   // being counted in this turn
	Mine   float64 // throughput of the turn before
	Pairs  float64 // of turns that are over
	Sum    float64 // of their log ratios
	Sq     float64 // of the squares of these
}

// inForce is the limit that is being counted.
func (l *Learner) inForce() int {
	if l.Turns.Theirs {
		return l.Turns.Rival.N
	}
	return l.Current.N
}

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
	return scatter-counted > math.Max(wanderLeast*counted, wanderNoise*wanderNoise*looks)
}

// takeTurns gives the trial that begins a rival, where that helps.
func (l *Learner) takeTurns(service time.Duration) {
	l.Turns = Turns{}
	best := l.best()
	if best < 0 || l.Verify || l.Made > 0 || l.Recalled > 0 || turnServices*service > turnLongest || !l.Wanders {
		return
	}
	if l.Measured[best].rate()*math.Max(turnLeast, turnServices*service.Seconds()) < turnCompletions {
		return
	}
	if rival := l.rival(best); rival != l.Current.N {
		l.Turns.Rival = Trial{N: rival}
	}
}

// rival is the limit to compare with: the best, or one that has been measured for longer
// and may be as good, because all that are compared with one limit are comparable, and the
// best of several is on the average overrated. Who is measured once more is compared with
// the best, the best itself with the limit below.
func (l *Learner) rival(best int) int {
	if l.at(l.Current.N) != nil {
		if l.Measured[best].N == l.Current.N && best > 0 {
			best--
		}
		return l.Measured[best].N
	}
	rival := best
	for i := range l.Trials {
		t := &l.Measured[i]
		if gain, doubt := l.gain(t, &l.Measured[best]); t.Seconds > l.Measured[rival].Seconds && gain > -doubt {
			rival = i
		}
	}
	return l.Measured[rival].N
}

// takeTurn counts a window, and tells whether the turn is over, and with it a pair.
func (l *Learner) takeTurn(w window, service time.Duration) (over, pair bool) {
	t := &l.Turns
	t.Now.add(w)
	if t.Now.Seconds < math.Max(turnLeast, turnServices*service.Seconds()) {
		return false, false
	}
	if t.Pairs == 0 && !t.Theirs && l.clear(&t.Now) {
		if t.Now.Seconds < trialLeast {
			return false, false
		}
		l.Current.join(&t.Now)
		*t = Turns{}
		return true, true
	}
	now := t.Now
	t.Now = Trial{}
	if !t.Theirs {
		l.Current.join(&now)
		t.Mine = now.rate()
		return true, false
	}
	t.Rival.join(&now)
	if t.Mine > 0 && now.rate() > 0 {
		r := math.Log(t.Mine / now.rate())
		t.Pairs++
		t.Sum += r
		t.Sq += r * r
	}
	return true, true
}

// clear tells whether the first turn is so far from what the rival gave that no machine
// is the reason, and the rival need not have its turn.
func (l *Learner) clear(now *Trial) bool {
	known := l.at(l.Turns.Rival.N)
	return known != nil && math.Abs(math.Log(math.Max(now.rate(), 1)/known.rate())) > math.Log(farRatio)
}

// turn lets the other one have its turn.
func (l *Learner) turn(at time.Duration) move {
	before := l.inForce()
	l.Turns.Theirs = !l.Turns.Theirs
	n := l.inForce()
	l.Moved, l.BackAt, l.Left = at, at, float64(max(before, n))
	l.From = at + turnLook
	return move{limit: n, reason: sizing.Learning, soon: turnLook}
}

// scale is what the turns have to be multiplied by to be of the speed that the machine
// had when the rival gave what is known of it.
func (l *Learner) scale() float64 {
	r := &l.Turns.Rival
	if known := l.at(r.N); r.N > 0 && known != nil && r.Completions > 0 {
		return known.rate() / r.rate()
	}
	return 1
}

// level is the trial under way at that speed.
func (l *Learner) level() Trial {
	if l.Turns.Rival.N == 0 {
		return l.Current
	}
	return l.Current.sped(l.scale())
}

// endTurns ends the trial with its rival, whose turns make what is known of it surer.
func (l *Learner) endTurns() {
	t := &l.Turns
	if t.Rival.N == 0 {
		return
	}
	l.Pairs.learnPairs(&l.Current, t)
	f := l.scale()
	counted := l.Current.Completions + t.Rival.Completions
	l.Counted, l.Leveled = l.Counted+counted, l.Leveled+f*counted
	l.Current = l.Current.sped(f)
	if l.at(t.Rival.N) != nil && t.Rival.Completions > 0 {
		l.keep(t.Rival.sped(f))
	}
	*t = Turns{}
}

// sped is a trial that took turns, on a machine so many times as fast.
func (t Trial) sped(f float64) Trial {
	t.Completions *= f
	t.SumXX *= f * f
	t.Paired = true
	return t
}

// absolute takes the trials of an episode from the speed that the machine had at the
// first of them to the mean of all.
func (l *Learner) absolute() {
	if l.Leveled > 0 {
		f := l.Counted / l.Leveled
		for i := range l.Trials {
			l.Measured[i].Completions *= f
			l.Measured[i].SumXX *= f * f
		}
	}
	l.Counted, l.Leveled = 0, 0
}

// Wander is how far throughput at rest is from its mean over wanderSpan: a machine whose
// speed changes within seconds too has not averaged out within the trial of another limit.
type Wander struct {
	Span  Trial   // being gathered
	Sum   float64 // of squared log ratios
	Spans float64
}

// add takes a window at rest, where expected per second is what was seen there so far.
func (w *Wander) add(t *Trial, expected float64) {
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
func (w *Wander) over(seconds float64) float64 {
	if w.Spans < 5 {
		return 0
	}
	return math.Sqrt(w.Sum / w.Spans * wanderSpan / math.Max(seconds, wanderSpan))
}

// surest is the choice among trials on a machine that wanders, and the best that it is
// compared with: each counts for half a standard error less than was measured, because of
// several that serve alike the one that was measured for the shortest is the luckiest.
func (l *Learner) surest(o model.Objective) (choice, best int) {
	sure := func(i int) float64 { return l.Measured[i].rate() * (1 - l.error(&l.Measured[i])/2) }
	for i := range l.Trials {
		if sure(i) > sure(best) {
			best = i
		}
	}
	for choice < best && sure(choice) < (1-give(o))*sure(best) {
		choice++
	}
	return choice, best
}

// learnPairs adds the scatter of a trial's pairs of turns.
func (n *Noise) learnPairs(mine *Trial, t *Turns) {
	if t.Pairs < 2 {
		return
	}
	seconds := mine.Seconds / t.Pairs
	scatter := (t.Sq - t.Sum*t.Sum/t.Pairs) * seconds
	counted := mine.counting()*mine.counting() + t.Rival.counting()*t.Rival.counting()
	n.Sum += math.Max(0, scatter-(t.Pairs-1)*counted*mine.Seconds)
	n.Looks += t.Pairs - 1
	if n.Looks > noiseMost {
		n.Sum *= noiseMost / n.Looks
		n.Looks = noiseMost
	}
}
