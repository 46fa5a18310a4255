package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/pgautotune/autotune/internal/load"
)

// bench is a plan being run.
type bench struct {
	*Plan
	o       *Options
	db      *database
	ceiling int // of the tuned pools
	result  *Result
	started time.Time
	done    time.Duration // of the plan
	total   time.Duration
	doing   string
}

// Run does it all: starts the server if none is named, loads, measures, and
// leaves nothing behind. It returns when that is done or ctx ends; then with ctx's
// error and, if any were, the result of the workloads that were done by then.
func (p *Plan) Run(ctx context.Context) (_ *Result, err error) {
	b := &bench{Plan: p, o: &p.options, started: time.Now(), total: p.Duration()}
	b.result = &Result{Schema: Schema, Started: b.started.UTC(), Quick: b.o.Quick, Seed: b.o.Seed, Settings: b.o.settings(),
		PlannedSeconds: b.total.Seconds(), Notes: []string{}, Warnings: []string{}}
	if b.o.JournalDir != "" {
		if err := os.MkdirAll(b.o.JournalDir, 0o755); err != nil {
			return nil, fmt.Errorf("the folder of the journals cannot be made: %w", err)
		}
	}
	if b.db, err = openDatabase(ctx, b.o, b.tell); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.db.close()) }()
	b.result.Server = b.db.info
	if err := b.fit(); err != nil {
		return nil, err
	}
	b.done = startTime + b.loading()

	runs, err := b.matrix(ctx)
	if len(runs) == 0 {
		return nil, err
	}
	b.result.Workloads = medianOfRuns(runs)
	if len(runs) > 1 {
		b.result.Runs = runs
	}
	b.conclude()
	b.result.ElapsedSeconds = time.Since(b.started).Seconds()
	return b.result, err
}

// matrix runs all workloads so many times. Where ctx ends within the first run, it
// returns the workloads that were done; within a later one, the runs that were.
func (b *bench) matrix(ctx context.Context) (runs [][]WorkloadResult, err error) {
	for run := range b.o.Runs {
		var results []WorkloadResult
		for i, w := range b.workloads {
			r, err := b.workload(ctx, w, i, run, results)
			switch {
			case err == nil:
				results = append(results, r)
				continue
			case ctx.Err() == nil:
				return nil, fmt.Errorf("workload %s: %w", w.name, err)
			case run > 0:
				b.warn("cut off after %d of %d runs", run, b.o.Runs)
			case i > 0:
				b.warn("cut off after %d of %d workloads", i, len(b.workloads))
				runs = append(runs, results)
			}
			return runs, err
		}
		runs = append(runs, results)
	}
	return runs, nil
}

// fit leaves out what the server has no room for.
func (b *bench) fit() error {
	plain := 0
	b.contenders = slices.DeleteFunc(slices.Clone(b.contenders), func(c contender) bool {
		if c.kind == tuned {
			return false
		}
		if c.size > b.db.room/2 {
			b.note("%s is left out: the server has room for %d connections, which the contenders share", c.name, b.db.room)
			return true
		}
		plain = max(plain, c.size)
		return false
	})
	if plain == 0 {
		return fmt.Errorf("the server has room for %d connections, too few for any contender: raise its max_connections, or name no database for a throwaway server", b.db.room)
	}
	pools := 0
	for _, c := range b.contenders {
		if c.kind == tuned {
			pools++
		}
	}
	if pools > 0 {
		b.ceiling = min(mostTuned, max(1, (b.db.room-plain)/pools))
		b.note("autotune-N starts at N connections (Config.Start) and may use 1 to %d; all else is its default", b.ceiling)
	}
	return nil
}

