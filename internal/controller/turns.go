package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/sizing"
)

// On a machine whose speed wanders, see wander.go, two limits that are tried one after
// the other meet two machines. Tried by turns of a tenth of a second, they meet the same
// one: the ratio of neighbouring turns scatters by 15 %, that of trials by 17 %, of which a
// trial is one and turns are many.
//
// So there a trial takes turns with the limit that was best so far, its rival, and is
// worth what the rival is known to give times the ratio of the two. It also costs less:
// half of the time the best is in force. Where the machine is quiet, turns would only halve
// what is counted.

const (
	turnLook        = 50 * time.Millisecond // how often to look meanwhile
	turnLeast       = 0.095                 // seconds counted in each, two looks
	turnServices    = 5                     // or so many service times
	turnLongest     = 300 * time.Millisecond
	turnMost        = 0.29 // seconds of its own that a trial needs, where it is not close
	turnEnd         = 0.9  // and that it has at most
	turnClear       = 1.7  // times as much, or as little: no machine is the reason
	turnCompletions = 30   // due in a turn, or counting would say more than the machine
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

// takeTurns gives the trial that begins a rival, where that helps.
func (l *Learner) takeTurns(service time.Duration) {
	l.Turns = Turns{}
	best := l.best()
	if best < 0 || l.Verify || l.Made > 0 || l.Recalled > 0 || turnServices*service > turnLongest || !l.Wanders {
		return
	}
	if l.Measured[best].rate()*turnSeconds(service) < turnCompletions {
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

// turnSeconds is how long a turn is counted.
func turnSeconds(service time.Duration) float64 {
	return math.Max(turnLeast, turnServices*service.Seconds())
}

// takeTurn counts a window, and tells whether the turn is over, and with it a pair.
func (l *Learner) takeTurn(w window, service time.Duration) (over, pair bool) {
	t := &l.Turns
	t.Now.add(w)
	if t.Now.Seconds < turnSeconds(service) {
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
	l.Current.Paired, t.Rival.Paired = true, true
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
	return known != nil && math.Abs(math.Log(math.Max(now.rate(), 1)/known.rate())) > math.Log(turnClear)
}

// turn lets the other one have its turn.
func (l *Learner) turn(at time.Duration) move {
	before := l.inForce()
	l.Turns.Theirs = !l.Turns.Theirs
	n := l.inForce()
	l.Moved, l.BackAt, l.Left = at, at, float64(max(before, n))
	l.From = at + turnLook
	return move{limit: n, reason: sizing.Learning, soon: turnLook, turn: true}
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

// sped is the trial on a machine so many times as fast.
func (t Trial) sped(f float64) Trial {
	t.Completions *= f
	t.SumXX *= f * f
	return t
}

// absolute takes the trials of an episode from the speed that the machine had at the
// first of them to the mean of all.
func (l *Learner) absolute() {
	if l.Leveled > 0 {
		f := l.Counted / l.Leveled
		for i := range l.Trials {
			l.Measured[i] = l.Measured[i].sped(f)
		}
	}
	l.Counted, l.Leveled = 0, 0
}

// learnPairs adds the scatter of a trial's pairs of turns.
func (n *Noise) learnPairs(mine *Trial, t *Turns) {
	if t.Pairs < 2 {
		return
	}
	seconds := mine.Seconds / t.Pairs
	scatter := (t.Sq - t.Sum*t.Sum/t.Pairs) * seconds
	counted := mine.counting()*mine.counting() + t.Rival.counting()*t.Rival.counting()
	n.add(math.Max(0, scatter-(t.Pairs-1)*counted*mine.Seconds), t.Pairs-1)
}
