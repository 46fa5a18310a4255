package plant

import (
	"fmt"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

// How the live telemetry reads the server: once a second beside the loop, so that
// a look sees the reading that the look before has started; what is older than
// five seconds counts as out of sight.
const (
	readEvery  = second
	readSoon   = second / 5 // while the tuner looks ten times a second
	readServes = 5 * second
	wakeEvery  = second / 10
)

// looker takes the tuner's looks.
type looker struct {
	facade Facade
	next   int64 // ns until the look after a swap
	keen   bool  // the tuner asked for the next look so soon that it learns
	kicked bool  // a queue asked for a look during a swap

	inTx, atHome, lockWaits int

	seen   controller.Server
	seenAt int64 // when seen was read; below 0: never
	read   controller.Server
	readAt int64 // of a reading that no look has used yet; below 0: none

	busyAt   int64
	busyWork float64
	busy     float64
}

func (p *plant) openLook() {
	p.look.facade, _ = p.tuner.(Facade)
	p.look.seenAt, p.look.readAt = -1, -1
	p.timers.set(timerLook, 0)
}

// away counts a request that goes or comes back from where no resource serves it.
func (l *looker) away(s state, by int) {
	if s == inTx {
		l.inTx += by
	} else {
		l.atHome += by
	}
}

// wake brings the next look forward, because a caller queues.
func (p *plant) wake() {
	l := &p.look
	if l.facade == nil || p.now-p.gate.lastWake < wakeEvery && p.gate.lastWake >= 0 || l.facade.Calm() {
		return
	}
	p.gate.lastWake = p.now
	if p.swap.running() {
		l.kicked = true
		return
	}
	p.timers.set(timerLook, p.now)
}

// lookNow is one pass of the live tuner's loop.
func (p *plant) lookNow() {
	p.gate.lastWake = p.now
	o := p.observe()
	to, soon := p.tuner.Look(o)
	p.tally.looks++
	p.look.next = int64(p.cfg.Interval)
	p.look.keen = soon > 0 && int64(soon) <= readSoon/2
	if soon > 0 {
		p.look.next = min(p.look.next, max(int64(soon), int64(time.Millisecond)))
	}
	g := p.pool.newest()
	if to.Max > g.max && to.Max <= g.room && to.Min == g.min {
		if p.err = p.sane(to); p.err != nil {
			return
		}
		g.max = to.Max
		p.tally.resized(p.now, g.max)
		p.poke()
	}
	if (to.Max != g.max || to.Min != g.min) && p.now >= p.swap.retryAt {
		if p.err = p.sane(to); p.err == nil {
			p.startSwap(to) // the next look is set at its end
		}
		return
	}
	p.setLimit(to.Limit)
	p.timers.set(timerLook, p.now+p.look.next)
}

// lookAfter sets the look after a swap.
func (p *plant) lookAfter() {
	at := p.now + p.look.next
	if p.look.kicked {
		at = p.now
	}
	p.look.kicked = false
	p.timers.set(timerLook, at)
}

// observe fills what the live observer fills, from the same counters.
func (p *plant) observe() controller.Observation {
	g, t := &p.gate, &p.tally
	now := p.now
	for _, a := range []*area{&t.queue, &t.held} {
		a.advance(now)
	}
	idle := p.idleConns()
	canceled := g.canceled + g.canceledLate
	size := p.pool.newest()
	o := controller.Observation{
		At: time.Duration(now) + time.Millisecond, // the live loop's first look is not at 0 either
		Counters: controller.Counters{
			Arrivals:      t.all.arrivals,
			Completions:   g.completions,
			Canceled:      canceled,
			Failed:        g.failed,
			Waited:        g.waited,
			WaitTime:      time.Duration(t.queue.integral),
			ServiceTime:   time.Duration(t.held.sojourns),
			InUseTime:     time.Duration(t.held.integral),
			SaturatedTime: time.Duration(g.saturatedTime(now)),
			ServiceTimeSq: g.serviceSq,
			Levels:        g.levels.upTo(now),
		},
		Gauges: controller.Gauges{
			Limit: g.limit, Max: size.max, Min: size.min,
			Room: size.room, InUse: g.inUse, Idle: idle, Queued: g.queued, Connecting: p.pool.dialling,
			Budget: p.cfg.Pool.Budget, Peak: max(g.peak, g.inUse+g.queued), Pinned: p.pinned(),
		},
		WaitP99: g.waits.quantile(g.granted-g.grantedAtLook-g.waits.n, 0.99),
	}
	if n := g.reach(); n < g.limit {
		o.Gauges.Reach = n
	}
	g.waits.clear()
	g.grantedAtLook, g.peak = g.granted, 0
	o.Server, o.Host = p.census(idle)
	return o
}

func (p *plant) pinned() (n int) {
	if p.now < int64(controller.PinnedAfter) {
		return 0
	}
	for i := range p.pool.conns {
		c := &p.pool.conns[i]
		if r := c.owner; r >= 0 && p.requests[r].conn == int32(i) && p.requests[r].got > 0 && p.now-p.requests[r].got >= int64(controller.PinnedAfter) {
			n++
		}
	}
	return n
}

func (p *plant) idleConns() (n int) {
	for _, g := range p.pool.gens {
		n += len(g.idle)
	}
	return n
}

// census is what the telemetry knows at this look.
func (p *plant) census(idle int) (*controller.Server, *controller.Host) {
	l := &p.look
	if p.cfg.Telemetry.Off {
		return nil, nil
	}
	if l.readAt >= 0 && l.readAt < p.now {
		l.seen, l.seenAt, l.readAt = l.read, l.readAt, -1
	}
	every := int64(readEvery)
	if l.keen {
		every = readSoon
	}
	if !p.down && l.readAt < 0 && (l.seenAt < 0 || p.now-l.seenAt >= every) {
		l.readAt = p.now
		l.read = controller.Server{
			Ours: controller.Backends{
				OnCPU: int(p.tally.runnable.n), IO: p.io.busy + p.io.queued, Lock: l.lockWaits,
				IdleInTransaction: l.inTx, Idle: l.atHome + idle + len(p.swap.kept),
			},
			Others: p.others.Connections, Partial: p.cfg.Telemetry.Partial,
			MaxConnections: p.cfg.Server.MaxConnections, Reserved: p.cfg.Server.Reserved,
		}
		if v := p.cfg.Telemetry.Vectors; v > 0 {
			l.read.Vectors = controller.VectorFacts{Installed: true, Rows: v}
		}
		if p.cfg.Telemetry.SharedBox {
			l.read.Cores = p.cpu.law.cores
		}
		if dt := p.now - l.busyAt; dt > 0 {
			p.cpu.advance(p.now)
			l.busy = min(1, (p.cpu.busy-l.busyWork)/float64(dt)/float64(p.cpu.law.cores))
			l.busyAt, l.busyWork = p.now, p.cpu.busy
		}
	}
	var host *controller.Host
	if p.cfg.Telemetry.SharedBox {
		host = &controller.Host{CPU: l.busy, Cores: p.cpu.law.cores, SharedBox: true}
	}
	if l.seenAt < 0 || p.now-l.seenAt > readServes {
		return nil, host
	}
	seen := l.seen
	return &seen, host
}

// sane tells what is wrong with a size that a tuner asks for.
func (p *plant) sane(to Setting) error {
	switch {
	case p.cfg.Pool.Plain:
		return fmt.Errorf("plant: the tuner asks a plain pgxpool for max %d and min %d: its size cannot change", to.Max, to.Min)
	case to.Max < 1 || to.Min < 0 || to.Min > to.Max || to.Max > p.cfg.Pool.Budget:
		return fmt.Errorf("plant: the tuner asks for max %d and min %d: 1 ≤ max ≤ budget (%d) and 0 ≤ min ≤ max must hold", to.Max, to.Min, p.cfg.Pool.Budget)
	}
	return nil
}
