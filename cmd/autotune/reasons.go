package main

import "github.com/pgautotune/autotune/internal/sizing"

// sentences says every reason in words that fit beside the numbers.
var sentences = map[sizing.Reason]string{
	sizing.Start:             "the size it was configured with",
	sizing.Steady:            "nothing asks for a change",
	sizing.DemandRose:        "more callers at once, and the server has room",
	sizing.DemandFell:        "not needed for a while",
	sizing.Learning:          "callers queue: trying what other limits give",
	sizing.BelowKnee:         "more connections raised throughput",
	sizing.PastKnee:          "fewer connections serve as much or more",
	sizing.ServerSaturated:   "server saturated: more would not help",
	sizing.IdleInTransaction: "callers hold transactions open and idle",
	sizing.LockContention:    "backends wait for each other's locks",
	sizing.CapacityChanged:   "throughput here has changed: learning anew",
	sizing.Profile:           "the profile or vector guideline sets it",
	sizing.Bounded:           "a bound has moved",
	sizing.Exhausted:         "the server has no connections left",
	sizing.Blind:             "the server cannot be read: last good size",
	sizing.Operator:          "moved or frozen by hand",
}

// sentence explains a reason; one that is not known speaks for itself.
func sentence(r sizing.Reason) string {
	if s, ok := sentences[r]; ok {
		return s
	}
	return string(r)
}
