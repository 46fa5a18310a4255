// Package ramp decides how many callers may wait for a connection to be opened at once.
//
// In a pgxpool each caller that finds nothing idle waits for a connection opened for
// itself, however long that takes and whatever is given back meanwhile. A crowd that meets
// a cold pool then opens as many connections as it has heads, and the server starts all of
// them on the cores that its queries run on. With a ramp only a few are opened at once;
// the others queue, and get what comes free first, a new connection or one that is given
// back. HikariCP opens one at a time for the same reason.
//
// The package is pure: the live pool and the simulator use the same code.
package ramp

import (
	"math"
	"time"
)

// Ramp finds how many connections to open at once as TCP finds its window, from Least: one
// more for each connection that opened about as fast as the fastest did, which doubles the
// number in the time that one takes; one less for each that took twice as long, because
// they are in each other's way. Over a slow network that ends at all of them, on a busy
// server at a few.
//
// It is a courtesy and no wall. Where a connection fails to open everybody is let in, as
// without it, until one opens again; where none opens for Patience, twice as many are.
type Ramp struct {
	open    int           // connections that can serve a caller
	atOnce  int           // connections that may be opened at once
	fastest time.Duration // that one took to open, rising slowly
	lifted  bool
	quiet   bool // nothing has opened since Watch
}

const (
	// Least is the least default size of a pgxpool: one of that size has no ramp.
	Least = 4
	// Patience is longer than a server under load takes to start a backend, and than a
	// handshake with TLS around the world.
	Patience = 250 * time.Millisecond

	// alike and apart are how many times as long as the fastest a connection takes to
	// open that was not, and that was in the way of others.
	alike = 1.5
	apart = 2
	// forget is how much the fastest rises with each connection, so that a server that
	// has become slower for good is known after some hundreds; a crowd opens fewer.
	forget = 1.002
	most   = math.MaxInt32
)

// New is the ramp of a cold pool.
func New() Ramp { return Ramp{atOnce: Least} }

// AtOnce is how many connections may be opened at once.
func (r *Ramp) AtOnce() int {
	if r.lifted {
		return most
	}
	return r.atOnce
}

// Reach is how many connections may be in use at once, those being opened included.
func (r *Ramp) Reach(limit int) int { return min(limit, r.open+r.AtOnce()) }

// Opened counts a connection that can serve, and took so long to open.
func (r *Ramp) Opened(took time.Duration) {
	r.open++
	r.lifted, r.quiet = false, false
	took = max(took, 1)
	if r.fastest = time.Duration(math.Ceil(forget * float64(r.fastest))); r.fastest == 0 || took < r.fastest {
		r.fastest = took
	}
	switch ratio := float64(took) / float64(r.fastest); {
	case ratio <= alike:
		r.atOnce = min(r.atOnce+1, most)
	case ratio > apart:
		r.atOnce = max(r.atOnce-1, Least)
	}
}

// Lost counts one of them that was closed.
func (r *Ramp) Lost() { r.open-- }

// Failed lets everybody in, because a connection could not be opened.
func (r *Ramp) Failed() { r.lifted = true }

// Watch begins to see whether anything opens, because somebody waits.
func (r *Ramp) Watch() { r.quiet = true }

// Waited doubles the ramp where nothing has opened since Watch, which is for Patience, and
// somebody waits still.
func (r *Ramp) Waited() {
	if r.quiet {
		r.atOnce = min(2*r.atOnce, most)
	}
}
