package sizing

import (
	"math"

	"github.com/pgautotune/autotune/internal/model"
)

// Recommendation is how many connections a belief asks for.
type Recommendation struct {
	// Limit is how many connections in use at once the evidence asks for:
	// with a knee identified, the knee and its interval of confidence; without,
	// the demand seen (median, 95th and 99th percentile).
	Lower  int `json:"lower"`
	Target int `json:"target"`
	Upper  int `json:"upper"`

	Max int `json:"max"` // size that serves Target with room to move, within the bounds
	Min int `json:"min"` // connections worth keeping warm

	Guideline int   `json:"guideline"` // what the vector-count rule would say
	Bound     Bound `json:"bound"`     // the wall that clipped Max, or the knee where demand is above it
}

// Headroom is what a max leaves above the limit that is wanted: room to learn
// upward, and for a burst, without a swap.
const Headroom = 1.33

// Input is what a recommendation rests on.
type Input struct {
	Estimate model.Estimate
	Walls    Walls
	Vectors  float64 // rows with a vector, negative when unknown
	Users    int     // concurrent users of the guideline

	// The profile's say on min: a share of max, and a least value. 0 = none.
	MinShare int
	FloorMin int
}

// Recommend is the pure answer to "how many": it knows no history but what the
// estimate carries, and moves nothing.
func Recommend(in Input) Recommendation {
	e := in.Estimate
	allowed := in.Walls.Allowed()
	r := Recommendation{Guideline: Guideline(in.Vectors, in.Users)}

	demand := func(q float64) int { return max(1, ceilInt(q)) }
	r.Lower, r.Target, r.Upper = demand(e.DemandLower), demand(e.DemandTarget), demand(e.DemandUpper)
	if e.Wanted > 0 {
		r.Target = max(r.Target, min(e.Wanted, r.Upper))
	}
	wanted := r.Upper
	if e.Knee.Identified {
		// Demand above the knee is better served by queueing than by more
		// connections; demand below it needs no more than itself.
		r.Lower, r.Target, r.Upper = e.Knee.Lower, e.Knee.N, e.Knee.Upper
		wanted = r.Target
	}
	r.Lower = min(r.Lower, r.Target)
	r.Upper = max(r.Upper, r.Target)

	r.Max, r.Bound = allowed.Clip(ceilInt(float64(wanted) * Headroom))
	if r.Bound == NoBound && e.Knee.Identified && demand(e.DemandUpper) > e.Knee.N {
		r.Bound = CapacityBound
	}
	clip := func(n int) int { return min(n, allowed.High) }
	r.Lower, r.Target, r.Upper = clip(r.Lower), clip(r.Target), clip(r.Upper)
	r.Min = minFor(in, r)
	return r
}

// minFor is the warm floor: what is in use half of the time, so that the usual
// burst does not dial, or what the profile says.
func minFor(in Input, r Recommendation) int {
	least := max(0, in.FloorMin)
	if in.MinShare > 0 {
		return min(r.Max, max(least, r.Max/in.MinShare))
	}
	return min(r.Max, r.Target, max(least, ceilInt(in.Estimate.DemandLower-0.5)))
}

func ceilInt(x float64) int {
	if !(x > 0) {
		return 0
	}
	return int(math.Min(math.Ceil(x-1e-9), math.MaxInt32))
}
