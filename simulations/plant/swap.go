package plant

// swap is the hot-swap of the façade's swap.go as a machine of events: wait for
// the generation before to drain, check the new one by opening its first
// connection, publish it, move the connections over one at a time under the
// budget, drain the old one. The tuner does not look meanwhile, as live.
type swap struct {
	phase    phase
	target   Setting
	draining *generation // replaced last, perhaps not yet empty
	started  int64
	retryAt  int64 // no swap before, after one failed
	pause    int64

	// Warming, of a swap or of the first generation.
	old, next *generation // old is nil while the first generation is warmed
	want      int
	step      step
	permit    bool    // holds one for the connection under way
	dialled   int32   // the connection under way
	closing   int32   // closed for its token; -1: none, or gone
	kept      []int32 // opened, and held with their permits so that more are opened
}

type phase uint8

const (
	atRest phase = iota
	drainingLast
	checking
	handingOver
)

type step uint8

const (
	notWarming step = iota
	stepping        // inside warm
	forPermit
	forDial
	forToken
)

func (s *swap) running() bool { return s.phase != atRest }

// startSwap begins a swap to what the tuner asked for.
func (p *plant) startSwap(to Setting) {
	s := &p.swap
	p.abortWarming()
	s.target, s.started = to, p.now
	if s.draining != nil && s.draining.total > 0 {
		s.phase = drainingLast
		p.timers.set(timerSwap, p.now+int64(p.cfg.Pool.DrainTimeout))
		return
	}
	p.check()
}

// check opens the first connection of the new generation.
func (p *plant) check() {
	s := &p.swap
	s.draining = nil
	s.phase = checking
	p.timers.set(timerSwap, p.now+int64(p.cfg.Pool.SwapTimeout))
	s.old, s.next, s.closing, s.dialled = p.pool.current(), p.generation(s.target), -1, -1
	if p.pool.open < p.cfg.Pool.Budget {
		s.step = forDial
		s.dialled = p.dial(s.next, forWarming)
		return
	}
	p.warm()
}

// publish lets callers into the new generation and starts to hand over. A lower
// limit goes first, a higher one last.
func (p *plant) publish() {
	s := &p.swap
	lower := s.target.Limit < p.gate.limit
	if lower {
		p.setLimit(s.target.Limit)
	}
	p.pool.gens = []*generation{s.old, s.next}
	if !lower {
		p.setLimit(s.target.Limit)
	}
	p.tally.resized(p.now, s.next.max)
	s.phase = handingOver
	p.timers.set(timerSwap, p.now+int64(p.cfg.Pool.SwapTimeout))
	want := min(s.next.max, p.gate.limit, max(s.next.min, p.gate.inUse+p.gate.queued))
	p.startWarming(s.old, s.next, want)
}

// startWarming opens connections in a generation until it has want of them. Each
// is opened with a permit, as a caller would, and kept until the last is open,
// because pgxpool opens one only for a caller that finds none idle.
func (p *plant) startWarming(old, next *generation, want int) {
	s := &p.swap
	s.old, s.next, s.want, s.closing, s.dialled = old, next, want, -1, -1
	p.warm()
}

// warm goes on until it has to wait for something.
func (p *plant) warm() {
	s := &p.swap
	s.step = stepping
	for s.phase == checking || !s.next.retired && s.next.total < s.want {
		if s.phase != checking && p.crowded() {
			p.letGo()
		}
		if !s.permit {
			g := &p.gate
			if g.anyone() || g.inUse >= g.reach() {
				if !g.anyone() {
					g.busySince = p.now
				}
				g.ahead = true
				g.notePeak()
				s.step = forPermit
				return
			}
			g.inUse++
			g.notePeak()
			s.permit = true
		}
		if len(s.next.idle) > 0 {
			c := s.next.takeIdle()
			p.pool.conns[c].state, p.pool.conns[c].owner = held, forWarming
			s.kept, s.permit = append(s.kept, c), false
			if p.crowded() {
				break // there are connections to spare
			}
			continue
		}
		if p.pool.open < p.cfg.Pool.Budget {
			s.step = forDial
			s.dialled = p.dial(s.next, forWarming)
			return
		}
		if s.old == nil {
			break
		}
		if s.closing < 0 && len(s.old.idle) > 0 {
			s.closing = s.old.takeIdle()
			p.close(s.closing)
			if s.closing < 0 {
				continue // it was dead, and is gone
			}
		}
		s.step = forToken
		return
	}
	p.warmed()
}

