package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Shape says how requests follow one another.
type Shape interface {
	validate() error
	drive(*run)
}

// Closed is a number of clients that each ask again when they were answered. Its
// response times are those of a client that waits: while the pool stalls, no new
// requests come. Use [Open] where that must not hide a stall.
type Closed struct {
	Clients int           // at least 1
	Think   time.Duration // mean of the exponential pause before each request; 0: none
}

// Open is requests that come whether or not earlier ones were answered, as from
// many independent users: a Poisson process. Response times count from when a
// request was due, so that a late generator or a stalled pool cannot hide
// (no coordinated omission).
type Open struct {
	Rate float64 // requests per second, above 0
}

// grace is how long requests may go on after their run's end before they are
// abandoned: more than any queue of a closed run takes.
const grace = 10 * time.Second

// failurePause keeps a client whose requests fail at once from spinning.
const failurePause = 10 * time.Millisecond

// Run makes requests for so long and returns when the last one has ended. An end
// of ctx cuts them off and is returned; failed requests are in the recorder.
// The seed fixes pauses and arrivals. first is the ordinal of the first request.
func Run(ctx context.Context, p Pool, w Workload, s Shape, length time.Duration, seed, first uint64, rec *Recorder) error {
	if err := s.validate(); err != nil {
		return err
	}
	start := time.Now()
	requests, cancel := context.WithTimeout(ctx, length+grace)
	defer cancel()
	arrivals, stop := context.WithTimeout(ctx, length)
	defer stop()
	r := &run{requests: requests, arrivals: arrivals, start: start, pool: p, workload: w, seed: seed, first: first, rec: rec}
	s.drive(r)
	r.pending.Wait()
	return ctx.Err()
}

// run is one call of Run.
type run struct {
	arrivals    context.Context // over: no new requests
	requests    context.Context // over: those under way are cut off
	start       time.Time
	pool        Pool
	workload    Workload
	seed, first uint64
	rec         *Recorder
	pending     sync.WaitGroup
}

// request makes one request that was due at a time.
func (r *run) request(client int, n uint64, due time.Time) {
	s := r.rec.shard(client)
	err := r.workload.Do(r.requests, r.pool, r.first+n)
	switch {
	case err == nil:
		s.times.add(time.Since(due))
	case r.requests.Err() != nil:
		s.abandoned.Add(1)
	default:
		r.rec.fail(client, err)
		_ = pause(r.arrivals, failurePause)
	}
}

// over tells that no new request shall begin. Both contexts count: when the
// caller's ends, they end one after the other.
func (r *run) over() bool { return r.arrivals.Err() != nil || r.requests.Err() != nil }

func (c Closed) validate() error {
	if c.Clients < 1 || c.Think < 0 {
		return fmt.Errorf("%d clients with a pause of %v: at least 1 client and no negative pause is needed", c.Clients, c.Think)
	}
	return nil
}

func (c Closed) drive(r *run) {
	for client := range c.Clients {
		r.pending.Go(func() {
			rng := rand.New(rand.NewPCG(r.seed, scramble(uint64(client))))
			// Clients take turns in the ordinals, so that they share no counter.
			for n := uint64(client); !r.over(); n += uint64(c.Clients) {
				if c.Think > 0 && pause(r.arrivals, time.Duration(rng.ExpFloat64()*float64(c.Think))) != nil {
					return
				}
				r.rec.shard(client).arrived.Add(1)
				r.request(client, n, time.Now())
			}
		})
	}
}

func (o Open) validate() error {
	if !(o.Rate > 0) || o.Rate > 1e6 {
		return fmt.Errorf("an arrival rate of %g/s: it must be above 0 and at most 1,000,000", o.Rate)
	}
	return nil
}

func (o Open) drive(r *run) {
	rng := rand.New(rand.NewPCG(r.seed, scramble(0)))
	due := r.start
	for n := uint64(0); ; n++ {
		due = due.Add(time.Duration(rng.ExpFloat64() / o.Rate * float64(time.Second)))
		// What is overdue goes at once, and is measured from when it was due.
		if late := time.Until(due); late > 0 && pause(r.arrivals, late) != nil || r.over() {
			return
		}
		client, due := int(n), due
		r.rec.shard(client).arrived.Add(1)
		r.pending.Go(func() { r.request(client, n, due) })
	}
}
