package sizing

import "math"

// GuidelineUsers is the number of concurrent users that the guideline's 150
// connections are meant for.
const GuidelineUsers = 100

// Guideline is the vector-count rule of thumb for the max of a pool, in
// connections. It knows nothing of the server and is only where a vector
// service starts before there is evidence:
//
//	vectors               max
//	fewer than 1,000       50
//	1,000 to 100,000      100
//	more than 100,000     150 for 100 concurrent users, in proportion above
//
// A negative or unknown number of vectors counts as 0, fewer users than 100
// as 100.
func Guideline(vectors float64, users int) int {
	switch {
	case math.IsNaN(vectors) || vectors < 1_000:
		return 50
	case vectors <= 100_000:
		return 100
	}
	scale := max(1, float64(users)/GuidelineUsers)
	return int(math.Min(math.Round(150*scale), math.MaxInt32))
}

// CoresPrior is the textbook start before anything is measured: cores × (1 +
// waiting / computing), where waiting and computing are backends seen doing
// either. It returns 0 when cores are unknown.
func CoresPrior(cores, waiting, computing int) int {
	if cores <= 0 {
		return 0
	}
	share := float64(max(0, waiting)) / float64(max(1, computing))
	return int(math.Ceil(float64(cores) * (1 + math.Min(share, 1000))))
}
