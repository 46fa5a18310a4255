package policy

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
)

// busyRatio is the rule of thumb of thresholds, as pgbus has it for its pool of
// streams (mhenrixon/pgbus, as of commit 36eeab63, Streams::PoolAutoscaler): every
// 5 minutes, in use / size from 0.85 up grows the pool by a quarter of its fair
// share of the server's free connections (free / (peers × 1.5)), by at most 4 and
// at most half of what is free, and only while more than a fifth of
// max_connections, and 20, are free; below 0.3 it shrinks by 4 down to where it
// began; with less than 5 % of max_connections free, or 5, it goes back there at
// once. A pool of 1 does not grow. Defaults: size 5, interval 300 s.
//
// It swaps the pool for one of another size, so max moves with the limit. Where
// the server cannot be seen it holds. There is one process, so one peer.
type busyRatio struct {
	start plant.Setting
	end   int
	next  time.Duration // when to check
}

const (
	busyStart    = 5
	busyGrow     = 0.85
	busyShrink   = 0.30
	busyFair     = 0.25
	busySafety   = 1.5
	busyStep     = 4
	busyInterval = 5 * time.Minute
)

func newBusyRatio(e Env) (plant.Tuner, error) {
	n := e.begin(busyStart)
	return &busyRatio{start: plant.Setting{Limit: n, Max: n}, end: e.Ceiling, next: busyInterval}, nil
}

// Start is the baseline.
func (b *busyRatio) Start() plant.Setting { return b.start }

// Look checks when it is time.
func (b *busyRatio) Look(o controller.Observation) (plant.Setting, time.Duration) {
	now := plant.Setting{Limit: o.Gauges.Limit, Max: o.Gauges.Max, Min: o.Gauges.Min}
	if o.At < b.next {
		return now, 0
	}
	b.next = o.At + busyInterval
	if n := b.check(now.Max, o); n != now.Max {
		now = plant.Setting{Limit: n, Max: n}
	}
	return now, 0
}

// check returns the size from now on.
func (b *busyRatio) check(size int, o controller.Observation) int {
	if o.Server == nil || o.Server.MaxConnections <= 0 || size < 1 {
		return size
	}
	most := o.Server.MaxConnections
	free := most - o.Server.Ours.Total() - o.Server.Others
	margin := func(least int, share float64) int { return max(least, int(math.Ceil(share*float64(most)))) }
	ratio := float64(o.Gauges.InUse) / float64(size)
	switch {
	case free < margin(5, 0.05):
		return min(size, b.start.Max)
	case ratio >= busyGrow:
		if free <= margin(20, 0.20) || size <= 1 {
			return size
		}
		fair := int(busyFair * float64(free) / busySafety)
		return max(size, min(size+min(fair, busyStep, free/2), b.end))
	case ratio < busyShrink:
		return max(min(size, b.start.Max), size-busyStep)
	}
	return size
}
