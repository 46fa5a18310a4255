package plant

import (
	"fmt"
	"time"

	"github.com/pgautotune/autotune/internal/ramp"
)

// pool is the connections of all generations, and the budget over them.
type pool struct {
	conns    []conn
	free     int32
	open     int // tokens of the budget that are taken: dialling, open, or closing
	gens     []*generation
	stranded []int32 // requests with a permit that wait for the budget or for room
	connects int64
	dialling int
}

// generation is one pgxpool.Pool under the façade.
type generation struct {
	max, min int
	room     int     // what max can grow to without a swap
	total    int     // connections, those being dialled included
	held     int     // by requests
	idle     []int32 // connections; the one used last is at the end and used first, as in puddle
	retired  bool
}

// conn is a connection, from its dial until its backend is gone.
type conn struct {
	gen    *generation
	owner  int32 // the request that holds it or is waiting for its dial; nobody, or forWarming
	born   int64 // when it was dialled, and when it opened
	used   int64 // when it was last given back
	cold   int32 // how many of its first queries are to come
	state  connState
	dead   bool // the server has lost it; nobody here knows
	permit bool // gives a permit back when it is gone
	slot   bool // the server counts it
	next   int32
}

type connState uint8

const (
	closed connState = iota
	dialling
	forking // the server does its part of a dial, on its CPU
	idle
	held
	closing
)

const (
	nobody     int32 = -1
	forWarming int32 = -2
)

// current is the generation that callers get, during a hand-over the old one;
// newest is the one that stays.
func (p *pool) current() *generation { return p.gens[0] }
func (p *pool) newest() *generation  { return p.gens[len(p.gens)-1] }

func (p *plant) openPool(s Setting) error {
	if s.Max < 1 || s.Min < 0 || s.Min > s.Max || s.Limit < 1 || s.Limit > s.Max || s.Max > p.cfg.Pool.Budget {
		return fmt.Errorf("plant: the tuner starts with limit %d, max %d, min %d: 1 ≤ limit ≤ max ≤ budget (%d) and 0 ≤ min ≤ max must hold", s.Limit, s.Max, s.Min, p.cfg.Pool.Budget)
	}
	p.pool.free = -1
	p.gate.head, p.gate.tail = -1, -1
	p.gate.lastWake = -never
	p.gate.limit = s.Limit
	_, facade := p.tuner.(Facade)
	p.gate.cold = cold{Ramp: ramp.New(), on: facade}
	p.pool.gens = []*generation{p.generation(s)}
	p.tally.moved(0, s.Limit, s.Max)
	if p.cfg.Pool.Plain {
		p.openMin()
	} else {
		p.startWarming(nil, p.pool.newest(), s.Min)
	}
	return nil
}

// generation is a new one of that size.
func (p *plant) generation(s Setting) *generation {
	g := &generation{max: s.Max, min: s.Min, room: s.Max}
	if !p.cfg.Pool.Plain {
		g.room = p.cfg.Pool.Budget
	}
	return g
}

// openMin dials what a pgxpool lacks of its min, all at once.
func (p *plant) openMin() {
	g := p.pool.newest()
	for g.total < g.min && p.pool.open < p.cfg.Pool.Budget {
		p.dial(g, nobody)
	}
}

// openFor gets a request that has a permit its connection: an idle one, or one
// that is dialled for it. During a hand-over both generations serve: what is idle
// in the new one first, then in the old one; new ones are dialled in the new one.
func (p *plant) openFor(r int32) {
	q := &p.requests[r]
	q.state = opening
	for _, g := range [2]*generation{p.pool.newest(), p.pool.current()} {
		for len(g.idle) > 0 {
			c := g.takeIdle()
			if k := &p.pool.conns[c]; k.dead && p.now-k.used > second {
				p.close(c) // pgxpool pings what was idle for a second
				continue
			}
			p.begin(r, c)
			return
		}
	}
	g := p.pool.newest()
	if g.total >= g.max || p.pool.open >= p.cfg.Pool.Budget {
		q.state = stranded
		p.pool.stranded = append(p.pool.stranded, r)
		return
	}
	q.conn = p.dial(g, r)
}

