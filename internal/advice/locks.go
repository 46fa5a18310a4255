package advice

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

const (
	// lockedShare of the time somebody has to wait for a row before it counts as the
	// bottleneck, and not as a collision now and then.
	lockedShare = 0.8
	// lockedPart of the connections in use has to wait for rows.
	lockedPart = 0.25
)

// lockedAt is the knee where rows are the bottleneck. Who waits for a row is a
// queue (who waits for a table or an advisory lock waits for an event, and holds a
// place until it comes); what keeps the row busy is its holder, one that is next in
// line, and those anywhere else on their way (parsing, committing, with their caller).
// The time that a row is held varies little from transaction to transaction of a kind,
// so no more is spared for chance. Zero where locks are no bottleneck.
func lockedAt(t *tally) Span {
	waits := t.share(func(_ int, c *counts) bool { return c.Row >= 1 })
	used := t.mean.inUse() + t.mean.Turning
	if waits < lockedShare || t.mean.Row < lockedPart*used {
		return Span{}
	}
	// Backends contend for the lock table because they queue for the row, and a
	// caller on the server's machine is late inside transactions as between them.
	late := t.local * math.Min(t.mean.Turning, t.mean.IdleInTransaction)
	elsewhere := math.Max(0, used-t.mean.Row-t.mean.Contention-late-1)
	// Several hot rows are several such queues, and the census cannot tell how
	// many: then as many as are in use today may be right.
	return Span{Lower: max(1, up(elsewhere)), Target: up(elsewhere + 2), Upper: up(used)}
}

// window is how long throughput is counted for a point of the curve: backends
// report their transactions about once a second.
const window = 5 * time.Second

// measuredKnee is the knee that the samples themselves show: throughput against
// connections in use, in windows in which every open connection was in use. It is
// identified only where the number of connections changed during the observation,
// by the standards of model.FitCapacity.
func measuredKnee(t *tally, samples []Sample, databases []string) model.Knee {
	var points []model.Point
	for from := 0; from < len(samples); {
		to := from
		for to+1 < len(samples) && samples[to].At-samples[from].At < window {
			to++
		}
		span := samples[to].At - samples[from].At
		if span >= window*9/10 {
			if p, ok := pointOf(t, samples, from, to, databases); ok {
				points = append(points, p)
			}
		}
		from = max(to, from+1)
	}
	if len(points) < 4 {
		return model.Knee{}
	}
	curve := model.FitCapacity(points)
	return curve.Knee
}

// pointOf is the throughput between two samples, if as many connections were in
// use all the time and none was idle.
func pointOf(t *tally, samples []Sample, from, to int, databases []string) (model.Point, bool) {
	low, high, sum, idle := math.Inf(1), 0.0, 0.0, 0.0
	for i := from; i <= to; i++ {
		c := &t.each[i]
		n := c.inUse() + c.Turning
		low, high, sum, idle = math.Min(low, n), math.Max(high, n), sum+n, idle+c.Idle
	}
	n := sum / float64(to-from+1)
	if n <= 0 || high-low > math.Max(1, 0.1*n) || idle > 0.05*sum {
		return model.Point{}, false
	}
	seconds := (samples[to].At - samples[from].At).Seconds()
	done := transactions(samples[from:to+1], databases) - float64(to-from)
	if done <= 0 {
		return model.Point{}, false
	}
	return model.Point{N: n, X: done / seconds, Weight: seconds}, true
}

// transactions is how many ended between the first and the last sample, in the
// given databases. A counter that went back was reset: what was before it is lost.
func transactions(samples []Sample, databases []string) (done float64) {
	for _, name := range databases {
		last, seen := int64(0), false
		for i := range samples {
			n, ok := samples[i].Transactions[name]
			if !ok {
				continue
			}
			if seen && n > last {
				done += float64(n - last)
			}
			last, seen = n, true
		}
	}
	return done
}
