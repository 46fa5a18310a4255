package autotune

import (
	"fmt"
	"time"

	"github.com/pgautotune/autotune/internal/ramp"
)

// opening is the gate's ramp (see package ramp) with the clock that it needs. Its fields
// are guarded by the gate's mutex.
type opening struct {
	ramp.Ramp
	timer *time.Timer // runs while somebody may be queued for the ramp; nil: not
}

// opened counts a connection that can serve.
func (g *gate) opened(took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opening.Opened(took)
	g.rebound()
}

// lost counts one of them that was closed.
func (g *gate) lost() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opening.Lost()
	g.rebound()
}

// notOpened lifts the ramp, because a connection could not be opened.
func (g *gate) notOpened() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opening.Failed()
	g.rebound()
}

// rebound lets in as many as the limit and the ramp allow now. mu is held.
func (g *gate) rebound() {
	limit := g.limit.Load()
	if limit < 0 {
		return
	}
	g.dials.Store(int64(g.opening.AtOnce()))
	g.reach.Store(int64(g.opening.Reach(int(limit))))
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
	if o := &g.opening; o.timer == nil && g.head != nil && g.reach.Load() < g.limit.Load() {
		o.Watch()
		o.timer = time.AfterFunc(ramp.Patience, g.impatient)
	}
}

// impatient widens the ramp if nothing was opened while the timer ran.
func (g *gate) impatient() {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := &g.opening
	o.timer = nil
	if g.head != nil {
		o.Waited()
	}
	g.rebound()
}

// errRamp is what a connection about to be opened gets that would be one more at once
// than the ramp allows. The permits see to that but for a moment at each hand-over: the
// next caller has the permit a moment before the connection is idle, and would open
// another. It tries again, as one who meets errFull, and finds the one given back.
var errRamp = fmt.Errorf("autotune: as many connections are being opened as may be at once: %w", errNoBudget)
