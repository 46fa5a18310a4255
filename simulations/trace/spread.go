package trace

import (
	"math/rand/v2"
	"slices"
)

// maxTogether is how many requests of one quantum are spread together. More than
// that are spread in turns, each over the whole quantum's rest: a million requests
// in one tick of a clock are dense enough.
const maxTogether = 1 << 20

// spread gives requests that were recorded at the same tick of a coarse clock
// random times within it. Recorded times are the tick's begin. What was in order
// stays in order.
func spread(next source, quantum float64, random *rand.Rand) source {
	in := &peeked{next: next}
	var batch []Event
	var times []float64
	at := 0
	floor := 0.0
	return func(e *Event) error {
		if at == len(batch) {
			first, err := in.peek()
			if err != nil {
				return err
			}
			tick := first.T
			batch, times, at = batch[:0], times[:0], 0
			for len(batch) < maxTogether {
				n, err := in.peek()
				if err != nil || n.T != tick {
					break // an error comes again when it is its turn
				}
				batch, in.full = append(batch, *n), false
				from := max(tick, floor)
				times = append(times, from+max(0, tick+quantum-from)*random.Float64())
			}
			slices.Sort(times)
			floor = times[len(times)-1]
		}
		*e = batch[at]
		e.T = times[at]
		at++
		return nil
	}
}
