package plant

import (
	"time"

	"github.com/pgautotune/autotune/internal/ramp"
)

// cold is the façade's ramp, with the clock that it needs. A pool that is not
// autotune's has none.
type cold struct {
	ramp.Ramp
	on     bool
	timing bool // timerRamp runs
}

// reach is how many permits may be in use at once.
func (g *gate) reach() int {
	if g.cold.on {
		return g.cold.Reach(g.limit)
	}
	return g.limit
}

// opened: one more connection can serve.
func (p *plant) opened(took time.Duration) {
	p.gate.cold.Opened(took)
	p.letIn()
}

// notOpened: a connection could not be opened, and everybody is let in.
func (p *plant) notOpened() {
	p.gate.cold.Failed()
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
	if o := &p.gate.cold; o.on && !o.timing && p.gate.anyone() && p.gate.reach() < p.gate.limit {
		o.timing = true
		o.Watch()
		p.timers.set(timerRamp, p.now+int64(ramp.Patience))
	}
}

// rampTimer widens the ramp if nothing was opened while it ran.
func (p *plant) rampTimer() {
	o := &p.gate.cold
	o.timing = false
	if p.gate.anyone() {
		o.Waited()
	}
	p.letIn()
}
