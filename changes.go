package autotune

import (
	"sync"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

// Change is a decision that moved the pool, or that has another reason or action
// than the one before it: what a person wants to see of a thousand looks.
type Change struct {
	N           int64 // 1, 2, 3, … since the pool was opened
	At          time.Time
	Observation Observation // its gauges are those before the change
	Decision    Decision
}

// CurvePoint is a limit that was tried on purpose, and the throughput it gave.
type CurvePoint = controller.Point

// changesKept is how many changes are kept for readers: a learner that is at it
// makes ten a second, so a reader may come every ten seconds. 64 are about 60 kB.
const changesKept = 64

const flipsToldEvery = time.Minute

// changes keeps the last changes and the curve behind them. It is safe for
// concurrent use.
type changes struct {
	mu   sync.Mutex
	ring [changesKept]Change // guarded by mu; change N is at N modulo its length
	n    int64               // guarded by mu: of the last one
}

// note keeps a decision if it is a change.
func (c *changes) note(at time.Time, obs *Observation, d *Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := &c.ring[c.n%changesKept]
	same := d.Reason == last.Decision.Reason && (d.Action == controller.Freeze) == (last.Decision.Action == controller.Freeze)
	g := &obs.Gauges
	moves := d.Limit != g.Limit || d.Max != g.Max || d.Min != g.Min
	if moves && same { // the same again is a swap that is tried once more
		o := &last.Observation.Gauges
		moves = g.Limit != o.Limit || g.Max != o.Max || g.Min != o.Min ||
			d.Limit != last.Decision.Limit || d.Max != last.Decision.Max || d.Min != last.Decision.Min
	}
	if c.n > 0 && same && !moves {
		return
	}
	// A queue that comes and goes flips the reason for holding many times a
	// second: the pair is told once a minute.
	before := &c.ring[(c.n+changesKept-1)%changesKept]
	if c.n > 1 && !moves && d.Action == controller.Hold && last.Decision.Action == controller.Hold &&
		d.Reason == before.Decision.Reason && at.Sub(last.At) < flipsToldEvery {
		return
	}
	c.n++
	c.ring[c.n%changesKept] = Change{N: c.n, At: at, Observation: *obs, Decision: *d}
}

// Changes returns the changes after the n-th, oldest first, as far as they are
// still kept: the last 64. It is empty when the controller is off.
func (p *Pool) Changes(n int64) []Change {
	c := &p.tuner.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Change
	for i := max(min(n, c.n), c.n-changesKept, 0) + 1; i <= c.n; i++ {
		out = append(out, c.ring[i%changesKept])
	}
	return out
}

// Curve returns the limits tried, in order, with what they gave: those of the
// last time the controller learned, and those tried since. Empty: none yet.
func (p *Pool) Curve() []CurvePoint {
	l := p.tuner.last.Load()
	if l == nil {
		return nil
	}
	return append([]CurvePoint(nil), l.curve...)
}

// Settings returns a copy of the configuration with every default filled in. Its
// Pool is what [Pool.Config] returns, passwords included: it is not for display.
func (p *Pool) Settings() *Config {
	cfg := *p.cfg
	cfg.Pool = p.Config()
	return &cfg
}
