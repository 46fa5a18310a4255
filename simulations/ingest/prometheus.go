package ingest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pgautotune/autotune/simulations/trace"
)

// maxDocument bounds a JSON document that has to be read whole, in bytes.
const maxDocument = 256 << 20

func isPrometheus(head string) bool {
	return strings.HasPrefix(head, "{") && strings.Contains(head, `"resultType"`) && strings.Contains(strings.ReplaceAll(head, " ", ""), `"resultType":"matrix"`)
}

// matrix is the answer of /api/v1/query_range.
type matrix struct {
	Status string `json:"status"`
	Error  string `json:"error"`
	Data   struct {
		Type   string   `json:"resultType"`
		Result []series `json:"result"`
	} `json:"data"`
}

type series struct {
	Metric map[string]string `json:"metric"`
	Values []point           `json:"values"`
}

// point is [seconds, "value"].
type point struct {
	at    float64
	value float64
}

func (p *point) UnmarshalJSON(b []byte) error {
	var pair [2]json.RawMessage
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	var text string
	if json.Unmarshal(pair[0], &p.at) != nil || json.Unmarshal(pair[1], &text) != nil {
		return fmt.Errorf("%.60s is not a pair of a time and a value in quotes", b)
	}
	if !(p.at >= 0 && p.at < latest) {
		return fmt.Errorf("%v is not a time in seconds", p.at)
	}
	v, ok := number(text)
	if p.value = v; !ok { // NaN, +Inf and negative values are no rates, times or counts
		p.value = math.NaN()
	}
	return nil
}

// readPrometheus makes intervals of the answer to a range query. Which series is
// which column, the map says: column=metric name. Without one there is to be one
// metric, and it is the arrival rate. Series of one name are added up. Of counters
// the growth is taken; which are, isCounter tells, or the map: column=name:counter
// and column=name:gauge.
func readPrometheus(in *input, out *sink) error {
	body, err := io.ReadAll(io.LimitReader(in.lines, maxDocument+1))
	if err != nil {
		return in.problem("%s", trace.Describe(err))
	}
	if len(body) > maxDocument {
		return in.problem("the answer is longer than %d bytes; query a shorter range or longer steps", maxDocument)
	}
	var m matrix
	if err := json.Unmarshal(body, &m); err != nil {
		return jsonProblem(in, body, err)
	}
	switch {
	case m.Status != "success" && m.Error != "":
		return in.problem("the query failed: %s", m.Error)
	case m.Data.Type != "matrix":
		return in.problem("the answer is of type %q; a range query gives a matrix", m.Data.Type)
	}
	columns, err := prometheusColumns(in, m.Data.Result)
	if err != nil {
		return err
	}
	names := []string{"t_s", "dur_s"}
	names = append(names, slices.Sorted(maps.Keys(columns))...)
	out.begin(trace.Header{Kind: trace.Intervals, ServiceKind: trace.Observed, Source: "Prometheus"}, names)
	return prometheusIntervals(m.Data.Result, columns, out)
}