// workload runs one line of the matrix.
func (b *bench) workload(ctx context.Context, w workload, index, run int, earlier []WorkloadResult) (_ WorkloadResult, err error) {
	result := WorkloadResult{Name: w.name, About: w.about, MachineCPU: -1}
	b.doing = w.name
	if b.o.Runs > 1 {
		b.doing = fmt.Sprintf("run %d of %d, %s", run+1, b.o.Runs, w.name)
	}
	data, err := b.db.dataset(ctx, w, b.tell)
	if err != nil {
		return result, err
	}
	contenders := b.contenders
	var shape load.Shape = load.Closed{Clients: b.o.Clients}
	if w.openOf != "" {
		contenders, result.Rate, result.Skipped = b.arrivals(w, earlier)
		shape = load.Open{Rate: result.Rate}
	}
	result.Shape = w.shape(b.o, result.Rate)

	f, err := b.enter(ctx, contenders, w, run)
	defer func() { err = errors.Join(err, f.leave()) }()
	if err != nil {
		return result, err
	}
	if w.shift {
		err = b.shift(ctx, f, data)
	} else {
		err = b.rounds(ctx, f, w.make(data), shape, index)
	}
	if err != nil {
		return result, err
	}
	f.finish()
	compare(f.rows, w.openOf != "")
	result.Contenders = f.rows
	if best := bestFixed(f.rows, w.openOf != ""); best >= 0 {
		result.BestFixed = f.rows[best].Name
	}
	result.GeneratorCPU, result.MachineCPU = meanCPU(f.cpu)
	result.OthersCPU = f.others
	for _, e := range f.errs {
		b.warn("%s: %s", w.name, e)
	}
	return result, nil
}

// arrivals is the rate of an open workload, the contenders that can serve it,
// and the names of the fixed sizes that showed in the closed loop that they
// cannot: their backlog would only grow.
func (b *bench) arrivals(w workload, earlier []WorkloadResult) (able []contender, rate float64, skipped []string) {
	closed := earlier[slices.IndexFunc(earlier, func(r WorkloadResult) bool { return r.Name == w.openOf })]
	gave := map[string]float64{}
	for _, row := range closed.Contenders {
		gave[row.Name] = row.Throughput.Mean
		if row.Kind == string(fixed) { // so that at least one size can serve it
			rate = max(rate, b.o.OpenShare*row.Throughput.Mean)
		}
	}
	for _, c := range b.contenders {
		if c.kind == fixed && gave[c.name] < rate {
			skipped = append(skipped, c.name)
			b.done += time.Duration(b.o.Rounds) * (b.o.Slice + turnover + openingTime(c))
			continue
		}
		able = append(able, c)
	}
	return able, rate, skipped
}

// rounds is the method of all workloads but the shift: prime the data, let those
// that learn run alone from cold, then all in turns.
func (b *bench) rounds(ctx context.Context, f *field, w load.Workload, shape load.Shape, index int) error {
	if err := b.rest(ctx, f); err != nil {
		return err
	}
	if err := b.prime(ctx, w); err != nil {
		return err
	}
	for i, s := range f.subjects {
		if !s.learns() {
			continue
		}
		b.tell(fmt.Sprintf("%s alone from cold", s.name))
		if err := b.cold(ctx, f, i, w, shape); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		b.done += b.o.cold(s.contender) + openingTime(s.contender)
	}
	for round := range b.o.Rounds {
		if round > 0 && b.late(index, f) {
			b.note("%s: %d of %d rounds, to be done in time", b.workloads[index].name, round, b.o.Rounds)
			return nil
		}
		for _, i := range order(len(f.subjects), round, b.o.Rounds) {
			s := f.subjects[i]
			b.tell(fmt.Sprintf("round %d of %d, %s", round+1, b.o.Rounds, s.name))
			if err := b.ready(ctx, f, i, w); err != nil {
				return err
			}
			f.watches[i].begin(time.Now())
			m, err := drive(ctx, s, w, shape, b.o.Slice, b.o.Uncounted, b.o.Seed+uint64(round), f.watches[i])
			s.closeSlice()
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			f.take(i, m)
			b.done += b.o.Slice + turnover
			if s.kind != tuned {
				b.done += openingTime(s.contender)
			}
		}
	}
	return nil
}

// late tells whether another round would leave too little time for what follows.
func (b *bench) late(index int, f *field) bool {
	if b.o.Most == 0 {
		return false
	}
	need := time.Duration(0)
	for _, s := range f.subjects {
		need += b.o.Slice + turnover
		if s.kind != tuned {
			need += openingTime(s.contender)
		}
	}
	for _, w := range b.workloads[index+1:] {
		need += b.workloadTime(w)
	}
	return time.Since(b.started)+need > b.o.Most
}
