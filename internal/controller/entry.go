package controller

import (
	"math"
	"time"
)

// What comes back just after the limit was moved was let in at the one before, or by
// connections that have just been opened, and says nothing of this one yet, unless it is
// ruin.

// entering tells whether what comes back is no measure yet of the limit in force. soon is
// how long the looks are apart.
func (l *Learner) entering(at time.Duration, w window, n int, soon time.Duration) bool {
	if (l.Trials > 0 || n != l.Base) && w.dialling > 1 && dialShare*w.dialling > n && at < l.Begun+dialMost {
		l.Left = float64(n) // a new backend has everything to load and to plan: its first request is no measure either
		return true
	}
	if l.Left > 0 && at < l.Moved+turnoverMost {
		l.Left -= float64(w.Completions)
		if w.dialling == 0 {
			l.Entry.add(w)
		}
		if l.Left > 0 {
			return true
		}
	}
	if at-w.Elapsed < l.From-soon/2 {
		if at > l.From+settleMost { // looks are slow; measure whatever comes
			l.From = at
		}
		return true
	}
	return w.inUse < 0.85*float64(n) && at < l.From+settleMost // still filling up, or still dialling
}

const (
	ruinLeast    = 1.0 // seconds in which a limit that ruins the throughput shows, twice in a row: new backends are slow at first
	ruinServices = 5.0 // and service times at the best limit: those who are let in together first come back together
	ruinShare    = 0.5 // of the best throughput, by three standard errors
)

// ruins tells whether so little comes back at a limit above the best one, although nothing
// is being opened, that it is not waited for what was in use before: where 256 backends
// share what 128 fill, that takes ten seconds, at a fifth of the throughput.
func (l *Learner) ruins(n int) bool {
	best := l.best()
	if best < 0 || l.Verify || l.Turns.Rival.N > 0 || n <= l.Entry.N || n <= l.Measured[best].N {
		return false
	}
	b, e := &l.Measured[best], l.Entry
	if e.Seconds < math.Max(ruinLeast, ruinServices*b.concurrency()/b.rate()) {
		return false
	}
	poor := e.Completions+3*math.Sqrt(e.Completions+1) < ruinShare*b.rate()*e.Seconds
	if poor && l.Poor {
		return true
	}
	l.Entry, l.Poor = Trial{N: e.N}, poor
	return false
}
