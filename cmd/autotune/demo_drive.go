package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/pgautotune/autotune/internal/load"
	"github.com/pgautotune/autotune/journal"
)

const (
	// sampleEvery is how often the gauges are read: twice as often as the tuner
	// ever moves them.
	sampleEvery = 50 * time.Millisecond
	// pointEvery is the time between two points of the series.
	pointEvery = time.Second
)

// drive runs the phases one after the other and returns what happened.
func (o *demoOptions) drive(ctx context.Context, db *demoDatabase, kept *journal.File, page *pages, show *screen) (*demoResult, error) {
	decisions := &decisionLog{}
	var to io.Writer = decisions
	if kept != nil {
		to = &heardJournal{decisions, kept}
	}
	phases := demoPhases(db.data, o.clients)
	pool, err := o.openSubject(ctx, db, to, show)
	if err != nil {
		return nil, err
	}
	d := &driver{options: o, pool: pool, phases: phases, decisions: decisions, show: show, start: time.Now()}
	hide := func() {}
	if tuned, ok := pool.(tunedPool); ok {
		hide = page.showPool("", tuned.Pool)
	}
	err = d.all(ctx)
	hide()
	pool.Close()
	if err != nil {
		return nil, err
	}
	return d.result(db)
}

// driver is one passage through the phases.
type driver struct {
	options   *demoOptions
	pool      subject
	phases    []phase
	decisions *decisionLog
	show      *screen
	start     time.Time

	done     []demoPhase
	series   []demoPoint
	failures []load.Failure
}

func (d *driver) all(ctx context.Context) error {
	for i, p := range d.phases {
		length := time.Duration(p.share * float64(d.options.duration))
		if err := d.one(ctx, i, p, length); err != nil {
			return err
		}
	}
	return nil
}

// one drives a phase and watches it.
func (d *driver) one(ctx context.Context, index int, p phase, length time.Duration) error {
	title := fmt.Sprintf("phase %d of %d, %s: %s", index+1, len(d.phases), p.name, p.about)
	d.show.step("%s", title)
	rec := load.NewRecorder()
	w := &watch{driver: d, name: p.name, title: title, rec: rec, before: rec.Tally(), swaps: d.pool.gauge(0).swaps}
	w.begun, w.last = w.before.At, w.before

	ended := make(chan error, 1)
	go func() { ended <- load.Run(ctx, d.pool, p.workload, p.shape, length, d.options.seed, 0, rec) }()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.sample()
		case err := <-ended:
			if err != nil {
				return err
			}
			w.sample()
			d.done = append(d.done, w.finish())
			d.failures = append(d.failures, rec.Failures()...)
			return nil
		}
	}
}

// watch looks at the pool during one phase.
type watch struct {
	driver *driver
	name   string
	title  string
	rec    *load.Recorder
	begun  time.Time
	before *load.Tally // at the start of the phase
	last   *load.Tally // at the last point
	swaps  int64       // before the phase

	phase, second mean
	limit, max    span
	now           gauges
}

// sample reads the gauges, and every second adds a point to the series.
func (w *watch) sample() {
	tally := w.rec.Tally()
	w.now = w.driver.pool.gauge(tally.Pending())
	w.phase.add(w.now)
	w.second.add(w.now)
	w.limit.add(w.now.limit)
	w.max.add(w.now.max)
	if tally.At.Sub(w.last.At) < pointEvery {
		return
	}
	since := tally.Since(w.last)
	seconds := tally.At.Sub(w.last.At).Seconds()
	inUse, queued := w.second.take()
	w.driver.series = append(w.driver.series, demoPoint{
		At: rounded(tally.At.Sub(w.driver.start).Seconds(), 3), Phase: w.name,
		ArrivalRate: rounded(float64(since.Arrived)/seconds, 1), Throughput: rounded(float64(since.Completed)/seconds, 1),
		InUse: rounded(inUse, 2), Queued: rounded(queued, 2), Limit: w.now.limit, Max: w.now.max,
		P99: milliseconds(since.Times.Quantile(0.99)), Errors: since.Failed + since.Abandoned,
	})
	w.last = tally
	w.driver.draw(w.title)
}

// finish sums the phase up.
func (w *watch) finish() demoPhase {
	all := w.rec.Tally().Since(w.before)
	seconds := time.Since(w.begun).Seconds()
	inUse, _ := w.phase.take()
	return demoPhase{
		Name: w.name, Seconds: rounded(seconds, 3), Requests: all.Completed, Errors: all.Failed + all.Abandoned,
		Throughput: rounded(float64(all.Completed)/seconds, 1),
		P50:        milliseconds(all.Times.Quantile(0.5)), P99: milliseconds(all.Times.Quantile(0.99)),
		InUse: rounded(inUse, 2), LimitLow: w.limit.low, LimitHigh: w.limit.high, MaxLow: w.max.low, MaxHigh: w.max.high,
		Swaps: w.now.swaps - w.swaps,
	}
}

// mean of gauges.
type mean struct{ inUse, queued, n float64 }

func (m *mean) add(g gauges) {
	m.inUse += float64(g.inUse)
	m.queued += float64(g.queued)
	m.n++
}

// take returns the means and begins anew.
func (m *mean) take() (inUse, queued float64) {
	inUse, queued = m.inUse/max(1, m.n), m.queued/max(1, m.n)
	*m = mean{}
	return inUse, queued
}

// span is the lowest and the highest of what was added.
type span struct{ low, high int }

func (s *span) add(n int) {
	if s.low == 0 || n < s.low {
		s.low = n
	}
	s.high = max(s.high, n)
}
