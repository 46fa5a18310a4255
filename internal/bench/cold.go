package bench

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgautotune/autotune/internal/host"
	"github.com/pgautotune/autotune/internal/load"
)

// primeConns and primeClients are enough to touch the data on any machine.
const (
	primeConns   = 8
	primeClients = 16
)

// The end of a pool is not the end of its work: each backend still has its memory to
// give back, 17 ms of CPU on some machines, so that 150 of them keep two cores busy for
// more than a second. Who came next would pay for it, and a tuned pool, which has nothing
// to open first, the most.
const (
	calmLook  = 50 * time.Millisecond
	calmLooks = 4    // in a row: the end of many backends has pauses
	calmShare = 0.10 // of the CPU, above that of other programs
)

// calm waits until the machine is about as idle as it is without a load. Where that
// takes too long, something else has begun, and the result will show it.
func (b *bench) calm(ctx context.Context, others float64) error {
	machine := host.New()
	_, _ = machine.Read(ctx)
	calm := 0
	for end := time.Now().Add(b.o.Calm); time.Now().Before(end); {
		if err := until(ctx, time.Now().Add(calmLook)); err != nil {
			return err
		}
		reading, _ := machine.Read(ctx)
		if calm++; reading.CPUKnown && reading.CPU > max(0, others)+calmShare {
			calm = 0
		}
		if calm == calmLooks {
			return nil
		}
	}
	b.note("the machine was still busy %v after a contender's slice", b.o.Calm)
	return nil
}

// ready waits until the last contender's load is over, and opens what this one needs.
func (b *bench) ready(ctx context.Context, f *field, i int, w load.Workload) error {
	if err := b.calm(ctx, f.others); err != nil {
		return err
	}
	return f.subjects[i].open(ctx, w)
}

// rest does nothing for a moment, to see what other programs take of the machine.
// It matters to the result, not only to its noise: an operating system shares the
// CPU by process, so where others compute, many backends get more of it than few,
// and large pools look better than they are.
func (b *bench) rest(ctx context.Context, f *field) error {
	b.tell("listening for other programs")
	if err := b.calm(ctx, 0); err != nil {
		return err
	}
	machine := host.New()
	_, _ = machine.Read(ctx)
	err := until(ctx, time.Now().Add(restTime))
	reading, _ := machine.Read(ctx)
	if f.others = -1; reading.CPUKnown {
		f.others = reading.CPU
	}
	b.done += restTime
	return err
}

// prime touches a workload's data before anybody is measured on it, so that the
// first contender does not pay for the cold cache of the server.
func (b *bench) prime(ctx context.Context, w load.Workload) error {
	b.tell("warming the server")
	cfg, err := b.db.config("priming")
	if err != nil {
		return err
	}
	cfg.MaxConns = primeConns
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	err = load.Run(ctx, pool, w, load.Closed{Clients: primeClients}, primeTime, b.o.Seed, 0, load.NewRecorder())
	b.done += primeTime
	return err
}

// cold runs a contender that learns alone until its limit has settled, or the
// time is up.
func (b *bench) cold(ctx context.Context, f *field, i int, w load.Workload, shape load.Shape) error {
	s, watch := f.subjects[i], f.watches[i]
	if err := b.ready(ctx, f, i, w); err != nil {
		return err
	}
	defer s.closeSlice()
	running, stop := context.WithCancel(ctx)
	defer stop()
	watch.begin(time.Now())
	wait := watch.follow(running, func(now time.Time) bool {
		_, ok := watch.settled(now, b.o.Settled)
		if ok {
			stop()
		}
		return ok
	})
	rec := load.NewRecorder()
	err := load.Run(running, s.target(), unhurried{s.wrap(w), ctx}, shape, b.o.cold(s.contender), b.o.Seed, s.ordinals(ordinalsPerSlice), rec)
	settledInTime := running.Err() != nil
	stop()
	wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !settledInTime {
		return err
	}
	f.rows[i].converged(watch.settled(time.Now(), b.o.Settled))
	f.rows[i].Failed += rec.Tally().Failed
	for _, e := range rec.Failures() {
		f.errs = append(f.errs, s.name+" from cold: "+e.Text)
	}
	f.from[i] = time.Now()
	f.changesBefore[i] = watch.changes
	if s.pool != nil {
		f.swaps[i] = s.pool.Snapshot().Swaps
	}
	return nil
}

func (r *Row) converged(took time.Duration, ok bool) {
	r.Converged, r.ConvergedIn = ok, nil
	if ok {
		seconds := took.Seconds()
		r.ConvergedIn = &seconds
	}
}

// unhurried is a workload whose requests end by themselves after the run was
// ended early: a request cut off would cost its connection.
type unhurried struct {
	load.Workload
	ctx context.Context
}

// Do makes the n-th request; the run's own context does not cut it off.
func (w unhurried) Do(_ context.Context, p load.Pool, n uint64) error {
	return w.Workload.Do(w.ctx, p, n)
}
