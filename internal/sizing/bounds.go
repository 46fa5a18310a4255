package sizing

import "math"

// ConnectionBytes is the memory that one more server connection is reckoned
// with: 10–14 MB were published for backends after queries, 1.5–2 MB for fresh
// ones; the upper figure errs on the safe side.
const ConnectionBytes = 14 << 20

// MemoryShare of the free memory is what connections may take.
const MemoryShare = 0.5

// Walls are the hard limits of a pool's max. A zero field is unknown and binds
// nothing.
type Walls struct {
	Floor, Ceiling int // the user's
	Budget         int // server connections of all generations
	ProfileFloor   int // the profile's least max

	ServerMax      int // max_connections
	ServerReserved int // superuser_reserved_connections + reserved_connections
	ServerOthers   int // backends of other clients, the tuner's own included

	FreeBytes int64 // free memory of the database's machine
	Open      int   // server connections of this pool now: they already have their memory
}

// NoWall is the most that a range allows whose upper end nothing binds.
const NoWall = math.MaxInt32

// Range is the span of max that the walls allow, and which wall is the upper
// and which the lower end.
type Range struct {
	Low, High     int
	LowBy, HighBy Bound
}

// Allowed is the span of max within the walls. Upper walls win over lower ones:
// a floor cannot make a server larger. High is at least 1, and [NoWall] where no upper
// wall is known.
func (w Walls) Allowed() Range {
	r := Range{Low: max(1, w.Floor), LowBy: FloorBound, High: NoWall, HighBy: NoBound}
	if w.ProfileFloor > r.Low {
		r.Low, r.LowBy = w.ProfileFloor, ProfileBound
	}
	lower := func(n int, by Bound) {
		if n < r.High {
			r.High, r.HighBy = n, by
		}
	}
	if w.Ceiling > 0 {
		lower(w.Ceiling, CeilingBound)
	}
	if w.Budget > 0 {
		lower(w.Budget, BudgetBound)
	}
	if w.ServerMax > 0 {
		lower(w.ServerMax-w.ServerReserved-w.ServerOthers, ServerBound)
	}
	if w.FreeBytes > 0 {
		lower(w.Open+int(float64(w.FreeBytes)*MemoryShare/ConnectionBytes), MemoryBound)
	}
	r.High = max(1, r.High)
	if r.Low > r.High {
		r.Low, r.LowBy = r.High, r.HighBy
	}
	return r
}

// Clip moves n into the range and names the wall that moved it.
func (r Range) Clip(n int) (int, Bound) {
	switch {
	case n > r.High:
		return r.High, r.HighBy
	case n < r.Low:
		return r.Low, r.LowBy
	}
	return n, NoBound
}
