package plant

import "math"

// never is an instant after every run.
const never = int64(math.MaxInt64)

// timers is an indexed 4-ary heap of instants, without interfaces and without
// allocation once it is as large as it gets. A handle has at most one timer; it
// can be set again or stopped in O(log n).
type timers struct {
	heap []timer
	pos  []int32 // by handle: its place in heap + 1; 0: not set
}

type timer struct {
	at     int64
	handle int32
}

// next is the earliest instant, or never.
func (q *timers) next() int64 {
	if len(q.heap) == 0 {
		return never
	}
	return q.heap[0].at
}

func (q *timers) isSet(handle int32) bool { return int(handle) < len(q.pos) && q.pos[handle] != 0 }

// set makes the handle's timer go off at the given instant.
func (q *timers) set(handle int32, at int64) {
	for int(handle) >= len(q.pos) {
		q.pos = append(q.pos, 0)
	}
	q.stop(handle)
	q.heap = append(q.heap, timer{})
	q.up(len(q.heap)-1, timer{at, handle})
}

// stop removes the handle's timer, if it is set.
func (q *timers) stop(handle int32) {
	if !q.isSet(handle) {
		return
	}
	q.removeAt(int(q.pos[handle]) - 1)
}

// pop removes the earliest timer and returns its handle.
func (q *timers) pop() int32 {
	h := q.heap[0].handle
	q.removeAt(0)
	return h
}

func (q *timers) removeAt(i int) {
	q.pos[q.heap[i].handle] = 0
	last := len(q.heap) - 1
	t := q.heap[last]
	q.heap = q.heap[:last]
	if i == last {
		return
	}
	if i > 0 && t.at < q.heap[(i-1)/4].at {
		q.up(i, t)
	} else {
		q.down(i, t)
	}
}

// up puts t at i or above.
func (q *timers) up(i int, t timer) {
	for i > 0 {
		p := (i - 1) / 4
		if q.heap[p].at <= t.at {
			break
		}
		q.heap[i] = q.heap[p]
		q.pos[q.heap[i].handle] = int32(i + 1)
		i = p
	}
	q.heap[i] = t
	q.pos[t.handle] = int32(i + 1)
}

// down puts t at i or below.
func (q *timers) down(i int, t timer) {
	n := len(q.heap)
	for {
		c := 4*i + 1
		if c >= n {
			break
		}
		least := c
		for j := c + 1; j < min(c+4, n); j++ {
			if q.heap[j].at < q.heap[least].at {
				least = j
			}
		}
		if q.heap[least].at >= t.at {
			break
		}
		q.heap[i] = q.heap[least]
		q.pos[q.heap[i].handle] = int32(i + 1)
		i = least
	}
	q.heap[i] = t
	q.pos[t.handle] = int32(i + 1)
}
