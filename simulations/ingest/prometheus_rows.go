package ingest

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/pgautotune/autotune/simulations/trace"
)

// sample is a value of a column, from a time on. Of a counter it is the growth over a
// length in s.
type sample struct{ from, length, value float64 }

// samples are the values of a series that are numbers.
func samples(s series, counter bool) (out []sample) {
	for k, p := range s.Values {
		v := sample{p.at, 0, p.value}
		if counter {
			if k == 0 {
				continue
			}
			before := s.Values[k-1]
			if v.from, v.length = before.at, p.at-before.at; nanoseconds(v.length) <= 0 {
				continue
			}
			if v.value -= before.value; v.value < 0 {
				v.value = p.value // it began again from 0
			}
		}
		if !math.IsNaN(v.value) {
			out = append(out, v)
		}
	}
	return out
}

// joining is how several series of one metric become one value of a column.
type joining struct {
	join  func(values []float64) float64
	how   string // in a note; "" is not worth one
	alone bool   // several cannot be joined
}

// joiningOf tells how. Requests and connections are added up. Of the one server that
// many look at, the greatest is taken, as of several intervals of one time. Variations
// cannot be joined.
func joiningOf(column string) joining {
	switch {
	case strings.HasSuffix(column, "_cv"):
		return joining{join: floats.Sum, alone: true}
	case isMean(column):
		return joining{join: mean, how: "the plain mean (where their loads differ, query a weighted one)"}
	case column == "others" || column == "cpu_util":
		return joining{join: slices.Max[[]float64], how: "the greatest"}
	}
	return joining{join: floats.Sum}
}

func mean(values []float64) float64 { return stat.Mean(values, nil) }

// prometheusIntervals joins the series and writes a row for each step.
func prometheusIntervals(in *input, all []series, columns map[string]metric, out *sink) error {
	names := slices.Sorted(maps.Keys(columns))
	parts := map[string][][]sample{} // by column
	for _, column := range names {
		grows := true // as a counter does
		m := columns[column]
		for _, s := range all {
			if s.Metric["__name__"] == m.name {
				parts[column] = append(parts[column], samples(s, m.counter))
				grows = grows && neverFalls(s.Values)
			}
		}
		j := joiningOf(column)
		if n := len(parts[column]); n > 1 && j.alone {
			return in.problem("%s is %s, of which there are %d series: what it is of all, they do not tell; query one, or leave it out", column, m.title(), n)
		} else if n > 1 && j.how != "" {
			out.note("%s is of the %d series of %s %s.", column, n, m.title(), j.how)
		}
		m.describe(column, grows, out)
	}
	step := usualStep(parts)
	rows := map[int64]*trace.Interval{} // by ns
	gaps := 0
	for _, column := range names {
		values := map[int64][]float64{} // by ns
		for _, part := range parts[column] {
			for _, s := range part {
				v, at := s.value*columns[column].scale(column), nanoseconds(s.from)
				if s.length > 0 && column != "arrivals" {
					v /= s.length
				} else if s.length > 1.5*step { // the row is only of the first step of it
					v *= step / s.length
					gaps++
				}
				values[at] = append(values[at], v)
			}
		}
		for at, v := range values {
			if rows[at] == nil {
				i := trace.UnknownInterval()
				rows[at] = &i
			}
			if v := joiningOf(column).join(v); !math.IsInf(v, 0) {
				*rows[at].Column(column) = v
			}
		}
	}
	if gaps > 0 {
		out.note("Of %d gaps in the data, the arrivals are those of the first step, at the mean rate of the gap.", gaps)
	}
	for _, t := range slices.Sorted(maps.Keys(rows)) {
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

// scale is the unit of a metric in that of its column.
func (m metric) scale(column string) float64 {
	if m.unit == 0 {
		return 1
	}
	return float64(m.unit) / float64(usual(column))
}

// describe notes what was taken for what.
func (m metric) describe(column string, grows bool, out *sink) {
	switch {
	case m.counter && column == "arrivals":
		out.note("%s is %s, a counter: its growth.", column, m.title())
	case m.counter:
		out.note("%s is %s, a counter: its growth per second.", column, m.title())
	case grows && (column == "rate_rps" || column == "arrivals"):
		out.note("%s is %s, taken as a gauge, and it never falls: if it is a counter, say %s=%s:counter.", column, m.title(), column, m.name)
	case usual(column) != 0 && m.unit == 0:
		out.note("%s is %s, taken to be in ms, which its name does not tell: if it is in seconds, say %s=%s:s.", column, m.title(), column, m.name)
	case usual(column) != 0 && !m.said && m.scale(column) != 1:
		out.note("%s is %s, which is in units of %v by its name, times %v: if it is in ms, say %s=%s:ms.", column, m.title(), m.unit, m.scale(column), column, m.name)
	}
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

// usualStep is the shortest time between two rows, or of a counter's growth, in s:
// longer ones are gaps in the data. 0 when there are no two.
func usualStep(parts map[string][][]sample) float64 {
	var times []int64
	step := int64(math.MaxInt64)
	for _, column := range parts {
		for _, part := range column {
			for _, s := range part {
				times = append(times, nanoseconds(s.from))
				if s.length > 0 {
					step = min(step, nanoseconds(s.length))
				}
			}
		}
	}
	slices.Sort(times)
	times = slices.Compact(times)
	for i := 1; i < len(times); i++ {
		step = min(step, times[i]-times[i-1])
	}
	if step == math.MaxInt64 {
		return 0
	}
	return float64(step) / 1e9
}
