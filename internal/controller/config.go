package controller

import (
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

// Config is what a controller is told once. It never changes while it runs, and
// stands in the first line of every journal.
type Config struct {
	// Floor and Ceiling are the user's walls of max, Budget the server
	// connections all generations may hold; in connections, at least 1.
	Floor   int `json:"floor"`
	Ceiling int `json:"ceiling"`
	Budget  int `json:"budget"`

	Objective model.Objective `json:"objective"`
	// WaitObjective is the 99th percentile of the wait time to aim for; 0: at
	// most 5 % of callers shall wait.
	WaitObjective time.Duration `json:"wait_objective,omitempty"`

	// ProfileFloor is the profile's least max, MinShare its min as a share of
	// max (5 is a fifth), FloorMin its least min; 0 where it has no say.
	ProfileFloor int `json:"profile_floor,omitempty"`
	MinShare     int `json:"min_share,omitempty"`
	FloorMin     int `json:"floor_min,omitempty"`
	// Guideline makes the vector-count guideline the least max.
	Guideline bool `json:"guideline,omitempty"`
	// FixedSize leaves max and min alone: only the limit is tuned.
	FixedSize bool `json:"fixed_size,omitempty"`
	// Users is the number of concurrent users of the guideline.
	Users int `json:"users"`

	// Interval is the usual time between two looks.
	Interval time.Duration `json:"interval"`
}

// The constants of time. They are in this one place because they have to fit
// together: learning moves must settle faster than they are measured, and be
// measured faster than the load changes.
const (
	// historyHalfLife of the demand histogram: half of the weight within ten
	// minutes, so that a size follows the hour and not the minute.
	historyHalfLife = 10 * time.Minute

	// occupancyHalfLife of the evidence from the pool's own ups and downs: long
	// enough to remember between two peaks of load what the peaks taught.
	occupancyHalfLife = 5 * time.Minute

	// occupancyLeast is how much of it there must be: the first seconds of a load
	// fill up an empty pool once, which is not going up and down.
	occupancyLeast = 10 * time.Second

	// naturalGap is the least time between two moves that follow it: at most
	// two a minute.
	naturalGap = 30 * time.Second

	// fastLook is how often to look while learning: as often as a window can
	// hold something countable at the 1,000 queries per second of a small server.
	fastLook = 100 * time.Millisecond

	// watchLook is how often to look while callers queue at a limit that is
	// known to be right: a change of the load shall be noticed in half a second.
	watchLook = 200 * time.Millisecond

	// saturatedFor is how long callers must have queued without a break before
	// the limit is moved to learn: shorter is a burst.
	saturatedFor = 300 * time.Millisecond

	// glanceAfter is for how long callers must have queued before their
	// throughput can tell of another load.
	glanceAfter = time.Second

	// shortestQuery is less than any round trip to a server takes, over loopback
	// too. Connections held for less did not ask it anything, and how soon they
	// come back says nothing about it.
	shortestQuery = 50 * time.Microsecond

	// steadyQueue is how long callers queue without a break before the load
	// counts as one that does not vary: a closed loop, or overload.
	steadyQueue = 2 * time.Second

	// varyingAfter is the same while the load varies by itself: then the ups
	// and downs show a change first, and a queue only selects moments.
	varyingAfter = 10 * time.Second

	// verifyFirst and verifyMost bound the time between two trials of another
	// limit once the knee is known: two moves a minute at most.
	verifyFirst = time.Minute
	verifyMost  = 8 * time.Minute

	// verifySoon is the least time between two trials while the queue grows, or after one
	// that led to another limit.
	verifySoon = 15 * time.Second

	// verifyQueued bounds it while the queue never ends: then another limit may
	// be what the callers are waiting for.
	verifyQueued = 2 * time.Minute

	// verifyStep is how far from the limit in force that trial is, as a ratio, and
	// verifyFiner how many there are one way, each half as far as the one before, until
	// they begin again: a peak may be narrow.
	verifyStep  = 1.5
	verifyFiner = 3

	// staleAfter is how long the pool's ups and downs may have shown nothing new
	// and still be believed while callers queue.
	staleAfter = 30 * time.Second

	// freezeAfter is how long the server may be out of sight before the size is
	// frozen rather than held.
	freezeAfter = 10 * time.Second

	// shrinkAfter is how long a smaller max must have been enough when the knee
	// says why, shrinkUnlearned when only the demand was low, staleMin how long
	// another min must have been right, which keeps connections open that idle for half
	// an hour, and swapGap the least time between two swaps for such ends: a swap
	// reconnects everything, and the connections it saves are idle ones.
	shrinkAfter     = time.Minute
	shrinkUnlearned = 10 * time.Minute
	staleMin        = 10 * time.Minute
	minApart        = 4 // connections, beyond half or double: less is not worth a swap
	swapGap         = 10 * time.Minute

	// roomAbove times the limit is what max grows to where that takes a swap, roomToLearn
	// times in an episode: room for the next doublings too, so that a climb is a swap or
	// two and not ten. Each reconnects everything while callers queue, and what max allows
	// is opened only as the limit asks for it.
	roomAbove   = 2
	roomToLearn = 4

	// longestWindow is the longest gap between two looks, if not twice the usual
	// one, that still describes one state of affairs; after a longer one (a stopped
	// process, a suspended machine) the window is dropped.
	longestWindow = 30 * time.Second
)
