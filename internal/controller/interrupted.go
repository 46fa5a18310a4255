package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

// A load may become another one while it is learned. What its trials said is void then,
// and the limit that is just being tried may be far too low for the new one.

// Shortfall is how far what comes back has been below what the trials of the episode
// promise, without a break.
type Shortfall struct {
	Seconds  float64
	Promised float64 // completions, at least
	Came     float64
	Here     Trial // of that, at the limit in force
}

const (
	shortFor      = 0.2  // seconds that a shortfall lasts before it is believed: the machine has shorter ones
	shortPromised = 40.0 // completions that were due by then, or it may be chance
)

// fallsShort tells whether so much less comes back at the limit in force than the trials
// of the episode promise that no machine is the reason. Connections that are being opened
// would be one.
func (l *Learner) fallsShort(n int, w window) bool {
	s, promised := &l.Short, l.promised(n)
	if l.Verify || l.Made > 0 || l.Recalled > 0 || w.dialling > 0 || promised == 0 {
		return false
	}
	s.Seconds += w.Elapsed.Seconds()
	s.Promised += promised * w.Elapsed.Seconds()
	s.Came += float64(w.Completions)
	if s.Here.N != n {
		s.Here = Trial{N: n}
	}
	s.Here.add(w)
	if beyondWander*s.Came >= s.Promised {
		*s = Shortfall{}
	}
	return s.Seconds >= shortFor && s.Promised >= shortPromised && s.Came > 0 // nothing at all is a stall
}

// promised is the least throughput to be expected at a limit: a capacity curve is concave
// up to its peak, so n connections give at least their share of what more of them give.
func (l *Learner) promised(n int) (x float64) {
	for i := range l.Trials {
		if t := &l.Measured[i]; t.N >= n {
			x = math.Max(x, t.rate()*float64(n)/float64(t.N))
		}
	}
	return x
}

// interrupted starts learning afresh, because the load has become another one.
func (l *Learner) interrupted(cfg Config, at time.Duration, n, low, high int, callers float64, est model.Estimate) move {
	base, seen := l.Base, l.Short.Here
	m := l.changed(cfg, at, seen, n, low, high, callers, est)
	if l.Episode {
		l.Base = base // the last good one
	}
	return m
}
