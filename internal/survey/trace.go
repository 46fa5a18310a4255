package survey

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgautotune/autotune/internal/advice"
	"github.com/pgautotune/autotune/internal/pgstat"
)

// A trace of kind "intervals" (format autotune-trace v1): a header line, then CSV
// with a line of names, or JSON lines. Of the columns these are used; others are
// ignored, and an empty value is unknown:
//
//	t_s         when the interval began, seconds
//	dur_s       how long it was, seconds
//	active      backends that serve a statement
//	waiting     of these, those that wait
//	idle        backends that are idle
//	idle_in_transaction  backends idle inside a transaction
//	hidden      backends of which it is not known what they do
//	cpu_util    busy share of the server's CPU, 0–1
//	throughput_rps, rate_rps or arrivals  transactions per second, or their number

const (
	traceMagic   = "#autotune-trace"
	traceVersion = 1
	// traceDatabase stands for the database of a trace, which names none.
	traceDatabase = "recorded"
	// mostDone is more transactions than any recording holds, and still a whole number.
	mostDone = 1e15
)

type traceHeader struct {
	Version int     `json:"version"`
	Kind    string  `json:"kind"`
	Quantum float64 `json:"quantum_s"`
	Source  string  `json:"source"`
	Cores   int     `json:"cores"` // beyond the format: what the recorder knew
}

func readTrace(first []byte, lines *lineReader) (*advice.Recording, error) {
	var h traceHeader
	if err := json.Unmarshal(first[len(traceMagic):], &h); err != nil {
		return nil, fmt.Errorf("line 1: the header of the trace is not JSON: %w", err)
	}
	if h.Version != traceVersion {
		return nil, fmt.Errorf("line 1: version %d of the trace format is not known here; %d is", h.Version, traceVersion)
	}
	if h.Kind != "intervals" {
		return nil, fmt.Errorf("line 1: a trace of kind %q says nothing about backends; an answer needs kind \"intervals\"", h.Kind)
	}
	if !(h.Quantum >= 0 && h.Quantum <= 1e9) {
		return nil, fmt.Errorf("line 1: quantum_s is %g, outside of its bounds of 0 to a billion seconds", h.Quantum)
	}
	t := &traceReader{header: h, rest: map[string]float64{}, rec: &advice.Recording{Source: "a recorded trace"}}
	if h.Source != "" {
		t.rec.Source += " (" + h.Source + ")"
	}
	t.rec.Machine.Cores = max(0, h.Cores)
	for {
		line, ok := lines.next()
		if !ok {
			break
		}
		if err := t.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", lines.number, err)
		}
	}
	n := len(t.rec.Samples)
	if t.activity && len(t.known) < n { // else nobody would seem to have been there
		t.rec.Unseen = append(t.rec.Unseen, fmt.Sprintf("What the backends did in %d of %d intervals: active is empty there.", n-len(t.known), n))
		t.rec.Samples = t.known
	}
	t.rec.Unseen = append(t.rec.Unseen, "Settings, vectors and applications: a trace of intervals has none. max_connections does not bound the answer.")
	if !t.activity {
		why := "the trace has no column active."
		switch {
		case t.named && t.hidden:
			why = "active is empty in every interval, because the role that recorded may not see it (GRANT pg_read_all_stats)."
		case t.named:
			why = "active is empty in every interval."
		}
		t.rec.Unseen = append(t.rec.Unseen, "What the backends did: "+why)
	}
	if last := len(t.rec.Samples) - 1; t.rec.Averaged == 0 && last > 0 { // no row says how long it was
		t.rec.Averaged = (t.rec.Samples[last].At - t.rec.Samples[0].At) / time.Duration(last)
	}
	return t.rec, lines.err()
}

type traceReader struct {
	header   traceHeader
	columns  []string // of CSV; nil for JSON lines
	rec      *advice.Recording
	done     float64
	rest     map[string]float64 // what rounding has taken, by group
	named    bool               // there is a column active
	activity bool               // and it says something
	hidden   bool               // as the recorder saw it
	known    []advice.Sample    // of rows that say how many were active
}

