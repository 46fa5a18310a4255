package trace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// multiply makes scale requests of each, times its weight where that is known.
//
// Superposing shifted copies of a trace would smooth its bursts away, and closer
// arrivals are another trace. Instead each request becomes several, at random
// times up to the next recorded arrival: the number of arrivals so far is scale
// times the recorded one at every recorded arrival, so every burst that is longer
// than a gap keeps its height. Below 1 each is kept with a probability.
func multiply(next source, scale float64, random *rand.Rand) source {
	in := &peeked{next: next}
	var batch []Event
	at := 0
	return func(e *Event) error {
		for at == len(batch) {
			first, err := in.peek()
			if err != nil {
				return err
			}
			one := *first
			in.full = false
			copies := scale
			if one.Weight >= 0 { // known
				copies *= one.Weight
				one.Weight = math.NaN()
			}
			if copies == 1 {
				*e = one
				return nil
			}
			if copies > maxTogether {
				return fmt.Errorf("the request at %v s stands for %v requests; %d is the most that can be drawn", one.T, copies, maxTogether)
			}
			n := int(copies)
			if random.Float64() < copies-float64(n) {
				n++
			}
			gap := 0.0
			if following, err := in.peek(); err == nil {
				gap = following.T - one.T
			}
			batch, at = batch[:0], 0
			for i := range n {
				c := one
				if i > 0 {
					c.T += gap * random.Float64()
				}
				batch = append(batch, c)
			}
			slices.SortFunc(batch, func(a, b Event) int {
				if a.T < b.T {
					return -1
				} else if a.T > b.T {
					return 1
				}
				return 0
			})
		}
		*e = batch[at]
		at++
		return nil
	}
}