const second = int64(1e9)

func (g *generation) takeIdle() int32 {
	c := g.idle[len(g.idle)-1]
	g.idle = g.idle[:len(g.idle)-1]
	return c
}

// poke lets stranded requests try again, because something came free.
func (p *plant) poke() {
	if len(p.pool.stranded) > 0 {
		waiting := p.pool.stranded
		p.pool.stranded = nil
		for _, r := range waiting {
			p.openFor(r)
		}
	}
	p.warmPoked()
}

// unopen takes back what a request without a connection has begun. A dial goes
// on and ends idle, as in puddle.
func (p *plant) unopen(r int32) {
	q := &p.requests[r]
	p.timers.stop(handle(ofRetry, r))
	if q.conn >= 0 {
		p.pool.conns[q.conn].owner = nobody
	}
	if q.state == stranded {
		for i, s := range p.pool.stranded {
			if s == r {
				p.pool.stranded = append(p.pool.stranded[:i], p.pool.stranded[i+1:]...)
				break
			}
		}
	}
}

// begin gives a request its connection.
func (p *plant) begin(r, c int32) {
	q, k := &p.requests[r], &p.pool.conns[c]
	if q.patience > 0 {
		p.timers.stop(handle(ofRequest, r))
	}
	k.state, k.owner = held, r
	k.gen.held++
	q.conn, q.got = c, p.now
	p.gate.granted++
	p.tally.held.enter(p.now)
	p.gate.levels.change(p.now, p.gate.inUse)
	p.startStage(r)
}

// giveBack ends the hold of a request: whole, or because its connection is lost.
func (p *plant) giveBack(r int32, whole bool) {
	q := &p.requests[r]
	c, g := q.conn, &p.gate
	k := &p.pool.conns[c]
	service := p.now - q.got
	p.tally.held.exit(p.now, q.got)
	g.levels.leave(p.now, g.inUse, g.anyone() && g.inUse <= g.reach())
	k.gen.held--
	g.completions++
	sec := float64(service) / 1e9
	g.serviceSq += sec * sec
	p.tally.completed(q.at, q.got, p.now, whole, q.waited)
	s := Sample{At: time.Duration(p.now), Wait: time.Duration(q.got - q.at), Service: time.Duration(service), InFlight: int(q.inFlight), Queued: g.queued}
	p.drop(r, whole)
	p.sample(s)
	k = &p.pool.conns[c] // a higher limit may have dialled, and the slab moved
	k.owner, k.used = nobody, p.now
	switch life := int64(p.cfg.Pool.MaxLifetime); {
	case !whole:
		k.permit = true
		p.close(c)
		return
	case k.gen.retired || life > 0 && p.now-k.born > life:
		p.close(c)
	default:
		k.state = idle
		k.gen.idle = append(k.gen.idle, c)
	}
	p.release()
	p.poke()
}

// dial opens a connection. It takes a token of the budget; the caller has seen
// that there is one.
func (p *plant) dial(g *generation, owner int32) int32 {
	c := p.pool.free
	if c < 0 {
		c = int32(len(p.pool.conns))
		p.pool.conns = append(p.pool.conns, conn{})
	} else {
		p.pool.free = p.pool.conns[c].next
	}
	p.pool.conns[c] = conn{gen: g, owner: owner, state: dialling, born: p.now}
	g.total++
	p.pool.open++
	p.pool.dialling++
	p.tally.opened(p.now, p.pool.open)
	p.timers.set(handle(ofConn, c), p.now+p.connect)
	return c
}

// connTimer: the network's part of a dial is over, or the backend of a closed
// connection is gone.
func (p *plant) connTimer(c int32) {
	k := &p.pool.conns[c]
	if k.state == closing {
		p.gone(c)
		return
	}
	if p.down || p.serverConns >= p.room()-p.others.Connections {
		p.refused(c)
		return
	}
	p.serverConns++
	k.state, k.slot = forking, true
	if d := float64(p.cfg.Server.ConnectCPU); d > 0 {
		p.cpu.join(p.now, d, ^c)
		return
	}
	p.connected(c)
}

