package autotune

import (
	"fmt"
	"math"
	"time"
)

// ramp lets a crowd in that meets a cold pool no faster than connections open: as many
// callers may wait for a connection to be opened as are open already, and rampLeast at
// least. The others queue, and get what comes free first, a new connection or one that is
// given back. In a pool without it each caller that finds nothing idle waits for the
// connection opened for itself, however long that takes and whatever is given back
// meanwhile; and a hundred at once take a hundred times as long, because the server
// starts them on the cores that its queries run on.
//
// It is a courtesy and no wall. Where a connection fails to open everybody is let in, as
// without it, until one opens again; where none opens for rampPatience the ramp doubles.
//
// Its fields are guarded by the gate's mutex.
type ramp struct {
	open   int64 // connections that can serve a caller
	least  int64 // callers let in to have one opened, where fewer are open; 0: rampLeast
	lifted bool
	timer  *time.Timer // runs while somebody may be queued for the ramp; nil: not
	opens  int64       // ever
	seen   int64       // opens when the timer was set
}

const (
	// rampLeast are opened at once by the first callers of a cold pool. Fewer would
	// keep many cores idle where each connection is held for long.
	rampLeast = 8
	// rampPatience is longer than a server under load takes to start a backend, and
	// than a handshake with TLS around the world.
	rampPatience = 250 * time.Millisecond
)

// atOnce is how many connections may be opened at once.
func (r *ramp) atOnce() int64 {
	if r.lifted {
		return math.MaxInt32
	}
	return max(r.open, r.least, rampLeast)
}

// opened counts a connection that can serve.
func (g *gate) opened() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ramp.open++
	g.ramp.opens++
	g.ramp.lifted, g.ramp.least = false, 0
	g.rebound()
}

// lost counts one of them that was closed.
func (g *gate) lost() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ramp.open--
	g.rebound()
}

// notOpened lifts the ramp, because a connection could not be opened.
func (g *gate) notOpened() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ramp.lifted = true
	g.rebound()
}

// rebound lets in as many as the limit and the ramp allow now. mu is held.
func (g *gate) rebound() {
	limit := g.limit.Load()
	if limit < 0 {
		return
	}
	dials := g.ramp.atOnce()
	g.dials.Store(dials)
	g.reach.Store(min(limit, g.ramp.open+dials))
	for {
		s := g.state.Load()
		if queuedOf(s) == 0 || inUseOf(s) >= g.reach.Load() {
			break
		}
		if g.state.CompareAndSwap(s, s-queuedOne+1) {
			g.grantFirst()
		}
	}
	g.watchRamp()
}

// watchRamp sets the timer if somebody is queued for the ramp. mu is held.
func (g *gate) watchRamp() {
	if r := &g.ramp; r.timer == nil && g.head != nil && g.reach.Load() < g.limit.Load() {
		r.seen = r.opens
		r.timer = time.AfterFunc(rampPatience, g.impatient)
	}
}

// impatient doubles the ramp if nothing was opened while the timer ran.
func (g *gate) impatient() {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := &g.ramp
	r.timer = nil
	if g.head != nil && r.opens == r.seen {
		r.least = 2 * r.atOnce()
	}
	g.rebound()
}

// errRamp is what a connection about to be opened gets that would be one more at once
// than the ramp allows. The permits see to that but for a moment at each hand-over: the
// next caller has the permit a moment before the connection is idle, and would open
// another. It tries again, as one who meets errFull, and finds the one given back.
var errRamp = fmt.Errorf("autotune: as many connections are being opened as may be at once: %w", errNoBudget)
