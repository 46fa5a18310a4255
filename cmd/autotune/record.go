package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/pgautotune/autotune/simulations/ingest"
	"github.com/pgautotune/autotune/simulations/replay"
	"github.com/pgautotune/autotune/simulations/trace"
)

// shortestInterval of a recording: the server's counters lag by up to a second.
const shortestInterval = time.Second

// recordFlags are the flags of record: of a live database, or of a conversion.
type recordFlags struct {
	dsn                         string
	length, interval            time.Duration
	application, user, database string

	from            []string
	format, columns string

	out, output string
}

func recordCommand() *command {
	names, about := ingest.Formats()
	var list strings.Builder
	for i := range names {
		fmt.Fprintf(&list, "%s (%s), ", names[i], about[i])
	}
	return &command{
		name: "record", args: argDSN, summary: "record a database, or convert a log, into a trace",
		about: `Writes a trace, which a simulation can replay: a text file of requests or of intervals,
in the format autotune-trace, gzipped when its name ends in .gz.

It samples the database ten times a second over one connection of its own, as any role that may
connect; a role without pg_read_all_stats sees less, which it says. An interval has the
rate of transactions of the database, the connections by what they do, and the mean service
time by Little's law. Interrupting it ends the trace well. It changes nothing.

With --from it reads a file instead, and finds out what it is: ` + strings.TrimSuffix(list.String(), ", ") + `.
A pool that has autotune inside is recorded by its journal: convert that.`,
		example: []string{
			"autotune record postgres://app@db/shop --for 1h -o monday.csv.gz",
			"autotune record --from pgbench_log.1234 -o bench.csv.gz",
			"autotune record --from c.csv --columns t_s=time,service_ms=took:us -o c.gz",
		},
		flags: func(fs *pflag.FlagSet) runner {
			f := &recordFlags{}
			fs.StringVar(&f.dsn, "dsn", "", "database to record, a `URL` or key=value pairs")
			fs.DurationVar(&f.length, "for", 0, "`time` to record (default until interrupted)")
			fs.DurationVar(&f.interval, "interval", 10*time.Second, "`time` that a row of the trace covers, 1s or more")
			fs.StringVar(&f.application, "application", "", "only connections with this application `name`")
			fs.StringVar(&f.user, "user", "", "only connections of this `role`")
			fs.StringVar(&f.database, "database", "", "`name` of the database to count (default that of the connection)")
			fs.StringArrayVar(&f.from, "from", nil, "`file` to convert instead, - for stdin; again for further ones")
			fs.StringVar(&f.format, "format", ingest.Auto, "what it is, one of the `names` above, or auto")
			fs.StringVar(&f.columns, "columns", "", "which column is what, `map` of a CSV or of Prometheus metrics (NAME:counter, NAME:gauge, or NAME:s for times in seconds, where a name does not tell)")
			fs.StringVarP(&f.out, "out", "o", "", "`file` to write, which must not exist yet")
			addOutput(fs, &f.output)
			for _, name := range []string{"from", "out"} {
				_ = fs.SetAnnotation(name, annotationFile, []string{"true"})
			}
			return func(ctx context.Context, args []string, s *session) error {
				return f.run(ctx, args, s, onCommandLine(fs))
			}
		},
	}
}

func (f *recordFlags) run(ctx context.Context, args []string, s *session, given func(string) bool) error {
	const try = "Try: autotune record --help"
	switch {
	case len(args) > 1:
		return usagef(try, "record: unexpected argument %q", args[1])
	case len(args) == 1 && f.dsn != "" && given("dsn"):
		return usagef("Leave out --dsn or the argument", "record: the database is given twice")
	case f.out == "":
		return usagef("Try: -o trace.csv.gz", "record: where to write is not given")
	case f.out == "-":
		return usagef("Try: -o trace.csv.gz", "record: the trace is written to a file, and not to stdout")
	case f.interval < shortestInterval:
		return usagef("The server's counters lag by up to a second. "+try, "record: --interval is %v; the shortest is %v", f.interval, shortestInterval)
	case f.length < 0:
		return usagef(try, "record: --for is %v; it cannot be negative", f.length)
	}
	if len(args) == 1 {
		f.dsn = args[0]
	}
	if len(f.from) == 0 {
		if given("columns") || given("format") {
			return usagef("Name it with --from FILE", "record: --format and --columns are about a file, and none is given")
		}
		return f.live(ctx, s)
	}
	for _, name := range []string{"for", "interval", "application", "user", "database"} {
		if given(name) {
			return usagef("Leave it out", "record: --%s is about a live database, and --from reads a file", name)
		}
	}
	if len(args) == 1 || given("dsn") {
		return usagef("Leave out one of them", "record: a database and --from were given")
	}
	if given("columns") && given("format") && !slices.Contains([]string{ingest.Auto, "csv", "prometheus"}, f.format) {
		return usagef("Leave it out", "record: --columns is about a CSV or Prometheus metrics, and the format is %s", f.format)
	}
	return f.convert(ctx, s)
}

