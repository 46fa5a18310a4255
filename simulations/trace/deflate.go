package trace

import "container/heap"

// maxHeld bounds the connections that are counted at once.
const maxHeld = 1 << 16

// deflate takes the contention of the recorded run out of observed service times:
// on cores that are shared fairly, n queries at once take n / cores times as long
// each. n is what was in use when the query began: as recorded, else counted from
// the trace itself over all its pools; of a sample, the others are as many more. A
// service time that is unknown stays so.
//
// It is an estimate: n changes while a query runs, and a query that waits for IO or
// locks is not stretched by others on the cores.
func deflate(next source, cores, sampled float64) source {
	var held ends
	return func(e *Event) error {
		if err := next(e); err != nil || !(e.Service >= 0) {
			return err
		}
		begin := e.T // when it got its connection
		if e.Wait > 0 {
			begin += e.Wait / 1000
		}
		for len(held) > 0 && (held[0] <= begin || len(held) == maxHeld) {
			heap.Pop(&held)
		}
		heap.Push(&held, begin+e.Service/1000)
		n := e.InUse
		if !(n > 0) {
			n = 1 + float64(len(held)-1)/sampled
		}
		if n > cores {
			e.Service *= cores / n
		}
		return nil
	}
}

// ends is a heap of when connections are given back, the earliest first.
type ends []float64

func (h ends) Len() int           { return len(h) }
func (h ends) Less(i, j int) bool { return h[i] < h[j] }
func (h ends) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *ends) Push(x any)        { *h = append(*h, x.(float64)) }
func (h *ends) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
