package main

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"time"

	"github.com/spf13/pflag"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/load"
	"github.com/pgautotune/autotune/journal"
)

// The demo, in order of use: demo_database.go gets a server and puts vectors into
// it, demo_phases.go says which load follows which, demo_pool.go is the pool they
// meet, tuned or fixed, demo_drive.go drives them and watches, demo_journal.go
// listens to the tuner, demo_live.go shows it while it runs, demo_result.go is
// what is left of it as JSON, demo_report.go the same as text.

// demoOptions are the flags.
type demoOptions struct {
	dsn        string
	duration   time.Duration
	clients    int
	vectors    int
	dimensions int
	seed       uint64
	profile    string
	start      int
	fixed      int
	output     string
	journal    string
	listen     string
	logLevel   string
}

func demoCommand() *command {
	return &command{
		name: "demo", summary: "watch the tuner at work on a real PostgreSQL",
		about: `Starts a throwaway PostgreSQL with pgvector, loads clustered vectors with an
HNSW index and drives a service's day through a tuned pool in five phases: quiet,
a rush of index searches, searches that hold their transaction while the caller
works, a burst of inserts, quiet again. A terminal shows it live; the result is a
table of the phases and the decisions with their reasons. It ends 1 if any
request failed.

With --dsn it uses a database of yours, puts everything into a schema autotune_demo
of its own, and drops that at the end. Because it writes, it takes no database from
DATABASE_URL or PG* by itself.`,
		example: []string{
			"autotune demo",
			"autotune demo --start 100             # start far too large",
			"autotune demo --fixed 50              # the same load on a plain pool",
			"autotune demo --listen :8080 --duration 10m   # with a live page",
			"autotune demo --output json >demo.json",
		},
		flags: func(fs *pflag.FlagSet) runner {
			o := &demoOptions{}
			fs.StringVar(&o.dsn, "dsn", "", "database to use, a `URL` or key=value pairs; it must have pgvector (default a throwaway PostgreSQL)")
			noEnv(fs, "dsn") // set for another command, it would be written to
			fs.DurationVar(&o.duration, "duration", 40*time.Second, "`time` that the load lasts, after starting and loading")
			fs.IntVar(&o.clients, "clients", 64, "`callers` at once in the busy phases")
			fs.IntVar(&o.vectors, "vectors", 20_000, "`rows` to load and search")
			fs.IntVar(&o.dimensions, "dimensions", 128, "`numbers` in a vector")
			fs.Uint64Var(&o.seed, "seed", 1, "`number` that fixes vectors, queries and arrivals")
			addChoice(fs, &o.profile, "profile", "`kind` of service to tune for", "auto", "vector", "batch")
			fs.IntVar(&o.start, "start", 0, "`connections` the pool starts with (default as pgxpool: 4, or the CPUs if more)")
			fs.IntVar(&o.fixed, "fixed", 0, "`size` of a plain pgxpool.Pool to compare with, not tuned")
			addOutput(fs, &o.output)
			fs.StringVar(&o.journal, "journal", "", "`file` for every observation and decision, as JSON lines; autotune replay reads it")
			_ = fs.SetAnnotation("journal", annotationFile, []string{"true"})
			addListen(fs, &o.listen)
			addChoice(fs, &o.logLevel, "log-level", "`least` that the pool logs to stderr", "off", "error", "warn", "info", "debug")
			return func(ctx context.Context, _ []string, s *session) error {
				if err := o.validate(onCommandLine(fs)); err != nil {
					return err
				}
				return o.run(ctx, s)
			}
		},
	}
}

// mostConnections bounds the pool of a demo: beyond it, it shows only that a
// server can be killed with connections.
const mostConnections = 1000

// validate refuses what cannot be before anything is started.
func (o *demoOptions) validate(given func(flag string) bool) error {
	const try = "Try: autotune demo --help"
	least := func(flag string) int64 { // 0 is the default, which nobody asks for by a number
		if given(flag) {
			return 1
		}
		return 0
	}
	for _, f := range []struct {
		name             string
		value, low, high int64
	}{
		{"clients", int64(o.clients), 1, 10_000},
		{"vectors", int64(o.vectors), 100, 10_000_000},
		{"dimensions", int64(o.dimensions), 1, load.MaxDimensions},
		{"start", int64(o.start), least("start"), mostConnections},
		{"fixed", int64(o.fixed), least("fixed"), mostConnections},
	} {
		if f.value < f.low || f.value > f.high {
			return usagef(try, "demo: --%s is %d, outside its bounds of %d to %d", f.name, f.value, f.low, f.high)
		}
	}
	if o.duration < time.Second || o.duration > 24*time.Hour {
		return usagef(try, "demo: --duration is %s, outside its bounds of 1s to 24h", o.duration)
	}
	for _, other := range []string{"start", "profile", "journal", "listen"} {
		if o.fixed > 0 && given(other) {
			return usagef("Leave out --"+other+", or --fixed", "demo: --%s is about tuning, and --fixed does not tune", other)
		}
	}
	return nil
}

// run is the demo from the start of the server to the end of it.
func (o *demoOptions) run(ctx context.Context, s *session) (err error) {
	show := newScreen(s.stderr, s.env)
	defer show.clear()
	if _, named := connString("", s.env); named && o.dsn == "" {
		show.note("DATABASE_URL and PG* are not used, because the demo writes; name the database with --dsn to use it")
	}
	page, err := listen(ctx, "demo", o.listen, show.note)
	if err != nil {
		return err
	}
	defer page.close()
	db, err := openDemoDatabase(ctx, o, show)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()

	var kept *journal.File
	if o.journal != "" {
		if kept, err = journal.Open(o.journal, journal.Options{}); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, kept.Close()) }()
	}
	result, err := o.drive(ctx, db, kept, page, show)
	if err != nil {
		return err
	}
	show.clear()
	show.gap()
	if o.output == outputJSON {
		err = writeJSON(s.stdout, result)
	} else {
		err = writeDemoReport(s.stdout, result, newStyle(s.stdout, s.env))
	}
	return errors.Join(err, result.failure())
}

// config is the tuned pool's configuration.
func (o *demoOptions) config(dsn string) (*autotune.Config, error) {
	cfg, err := autotune.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	cfg.Profile = autotune.Profile(o.profile)
	cfg.Start = o.start
	if conn := cfg.Pool.ConnConfig; conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "autotune demo"
	}
	return cfg, nil
}

// logger is what the pool logs to, nil for nothing.
func (o *demoOptions) logger(show *screen) *slog.Logger {
	var level slog.Level
	if o.logLevel == "off" || level.UnmarshalText([]byte(o.logLevel)) != nil {
		return nil
	}
	return slog.New(slog.NewTextHandler(show, &slog.HandlerOptions{Level: level}))
}

// cores is how many this process may use: client and throwaway server share them.
func cores() int { return runtime.GOMAXPROCS(0) }
