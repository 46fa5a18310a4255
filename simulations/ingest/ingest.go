package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

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
	var found format
	var pieces []replay.File // of a journal
	for i, f := range files {
		in, closer, err := open(f)
		if err != nil {
			return Result{}, err
		}
		in.columns = o.Columns
		this, err := choose(o, in)
		if err == nil && i > 0 && this.name != found.name {
			err = in.problem("this is %s and %s is %s; one import reads one format", this.name, files[0].Name, found.name)
		}
		if found = this; err == nil && found.read == nil { // it opens its pieces itself
			pieces = append(pieces, replay.File{Name: f.Name, Open: func() (io.ReadCloser, error) { return joined{in.lines, closer}, nil }})
			continue
		}
		if err == nil {
			err = found.read(in, out)
		}
		if err = errors.Join(err, closer.Close()); err != nil {
			return Result{Format: found.name}, err
		}
	}
	if pieces != nil {
		if err := readJournal(pieces, out); err != nil {
			return Result{Format: found.name}, err
		}
	}
	if out.header.Source == "" {
		out.header.Source = found.name
	}
	return out.write(found.name, files[0].Name, create)
}

type joined struct {
	io.Reader
	io.Closer
}

func open(f replay.File) (*input, io.Closer, error) {
	src, err := f.Open()
	if err != nil {
		return nil, nil, err
	}
	plain, err := trace.Decompress(src)
	if err != nil {
		return nil, nil, errors.Join(&trace.Error{File: f.Name, Reason: err.Error(), Err: err}, src.Close())
	}
	in := &input{name: f.Name, lines: bufio.NewReaderSize(plain, maxLine)}
	return in, src, nil
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
	text := string(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n"))
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

// readTrace copies a trace.
func readTrace(in *input, out *sink) error {
	r, err := trace.NewReader(in.lines, in.name)
	if err != nil {
		return err
	}
	h := r.Header()
	if out.begun && h.Kind != out.header.Kind {
		return in.problem("this is a trace of %s and the one before of %s", h.Kind, out.header.Kind)
	}
	out.begin(h, nil)
	out.relative = true
	for {
		switch h.Kind {
		case trace.Events:
			e := trace.Event{}
			if err = r.Event(&e); err == nil {
				err = out.event(nanoseconds(e.T), &e)
			}
		case trace.Intervals:
			i := trace.Interval{}
			if err = r.Interval(&i); err == nil {
				err = out.interval(i.T, &i)
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
