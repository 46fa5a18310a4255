package autotune

import (
	"sync/atomic"
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

// levels counts for how long how many connections were in use, and how many came
// back out of that: what the controller reads the capacity curve from while the
// load goes up and down (model.Occupancy).
//
// It is told at the instants at which a hold is measured anyway, so it reads no
// clock; each costs an exchange and an addition. Two callers that pass each other
// between two of them swap a few nanoseconds between neighbouring levels. It is
// safe for concurrent use.
type levels struct {
	// last packs the instant of the last change (upper 50 bits, in units of
	// 256 ns: 9,000 years) and the number in use since (lower 14 bits).
	last atomic.Uint64
	time [model.LevelCount]atomic.Int64 // ns
	left [model.LevelCount]atomic.Int64
}

const (
	levelBits  = 14
	levelTicks = 8 // binary digits of the nanosecond that do not count
	levelMost  = 1<<levelBits - 1
)

// leave books that so many came back out of n in use.
func (l *levels) leave(n, count int64) {
	if n > 0 {
		l.left[model.LevelOf(int(n))].Add(count)
	}
}

// change books that so many are in use from now on.
func (l *levels) change(now, after int64) {
	tick := max(0, now) >> levelTicks
	for {
		was := l.last.Load()
		at := max(tick, int64(was>>levelBits)) // one who was held up does not turn the clock back
		if l.last.CompareAndSwap(was, uint64(at)<<levelBits|uint64(min(max(after, 0), levelMost))) {
			l.book(was, at)
			return
		}
	}
}

// book adds the time from a packed instant up to a tick to the level it began.
func (l *levels) book(was uint64, tick int64) {
	n, dt := int64(was&levelMost), tick-int64(was>>levelBits)
	if n > 0 && dt > 0 {
		l.time[model.LevelOf(int(n))].Add(dt << levelTicks)
	}
}

// snapshot reads the counts up to now.
func (l *levels) snapshot(now int64) (out model.Levels) {
	was := l.last.Load()
	for i := range out {
		out[i] = model.Level{Time: time.Duration(l.time[i].Load()), Left: l.left[i].Load()}
	}
	if n, dt := int64(was&levelMost), max(0, now)>>levelTicks-int64(was>>levelBits); n > 0 && dt > 0 {
		out[model.LevelOf(int(n))].Time += time.Duration(dt << levelTicks)
	}
	return out
}
