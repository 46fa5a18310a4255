package plant

// ramp is the façade's: callers are let in no faster than connections open, see its
// ramp.go, whose constants these are. A pool that is not autotune's has none.
type ramp struct {
	on     bool
	open   int // connections that can serve
	least  int
	lifted bool
	timing bool // timerRamp runs
	seen   int64
}

const (
	rampLeast    = 8
	rampPatience = second / 4
)

// reach is how many permits may be in use at once.
func (g *gate) reach() int {
	if r := &g.ramp; r.on && !r.lifted {
		return min(g.limit, r.open+max(r.open, r.least, rampLeast))
	}
	return g.limit
}

// opened: one more connection can serve.
func (p *plant) opened() {
	r := &p.gate.ramp
	r.open++
	r.lifted, r.least = false, 0
	p.letIn()
}

// lost: one of them is closed.
func (p *plant) lost() { p.gate.ramp.open-- }

// notOpened: a connection could not be opened, and everybody is let in.
func (p *plant) notOpened() {
	p.gate.ramp.lifted = true
	p.letIn()
}

// letIn serves the queue as far as the limit and the ramp reach.
func (p *plant) letIn() {
	g := &p.gate
	for g.anyone() && g.inUse < g.reach() {
		g.inUse++
		p.grantFirst()
	}
	p.watchRamp()
}

// watchRamp sets the timer if somebody is queued for the ramp.
func (p *plant) watchRamp() {
	if r := &p.gate.ramp; r.on && !r.timing && p.gate.anyone() && p.gate.reach() < p.gate.limit {
		r.timing, r.seen = true, p.pool.connects
		p.timers.set(timerRamp, p.now+rampPatience)
	}
}

// rampTimer doubles the ramp if nothing was opened while it ran.
func (p *plant) rampTimer() {
	r := &p.gate.ramp
	r.timing = false
	if p.gate.anyone() && p.pool.connects == r.seen {
		r.least = 2 * max(r.open, r.least, rampLeast)
	}
	p.letIn()
}
