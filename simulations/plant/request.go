package plant

import (
	"math/rand/v2"
	"sort"
)

// request is one caller's request, from its arrival to its end.
type request struct {
	at       int64 // arrived
	got      int64 // got its connection
	since    int64 // at the present station, or in the queue
	patience int64 // ns; 0: endless
	retryEnd int64 // when it gives up to connect; 0: never failed to
	demand   [maxStages]float64
	class    int32
	row      int32 // index of the row lock it will take; -1: none
	conn     int32 // held, or being dialled for it; -1: none
	caller   int32 // of a closed loop; -1: open
	inFlight int32 // connections in use when it was given its permit
	next     int32 // in a queue, or in the list of the free
	prev     int32 // in the gate's queue
	stage    int8
	retries  int8
	state    state
	locked   bool
	waited   bool // queued at the gate
}

type state uint8

const (
	unused   state = iota
	asking         // queued at the gate
	opening        // has a permit and no connection: dialling, or about to try again
	stranded       // has a permit, and waits for the budget or the generation to have room
	onCPU
	onIO
	forIO   // queued for it
	forLock // queued for a row
	inTx    // idle in transaction
	atHome  // the caller or the network has it
)

// class is a [Class] made ready for use.
type class struct {
	stages   []stage
	shares   []float64 // of the mean of all stages
	patience int64
	rows     int32
	firstRow int32
}

type stage struct {
	on   state // the state a request is in while it is served
	draw sampler
	lock bool
}

func (p *plant) compileClasses() {
	rowsOf := make(map[string][2]int32) // by lock: first row, rows
	var weight float64
	for _, c := range p.cfg.Classes {
		weight += c.Weight
		p.weights = append(p.weights, weight)
		k := class{patience: int64(c.Patience), firstRow: -1}
		if k.patience == 0 {
			k.patience = int64(p.cfg.Pool.AcquireTimeout)
		}
		var sum float64
		for _, s := range c.Stages {
			g := stage{draw: newSampler(s.Service), lock: s.Lock != ""}
			switch s.On {
			case IO:
				g.on = onIO
			case IdleInTransaction:
				g.on = inTx
			case Client:
				g.on = atHome
			default:
				g.on = onCPU
			}
			if g.lock {
				rows, ok := rowsOf[s.Lock]
				if !ok {
					rows = [2]int32{int32(len(p.locks)), int32(s.Rows)}
					rowsOf[s.Lock] = rows
					for range s.Rows {
						p.locks = append(p.locks, mutex{owner: -1, head: -1, tail: -1})
					}
				}
				k.firstRow, k.rows = rows[0], rows[1]
			}
			k.stages = append(k.stages, g)
			sum += float64(s.Service.Mean)
		}
		for i := range k.stages {
			share := 1 / float64(len(k.stages))
			if sum > 0 {
				share = k.stages[i].draw.mean / sum
			}
			k.shares = append(k.shares, share)
		}
		p.classes = append(p.classes, k)
	}
}

func (p *plant) classIndex(name string) int32 {
	if name == "" {
		return -1
	}
	for i, c := range p.cfg.Classes {
		if c.Name == name {
			return int32(i)
		}
	}
	return -1
}

// newRequest takes a request from the slab and draws all it will ever need, in
// the order of asking, so that what is drawn does not depend on how the pool
// serves it.
func (p *plant) newRequest(class, caller int32, rng *rand.Rand) int32 {
	if class < 0 || int(class) >= len(p.classes) {
		class = 0
		if n := len(p.weights); n > 1 {
			class = int32(min(sort.SearchFloat64s(p.weights, rng.Float64()*p.weights[n-1]), n-1))
		}
	}
	i := p.free
	if i < 0 {
		i = int32(len(p.requests))
		p.requests = append(p.requests, request{})
	} else {
		p.free = p.requests[i].next
	}
	c := &p.classes[class]
	q := &p.requests[i]
	q.at, q.patience, q.class, q.caller = p.now, c.patience, class, caller
	q.conn, q.row, q.next, q.prev = -1, -1, -1, -1
	q.stage, q.retries, q.retryEnd, q.locked, q.waited = 0, 0, 0, false, false
	for s := range c.stages {
		q.demand[s] = c.stages[s].draw.draw(rng)
	}
	if c.firstRow >= 0 {
		q.row = c.firstRow
		if c.rows > 1 {
			q.row += rng.Int32N(c.rows)
		}
	}
	return i
}

// startStage begins the present stage of a request that holds a connection.
func (p *plant) startStage(r int32) {
	q := &p.requests[r]
	if p.pool.conns[q.conn].dead {
		p.fail(r)
		return
	}
	q.since = p.now
	g := &p.classes[q.class].stages[q.stage]
	if g.lock && !q.locked {
		if !p.lock(r) {
			return
		}
	}
	p.serve(r)
}

// serve puts a request on the resource of its stage.
func (p *plant) serve(r int32) {
	q := &p.requests[r]
	q.since = p.now
	q.state = p.classes[q.class].stages[q.stage].on
	demand := q.demand[q.stage]
	switch q.state {
	case onCPU:
		if c := &p.pool.conns[q.conn]; c.cold > 0 {
			c.cold--
			demand += float64(p.cfg.Server.ColdCPU)
		}
		p.tally.runnable.enter(p.now)
		p.cpu.join(p.now, demand, r)
	case onIO:
		p.startIO(r)
	default:
		p.look.away(q.state, +1)
		p.timers.set(handle(ofRequest, r), p.now+int64(demand+0.5))
	}
}

// requestTimer: its patience has run out, or its IO or time away is over.
func (p *plant) requestTimer(r int32) {
	q := &p.requests[r]
	switch q.state {
	case asking, opening, stranded:
		p.giveUp(r)
	case onIO:
		p.endIO()
		p.stageDone(r)
	default:
		p.look.away(q.state, -1)
		p.stageDone(r)
	}
}

// stageDone goes on with the next stage, or gives the connection back. A transaction
// that was open when the server went away cannot be committed.
func (p *plant) stageDone(r int32) {
	q := &p.requests[r]
	if q.state == inTx && p.pool.conns[q.conn].dead {
		p.fail(r)
		return
	}
	q.stage++
	if int(q.stage) < len(p.classes[q.class].stages) {
		p.startStage(r)
		return
	}
	if q.locked {
		p.unlock(r)
	}
	p.giveBack(r, true)
}

// fail ends a request whose connection is lost, wherever it is served.
func (p *plant) fail(r int32) {
	if p.requests[r].locked {
		p.unlock(r)
	}
	p.giveBack(r, false)
}

// drop gives the slot of a request back, which was answered or not.
func (p *plant) drop(r int32, answered bool) {
	q := &p.requests[r]
	p.tally.present.exit(p.now, q.at)
	caller := q.caller
	q.state, q.next = unused, p.free
	p.free = r
	if caller >= 0 {
		p.think(caller, answered)
	}
}
