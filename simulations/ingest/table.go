package ingest

import (
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgautotune/autotune/simulations/trace"
)

// endColumn is the name for a stamp of completion, which gives the arrival.
const endColumn = "end_s"

// units are those of a column of a map, behind a colon.
var units = map[string]time.Duration{"ns": 1, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour}

// maxRecord bounds a record of a CSV, whose quoted fields may go over lines.
const maxRecord = 1 << 20

// picked is a column of the file and what it is.
type picked struct {
	target string
	source string
	at     int           // which column
	unit   time.Duration // 0: the usual one
}

// parseMap reads --columns: target=source[:unit], with commas between. A source is
// the name of a column, or # and its number from 1 where there are no names.
func parseMap(in *input, targets []string) (columns []picked, err error) {
	if in.columns == "" {
		return nil, in.problem("say which column is what, as --columns t_s=timestamp,service_ms=took:us (units ns, us, ms, s, min, h; #1 is the first column of a file without names); the columns of a trace are %s", strings.Join(targets, ", "))
	}
	for pair := range strings.SplitSeq(in.columns, ",") {
		target, source, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || source == "" {
			return nil, in.problem("--columns: %q is not of the form t_s=timestamp", pair)
		}
		if !slices.Contains(targets, target) {
			return nil, in.problem("--columns: a trace has no column %q; there are %s", target, strings.Join(targets, ", "))
		}
		p := picked{target: target, source: source}
		if i := strings.LastIndexByte(source, ':'); i > 0 {
			if unit, ok := units[source[i+1:]]; ok {
				if usual(target) == 0 {
					return nil, in.problem("--columns: %q has the unit %s, and %s is not a time: units are for columns of times, and rates are per second", pair, source[i+1:], target)
				}
				p.source, p.unit = source[:i], unit
			}
		}
		if slices.ContainsFunc(columns, func(c picked) bool { return c.target == target }) {
			return nil, in.problem("--columns: %s is there twice", target)
		}
		columns = append(columns, p)
	}
	return columns, nil
}

// usual is the unit that a column of a trace is in; 0 when it is not a time.
func usual(target string) time.Duration {
	switch {
	case strings.Contains(target, "_ms") && !strings.HasSuffix(target, "_cv"):
		return time.Millisecond
	case target == "t_s", target == endColumn, target == "dur_s":
		return time.Second
	}
	return 0
}

// table is a CSV of which columns were picked.
type table struct {
	in      *input
	csv     *csv.Reader
	columns []picked
	row     []string
	held    bool
	coarse  coarse
}

// openTable reads the line of names, unless columns go by number.
func openTable(in *input, columns []picked) (*table, error) {
	in.asCSV = true
	t := &table{in: in, columns: columns, csv: csv.NewReader(in)}
	t.csv.ReuseRecord, t.csv.LazyQuotes, t.csv.TrimLeadingSpace = true, false, true
	first, err := t.read()
	if err == io.EOF {
		return nil, in.problem("the file is empty")
	} else if err != nil {
		return nil, err
	}
	names := slices.Clone(first)
	for i := range t.columns {
		c := &t.columns[i]
		if n, ok := strings.CutPrefix(c.source, "#"); ok {
			if c.at, err = strconv.Atoi(n); err != nil || c.at < 1 || c.at > len(names) {
				return nil, in.problem("there is no column %s; the first line has %d", c.source, len(names))
			}
			c.at--
			t.held = true // the first line is a row
			continue
		}
		if c.at = slices.Index(names, c.source); c.at < 0 {
			return nil, in.problem("there is no column %q; there are %s", c.source, strings.Join(names, ", "))
		}
	}
	return t, nil
}

// Read lets a csv.Reader read lines of bounded length.
func (in *input) Read(p []byte) (int, error) {
	if len(in.pending) == 0 {
		text, err := in.next()
		if err != nil {
			return 0, err
		}
		in.pending = text + "\n"
	}
	n := copy(p, in.pending)
	if in.record += n; in.record > maxRecord {
		return 0, in.problem("a record is longer than %d bytes: a quote is not closed", maxRecord)
	}
	in.pending = in.pending[n:]
	return n, nil
}

// read is the next record. Quoted fields may go over lines, up to a bound.
func (t *table) read() ([]string, error) {
	if t.held {
		t.held = false
		return t.row, nil
	}
	t.in.record, t.in.at = 0, 0
	row, err := t.csv.Read()
	var wrong *csv.ParseError
	var placed *trace.Error
	switch {
	case err == io.EOF:
		return nil, io.EOF
	case errors.As(err, &placed):
		return nil, placed
	case errors.As(err, &wrong):
		t.in.at = int64(wrong.Line)
		return nil, t.in.problem("%v; the first line has %d columns", wrong.Err, max(1, len(t.row)))
	case err != nil:
		return nil, err
	}
	line, _ := t.csv.FieldPos(0)
	t.in.at = int64(line) // a record may be several lines, and its begin is where to look
	t.row = row
	return row, nil
}

