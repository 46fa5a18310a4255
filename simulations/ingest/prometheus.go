package ingest

import (
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

// readPrometheus makes intervals of the answer to a range query. Which series is
// which column, the map says: column=metric name. Without one there is to be one
// metric, and it is the arrival rate. Of counters the growth is taken; which are,
// isCounter tells, or the map: column=name:counter and column=name:gauge. The unit of
// times is told by the name, or column=name:s.
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
	return prometheusIntervals(in, m.Data.Result, columns, out)
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
