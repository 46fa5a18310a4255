package bench

import (
	"context"
	"time"

	"github.com/pgautotune/autotune/internal/host"
	"github.com/pgautotune/autotune/internal/load"
)

// measured is what was counted of one contender in one slice.
type measured struct {
	throughput float64 // requests per second, in the counted part
	p50, p99   time.Duration
	completed  int64
	failed     int64
	abandoned  int64
	failures   []load.Failure
	cpu        cpuUse
}

// cpuUse is the CPU of the machine that the generator runs on.
type cpuUse struct {
	own     float64 // share of all cores that this process used, 0–1
	machine float64 // busy share of all cores, 0–1; below 0: unknown
}

// drive makes requests for so long, counts after the first part of it, and
// returns when the last request has ended.
func drive(ctx context.Context, s *subject, w load.Workload, shape load.Shape, length, uncounted time.Duration, seed uint64, watch *watch) (measured, error) {
	rec := load.NewRecorder()
	ended := make(chan error, 1)
	following, stop := context.WithCancel(ctx)
	wait := watch.follow(following, nil)
	defer func() { stop(); wait() }()
	start := time.Now()
	go func() {
		ended <- load.Run(ctx, s.target(), s.wrap(w), shape, length, seed, s.ordinals(ordinalsPerSlice), rec)
	}()

	if err := until(ctx, start.Add(uncounted)); err != nil {
		<-ended
		return measured{}, err
	}
	counted := begin(ctx, rec)
	if err := until(ctx, start.Add(length)); err != nil {
		<-ended
		return measured{}, err
	}
	m := counted.end(ctx)
	err := <-ended

	// Throughput is of the counted part. Response times and failures are also
	// those of the requests that ended after it: cut off there, the slow would be
	// missing.
	end := rec.Tally()
	all := end.Since(counted.from)
	m.p50, m.p99 = all.Times.Quantile(0.50), all.Times.Quantile(0.99)
	m.failed, m.abandoned, m.failures = end.Failed, end.Abandoned, rec.Failures()
	return m, err
}

// count is a part of a run that is being counted.
type count struct {
	rec     *load.Recorder
	machine *host.Reader
	from    *load.Tally
	cpu     time.Duration
}

func begin(ctx context.Context, rec *load.Recorder) *count {
	c := &count{rec: rec, machine: host.New()}
	_, _ = c.machine.Read(ctx) // CPU is a difference of two readings
	c.from, c.cpu = rec.Tally(), ownCPU()
	return c
}

func (c *count) end(ctx context.Context) measured {
	to, cpu := c.rec.Tally(), ownCPU()
	reading, _ := c.machine.Read(ctx)
	part := to.Since(c.from)
	seconds := to.At.Sub(c.from.At).Seconds()
	m := measured{
		throughput: float64(part.Completed) / seconds,
		p50:        part.Times.Quantile(0.50), p99: part.Times.Quantile(0.99),
		completed: part.Completed, failed: part.Failed, abandoned: part.Abandoned, failures: c.rec.Failures(),
		cpu: cpuUse{own: (cpu - c.cpu).Seconds() / seconds / float64(max(1, reading.Cores)), machine: -1},
	}
	if reading.CPUKnown {
		m.cpu.machine = reading.CPU
	}
	return m
}

// ordinalsPerSlice is more than any slice uses.
const ordinalsPerSlice = 100_000_000

// until waits for an instant, or returns ctx's error if that ends first.
func until(ctx context.Context, t time.Time) error {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
