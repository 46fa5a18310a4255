package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pgautotune/autotune/simulations/replay"
	"github.com/pgautotune/autotune/simulations/trace"
)

// Auto is the format that is found out.
const Auto = "auto"

// sniff is how much of a file is looked at to find out what it is, in bytes.
const sniff = 32 << 10

// Options say how to read.
type Options struct {
	Format  string // a name of [Formats]; "" is [Auto]
	Columns string // which column is what: the csv and prometheus formats' map
}

// Result is what became of an import.
type Result struct {
	Format string
	Header trace.Header
	Rows   int64
	Notes  []string // what a reader of the trace has to know
}

// Create makes the trace that an import writes to, once everything was read.
type Create func(h trace.Header, columns ...string) (*trace.Writer, error)

// format is one kind of source.
type format struct {
	name  string
	about string
	is    func(head string) bool // may the file be one
	read  func(in *input, out *sink) error
}

// formats are tried in this order; the last ones know less of themselves.
func formats() []format {
	return []format{
		{"trace", "autotune-trace, to change its form", isTrace, readTrace},
		{"journal", "the journal of a tuned pool", isJournal, nil},
		{"prometheus", "the answer to a Prometheus range query, JSON", isPrometheus, readPrometheus},
		{"otel", "OpenTelemetry spans, OTLP JSON", isOTel, readOTel},
		{"ragpulse", "RAGPulse, 0_trace.jsonl", isRAGPulse, readRAGPulse},
		{"azure-llm", "Azure LLM inference traces, CSV", isAzure, readAzure},
		{"cab", "Cloud Analytics Benchmark, all.csv", isCAB, readCAB},
		{"servegen", "ServeGen, chunk-N-trace.csv", isServeGen, readServeGen},
		{"pgbouncer", "PgBouncer's log, or SHOW STATS under psql's \\watch", isPgBouncer, readPgBouncer},
		{"pgbench", "pgbench --log, each transaction or aggregated", isPgbench, readPgbench},
		{"envoy", "Envoy's access log, text or JSON", isEnvoy, readEnvoy},
		{"nginx", "nginx' access log, combined with times", isNginx, readNginx},
		{"csv", "any CSV, with a map of its columns", nil, readCSV},
	}
}

// Formats lists the formats' names, and what each is.
func Formats() (names, about []string) {
	for _, f := range formats() {
		names, about = append(names, f.name), append(about, f.about)
	}
	return names, about
}

// Import reads files of one format into one trace.
func Import(files []replay.File, o Options, create Create) (Result, error) {
	if len(files) == 0 {
		return Result{}, errors.New("there is no file to import")
	}
	out := &sink{}
	defer out.discard()
	found, err := read(files, o, out)
	if err != nil {
		return Result{Format: found.name}, err
	}
	if out.header.Source == "" {
		out.header.Source = found.name
	}
	return out.write(found.name, files[0].Name, create)
}

// read reads all files, and says of what format they are.
func read(files []replay.File, o Options, out *sink) (found format, err error) {
	for i, f := range files {
		in, closer, this, err := open(f, o)
		if err != nil {
			return found, err
		}
		if i == 0 {
			found = this
		}
		if i == 0 && found.read == nil { // a journal goes on over the borders of its files
			return found, readJournal(pieces(files, o, joined{in.lines, closer}), out)
		}
		if err = in.like(found, this, files[0].Name); err == nil {
			out.in = in
			err = found.read(in, out)
			out.in = nil
		}
		if err = errors.Join(err, closer.Close()); err != nil {
			return found, err
		}
	}
	if out.scraped != nil {
		return found, out.scraped.write(out)
	}
	return found, nil
}

// pieces are the files of a journal, of which the first is open: the others are opened
// when it is their turn, for a journal may have more than a process may open at once.
func pieces(files []replay.File, o Options, first joined) []replay.File {
	out := []replay.File{{Name: files[0].Name, Open: func() (io.ReadCloser, error) { return first, nil }}}
	for _, f := range files[1:] {
		out = append(out, replay.File{Name: f.Name, Open: func() (io.ReadCloser, error) {
			in, closer, this, err := open(f, o)
			if err != nil {
				return nil, err
			}
			if err := in.like(format{name: "journal"}, this, files[0].Name); err != nil {
				return nil, errors.Join(err, closer.Close())
			}
			return joined{in.lines, closer}, nil
		}})
	}
	return out
}

// like says what is wrong with a file that is not of the format of the first one.
func (in *input) like(first, this format, name string) error {
	if this.name == first.name {
		return nil
	}
	return in.problem("this is %s and %s is %s; one import reads one format", this.name, name, first.name)
}

type joined struct {
	io.Reader
	io.Closer
}

