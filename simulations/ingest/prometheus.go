package ingest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

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

// readPrometheus takes the answer to a range query. What all files say becomes
// intervals at the end ([scraped.write]).
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
	if out.scraped == nil {
		out.scraped = &scraped{in: in, at: map[string]int{}}
	}
	return out.scraped.add(in, m.Data.Result)
}

// maxValues bounds the values of all files, which are held in memory: 128 MiB.
const maxValues = 1 << 23

// scraped is what the answers of all files hold: each series once, in however many of
// them it is. Two may be of one query over ranges that meet or overlap, or each of a
// metric or a server of its own.
type scraped struct {
	in     *input // the first file, which what is wrong with all of them names
	all    []series
	at     map[string]int // where in all a series is, by its labels
	values int
}

func (s *scraped) add(in *input, found []series) error {
	before := map[string]int{} // series of the same labels in this file, which are others
	for _, one := range found {
		if s.values += len(one.Values); s.values > maxValues {
			return in.problem("there are more than %d values; query a shorter range or longer steps", maxValues)
		}
		text, _ := json.Marshal(one.Metric) // keys and values are texts
		labels := string(text)
		before[labels]++
		labels += fmt.Sprint(before[labels])
		k, ok := s.at[labels]
		if !ok {
			s.at[labels] = len(s.all)
			s.all = append(s.all, one)
			continue
		}
		s.all[k].Values = append(s.all[k].Values, one.Values...)
	}
	return nil
}

// once leaves of the values of one time the first that is a number, and counts the
// others that are.
func (s *scraped) once() (repeated int) {
	for k := range s.all {
		values := s.all[k].Values
		slices.SortStableFunc(values, func(a, b point) int { return cmp.Compare(a.at, b.at) })
		out := values[:0]
		for _, v := range values {
			last := len(out) - 1
			switch {
			case last < 0 || out[last].at != v.at:
				out = append(out, v)
			case math.IsNaN(out[last].value):
				out[last] = v
			case !math.IsNaN(v.value):
				repeated++
			}
		}
		s.all[k].Values = out
	}
	return repeated
}

// write makes intervals. Which series is which column, the map says: column=metric
// name. Without one there is to be one metric, and it is the arrival rate. Of counters
// the growth is taken; which are, isCounter tells, or the map: column=name:counter and
// column=name:gauge. The unit of times is told by the name, or column=name:s.
func (s *scraped) write(out *sink) error {
	columns, err := prometheusColumns(s.in, s.all)
	if err != nil {
		return err
	}
	if repeated := s.once(); repeated > 0 {
		out.note("%d values are there more than once, as where the ranges of two queries overlap, and are counted once.", repeated)
	}
	names := []string{"t_s", "dur_s"}
	names = append(names, slices.Sorted(maps.Keys(columns))...)
	out.begin(trace.Header{Kind: trace.Intervals, ServiceKind: trace.Observed, Source: "Prometheus"}, names)
	return prometheusIntervals(s.in, s.all, columns, out)
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
