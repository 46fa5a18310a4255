package autotune

import (
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

// Observation is one look at the pool, its server and its host.
type Observation = controller.Observation

// observer takes the tuner's looks at the pool. One goroutine uses it.
type observer struct {
	pool     *Pool
	start    time.Time
	waits    durations           // at the last look
	granted  int64               // at the last look
	counters controller.Counters // at the last look
}

// observe takes one look.
func (o *observer) observe(w *world) Observation {
	p := o.pool
	now := p.now()
	f := p.count(now, p.gate.snapshot)
	g, t := &f.gate, &f.totals
	c := p.counters()
	gen := p.routes.Load().current
	size := gen.size()
	obs := Observation{
		At: time.Since(o.start),
		Counters: controller.Counters{
			Arrivals:      f.arrivals(),
			Completions:   t.completed,
			Canceled:      f.canceled(),
			Failed:        f.failed,
			Waited:        g.stat.waited,
			WaitTime:      time.Duration(g.stat.waitNanos),
			ServiceTime:   t.service,
			InUseTime:     t.inUse,
			SaturatedTime: time.Duration(g.stat.busyNanos),
			ServiceTimeSq: t.serviceSq,
			Levels:        p.levels.snapshot(now),
		},
		Gauges: controller.Gauges{
			Limit: int(g.limit), Max: size.Max, Min: size.Min,
			InUse: int(g.inUse), Idle: int(c.idle), Queued: int(g.queued), Connecting: int(c.constructing),
			Room: gen.room, Budget: p.cfg.Budget, Peak: int(g.peak), Pinned: int(max(0, t.pinned-max(0, p.hijackedNow()-t.orphans))),
		},
		Server: w.server(),
		Host:   w.hostView(),
	}
	if g.reach < g.limit {
		obs.Gauges.Reach = int(g.reach)
	}
	obs.Counters = monotonic(o.counters, obs.Counters)
	o.counters = obs.Counters

	granted := t.granted()
	zeros := granted - o.granted - (g.stat.waits.total() - o.waits.total())
	obs.WaitP99 = g.stat.waits.quantile(&o.waits, zeros, 0.99)
	o.waits, o.granted = g.stat.waits, granted
	return obs
}

// flow is what became of all callers. Its parts are read one after the other while they
// go on: first what comes last on their way, so that nobody counts twice.
type flow struct {
	failed, canceledLate int64
	totals               serviceTotals
	opens                int64
	connecting           int64 // let in by the gate, and without a connection yet
	gate                 gateSnapshot
}

func (p *Pool) count(now int64, gate func() gateSnapshot) (f flow) {
	f.failed, f.canceledLate = p.ledger.failed.Load(), p.ledger.canceledLate.Load()
	f.totals, f.opens = p.ledger.totals(now)
	f.connecting = p.retrying.Load()
	for _, gen := range p.generationsAlive() {
		f.connecting += gen.inflight.Load()
	}
	f.gate = gate()
	return f
}

// canceled is how many gave up, queued or connecting.
func (f *flow) canceled() int64 { return f.gate.stat.canceled + f.canceledLate }

// arrivals is how many callers there were.
func (f *flow) arrivals() int64 {
	return f.totals.granted() + f.connecting + f.gate.queued + f.canceled() + f.failed
}

// monotonic evens out the instants between two atomics of one release, in which
// a hold is counted neither as running nor as done.
func monotonic(last, now controller.Counters) controller.Counters {
	now.Arrivals = max(now.Arrivals, last.Arrivals)
	now.Completions = max(now.Completions, last.Completions)
	now.InUseTime = max(now.InUseTime, last.InUseTime)
	now.WaitTime = max(now.WaitTime, last.WaitTime)
	now.SaturatedTime = max(now.SaturatedTime, last.SaturatedTime)
	return now
}