// open opens a file and finds out what it is.
func open(f replay.File, o Options) (*input, io.Closer, format, error) {
	src, err := f.Open()
	if err != nil {
		return nil, nil, format{}, err
	}
	plain, err := trace.Decompress(src)
	if err != nil {
		return nil, nil, format{}, errors.Join(&trace.Error{File: f.Name, Reason: err.Error(), Err: err}, src.Close())
	}
	in := &input{name: f.Name, columns: o.Columns, lines: bufio.NewReaderSize(plain, maxLine)}
	if mark := []byte("\ufeff"); beginsWith(in.lines, mark) {
		_, _ = in.lines.Discard(len(mark)) // it is buffered
	}
	this, err := choose(o, in)
	if err != nil {
		return nil, nil, format{}, errors.Join(err, src.Close())
	}
	return in, src, this, nil
}

func beginsWith(r *bufio.Reader, what []byte) bool {
	head, _ := r.Peek(len(what)) // an error comes again when it is read
	return bytes.Equal(head, what)
}

// choose finds the format of a file, or takes the one that was named.
func choose(o Options, in *input) (format, error) {
	if o.Format != "" && o.Format != Auto {
		for _, f := range formats() {
			if f.name == o.Format {
				return f, nil
			}
		}
		names, _ := Formats()
		return format{}, fmt.Errorf("unknown format %q; the formats are %s", o.Format, strings.Join(names, ", "))
	}
	head, err := in.lines.Peek(sniff)
	if len(head) == 0 {
		if err != nil && err != io.EOF {
			return format{}, in.problem("%s", trace.Describe(err))
		}
		return format{}, in.problem("the file is empty")
	}
	text := string(bytes.TrimLeft(head, " \t\r\n"))
	all := formats()
	if o.Columns != "" && !isPrometheus(text) {
		return all[len(all)-1], nil
	}
	for _, f := range all {
		if f.is != nil && f.is(text) {
			return f, nil
		}
	}
	names, _ := Formats()
	return format{}, in.problem("what this is cannot be told from its begin; name its --format (%s), or for a CSV its --columns", strings.Join(names, ", "))
}

func isTrace(head string) bool { return strings.HasPrefix(head, "#autotune-trace") }
func isJournal(head string) bool {
	return strings.HasPrefix(head, `{"autotune_journal"`) || strings.HasPrefix(head, `{"observation"`)
}

// follows tells how many ns after a trace another one begins, 0 if neither says when,
// and why the two cannot be one.
func follows(first, h *trace.Header, begun bool) (later int64, err error) {
	if !begun {
		return 0, nil
	}
	open := func(h *trace.Header) string {
		if h.OpenLoop == nil {
			return "unknown"
		}
		return fmt.Sprint(*h.OpenLoop)
	}
	for _, f := range []struct {
		what         string
		before, here any
	}{
		{"kind", first.Kind, h.Kind}, {"service_kind", first.ServiceKind, h.ServiceKind}, {"quantum_s", first.QuantumS, h.QuantumS},
		{"sample_rate", first.SampleRate, h.SampleRate}, {"open_loop", open(first), open(h)},
	} {
		if f.before != f.here {
			return 0, fmt.Errorf("%s is %v here and %v in the trace before: they cannot be one trace", f.what, f.here, f.before)
		}
	}
	a, errA := time.Parse(time.RFC3339Nano, first.T0)
	b, errB := time.Parse(time.RFC3339Nano, h.T0)
	switch {
	case first.T0 == h.T0:
		return 0, nil
	case errA != nil || errB != nil:
		return 0, fmt.Errorf("t0 is %q here and %q in the trace before: how long after that one this begins is unknown", h.T0, first.T0)
	case b.Before(a):
		return 0, fmt.Errorf("it begins at %s, before the trace named first (%s); name it first", h.T0, first.T0)
	}
	return int64(b.Sub(a)), nil
}

// readTrace copies a trace.
func readTrace(in *input, out *sink) error {
	r, err := trace.NewReader(in.lines, in.name)
	if err != nil {
		return err
	}
	h := r.Header()
	later, err := follows(&out.header, &h, out.begun)
	if err != nil {
		return in.problem("%s", err)
	}
	out.begin(h, nil)
	out.relative = true
	for {
		switch h.Kind {
		case trace.Events:
			e := trace.Event{}
			if err = r.Event(&e); err == nil {
				err = out.event(nanoseconds(e.T)+later, &e)
			}
		case trace.Intervals:
			i := trace.Interval{}
			if err = r.Interval(&i); err == nil {
				err = out.interval(i.T+float64(later)/1e9, &i)
			}
		default:
			return in.problem("a trace of capacity is written by hand; there is nothing to convert")
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
