package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/bench"
	"github.com/pgautotune/autotune/internal/redact"
)

// benchFlags are the flags of the benchmark; what was not given is as in the
// full or the quick plan.
type benchFlags struct {
	quick               bool
	dsn                 string
	workloads, contends []string
	rounds              int
	slice               time.Duration
	clients, vectors    int
	runs                int
	seed                uint64
	output, svg         string
	journal             string
	listen              string
}

func benchCommand() *command {
	full := bench.Defaults()
	return &command{
		name: "bench", summary: "measure tuned pools against fixed ones on a real PostgreSQL",
		about: `Starts a throwaway PostgreSQL with pgvector, loads clustered vectors with an HNSW
index, and drives it through tuned pools that start at 4 and at 100 connections, plain
pools of fixed sizes, and failsafe-go's adaptive limiter. All alternate in short slices,
so that a noisy machine hits all alike; what learns first runs alone, from cold. For each
workload a table compares throughput and p99 with those of the best fixed size.

The plan takes up to 20 minutes, which it says first; --quick takes one. Interrupted, it
shows the workloads that are done. It ends 1 if any request failed.

With --dsn it uses a database of yours, puts everything into schemas autotune_bench and
autotune_bench_write of its own, and drops them at the end. Because it writes and loads
the server fully, it takes no database from DATABASE_URL or PG* by itself.

Workloads: ` + strings.Join(full.Workloads, ", ") + `.
Contenders: ` + bench.ContenderForms + `.`,
		example: []string{
			"autotune bench --quick",
			"autotune bench --svg plots --output json >bench.json",
			"autotune bench --workloads holding --contenders autotune-4,fixed-4,fixed-64",
		},
		flags: func(fs *pflag.FlagSet) runner {
			f := &benchFlags{}
			fs.BoolVar(&f.quick, "quick", false, "at most a minute: two workloads, fewer contenders and vectors, coarser figures")
			fs.StringVar(&f.dsn, "dsn", "", "database to use, a `URL` or key=value pairs; it must have pgvector (default a throwaway PostgreSQL)")
			noEnv(fs, "dsn") // set for another command, it would be written to
			fs.StringSliceVar(&f.workloads, "workloads", nil, "`names` of the workloads to run (default all)")
			fs.StringSliceVar(&f.contends, "contenders", nil, "`names` of who takes part (default all)")
			fs.IntVar(&f.rounds, "rounds", full.Rounds, "`slices` of each contender in each workload")
			fs.DurationVar(&f.slice, "slice", full.Slice, "`time` of a slice, of which the first fifth is not counted")
			fs.IntVar(&f.clients, "clients", full.Clients, "`callers` at once in the closed loops")
			fs.IntVar(&f.vectors, "vectors", full.Vectors, "`rows` to load and search")
			fs.IntVar(&f.runs, "runs", full.Runs, "whole `runs`, of which the result is the median")
			fs.Uint64Var(&f.seed, "seed", full.Seed, "`number` that fixes vectors, queries and arrivals")
			addOutput(fs, &f.output)
			fs.StringVar(&f.svg, "svg", "", "`folder` for a plot of each workload")
			fs.StringVar(&f.journal, "journal", "", "`folder` for the journals of the tuned pools; autotune replay reads them")
			addListen(fs, &f.listen)
			for _, name := range []string{"svg", "journal"} {
				_ = fs.SetAnnotation(name, annotationFile, []string{"true"})
			}
			return func(ctx context.Context, _ []string, s *session) error { return f.run(ctx, s, fs.Changed) }
		},
	}
}

// options are the plan's own with those that were given.
func (f *benchFlags) options(given func(flag string) bool) bench.Options {
	o := bench.Defaults()
	if f.quick {
		o = bench.Quick()
	}
	o.DSN, o.Seed, o.Runs, o.Clients, o.JournalDir = f.dsn, f.seed, f.runs, f.clients, f.journal
	if given("workloads") {
		o.Workloads = f.workloads
	}
	if given("contenders") {
		o.Contenders = f.contends
	}
	if given("rounds") {
		o.Rounds = f.rounds
	}
	if given("slice") {
		o.Slice, o.Uncounted = f.slice, f.slice/5
	}
	if given("vectors") {
		o.Vectors = f.vectors
	}
	return o
}

func (f *benchFlags) run(ctx context.Context, s *session, given func(flag string) bool) error {
	show := newScreen(s.stderr, s.env)
	defer show.clear()
	o := f.options(given)
	o.Log = show
	o.Progress = func(done float64, doing string) {
		show.draw(fmt.Sprintf("%s %3.0f %%  %s", bar(done, 24), 100*done, doing))
	}
	var page *pages
	o.Opened = func(name string, pool *autotune.Pool) func() { return page.showPool(name, pool) }
	plan, err := bench.NewPlan(o)
	if err != nil {
		return usagef("Try: autotune bench --help", "bench: %v", err)
	}
	if _, err := redact.ParsePool(f.dsn); err != nil {
		return usagef("Try: autotune bench --help", "bench: the connection string cannot be used: %v", err)
	}
	if _, named := connString("", s.env); named && f.dsn == "" {
		show.note("DATABASE_URL and PG* are not used, because the benchmark writes; name the database with --dsn to use it")
	}
	if page, err = listen(ctx, "bench", f.listen, show.note); err != nil {
		return err
	}
	defer page.close()
	show.note("%s", plan.About())
	result, err := plan.Run(ctx)
	if result == nil {
		return err
	}
	show.clear()
	show.gap()
	if f.output == outputJSON {
		err = errors.Join(err, writeJSON(s.stdout, result))
	} else {
		err = errors.Join(err, bench.WriteText(s.stdout, result))
	}
	if f.svg != "" {
		err = errors.Join(err, bench.WritePlots(f.svg, result))
	}
	if n := result.Failed(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d requests failed; the warnings say how", n))
	}
	return err
}
