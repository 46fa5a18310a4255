package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/pgautotune/autotune/internal/advice"
	"github.com/pgautotune/autotune/internal/redact"
	"github.com/pgautotune/autotune/internal/survey"
)

// recommend: here are its flags and its course; recommend_report.go is the answer
// as text, recommend_formats.go as lines to paste, recommend_check.go judges a size. watch.go shares the flags.

// surveyFlags say whom to look at and what is asked; recommend and watch share them.
type surveyFlags struct {
	dsn                         string
	application, role, database string
	instances, serverCPUs       int
}

func (f *surveyFlags) define(fs *pflag.FlagSet) {
	fs.StringVar(&f.dsn, "dsn", "", "server to look at, a `URL` or key=value pairs (default DATABASE_URL, then PG*)")
	fs.StringVar(&f.application, "application", "", "only connections with this application `name`")
	fs.StringVar(&f.role, "user", "", "only connections of this `role`")
	fs.StringVar(&f.database, "database", "", "only connections to the database of this `name`")
	fs.IntVar(&f.instances, "instances", 1, "`processes` of the service, which share the connections")
	fs.IntVar(&f.serverCPUs, "server-cpus", 0, "`cores` of the server, where it runs elsewhere (default found out if it runs here)")
}

func (f *surveyFlags) question() advice.Question {
	return advice.Question{Filter: advice.Filter{Application: f.application, Role: f.role, Database: f.database}, Instances: f.instances, ServerCPUs: f.serverCPUs}
}

func (f *surveyFlags) validate(command string) error {
	try := "Try: autotune " + command + " --help"
	if f.instances < 1 || f.instances > 10_000 {
		return usagef(try, "%s: --instances is %d, outside its bounds of 1 to 10000", command, f.instances)
	}
	if f.serverCPUs < 0 || f.serverCPUs > 4096 {
		return usagef(try, "%s: --server-cpus is %d, outside its bounds of 1 to 4096", command, f.serverCPUs)
	}
	return nil
}

// open connects to the server that the flags and the environment name, to look for
// the given time (0: without end). That it has gone silent is noted on show.
func (f *surveyFlags) open(ctx context.Context, command string, env environment, length time.Duration, show *screen) (*survey.Surveyor, error) {
	dsn, ok := connString(f.dsn, env)
	if !ok {
		return nil, usagef("Name it with --dsn, DATABASE_URL or PGHOST", "%s: no server to look at", command)
	}
	cfg, err := redact.ParsePool(dsn) // takes out the pool_* settings, which a server would refuse
	if err != nil {
		return nil, usagef("Try: autotune "+command+" --help", "%s: the connection string cannot be read: %v", command, err)
	}
	silent := func(err error) {
		show.note("the server does not answer; looking goes on (%s)", why(err))
	}
	surveyor, err := survey.Open(ctx, survey.Config{ConnConfig: cfg.ConnConfig, Database: f.database, Role: f.role, Length: length, Silent: silent})
	return surveyor, unreachable(err)
}

type recommendOptions struct {
	surveyFlags
	length  time.Duration
	workers int
	from    string
	save    string
	check   string
	output  string
}

func recommendCommand() *command {
	return &command{
		name: "recommend", summary: "say how large a service's pool should be, and why",
		about: `Looks at a server for a while, read-only, over one connection, and says how many
connections the service should have at most and at least, how sure that is, what it rests
on, what is worth mending, and what could not be seen. The service stays as it is.

It works as any role; GRANT pg_read_all_stats shows it what other roles do. It costs the server
less than 0.5 % of one core. docs/recommend.md explains the methods and their limits.

--check answers a question: are the max, and the min if given, that a service has within
the recommended ranges? It ends 0 if so and 3 if not. Without it, it ends 3 where no size
can be recommended.`,
		example: []string{
			"autotune recommend --dsn postgres://me@db/app --for 60s",
			"autotune recommend --application api --instances 6 --server-cpus 16",
			"autotune recommend --output hikaricp >hikari.properties",
			"autotune recommend --check 40/5       # in CI: 3 if 40 or 5 is out of range",
			"autotune recommend --save day.jsonl --for 24h",
			"autotune recommend --from day.jsonl --workers 32",
		},
		flags: func(fs *pflag.FlagSet) runner {
			o := &recommendOptions{}
			o.surveyFlags.define(fs)
			fs.DurationVar(&o.length, "for", 30*time.Second, "`time` to look")
			fs.IntVar(&o.workers, "workers", 0, "`workers` of a batch job, for its own answer")
			fs.StringVar(&o.from, "from", "", "answer from this `file` instead: saved samples or a recording")
			fs.StringVar(&o.save, "save", "", "`file` to keep the samples in, for --from")
			for _, name := range []string{"from", "save"} {
				_ = fs.SetAnnotation(name, annotationFile, []string{"true"})
			}
			fs.StringVar(&o.check, "check", "", "`MAX or MAX/MIN` of one instance, to be compared with the answer")
			addOutput(fs, &o.output, formatNames()...)
			return func(ctx context.Context, _ []string, s *session) error {
				for _, live := range []string{"dsn", "for"} {
					if o.from != "" && onCommandLine(fs)(live) {
						return usagef("Leave it out", "recommend: --%s is about a live database, and --from reads what was seen", live)
					}
				}
				return o.run(ctx, s)
			}
		},
	}
}