// jsonProblem finds the line of an error in a document.
func jsonProblem(in *input, body []byte, err error) error {
	at := int64(len(body))
	switch e := err.(type) {
	case *json.SyntaxError:
		at = e.Offset
	case *json.UnmarshalTypeError:
		at = e.Offset
	}
	in.line = 1 + int64(strings.Count(string(body[:min(at, int64(len(body)))]), "\n"))
	return in.problem("the JSON cannot be read: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// prometheusColumns maps columns of a trace to names of metrics.
func prometheusColumns(in *input, all []series) (map[string]metric, error) {
	names := map[string]bool{}
	for _, s := range all {
		names[s.Metric["__name__"]] = true
	}
	have := strings.Join(slices.Sorted(maps.Keys(names)), ", ")
	if in.columns == "" {
		if len(names) != 1 {
			return nil, in.problem("there are several metrics (%s); say which is what, as --columns rate_rps=NAME,active=NAME (NAME:counter or NAME:gauge where the name does not tell which it is)", have)
		}
		for n := range names {
			return map[string]metric{"rate_rps": {n, isCounter(n, "rate_rps")}}, nil
		}
	}
	columns := map[string]metric{}
	for pair := range strings.SplitSeq(in.columns, ",") {
		column, name, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if !slices.Contains(trace.Columns(trace.Intervals)[2:], column) {
			return nil, in.problem("--columns: intervals have no column %q; they have %s", column, strings.Join(trace.Columns(trace.Intervals)[2:], ", "))
		}
		counter := isCounter(name, column)
		if plain, kind, ok := cutKind(name); ok && !names[name] { // a name may have colons of its own
			name, counter = plain, kind == "counter"
		}
		if !names[name] {
			return nil, in.problem("--columns: there is no metric %q; there are %s", name, have)
		}
		columns[column] = metric{name, counter}
	}
	return columns, nil
}

// metric is what a column of a trace is made of.
type metric struct {
	name    string
	counter bool // its growth is meant
}

// isCounter tells from a name whether a metric is a counter. _total ends the names
// of counters; _count and _sum end those of a histogram's parts, but of gauges too
// (pg_stat_activity_count), and only where requests are counted a histogram's count
// is more likely. The exporter of PostgreSQL has counters without any of these.
func isCounter(name, column string) bool {
	if strings.HasSuffix(name, "_total") || name == "pg_stat_database_xact_commit" || name == "pg_stat_database_xact_rollback" {
		return true
	}
	counts := column == "rate_rps" || column == "arrivals"
	return counts && (strings.HasSuffix(name, "_count") || strings.HasSuffix(name, "_sum"))
}

// cutKind takes :counter or :gauge off a name.
func cutKind(name string) (plain, kind string, ok bool) {
	if i := strings.LastIndexByte(name, ':'); i > 0 && (name[i+1:] == "counter" || name[i+1:] == "gauge") {
		return name[:i], name[i+1:], true
	}
	return name, "", false
}

// prometheusIntervals adds the series up and writes a row for each step.
func prometheusIntervals(all []series, columns map[string]metric, out *sink) error {
	rows := map[int64]*trace.Interval{} // by ns
	for _, column := range slices.Sorted(maps.Keys(columns)) {
		name, counter := columns[column].name, columns[column].counter
		grows := true // as a counter does
		for _, s := range all {
			if s.Metric["__name__"] != name {
				continue
			}
			grows = grows && neverFalls(s.Values)
			for k, p := range s.Values {
				v, from := p.value, p.at
				if counter {
					if k == 0 {
						continue
					}
					before := s.Values[k-1]
					from = before.at
					if v -= before.value; v < 0 {
						v = p.value // it began again from 0
					}
					if column != "arrivals" {
						v /= p.at - before.at
					}
				}
				if math.IsNaN(v) || math.IsInf(v, 0) {
					continue
				}
				row := rows[nanoseconds(from)]
				if row == nil {
					i := trace.UnknownInterval()
					row = &i
					rows[nanoseconds(from)] = row
				}
				if f := row.Column(column); math.IsNaN(*f) {
					*f = v
				} else {
					*f += v
				}
			}
		}
		switch {
		case counter && column == "arrivals":
			out.note("%s is %s, a counter: its growth.", column, name)
		case counter:
			out.note("%s is %s, a counter: its growth per second.", column, name)
		case grows && (column == "rate_rps" || column == "arrivals"):
			out.note("%s is %s, taken as a gauge, and it never falls: if it is a counter, say %s=%s:counter.", column, name, column, name)
		}
	}
	times := slices.Sorted(maps.Keys(rows))
	step := usualStep(times)
	for _, t := range times {
		rows[t].Dur = step
		if err := out.interval(float64(t)/1e9, rows[t]); err != nil {
			return err
		}
	}
	if len(columns) > 0 {
		out.note("A row describes the %v from its time on.", time.Duration(step*1e9))
	}
	return nil
}

// neverFalls tells whether values grow as those of a counter do: three at least, and
// more at the end than at the begin.
func neverFalls(values []point) bool {
	for k := 1; k < len(values); k++ {
		if !(values[k].value >= values[k-1].value) {
			return false
		}
	}
	return len(values) > 2 && values[len(values)-1].value > values[0].value
}

// usualStep is the shortest time between two rows, in s: longer ones are gaps in
// the data. 0 when there are no two.
func usualStep(times []int64) float64 {
	step := int64(math.MaxInt64)
	for i := 1; i < len(times); i++ {
		step = min(step, times[i]-times[i-1])
	}
	if step == math.MaxInt64 {
		return 0
	}
	return float64(step) / 1e9
}
