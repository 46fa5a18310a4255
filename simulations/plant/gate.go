package plant

import "time"

// gate is the limit, as the façade's gate.go has it: a permit is handed from its
// releaser straight to the first in the queue; lowering the limit takes none away,
// the surplus is paid by the next releases. A plain pgxpool is the same with a
// limit that stays at max: its waiters are served in order too.
type gate struct {
	limit      int
	inUse      int // permits given, those that the pool itself holds to warm up included
	queued     int
	head, tail int32
	ahead      bool // the pool itself waits, ahead of all callers

	peak          int // highest in use + queued since the last look
	busySince     int64
	saturated     int64 // ns during which somebody was queued
	waited        int64 // granted after queueing
	canceled      int64 // while queued
	canceledLate  int64 // after the gate let them in
	failed        int64
	granted       int64
	completions   int64
	serviceSq     float64 // s²
	waits         coarse  // of the granted that queued, since the last look
	grantedAtLook int64
	lastWake      int64
	levels        occupancy
	cold          cold

	sampler Sampler // the tuner, if it wants to know of each request
}

// ask is a caller's acquire.
func (p *plant) ask(r int32) {
	g, q := &p.gate, &p.requests[r]
	p.tally.arrived(q.at)
	p.tally.present.enter(p.now)
	if !g.anyone() && g.inUse < g.reach() {
		if q.patience > 0 {
			p.timers.set(handle(ofRequest, r), p.now+q.patience)
		}
		g.inUse++
		g.notePeak()
		q.inFlight = int32(g.inUse)
		p.openFor(r)
		return
	}
	if g.queued >= p.cfg.MaxQueued {
		g.canceled++
		p.tally.turnedAway(q.at)
		p.sample(Sample{At: time.Duration(p.now), Queued: g.queued, GaveUp: true})
		p.drop(r, false)
		return
	}
	q.state, q.waited, q.since = asking, true, p.now
	q.next, q.prev = -1, g.tail
	if g.tail >= 0 {
		p.requests[g.tail].next = r
	} else {
		g.head = r
	}
	g.tail = r
	if !g.anyone() {
		g.busySince = p.now
	}
	g.queued++
	g.notePeak()
	p.tally.queue.enter(p.now)
	if q.patience > 0 {
		p.timers.set(handle(ofRequest, r), p.now+q.patience)
	}
	p.watchRamp()
	p.wake()
}

// anyone tells whether somebody is queued, the pool itself included.
func (g *gate) anyone() bool { return g.queued > 0 || g.ahead }

func (g *gate) notePeak() {
	n := g.inUse + g.queued
	if g.ahead {
		n++
	}
	g.peak = max(g.peak, n)
}

// unqueue takes a request out of the queue.
func (p *plant) unqueue(r int32) {
	g, q := &p.gate, &p.requests[r]
	if q.prev >= 0 {
		p.requests[q.prev].next = q.next
	} else {
		g.head = q.next
	}
	if q.next >= 0 {
		p.requests[q.next].prev = q.prev
	} else {
		g.tail = q.prev
	}
	q.next, q.prev = -1, -1
	g.queued--
	p.tally.queue.exit(p.now, q.since)
	p.calmed()
}

// calmed books the time somebody was queued, when nobody is any more.
func (p *plant) calmed() {
	if g := &p.gate; !g.anyone() {
		g.saturated += p.now - g.busySince
	}
}

// grantFirst gives the first in the queue the permit that has been booked.
func (p *plant) grantFirst() {
	g := &p.gate
	if g.ahead {
		g.ahead = false
		p.calmed()
		p.warmGranted()
		return
	}
	r := g.head
	q := &p.requests[r]
	wait := p.now - q.since
	p.unqueue(r)
	g.waited++
	g.waits.add(wait)
	q.inFlight = int32(g.inUse)
	p.openFor(r)
}

// release gives a permit back: to the first in the queue, unless it is owed.
func (p *plant) release() {
	g := &p.gate
	if !g.anyone() || g.inUse > g.reach() {
		g.inUse--
		return
	}
	p.grantFirst()
}

// setLimit moves the limit at once and serves the queue as far as it reaches.
func (p *plant) setLimit(n int) {
	g := &p.gate
	n = min(max(n, 1), p.pool.newest().max)
	if n == g.limit {
		return
	}
	g.limit = n
	p.tally.moved(p.now, n, p.pool.newest().max)
	p.letIn()
}

// giveUp ends a request whose patience ran out before it got a connection.
func (p *plant) giveUp(r int32) {
	g, q := &p.gate, &p.requests[r]
	wait := p.now - q.at
	permit := q.state != asking
	if permit {
		g.canceledLate++
		p.unopen(r)
	} else {
		g.canceled++
		p.unqueue(r)
	}
	p.tally.gaveUp(q.at, wait)
	p.drop(r, false)
	p.sample(Sample{At: time.Duration(p.now), Wait: time.Duration(wait), Queued: g.queued, GaveUp: true})
	if permit {
		p.release()
	}
}

// sample tells a tuner that follows each request.
func (p *plant) sample(s Sample) {
	if p.gate.sampler != nil {
		p.pending(p.gate.sampler.Completed(s))
	}
}

// pending moves the limit to what a Sampler asked for.
func (p *plant) pending(limit int) {
	if !p.swap.running() && limit != p.gate.limit {
		p.setLimit(limit)
	}
}

// saturatedTime is the time up to now during which somebody was queued.
func (g *gate) saturatedTime(now int64) int64 {
	if g.anyone() {
		return g.saturated + now - g.busySince
	}
	return g.saturated
}