// crowded tells whether callers queue, or come near the limit by themselves.
func (p *plant) crowded() bool {
	g := &p.gate
	return g.anyone() || 2*(g.inUse-len(p.swap.kept)) >= g.limit
}

// letGo gives up the connections kept.
func (p *plant) letGo() {
	kept := p.swap.kept
	p.swap.kept = p.swap.kept[:0]
	for i := range kept {
		p.shelve(kept[i])
		p.release()
		p.poke()
	}
}

// warmGranted: the permit waited for has come.
func (p *plant) warmGranted() {
	p.swap.permit = true
	p.warm()
}

// warmPoked: a token or an idle connection may be free.
func (p *plant) warmPoked() {
	if p.swap.step == forToken {
		p.warm()
	}
}

// warmOpened: the connection under way is open.
func (p *plant) warmOpened(c int32) {
	s := &p.swap
	s.dialled = -1
	if s.phase == checking {
		s.step = notWarming
		p.shelve(c)
		p.freePermit()
		p.poke()
		p.publish()
		return
	}
	s.kept, s.permit = append(s.kept, c), false
	p.warm()
}

// warmRefused: the server turned the connection under way away.
func (p *plant) warmRefused() {
	p.swap.dialled, p.swap.step = -1, notWarming
	if p.swap.phase == checking {
		p.swapFailed()
		return
	}
	p.warmed()
}

// warmed ends the warming, and with it the swap: what is missing then is opened
// by the callers that need it.
func (p *plant) warmed() {
	s := &p.swap
	s.step = notWarming
	p.freePermit()
	p.letGo()
	if s.phase != handingOver {
		return
	}
	old := s.old
	p.pool.gens = []*generation{s.next}
	s.draining = old
	p.retire(old)
	p.tally.swapped(p.now - s.started)
	s.pause, s.retryAt = 0, 0
	p.endSwap()
}

// freePermit gives back the permit of the connection under way.
func (p *plant) freePermit() {
	if p.swap.permit {
		p.swap.permit = false
		p.release()
	}
}

// retire closes what is idle of a generation; the rest closes when given back.
func (p *plant) retire(g *generation) {
	g.retired = true
	for len(g.idle) > 0 {
		p.close(g.takeIdle())
	}
}

// abortWarming stops warming where it is. A dial goes on and ends idle.
func (p *plant) abortWarming() {
	s := &p.swap
	switch s.step {
	case notWarming:
		return
	case forPermit:
		p.gate.ahead = false
		p.calmed()
	case forDial:
		p.pool.conns[s.dialled].owner = nobody
		s.dialled = -1
	}
	s.step = notWarming
	p.freePermit()
	p.letGo()
}

// swapTimer: the drain, the check or the hand-over has taken too long.
func (p *plant) swapTimer() {
	s := &p.swap
	switch s.phase {
	case drainingLast:
		p.check()
	case checking:
		p.swapFailed()
	case handingOver:
		p.abortWarming()
		p.warmed()
	}
}

// swapFailed leaves everything as it was, until a pause that doubles is over.
func (p *plant) swapFailed() {
	s := &p.swap
	p.abortWarming()
	p.freePermit()
	p.retire(s.next)
	s.pause = min(max(second, 2*s.pause), 60*second)
	s.retryAt = p.now + s.pause
	p.tally.failedSwaps++
	limit := s.target.Limit
	p.endSwap()
	p.setLimit(limit)
}

func (p *plant) endSwap() {
	p.swap.phase = atRest
	p.timers.stop(timerSwap)
	p.lookAfter()
}

// generationShrunk: a connection of it is gone.
func (p *plant) generationShrunk(g *generation) {
	if s := &p.swap; s.phase == drainingLast && g == s.draining && g.total == 0 {
		p.check()
	}
}