func (t *traceReader) line(line []byte) error {
	row := map[string]float64{}
	switch {
	case line[0] == '{':
		var any map[string]any
		if err := json.Unmarshal(line, &any); err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
		for name, v := range any {
			t.named = t.named || name == "active"
			if x, ok := v.(float64); ok {
				row[name] = x
			}
		}
	default:
		fields, err := csv.NewReader(strings.NewReader(string(line))).Read()
		if err != nil {
			return fmt.Errorf("not CSV: %w", err)
		}
		if t.columns == nil {
			if !slices.Contains(fields, "t_s") {
				return fmt.Errorf("the first line after the header names no column t_s")
			}
			t.columns, t.named = fields, slices.Contains(fields, "active")
			return nil
		}
		for i, text := range fields {
			if i >= len(t.columns) || text == "" {
				continue
			}
			if x, err := strconv.ParseFloat(text, 64); err == nil {
				row[t.columns[i]] = x
			} else if used[t.columns[i]] {
				return fmt.Errorf("%s is %q, which is not a number", t.columns[i], text)
			}
		}
	}
	return t.interval(row)
}

var used = map[string]bool{"t_s": true, "dur_s": true, "active": true, "waiting": true, "idle": true, "idle_in_transaction": true, "hidden": true,
	"cpu_util": true, "throughput_rps": true, "rate_rps": true, "arrivals": true}

// interval turns a row into a sample of the instant at which its interval began: what
// comes in it belongs to the time until the next.
func (t *traceReader) interval(row map[string]float64) error {
	for name, x := range row {
		if used[name] && (math.IsNaN(x) || x < 0 || x > 1e12) {
			return fmt.Errorf("%s is %v, which cannot be", name, x)
		}
	}
	at, ok := row["t_s"]
	if !ok || at > 1e9 {
		return fmt.Errorf("t_s is missing or beyond a billion seconds")
	}
	s := advice.Sample{At: time.Duration(at * float64(time.Second)), Transactions: map[string]int64{traceDatabase: int64(t.done)}}
	long := row["dur_s"]
	if long == 0 {
		long = t.header.Quantum
	}
	t.rec.Averaged = max(t.rec.Averaged, time.Duration(min(long, 1e9)*float64(time.Second)))
	for _, name := range []string{"throughput_rps", "rate_rps"} {
		if rate, ok := row[name]; ok {
			t.done += rate * long
			break
		} else if n, ok := row["arrivals"]; ok && name == "rate_rps" {
			t.done += n
		}
	}
	if t.done > mostDone {
		return fmt.Errorf("%.3g transactions up to here, which cannot be", t.done)
	}
	if cpu, ok := row["cpu_util"]; ok && cpu <= 1 {
		s.CPU = &cpu
	}
	// Means of an interval are fractions and backends are not: what rounding takes
	// from one interval the next gets, so that the mean stays. The first is rounded
	// up, for a mean above 0 was somebody, however little it comes to in the end.
	group := func(kind pgstat.Kind, state pgstat.State, wait string, n float64) {
		key := string(state) + wait
		rest, before := t.rest[key]
		if n == 0 && !before {
			return
		}
		exact := n + rest
		if n = math.Max(0, math.Round(exact)); !before {
			n = math.Ceil(exact)
		}
		t.rest[key] = exact - n
		if n > 0 {
			s.Groups = append(s.Groups, pgstat.Group{Database: traceDatabase, Kind: kind, State: state, Wait: wait, Backends: int(n)})
		}
	}
	_, known := row["active"]
	t.activity = t.activity || known
	waiting := math.Min(row["waiting"], row["active"])
	group(pgstat.ClientKind, pgstat.Active, "", row["active"]-waiting)
	group(pgstat.ClientKind, pgstat.Active, "Recorded:waiting", waiting)
	group(pgstat.ClientKind, pgstat.IdleInTransaction, "", row["idle_in_transaction"])
	group(pgstat.ClientKind, pgstat.Idle, "", row["idle"])
	if known { // the others are seen: this one is only starting
		group(pgstat.ClientKind, pgstat.UnknownState, "", row["hidden"])
	} else {
		t.hidden = t.hidden || row["hidden"] > 0
		group(pgstat.HiddenKind, pgstat.HiddenState, "", row["hidden"])
	}
	if err := check(t.rec, &s); err != nil {
		return err
	}
	t.rec.Samples = append(t.rec.Samples, s)
	if known {
		t.known = append(t.known, s)
	}
	return nil
}