// number reads a number in the unit of its column, given the usual unit of the
// target; empty is unknown.
func (c picked) number(text string, usual time.Duration) (v float64, ok bool) {
	if v, ok = number(text); ok && c.unit != 0 && usual != 0 {
		v *= float64(c.unit) / float64(usual)
	}
	return v, ok
}

// stamp reads a time as ns: a date, or a number of seconds or of the column's unit.
func (c picked) stamp(text string) (int64, bool) {
	unit := c.unit
	if unit == 0 {
		unit = time.Second
	}
	if ns, ok := epoch(text, unit); ok {
		return ns, true
	}
	return date(text)
}

// readCSV makes events of any CSV with a map of its columns, or intervals where
// the map has columns that only those have.
func readCSV(in *input, out *sink) error {
	events := append(trace.Columns(trace.Events), endColumn)
	both := slices.Clone(events)
	for _, c := range trace.Columns(trace.Intervals) {
		if !slices.Contains(both, c) {
			both = append(both, c)
		}
	}
	columns, err := parseMap(in, both)
	if err != nil {
		return err
	}
	kind := trace.Events
	for _, c := range columns {
		if !slices.Contains(events, c.target) {
			kind = trace.Intervals
		}
	}
	stamps := 0
	names := []string{"t_s"}
	for _, c := range columns {
		if c.target == "t_s" || c.target == endColumn {
			stamps++
			continue
		}
		if kind == trace.Intervals && !slices.Contains(trace.Columns(kind), c.target) {
			return in.problem("--columns: %s is of requests and others are of intervals; a trace has one kind", c.target)
		}
		names = append(names, c.target)
	}
	if stamps != 1 || kind == trace.Intervals && !slices.ContainsFunc(columns, func(c picked) bool { return c.target == "t_s" }) {
		return in.problem("--columns has to name one column of times: t_s, when requests arrive, or %s, when they complete", endColumn)
	}
	t, err := openTable(in, columns)
	if err != nil {
		return err
	}
	h := trace.Header{Kind: kind, Source: "CSV"}
	if slices.Contains(names, "service_ms") || slices.Contains(names, "service_ms_mean") {
		h.ServiceKind = trace.Observed
		out.note("Service times are taken as observed, contention included.")
	}
	out.begin(h, names)
	for {
		row, err := t.read()
		if err == io.EOF {
			return t.resolution(kind, out)
		} else if err != nil {
			return err
		}
		if err := t.add(row, kind, out); err != nil {
			return err
		}
	}
}

// resolution notes the quantum of a file that was read to its end. A trace has one, and
// to spread exact times over a second would take their bursts away.
func (t *table) resolution(kind trace.Kind, out *sink) error {
	if kind != trace.Events {
		return nil
	}
	out.fine = out.fine || t.coarse.off
	out.header.QuantumS = max(out.header.QuantumS, t.coarse.quantum())
	if out.header.QuantumS == 0 {
		return nil
	}
	if out.fine {
		return t.in.problem("the times of one file are whole seconds, several requests in each, and those of another are finer: they cannot be one trace; import each alone")
	}
	out.note("All times are whole seconds, and several requests have the same: they are spread over their second.")
	return nil
}

func (t *table) add(row []string, kind trace.Kind, out *sink) error {
	e, i := trace.UnknownEvent(), trace.UnknownInterval()
	var at int64
	ends := false
	for _, c := range t.columns {
		text := strings.TrimSpace(row[c.at])
		if c.target == "t_s" || c.target == endColumn {
			var ok bool
			if at, ok = c.stamp(text); !ok {
				if d, ok := parseDate(text); ok && strangeZone(d) {
					return t.in.problem("%s is %.40q, %s", c.source, text, undated(text))
				}
				return t.in.problem("%s is %.40q, which is neither a date nor a number of 0 or more up to the year 2200", c.source, text)
			}
			ends = c.target == endColumn
			t.coarse.see(at)
			continue
		}
		if s := e.Text(c.target); s != nil && kind == trace.Events {
			*s = text
			continue
		}
		if text == "" {
			continue
		}
		field := e.Number(c.target)
		if kind == trace.Intervals {
			field = i.Column(c.target)
		}
		v, ok := c.number(text, usual(c.target))
		if !ok {
			return t.in.problem("%s is %.40q, which is not a number of 0 or more", c.source, text)
		}
		*field = v
	}
	if kind == trace.Intervals {
		return out.interval(float64(at)/1e9, &i)
	}
	if ends {
		before := known(e.Service)
		if !(before >= 0) {
			return t.in.problem("%s is a time of completion, and without a service time the arrival is unknown", endColumn)
		}
		if e.Wait >= 0 {
			before += e.Wait
		}
		if at -= nanoseconds(min(before/1000, latest)); at < 0 {
			return t.in.problem("the request arrived before the first of all times: %s less its service and wait times is negative", endColumn)
		}
	}
	return out.event(at, &e)
}
