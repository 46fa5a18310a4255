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

// priorReach bounds the prior by what is in use: a census of a few backends, of
// which by chance none computed, says nothing about hundreds.
const priorReach = 4

// Prior is where the knee is to be expected before it has been measured, from
// the cores of the database and a census of its backends: those that compute or
// want to, and those that wait for something else than the CPU and each other
// (IO, their caller). It returns 0 when the cores are unknown.
//
// While the cores are not all busy it is the textbook cores × (1 + waiting /
// computing). Once they are, backends ready to run pile up and count as
// computing, which spoils the ratio; then those that wait are what must be in use
// beyond the cores: cores + waiting (Little's law on the waiting alone).
func Prior(cores int, computing, waiting float64) int {
	if cores <= 0 || !(computing >= 0) || !(waiting >= 0) {
		return 0
	}
	prior := float64(cores) + waiting
	if computing < float64(cores) {
		prior = float64(cores) * (1 + waiting/math.Max(computing, 0.1))
		prior = math.Min(prior, float64(cores)+priorReach*(computing+waiting))
	}
	return int(math.Min(math.Ceil(prior), math.MaxInt32))
}
