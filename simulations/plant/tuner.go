package plant

import (
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

// Tuner decides the size of a simulated pool: the controller of autotune, a
// fixed size, or another algorithm to compare with. One Tuner serves one run.
type Tuner interface {
	// Start is the setting the pool is opened with.
	Start() Setting

	// Look is called at each look, with the observation that the live tuner
	// would have made, and returns the setting from now on and how soon to look
	// again; 0 is the usual interval.
	Look(o controller.Observation) (Setting, time.Duration)
}

// Sampler is a Tuner that is told of each request too, as limiters of
// concurrency are.
type Sampler interface {
	Tuner

	// Completed is called when a request gave its connection back or gave up
	// waiting, and returns the limit from now on.
	Completed(r Sample) int
}

// Facade is the tuner of autotune's own pool, whose gate lets callers in no faster than
// connections open. It looks as soon as callers queue, as the live one does: at most ten
// times a second, and not while Calm says that a queue is no news.
type Facade interface {
	Tuner
	Calm() bool
}

// Setting is how a pool shall be: the limit of connections in use at once, and
// max and min of the pool underneath.
type Setting struct {
	Limit, Max, Min int
}

// Sample is one finished request.
type Sample struct {
	At       time.Duration // when it finished, from the start of the run
	Wait     time.Duration // asking → getting, or → giving up
	Service  time.Duration // connection held; 0 for a request that gave up
	InFlight int           // connections in use when it was given its own, itself included
	Queued   int           // callers queued when it finished
	GaveUp   bool          // its acquire timed out, or its caller went away
}
