package plant

// channels is the IO station: a number of channels that serve in order of asking.
type channels struct {
	most       int // 0: unbounded
	busy       int
	queued     int
	head, tail int32
}

func (p *plant) startIO(r int32) {
	s := &p.io
	p.beside(+1)
	if s.most > 0 && s.busy >= s.most {
		p.requests[r].state, p.requests[r].next = forIO, -1
		if s.tail < 0 {
			s.head = r
		} else {
			p.requests[s.tail].next = r
		}
		s.tail = r
		s.queued++
		return
	}
	s.busy++
	q := &p.requests[r]
	p.timers.set(handle(ofRequest, r), p.now+int64(q.demand[q.stage]+0.5))
}

// endIO frees a channel for the next in the queue.
func (p *plant) endIO() {
	s := &p.io
	p.beside(-1)
	s.busy--
	if s.head < 0 {
		return
	}
	r := s.head
	q := &p.requests[r]
	if s.head = q.next; s.head < 0 {
		s.tail = -1
	}
	s.queued--
	s.busy++
	q.state = onIO
	p.timers.set(handle(ofRequest, r), p.now+int64(q.demand[q.stage]+0.5))
}

// beside tells the CPU of an active backend that does not compute: it counts for
// the cliff.
func (p *plant) beside(by int) {
	p.cpu.advance(p.now)
	p.cpu.beside += by
	if p.cpu.law.cliffN > 0 {
		p.cpu.update()
	}
}

// mutex is a row lock, given in order of asking.
type mutex struct{ owner, head, tail int32 }

// lock takes the row of a request, or queues for it and returns false.
func (p *plant) lock(r int32) bool {
	q := &p.requests[r]
	m := &p.locks[q.row]
	if m.owner < 0 {
		m.owner, q.locked = r, true
		return true
	}
	q.state, q.next = forLock, -1
	p.look.lockWaits++
	if m.tail < 0 {
		m.head = r
	} else {
		p.requests[m.tail].next = r
	}
	m.tail = r
	return false
}

// unlock gives the row of a request to the next in the queue.
func (p *plant) unlock(r int32) {
	p.requests[r].locked = false
	m := &p.locks[p.requests[r].row]
	m.owner = m.head
	if m.head < 0 {
		return
	}
	n := m.head
	q := &p.requests[n]
	if m.head = q.next; m.head < 0 {
		m.tail = -1
	}
	q.locked = true
	p.look.lockWaits--
	p.serve(n)
}
