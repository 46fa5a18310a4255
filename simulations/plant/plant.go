package plant

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Run simulates the world of cfg with a pool sized by t, and returns what became
// of it. Requests come from src, or from cfg.Arrivals where src is nil, and from
// cfg.Closed. The same config, source and tuner give the same result, bit for
// bit. It needs memory for those present at once, never for those gone by.
//
// A run in which Little's law does not hold, or in which requests or work went
// missing, returns an error.
func Run(cfg Config, src Source, t Tuner) (*Result, error) {
	c, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	p := newPlant(c, src, t)
	if err := p.open(); err != nil {
		return nil, err
	}
	p.simulate()
	if p.err != nil {
		return nil, p.err
	}
	if f, ok := p.source.(interface{ Err() error }); ok && f.Err() != nil {
		return nil, fmt.Errorf("plant: the source of requests failed after %s of virtual time: %w", time.Duration(p.now), f.Err())
	}
	return p.finish()
}

// plant is one run. Everything in it refers to requests and connections by their
// index in a slab, so that nothing is allocated for a request.
type plant struct {
	cfg    Config
	tuner  Tuner
	source Source
	now    int64 // ns since the start
	end    int64
	events int64
	err    error

	arrival   Request // the next of the source
	arriving  bool    // there is one
	arrivalAt int64
	lastOpen  int64 // when the source's last request arrived

	timers  timers
	classes []class
	weights []float64 // cumulative, of the classes
	demands *rand.Rand
	backoff *rand.Rand

	requests []request
	free     int32 // first unused request, linked by next; -1: none
	callers  []caller

	cpu       sharing
	wandering wandering
	io        channels
	locks     []mutex

	gate gate
	pool pool
	swap swap

	serverConns  int    // of ours, as the server counts them
	others       Others // what they have
	othersWanted Others
	down         bool
	connect      int64 // ns of latency
	drifted      int   // how many drifts, others and restarts have been applied
	othered      int
	restarted    int

	look  looker
	tally tally
}

// Handles of timers: a few of the plant's own, then four for each index.
const (
	timerLook int32 = iota
	timerTick
	timerDrift
	timerWander
	timerOthers
	timerOthersRetry
	timerRestart
	timerBack // the server is back
	timerReap
	timerSwap // the swap's timeout, or the drain's
	timerRamp
	timerFirst = 16

	ofRequest = 0 // patience while it waits, then its IO or its time away
	ofConn    = 1 // dialling, or closing
	ofCaller  = 2 // thinking
	ofRetry   = 3 // a request's next try to connect
)

func handle(kind, index int32) int32 { return timerFirst + 4*index + kind }

func newPlant(c Config, src Source, t Tuner) *plant {
	p := &plant{cfg: c, tuner: t, free: -1, end: never,
		demands: stream(c.Seed, streamDemands), backoff: stream(c.Seed, streamBackoff)}
	if c.Duration > 0 {
		p.end = int64(c.Duration)
	}
	p.cpu = sharing{law: newCapacity(&p.cfg.Server), next: never}
	p.io = channels{most: c.Server.IOChannels, head: -1, tail: -1}
	p.connect = int64(c.Server.ConnectLatency)
	p.compileClasses()
	p.source = src
	if src == nil {
		sources := make([]Source, len(c.Arrivals))
		for i, a := range c.Arrivals {
			sources[i] = newGenerator(a, p.classIndex(a.Class), c.Seed, i, c.Duration)
		}
		p.source = Merge(sources...)
	}
	p.gate.sampler, _ = t.(Sampler)
	return p
}

// open builds the pool and sets the first timers.
func (p *plant) open() error {
	if err := p.openPool(p.tuner.Start()); err != nil {
		return err
	}
	p.openLook()
	p.tally.open(&p.cfg)
	p.timers.set(timerTick, p.tally.width)
	p.timers.set(timerReap, int64(p.cfg.Pool.HealthCheck))
	if d := p.cfg.Server.Drift; len(d) > 0 {
		p.timers.set(timerDrift, int64(d[0].At))
	}
	if w := p.cfg.Server.Wander; len(w) > 0 {
		p.wandering = newWandering(w, p.cfg.Seed)
		p.wander()
	}
	if o := p.cfg.Server.Others; len(o) > 0 {
		p.timers.set(timerOthers, int64(o[0].At))
	}
	if r := p.cfg.Server.Restarts; len(r) > 0 {
		p.timers.set(timerRestart, int64(r[0].At))
	}
	p.openCallers()
	p.nextArrival()
	return nil
}

// simulate is the event loop: the earliest of the timers, the CPU's next
// completion, and the next arrival, in this order where they coincide.
func (p *plant) simulate() {
	for p.err == nil {
		timer, done := p.timers.next(), p.cpu.next
		at := min(timer, done, p.arrivalAt)
		if at >= p.end || at == never {
			break
		}
		if !p.arriving && p.tally.present.n == 0 && p.end == never && p.idleForGood() {
			break
		}
		p.now = at
		p.events++
		switch at {
		case timer:
			p.fire(p.timers.pop())
		case done:
			if id := p.cpu.leave(at); id >= 0 {
				p.tally.runnable.exit(at, p.requests[id].since)
				p.stageDone(id)
			} else {
				p.connected(^id)
			}
		default:
			p.arrive()
		}
	}
	if p.end != never {
		p.now = p.end
	}
}

// fire handles a timer that went off.
func (p *plant) fire(h int32) {
	if h >= timerFirst {
		index := (h - timerFirst) / 4
		switch (h - timerFirst) % 4 {
		case ofRequest:
			p.requestTimer(index)
		case ofConn:
			p.connTimer(index)
		case ofCaller:
			p.callerAsks(index)
		case ofRetry:
			p.openFor(index)
		}
		return
	}
	switch h {
	case timerLook:
		p.lookNow()
	case timerTick:
		p.tick()
		p.timers.set(timerTick, int64(p.tally.window.from)+p.tally.width)
	case timerDrift:
		p.drift()
	case timerWander:
		p.wander()
	case timerOthers:
		p.othersChange()
	case timerOthersRetry:
		p.othersConnect()
	case timerRestart:
		p.restart()
	case timerBack:
		p.down, p.cpu.down = false, false
		p.cpu.advance(p.now)
		p.cpu.update()
	case timerReap:
		p.reap()
	case timerSwap:
		p.swapTimer()
	case timerRamp:
		p.rampTimer()
	}
}

// nextArrival asks the source for the next request.
func (p *plant) nextArrival() {
	at := int64(p.arrival.At)
	if p.arriving = p.source.Next(&p.arrival); !p.arriving {
		p.arrivalAt = never
		return
	}
	p.arrival.At = max(p.arrival.At, time.Duration(at), 0)
	p.arrivalAt = int64(p.arrival.At)
}

// arrive takes the next request in.
func (p *plant) arrive() {
	r := p.newRequest(p.arrival.Class, -1, p.demands)
	q := &p.requests[r]
	p.lastOpen = p.now
	if d := float64(p.arrival.Demand); d > 0 {
		for i, share := range p.classes[q.class].shares {
			q.demand[i] = d * share
		}
	}
	if p.arrival.Patience > 0 {
		q.patience = int64(p.arrival.Patience)
	}
	p.ask(r)
	p.nextArrival()
}

// idleForGood tells whether no caller of a closed loop will come back.
func (p *plant) idleForGood() bool {
	for i := range p.callers {
		if p.timers.isSet(handle(ofCaller, int32(i))) {
			return false
		}
	}
	return true
}
