package plant

import "math/rand/v2"

// caller is one caller of a closed loop. Its requests and its thinking come from
// a stream of its own, so that its k-th request is the same whatever the pool does.
type caller struct {
	class int32
	until int64
	think *sampler
	rng   *rand.Rand
}

// openCallers makes the closed loops. Each caller begins with a think time, as
// if it had been there before; without one, all begin at once.
func (p *plant) openCallers() {
	for _, g := range p.cfg.Closed {
		think := newSampler(g.Think)
		until := never
		if g.Until > 0 {
			until = int64(g.Until)
		}
		for range g.Callers {
			i := int32(len(p.callers))
			c := caller{class: p.classIndex(g.Class), until: until, think: &think, rng: stream(p.cfg.Seed, streamCallers+uint64(i))}
			p.callers = append(p.callers, c)
			p.thinkFrom(i, int64(g.From), 0)
		}
	}
}

// sulk is how long a caller whose request was not answered waits at least, in ns: a
// loop of callers who ask again at once, and are turned away at once, would not let
// the time pass. 1 ms is below any time in which a program notices an error.
const sulk = int64(1e6)

// think sends a caller whose request is over to its next.
func (p *plant) think(i int32, answered bool) {
	if answered {
		p.thinkFrom(i, p.now, 0)
	} else {
		p.thinkFrom(i, p.now, sulk)
	}
}

func (p *plant) thinkFrom(i int32, from, least int64) {
	c := &p.callers[i]
	if at := from + max(least, int64(c.think.draw(c.rng)+0.5)); at < c.until {
		p.timers.set(handle(ofCaller, i), at)
	}
}

func (p *plant) callerAsks(i int32) {
	c := &p.callers[i]
	p.ask(p.newRequest(c.class, i, c.rng))
}
