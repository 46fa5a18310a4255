package plant

// sharing is a processor-sharing station: all jobs are served at once, each at
// the rate that the capacity for their number leaves it.
//
// It keeps the service v that a job would have got that was there from the
// beginning. A job that joins at v with demand d is done when v reaches its tag
// v + d, whoever comes and goes: so jobs leave in the order of their tags, and an
// event costs O(log n) instead of a new sum for each of n jobs.
type sharing struct {
	law  capacity
	heap []job
	v    float64 // ns of service that each job got since the station was last empty
	rate float64 // v per ns: of one core
	last int64   // when v was brought up to date
	next int64   // when the first job is done

	others int  // runnable backends of other clients, which share the CPU too
	beside int  // of ours, active elsewhere (IO): they count for the cliff
	down   bool // nothing is served

	busy           float64 // ns of cores that were at work, of whoever's
	joined, served float64 // ns of demand that came, and that was served: equal at the end
}

type job struct {
	tag float64
	id  int32
}

// join adds a job of demand ns.
func (s *sharing) join(now int64, demand float64, id int32) {
	s.advance(now)
	s.joined += demand
	s.push(job{s.v + demand, id})
	s.update()
}

// leave removes the job that is done and returns its id.
func (s *sharing) leave(now int64) int32 {
	s.advance(now)
	first := s.pop()
	// The instant was rounded to a nanosecond; the service is exact.
	s.served += (first.tag - s.v) * float64(len(s.heap)+1)
	s.v = first.tag
	s.update()
	return first.id
}

// advance brings v up to date.
func (s *sharing) advance(now int64) {
	if dt := now - s.last; dt > 0 {
		if n := len(s.heap); n > 0 {
			dv := s.rate * float64(dt)
			s.v += dv
			s.served += dv * float64(n)
		}
		s.busy += float64(min(len(s.heap)+s.others, s.law.cores)) * float64(dt)
		s.last = now
	}
}

// update sets the rate and the next instant after a change.
func (s *sharing) update() {
	n := len(s.heap)
	if n == 0 {
		s.v, s.next = 0, never
		return
	}
	if s.down {
		s.rate, s.next = 0, never
		return
	}
	s.rate = s.law.perJob(n+s.others, n+s.others+s.beside)
	switch left := (s.heap[0].tag - s.v) / s.rate; {
	case !(left > 0):
		s.next = s.last
	case left < float64(never-s.last): // an int64 would wrap around, into the past
		s.next = s.last + int64(left+0.5)
	default:
		s.next = never
	}
}

// clear throws all jobs out, calling lost for each.
func (s *sharing) clear(now int64, lost func(id int32)) {
	s.advance(now)
	for len(s.heap) > 0 {
		j := s.pop()
		s.joined -= j.tag - s.v
		lost(j.id)
	}
	s.update()
}

// left is the demand that is still to be served.
func (s *sharing) left(now int64) (sum float64) {
	s.advance(now)
	for _, j := range s.heap {
		sum += j.tag - s.v
	}
	return sum
}

func (s *sharing) push(j job) {
	s.heap = append(s.heap, j)
	h := s.heap
	i := len(h) - 1
	for i > 0 {
		p := (i - 1) / 4
		if h[p].tag <= j.tag {
			break
		}
		h[i] = h[p]
		i = p
	}
	h[i] = j
}

func (s *sharing) pop() job {
	h := s.heap
	first := h[0]
	n := len(h) - 1
	j := h[n]
	s.heap = h[:n]
	h = s.heap
	i := 0
	for {
		c := 4*i + 1
		if c >= n {
			break
		}
		least := c
		for k := c + 1; k < min(c+4, n); k++ {
			if h[k].tag < h[least].tag {
				least = k
			}
		}
		if h[least].tag >= j.tag {
			break
		}
		h[i] = h[least]
		i = least
	}
	if n > 0 {
		h[i] = j
	}
	return first
}
