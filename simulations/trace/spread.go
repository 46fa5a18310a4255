package trace

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"slices"
)

// maxTogether is how many requests of one quantum are spread together. More than
// that are spread in turns, each over the whole quantum: a million requests in one
// tick of a clock are dense enough.
const maxTogether = 1 << 20

// spread gives requests whose time was recorded by a coarse clock random times
// within its quantum. Recorded times are the quantum's begin; they need not lie on
// its ticks, for a log may have the end by a coarse clock, and how long it took
// exactly. What was recorded at the same time stays in order.
func spread(next source, quantum float64, random *rand.Rand) source {
	in := &peeked{next: next}
	var waiting timed
	var together []Event
	var times []float64
	floor := 0.0 // of what is out already
	return func(e *Event) error {
		for {
			first, err := in.peek()
			if len(waiting) > 0 && (err != nil || waiting[0].T <= first.T || len(waiting) >= maxTogether) {
				*e = heap.Pop(&waiting).(Event) // an error comes when all before it are out
				floor = e.T
				return nil
			}
			if err != nil {
				return err
			}
			tick := first.T
			together, times = together[:0], times[:0]
			for len(times) < maxTogether {
				n, err := in.peek()
				if err != nil || n.T != tick {
					break // an error comes again when it is its turn
				}
				together, in.full = append(together, *n), false
				from := max(tick, floor)
				times = append(times, from+max(0, tick+quantum-from)*random.Float64())
			}
			slices.Sort(times)
			for i := range together {
				together[i].T = times[i]
				heap.Push(&waiting, together[i])
			}
		}
	}
}

// timed is a heap of events, the earliest on top.
type timed []Event

func (t timed) Len() int           { return len(t) }
func (t timed) Less(i, j int) bool { return cmp.Less(t[i].T, t[j].T) }
func (t timed) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timed) Push(x any)        { *t = append(*t, x.(Event)) }
func (t *timed) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}
