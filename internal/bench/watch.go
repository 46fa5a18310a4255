package bench

import (
	"context"
	"sync"
	"time"
)

// Moment is a limit and when it came into force. A trace has one for
// each change, and one at its end.
type Moment struct {
	Seconds float64 `json:"t_s"` // since the workload began
	Limit   int     `json:"limit"`
}

// watch follows a contender's limit while it is under load.
type watch struct {
	read   func() (limit, held int, learning bool)
	origin time.Time // of the trace

	began    time.Time
	limit    int
	since    time.Time // of the present limit
	learning bool
	changes  int // ever
	heldMost int
	grew     time.Time // when it did last
	trace    []Moment
}

// newWatch looks once.
func newWatch(read func() (limit, held int, learning bool), origin, now time.Time) *watch {
	limit, held, learning := read()
	return &watch{read: read, origin: origin, began: now, limit: limit, since: now, learning: learning, heldMost: held,
		trace: []Moment{{now.Sub(origin).Seconds(), limit}}}
}

// begin begins a new stretch, such as a slice or a phase: it has had no change
// yet. What moved since the last look counts all the same.
func (w *watch) begin(now time.Time) {
	w.look(now)
	w.began, w.since = now, now
}

// restart begins the trace anew.
func (w *watch) restart(now time.Time) {
	w.begin(now)
	w.origin, w.trace = now, []Moment{{0, w.limit}}
}

// look looks again.
func (w *watch) look(now time.Time) {
	limit, held, learning := w.read()
	if limit != w.limit {
		w.changes++
		w.limit, w.since = limit, now
		w.trace = append(w.trace, Moment{now.Sub(w.origin).Seconds(), limit})
	}
	w.learning = learning
	if held > w.heldMost {
		w.heldMost, w.grew = held, now
	}
}

// settled is how long the limit took to reach its present value since the
// stretch began. ok is false if it has not stayed there for a while, is being moved on
// purpose, or the pool was still growing into it: while a hundred connections are being
// opened there is nothing to learn from.
func (w *watch) settled(now time.Time, stayed time.Duration) (took time.Duration, ok bool) {
	return w.since.Sub(w.began), now.Sub(w.since) >= stayed && now.Sub(w.grew) >= stayed && !w.learning
}

// follow looks until ctx ends, and calls enough after each look, which ends it
// too by returning true. The returned function waits for its end.
func (w *watch) follow(ctx context.Context, enough func(now time.Time) bool) (wait func()) {
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				w.look(now)
				if enough != nil && enough(now) {
					return
				}
			}
		}
	})
	return done.Wait
}