// mostLooking bounds --for.
const mostLooking = 7 * 24 * time.Hour

func (o *recommendOptions) validate() error {
	const try = "Try: autotune recommend --help"
	if err := o.surveyFlags.validate("recommend"); err != nil {
		return err
	}
	switch {
	case o.length < time.Second || o.length > mostLooking:
		return usagef(try, "recommend: --for is %s, outside its bounds of 1s to %s", o.length, mostLooking)
	case o.workers < 0 || o.workers > 100_000:
		return usagef(try, "recommend: --workers is %d, outside its bounds of 1 to 100000", o.workers)
	case o.from != "" && o.save != "":
		return usagef("Leave out --save, or --from", "recommend: --from looks at nothing that --save could keep")
	}
	_, err := parseCheck(o.check)
	return err
}

func (o *recommendOptions) run(ctx context.Context, s *session) error {
	if err := o.validate(); err != nil {
		return err
	}
	question := o.question()
	question.Workers = o.workers
	recording, err := o.recording(ctx, s)
	if err != nil {
		return err
	}
	a := advice.Advise(question, recording)
	if err := o.write(s, a); err != nil {
		return err
	}
	sizes, _ := parseCheck(o.check) // validated
	if sizes.max == 0 && !a.Size.Known && a.Batch == nil {
		return errNo
	}
	return sizes.tell(a, s.stderr)
}

// recording looks, or reads what was seen.
func (o *recommendOptions) recording(ctx context.Context, s *session) (rec *advice.Recording, err error) {
	if o.from != "" {
		f, err := os.Open(o.from)
		if err != nil {
			return nil, fmt.Errorf("the recording cannot be read: %w", err)
		}
		defer f.Close()
		if rec, err = survey.Read(f); err != nil {
			return nil, fmt.Errorf("%s: %w", o.from, err)
		}
		return rec, nil
	}
	show := newScreen(s.stderr, s.env)
	defer show.clear()
	surveyor, err := o.open(ctx, "recommend", s.env, o.length, show)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, surveyor.Close()) }()
	var saved *survey.Writer
	if o.save != "" {
		f, err := os.OpenFile(o.save, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, os.ErrExist) {
			return nil, occupied(o.save, "--save")
		}
		if err != nil {
			return nil, fmt.Errorf("the samples cannot be kept: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		if saved, err = survey.NewWriter(f, &surveyor.Known); err != nil {
			return nil, err
		}
	}
	return look(ctx, surveyor, o.length, saved, show)
}

// look samples for a while. What was seen until an interruption counts.
func look(ctx context.Context, surveyor *survey.Surveyor, length time.Duration, saved *survey.Writer, show *screen) (*advice.Recording, error) {
	rec := surveyor.Known
	begin := time.Now()
	var failed error
	bounded, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	surveyor.Watch(bounded, func(sample advice.Sample) bool {
		rec.Samples = append(rec.Samples, sample)
		if saved != nil {
			failed = saved.Add(sample)
		}
		done := time.Since(begin)
		show.draw(fmt.Sprintf("%s looking, %.0f s to go  %s", bar(float64(done)/float64(length), 24), (length - done).Seconds(), glance(&sample)))
		return failed == nil
	})
	rec.Unseen = surveyor.Unseen()
	if gone := surveyor.Gone(); gone >= time.Second {
		show.note("the server has not answered for the last %.0f s of %.0f s", gone.Seconds(), time.Since(begin).Seconds())
	}
	switch {
	case failed != nil:
		return nil, fmt.Errorf("the samples cannot be kept: %w", failed)
	case ctx.Err() != nil && len(rec.Samples) < 10:
		return nil, ctx.Err()
	case ctx.Err() != nil:
		show.note("interrupted after %.0f s of %.0f s; the answer rests on these", time.Since(begin).Seconds(), length.Seconds())
		rec.Unseen = append(rec.Unseen, "What would have come after the interruption.")
	}
	return &rec, nil
}

// glance is a sample in few words.
func glance(s *advice.Sample) string {
	open, active, held := 0, 0, 0
	for _, g := range s.Groups {
		switch {
		case g.Kind == "worker" || g.Kind == "server":
			continue
		case g.State == "active":
			active += g.Backends
		case g.State == "idle_in_transaction":
			held += g.Backends
		}
		open += g.Backends
	}
	return fmt.Sprintf("%d open, %d active, %d idle in transaction", open, active, held)
}

func (o *recommendOptions) write(s *session, a *advice.Advice) error {
	switch o.output {
	case outputText:
		return writeRecommendation(s.stdout, a, newStyle(s.stdout, s.env))
	case outputJSON:
		sizes, _ := parseCheck(o.check) // validated
		return writeJSON(s.stdout, struct {
			*advice.Advice
			Check *verdict `json:"check,omitempty"`
		}{a, sizes.judge(a)})
	}
	if n := len(a.Applications); a.Question.Filter.Any() && n > 1 && a.Batch == nil {
		fmt.Fprintf(s.stderr, "autotune: this is the size of %d applications together; ask about one with --application, --user or --database\n", n)
	}
	if !a.Size.Known && a.Batch == nil {
		fmt.Fprintf(s.stderr, "autotune: there is no size to write: %s\n", strings.Join(a.Size.Why, " "))
		return nil
	}
	return writeFormat(s.stdout, o.output, a)
}
