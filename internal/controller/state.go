package controller

import (
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// State is everything a controller remembers. It is a plain value: copying it is
// a snapshot, and the zero value has seen nothing.
type State struct {
	Looks    int64         // observations taken into account
	At       time.Duration // of the last one
	Counters Counters      // of the last one

	Demand  model.Demand
	History model.Histogram // of the true demand for connections, by time

	Occupancy model.Occupancy // throughput by connections in use, from the pool's own ups and downs
	Opened    bool            // the first connections are open: before, what is in use waits to be
	NaturalAt time.Duration   // when it last moved the limit; 0: never
	NaturalTo int             // where to
	// On how much evidence: see [model.Occupancy.Behind].
	NaturalSeen float64
	Holds       Holds // how long connections were held meanwhile
	// A curve beyond whose knee an episode then ends was none, as of requests now of
	// one kind and now of another: each time doubles the wait for the next to be believed.
	NaturalUpper int           // the upper end of that knee; 0: nothing was learned since to judge it by
	NaturalEvery time.Duration // from move to move
	// The last raise for a burst: from where to where.
	RaisedAt             time.Duration
	RaisedFrom, RaisedTo int
	LongHolds            int // windows in a row in which connections were held for longer than the knee explains

	LimitBefore int   // as decided before the last look
	Limit       int   // as decided last; the pool's own may differ if moved by hand
	Max         int   // the same of max
	PinnedDone  int64 // completions when all in use were pinned last
	Learn       Learner

	SeenAt   time.Duration // when the server was last seen
	Blind    bool
	Server   Server // the last one seen
	Censuses int64  // looks at which the server was seen
	// Computing and Waiting average over a few looks how many of the pool's
	// backends compute or want to, and how many wait for something else than
	// the CPU and each other: IO, their caller.
	Computing, Waiting float64
	Running            float64 // those on a core alone
	// Locked and Working average over half a minute how many wait for locks, and how
	// many are at work.
	Locked, Working float64

	Spare       Spare
	EnoughSince time.Duration // since when a smaller max has been enough
	StaleSince  time.Duration // since when another min has been right
	LastSwap    time.Duration // when a swap was last asked for; 0: never
	LastReason  sizing.Reason
}

// window is what happened between two looks.
type window struct {
	model.Window
	inUse     float64 // mean connections in use
	dialling  int     // connections that were being opened at its end
	reach     int     // how many the gate let in then, because no more were open; 0: as many as the limit
	saturated float64 // share of the time in which somebody queued, 0–1
	waited    float64 // share of the granted that had to queue, 0–1
}

// between makes the window of two consecutive observations. ok is false when no
// belief may rest on it: no time passed, too much did, or a counter fell.
func between(cfg Config, at time.Duration, last, now Counters, peak, limit int, lastAt time.Duration) (w window, ok bool) {
	w.Window = model.Window{
		Elapsed:       at - lastAt,
		Arrivals:      now.Arrivals - last.Arrivals,
		Completions:   now.Completions - last.Completions,
		Canceled:      now.Canceled - last.Canceled,
		Waited:        now.Waited - last.Waited,
		WaitTime:      now.WaitTime - last.WaitTime,
		ServiceTime:   now.ServiceTime - last.ServiceTime,
		InUseTime:     now.InUseTime - last.InUseTime,
		SaturatedTime: now.SaturatedTime - last.SaturatedTime,
		ServiceTimeSq: now.ServiceTimeSq - last.ServiceTimeSq,
		Peak:          peak,
		Limit:         limit,
	}
	if w.Elapsed <= 0 || w.Elapsed > max(longestWindow, 2*cfg.Interval) ||
		w.Arrivals < 0 || w.Completions < 0 || w.Canceled < 0 || w.Waited < 0 ||
		w.WaitTime < 0 || w.ServiceTime < 0 || w.InUseTime < 0 || w.SaturatedTime < 0 || !(w.ServiceTimeSq >= 0) {
		return w, false
	}
	dt := w.Elapsed.Seconds()
	w.inUse = w.InUseTime.Seconds() / dt
	w.saturated = min(1, w.SaturatedTime.Seconds()/dt)
	if w.Arrivals > 0 {
		w.waited = min(1, float64(w.Waited)/float64(w.Arrivals))
	}
	return w, true
}