// connected ends a dial.
func (p *plant) connected(c int32) {
	p.pool.dialling--
	p.pool.connects++
	took := time.Duration(p.now - p.pool.conns[c].born)
	p.handOut(c)
	p.opened(took)
}

// handOut gives a new connection to the one it was dialled for.
func (p *plant) handOut(c int32) {
	k := &p.pool.conns[c]
	k.born, k.used, k.cold = p.now, p.now, int32(p.cfg.Server.ColdQueries)
	switch owner := k.owner; {
	case owner >= 0:
		p.begin(owner, c)
		return
	case owner == forWarming:
		k.state = held
		p.warmOpened(c)
		return
	}
	p.shelve(c)
	p.poke()
}

// shelve makes a connection idle, or closes it if its generation is over.
func (p *plant) shelve(c int32) {
	k := &p.pool.conns[c]
	k.owner, k.used = nobody, p.now
	if k.gen.retired {
		p.close(c)
		return
	}
	k.state = idle
	k.gen.idle = append(k.gen.idle, c)
}

// refused ends a dial that the server turned away. An acquire tries again with
// exponential backoff, for as long as ConnectRetry allows.
func (p *plant) refused(c int32) {
	k := &p.pool.conns[c]
	owner := k.owner
	p.pool.dialling--
	p.gone(c)
	if owner == forWarming {
		p.warmRefused()
		return
	}
	if owner < 0 {
		return
	}
	p.notOpened()
	q := &p.requests[owner]
	q.conn = -1
	if q.retryEnd == 0 {
		q.retryEnd = p.now + max(0, int64(p.cfg.Pool.ConnectRetry))
	}
	pause := 20e6 // ns; backoff/v5: half as much again each time, spread by half
	for range q.retries {
		pause = min(pause*1.5, 500e6)
	}
	q.retries = min(q.retries+1, 20)
	at := p.now + int64(pause*(0.5+p.backoff.Float64()))
	if at > q.retryEnd {
		p.gate.failed++
		p.timers.stop(handle(ofRequest, owner))
		p.tally.failed(q.at)
		p.drop(owner, false)
		p.release()
		return
	}
	p.timers.set(handle(ofRetry, owner), at)
}

// close closes a connection that was open and is in nobody's hands. The token comes back when
// its backend is gone.
func (p *plant) close(c int32) {
	k := &p.pool.conns[c]
	k.state, k.owner = closing, nobody
	p.gate.cold.Lost()
	if k.dead {
		p.gone(c)
		return
	}
	p.timers.set(handle(ofConn, c), p.now+int64(p.cfg.Server.CloseLatency))
}

// gone frees the token and the slot of a connection.
func (p *plant) gone(c int32) {
	k := &p.pool.conns[c]
	g, permit := k.gen, k.permit
	if k.slot {
		p.serverConns--
	}
	g.total--
	p.pool.open--
	p.tally.opened(p.now, p.pool.open)
	*k = conn{next: p.pool.free}
	p.pool.free = c
	if p.swap.closing == c {
		p.swap.closing = -1
	}
	if permit {
		p.release()
	}
	p.generationShrunk(g)
	p.poke()
}

// reap is pgxpool's health check: it opens what is missing of min, and closes
// what has lived or idled for too long.
func (p *plant) reap() {
	g := p.pool.newest()
	p.openMin()
	conns := g.idle
	g.idle = nil
	total, destroyed := g.total, false
	var keep []int32
	for i := len(conns) - 1; i >= 0; i-- { // it takes all and puts them back: their order is reversed
		c := conns[i]
		k := &p.pool.conns[c]
		life, rest := int64(p.cfg.Pool.MaxLifetime), int64(p.cfg.Pool.MaxIdle)
		if life > 0 && p.now-k.born > life && total >= g.min || rest > 0 && p.now-k.used > rest && total > g.min {
			total--
			destroyed = true
			p.close(c)
			continue
		}
		keep = append(keep, c)
	}
	g.idle = append(keep, g.idle...)
	next := int64(p.cfg.Pool.HealthCheck)
	if destroyed {
		next = min(next, second/2)
	}
	p.timers.set(timerReap, p.now+next)
}
