package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/pgautotune/autotune/internal/load"
)

// shift is the load that changes: phases of index searches and of holding
// searches in turns, the same clients. Each contender goes through all of it at a
// stretch. Those of fixed size remember nothing, so shorter phases show as much
// of them; they go through it once before and once after those that learn.
func (b *bench) shift(ctx context.Context, f *field, data *load.Dataset) error {
	phases := make([]load.Workload, b.o.Phases)
	for i := range phases {
		if phases[i] = load.NewIndexSearch(data); i%2 == 1 {
			phases[i] = load.NewHoldingSearch(data, hold)
		}
	}
	if err := b.rest(ctx, f); err != nil {
		return err
	}
	if err := b.prime(ctx, phases[0]); err != nil {
		return err
	}
	pass := func(n int, learners bool, length time.Duration) error {
		for _, i := range order(len(f.subjects), n, fixedPasses) {
			if f.subjects[i].learns() != learners {
				continue
			}
			b.tell(fmt.Sprintf("%s through %d phases of %v", f.subjects[i].name, len(phases), length))
			if err := b.through(ctx, f, i, phases, length); err != nil {
				return fmt.Errorf("%s: %w", f.subjects[i].name, err)
			}
			b.done += time.Duration(len(phases))*length + turnover + openingTime(f.subjects[i].contender)
		}
		return nil
	}
	if err := pass(0, false, b.o.Slice); err != nil {
		return err
	}
	if err := pass(0, true, b.o.Phase); err != nil {
		return err
	}
	return pass(1, false, b.o.Slice)
}

// through takes one contender through all phases.
func (b *bench) through(ctx context.Context, f *field, i int, phases []load.Workload, length time.Duration) error {
	s, watch := f.subjects[i], f.watches[i]
	if err := b.ready(ctx, f, i, phases[0]); err != nil {
		return err
	}
	defer s.closeSlice()
	watch.restart(time.Now())
	f.from[i], f.changesBefore[i] = time.Now(), watch.changes

	rec := load.NewRecorder()
	counted := begin(ctx, rec)
	row := &f.rows[i]
	var slowest time.Duration
	all := true
	for _, w := range phases {
		watch.begin(time.Now())
		phase, end := context.WithCancel(ctx)
		wait := watch.follow(phase, nil)
		err := load.Run(ctx, s.target(), s.wrap(w), load.Closed{Clients: b.o.Clients}, length, b.o.Seed, s.ordinals(ordinalsPerSlice), rec)
		end()
		wait()
		took, ok := watch.settled(time.Now(), min(b.o.Settled, length/2))
		if err != nil {
			return err
		}
		if s.learns() {
			var each Row
			each.converged(took, ok)
			row.ConvergedEach = append(row.ConvergedEach, each.ConvergedIn)
			slowest, all = max(slowest, took), all && ok
		}
	}
	m := counted.end(ctx)
	if s.learns() {
		row.converged(slowest, all)
	}
	f.take(i, m)
	return nil
}
