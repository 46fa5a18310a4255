package ingest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgautotune/autotune/simulations/trace"
)

// prometheusColumns maps columns of a trace to names of metrics.
func prometheusColumns(in *input, all []series) (map[string]metric, error) {
	if len(all) == 0 {
		return nil, in.problem("there is no series in it: the query found nothing in its range; look at what it finds in Prometheus' own page")
	}
	names := map[string]bool{}
	for _, s := range all {
		names[s.Metric["__name__"]] = true
	}
	have := strings.Join(slices.Sorted(maps.Keys(names)), ", ")
	if in.columns == "" {
		if len(names) != 1 {
			return nil, in.problem("there are several metrics (%s); say which is what, as --columns rate_rps=NAME,active=NAME (NAME:counter or NAME:gauge where the name does not tell which it is, NAME:s for times in seconds)", have)
		}
		for n := range names {
			return map[string]metric{"rate_rps": {name: n, counter: isCounter(n, "rate_rps")}}, nil
		}
	}
	columns := map[string]metric{}
	for pair := range strings.SplitSeq(in.columns, ",") {
		column, name, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if !slices.Contains(trace.Columns(trace.Intervals)[2:], column) {
			return nil, in.problem("--columns: intervals have no column %q; they have %s", column, strings.Join(trace.Columns(trace.Intervals)[2:], ", "))
		}
		m, ok := metricOf(column, name, names)
		switch {
		case !ok:
			return nil, in.problem("--columns: there is no metric %q; there are %s", m.name, have)
		case m.unit != 0 && usual(column) == 0:
			return nil, in.problem("--columns: %q has a unit, and %s is not a time: units are for columns of times, and rates are per second", pair, column)
		case m.counter && isMean(column):
			return nil, in.problem("--columns: %s is a counter, and its growth is not %s: query a mean, as rate(x_sum[1m]) / rate(x_count[1m]), or say %s:gauge if it is one", m.name, column, m.name)
		}
		if m.unit == 0 && usual(column) != 0 {
			m.unit = unitOf(m.name)
		}
		if _, twice := columns[column]; twice {
			return nil, in.problem("--columns: %s is there twice", column)
		}
		columns[column] = m
	}
	return columns, nil
}

// metricOf reads a metric of the map: its name and, behind a colon, a kind or a unit.
// A name may have colons of its own.
func metricOf(column, text string, names map[string]bool) (m metric, ok bool) {
	if names[text] {
		return metric{name: text, counter: isCounter(text, column)}, true
	}
	plain, last := text, ""
	if i := strings.LastIndexByte(text, ':'); i >= 0 { // what an expression gives has no name
		plain, last = text[:i], text[i+1:]
	}
	unit, isUnit := units[last]
	switch {
	case isUnit:
		m = metric{name: plain, counter: isCounter(plain, column), unit: unit, said: true}
	case last == "counter" || last == "gauge":
		m = metric{name: plain, counter: last == "counter"}
	default:
		return metric{name: text}, false
	}
	return m, names[plain]
}

// title names a metric in a note.
func (m metric) title() string { return cmp.Or(m.name, "a metric without a name") }

// metric is what a column of a trace is made of.
type metric struct {
	name    string
	counter bool          // its growth is meant
	unit    time.Duration // of a time; 0 where nothing tells
	said    bool          // the unit is from the map
}

// isMean tells the columns that hold a mean of requests or its variation, of which
// neither sums nor growth make sense.
func isMean(column string) bool { return usual(column) != 0 || strings.HasSuffix(column, "_cv") }

// isCounter tells from a name whether a metric is a counter. _total ends the names
// of counters; _count and _sum end those of a histogram's parts, but of gauges too
// (pg_stat_activity_count), and only where requests are counted, or their times are
// meant, a part of a histogram is more likely. The exporter of PostgreSQL has counters without any of these.
func isCounter(name, column string) bool {
	if strings.HasSuffix(name, "_total") || name == "pg_stat_database_xact_commit" || name == "pg_stat_database_xact_rollback" {
		return true
	}
	counts := column == "rate_rps" || column == "arrivals" || isMean(column)
	return counts && (strings.HasSuffix(name, "_count") || strings.HasSuffix(name, "_sum"))
}

// unitOf tells from a name in which unit a time is. Prometheus' own is the second,
// and names are to have their unit; 0 is unknown.
func unitOf(name string) time.Duration {
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return r == '_' || r == ':' }) {
		switch word {
		case "seconds":
			return time.Second
		case "milliseconds":
			return time.Millisecond
		case "microseconds":
			return time.Microsecond
		case "nanoseconds":
			return time.Nanosecond
		}
	}
	return 0
}
