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
	g := p.gate.snapshot()
	t, _ := p.ledger.totals(now)
	c := p.counters()
	size := p.Size()
	canceled, failed := g.stat.canceled+p.ledger.canceledLate.Load(), p.ledger.failed.Load()
	obs := Observation{
		At: time.Since(o.start),
		Counters: controller.Counters{
			Arrivals:      t.completed + t.held + g.queued + canceled + failed,
			Completions:   t.completed,
			Canceled:      canceled,
			Failed:        failed,
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
			Budget: p.cfg.Budget, Peak: int(g.peak), Pinned: int(max(0, t.pinned-max(0, p.hijackedNow()-t.orphans))),
		},
		Server: w.server(),
		Host:   w.hostView(),
	}
	obs.Counters = monotonic(o.counters, obs.Counters)
	o.counters = obs.Counters

	granted := t.completed + t.held
	zeros := granted - o.granted - (g.stat.waits.total() - o.waits.total())
	obs.WaitP99 = g.stat.waits.quantile(&o.waits, zeros, 0.99)
	o.waits, o.granted = g.stat.waits, granted
	return obs
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
