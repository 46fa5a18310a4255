package ingest

import (
	"io"
	"math"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/replay"
	"github.com/pgautotune/autotune/simulations/trace"
)

// readJournal makes an interval of every two observations of a tuner that follow
// one another. Service times are those of completions, so of queries that began
// before the interval too.
func readJournal(files []replay.File, out *sink) error {
	r := replay.NewReader(files...)
	defer r.Close()
	open := (*bool)(nil) // nobody told the pool
	out.begin(trace.Header{Kind: trace.Intervals, ServiceKind: trace.Observed, OpenLoop: open, Source: "journal of a tuned pool"},
		[]string{"t_s", "dur_s", "rate_rps", "arrivals", "service_ms_mean", "service_ms_cv", "wait_ms_mean", "active", "idle", "waiting", "limit", "others", "cpu_util"})
	var last *controller.Observation
	for {
		rec, err := r.Next()
		if err == io.EOF {
			for _, cut := range r.Truncated() {
				out.note("%s.", cut)
			}
			return nil
		}
		if err != nil {
			return err
		}
		now := rec.Observation
		if !rec.Fresh && last != nil && now.At > last.At {
			begin := float64(rec.Header.Start.UnixMicro())/1e6 + last.At.Seconds()
			if begin < 0 || begin > latest {
				return &trace.Error{File: rec.File, Line: rec.Line, Reason: "the journal's start is not a time between 1970 and 2200"}
			}
			i := between(last, &now)
			if err := out.interval(begin, &i); err != nil {
				return err
			}
		}
		last = &now
	}
}

// between is what happened between two observations.
func between(a, b *controller.Observation) trace.Interval {
	i := trace.UnknownInterval()
	i.Dur = (b.At - a.At).Seconds()
	c, o := b.Counters, a.Counters
	i.Idle, i.Waiting, i.Limit = count(b.Gauges.Idle), count(b.Gauges.Queued), count(b.Gauges.Limit)
	if b.Server != nil {
		i.Others = count(b.Server.Others)
	}
	if b.Host != nil && b.Host.SharedBox {
		i.CPU = known(b.Host.CPU)
	}
	arrived, done := c.Arrivals-o.Arrivals, c.Completions-o.Completions
	if arrived < 0 || done < 0 || c.ServiceTime < o.ServiceTime || c.WaitTime < o.WaitTime || c.InUseTime < o.InUseTime {
		return i // the counters began again: what came in between is unknown
	}
	i.Arrivals = float64(arrived)
	i.Rate = i.Arrivals / i.Dur
	i.Active = known((c.InUseTime - o.InUseTime).Seconds() / i.Dur)
	if done > 0 {
		mean := (c.ServiceTime - o.ServiceTime).Seconds() / float64(done)
		i.ServiceMean = known(1000 * mean)
		if square := (c.ServiceTimeSq - o.ServiceTimeSq) / float64(done); mean > 0 {
			i.ServiceCV = known(math.Sqrt(max(0, square-mean*mean)) / mean)
		}
		i.WaitMean = known(1000 * (c.WaitTime - o.WaitTime).Seconds() / float64(done))
	}
	return i
}

// known is v, or unknown where it cannot be.
func known(v float64) float64 {
	if v >= 0 && !math.IsInf(v, 0) {
		return v
	}
	return math.NaN()
}

func count(n int) float64 { return known(float64(n)) }