// recordResult is the JSON document of a recording.
type recordResult struct {
	Schema string       `json:"schema"`
	File   string       `json:"file"`
	Format string       `json:"format"`
	Rows   int64        `json:"rows"`
	Header trace.Header `json:"header"`
	Notes  []string     `json:"notes,omitempty"`
}

func (f *recordFlags) finish(s *session, res recordResult) error {
	res.Schema, res.File = "autotune.record/v1", f.out
	if f.output == outputJSON {
		return writeJSON(s.stdout, res)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s of kind %s, from %s\n", f.out, plural(int(res.Rows), "row"), res.Header.Kind, res.Format)
	if res.Header.OpenLoop != nil && !*res.Header.OpenLoop {
		res.Notes = append(res.Notes, "The callers waited for their answers before they asked again (a closed loop): their arrivals say little about another pool.")
	}
	for _, n := range res.Notes {
		b.WriteString("\n" + wrap(n, helpWidth) + "\n")
	}
	_, err := io.WriteString(s.stdout, b.String())
	return err
}

// convert imports files. What fails leaves no file.
func (f *recordFlags) convert(ctx context.Context, s *session) error {
	if err := f.free(); err != nil {
		return err
	}
	show := newScreen(s.stderr, s.env)
	defer show.clear()
	files := replay.Files(s.stdin, f.from...)
	for i := range files {
		files[i].Open = counted(ctx, show, files[i].Name, files[i].Open)
	}
	made := false
	res, err := ingest.Import(files, ingest.Options{Format: f.format, Columns: f.columns}, func(h trace.Header, columns ...string) (*trace.Writer, error) {
		w, err := trace.Create(f.out, h, columns...)
		made = err == nil
		return w, err
	})
	show.clear()
	if err != nil {
		if made {
			err = errors.Join(err, os.Remove(f.out))
		}
		return err
	}
	return f.finish(s, recordResult{Format: res.Format, Rows: res.Rows, Header: res.Header, Notes: res.Notes})
}

// free tells whether the file can be made, before any work.
func (f *recordFlags) free() error {
	if _, err := os.Lstat(f.out); err == nil {
		return occupied(f.out, "-o")
	}
	return nil
}

// occupied says that the file a flag names is there, and nobody's to overwrite.
func occupied(path, flag string) error {
	return fmt.Errorf("%s exists already and is left as it is; give another name to %s, or remove it", path, flag)
}

// counted shows how much of a file was read, and ends reading with ctx.
func counted(ctx context.Context, show *screen, name string, open func() (io.ReadCloser, error)) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		src, err := open()
		if err != nil {
			return nil, err
		}
		c := &countedFile{ReadCloser: src, ctx: ctx, show: show, name: name}
		if info, ok := src.(*os.File); ok {
			if stat, err := info.Stat(); err == nil && stat.Mode().IsRegular() {
				c.size = stat.Size()
			}
		}
		return c, nil
	}
}

type countedFile struct {
	io.ReadCloser
	ctx        context.Context
	show       *screen
	name       string
	read, size int64
	drawn      time.Time
}

func (c *countedFile) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.ReadCloser.Read(p)
	c.read += int64(n)
	if now := time.Now(); now.Sub(c.drawn) > 100*time.Millisecond {
		c.drawn = now
		if c.size > 0 {
			share := float64(c.read) / float64(c.size)
			c.show.draw(fmt.Sprintf("%s %3.0f %%  reading %s", bar(share, 24), 100*share, c.name))
		} else {
			c.show.draw(fmt.Sprintf("reading %s: %s bytes", c.name, thousands(c.read)))
		}
	}
	return n, err
}
