package plant

import (
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

// occupancy counts, as the live pool does and at the same instants, for how long
// how many connections were in use and how many came back out of that.
type occupancy struct {
	counts model.Levels
	n      int
	since  int64
}

// change books that n are in use from now on.
func (o *occupancy) change(now int64, n int) {
	if o.n > 0 {
		o.counts[model.LevelOf(o.n)].Time += time.Duration(now - o.since)
	}
	o.n, o.since = n, now
}

// leave books that a connection came back, out of n in use, and went on to the
// next in the queue or did not.
func (o *occupancy) leave(now int64, n int, handed bool) {
	if n > 0 {
		o.counts[model.LevelOf(n)].Left++
	}
	if !handed {
		o.change(now, n-1)
	}
}

// upTo is the counts at an instant.
func (o *occupancy) upTo(now int64) model.Levels {
	o.change(now, o.n)
	return o.counts
}
