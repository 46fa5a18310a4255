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
			p.thinkFrom(i, int64(g.From))
		}
	}
}

// think sends a caller whose request is over to its next.
func (p *plant) think(i int32) { p.thinkFrom(i, p.now) }

func (p *plant) thinkFrom(i int32, from int64) {
	c := &p.callers[i]
	if at := from + int64(c.think.draw(c.rng)+0.5); at < c.until {
		p.timers.set(handle(ofCaller, i), at)
	}
}

func (p *plant) callerAsks(i int32) {
	c := &p.callers[i]
	p.ask(p.newRequest(c.class, i, c.rng))
}
