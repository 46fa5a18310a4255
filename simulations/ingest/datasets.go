package ingest

import (
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/pgautotune/autotune/simulations/trace"
)

// The formats in which data sets are published, as their own pages describe them.

// Azure LLM inference traces (github.com/Azure/AzurePublicDataset): the time of
// arrival, and tokens in and out. Cost is the tokens in.
func isAzure(head string) bool {
	return strings.HasPrefix(firstLine(head), "TIMESTAMP,ContextTokens,GeneratedTokens")
}

func readAzure(in *input, out *sink) error {
	t, err := openTable(in, []picked{{target: "t_s", source: "TIMESTAMP"}, {target: "cost", source: "ContextTokens"}})
	if err != nil {
		return err
	}
	open := true
	out.begin(trace.Header{Kind: trace.Events, OpenLoop: &open, Source: "Azure/AzurePublicDataset", Licence: "CC-BY-4.0"}, []string{"t_s", "cost"})
	out.note("Cost is the tokens of the prompt.")
	for {
		row, err := t.read()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := t.add(row, trace.Events, out); err != nil {
			return err
		}
	}
}

// RAGPulse (github.com/flashserve/RAGPulse): JSON lines with the second of each
// request, and the passages that were retrieved for it. Requests without passages
// did not ask the vector database.
func isRAGPulse(head string) bool {
	line := firstLine(head)
	return strings.HasPrefix(line, "{") && strings.Contains(line, `"passages_ids"`) && strings.Contains(line, `"timestamp"`)
}

func readRAGPulse(in *input, out *sink) error {
	open := true
	out.begin(trace.Header{Kind: trace.Events, QuantumS: 1, OpenLoop: &open, T0: "12:00 local time", Source: "flashserve/RAGPulse", Licence: "MIT"}, []string{"t_s", "cost", "session"})
	out.relative = true // to T0
	without := 0
	for text, err := in.next(); err == nil; text, err = in.next() {
		var o struct {
			Timestamp json.RawMessage `json:"timestamp"`
			Session   string          `json:"session_id"`
			Hash      struct {
				Passages []int64 `json:"passages_ids"`
			} `json:"hash_ids"`
		}
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			return in.problem("the line is not a request of RAGPulse: %s", strings.TrimPrefix(err.Error(), "json: "))
		}
		at, ok := epoch(strings.Trim(string(o.Timestamp), `"`), time.Second)
		if !ok {
			return in.problem("timestamp is %.40q, which is not a number of seconds", o.Timestamp)
		}
		if len(o.Hash.Passages) == 0 {
			without++
			continue
		}
		e := trace.UnknownEvent()
		e.Cost = float64(len(o.Hash.Passages))
		e.Session = o.Session
		if err := out.event(at, &e); err != nil {
			return err
		}
	}
	out.note("Cost is the passages retrieved.")
	if without > 0 {
		out.note("%d requests without passages were left out: they did not search.", without)
	}
	return in.rest()
}

// CAB, the Cloud Analytics Benchmark (github.com/alexandervanrenen/cab): all.csv of
// a run, in ms. start_delay is how late the client's own timer was, so the request
// was meant for relative_start less that. Each stream has a pool of 10 connections,
// and its wait is what its duration with the queue is longer.
func isCAB(head string) bool {
	line := firstLine(head)
	return strings.Contains(line, "query_duration_with_queue") && strings.Contains(line, "relative_start")
}

func readCAB(in *input, out *sink) error {
	t, err := openTable(in, []picked{
		{source: "query_stream_id"}, {source: "query_id"}, {source: "relative_start"},
		{source: "query_duration"}, {source: "query_duration_with_queue"}, {source: "start_delay"},
	})
	if err != nil {
		return err
	}
	open := true
	out.begin(trace.Header{Kind: trace.Events, ServiceKind: trace.Observed, PoolMax: 10, OpenLoop: &open, Source: "alexandervanrenen/cab", Licence: "MIT"},
		[]string{"t_s", "service_ms", "wait_ms", "class", "pool"})
	out.relative = true
	for {
		row, err := t.read()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var v [4]float64
		for k := range v {
			c := t.columns[k+2]
			var ok bool
			if v[k], ok = number(row[c.at]); !ok || v[k] > latest {
				return in.problem("%s is %.40q, which is not a number of ms", c.source, row[c.at])
			}
		}
		start, service, whole, late := v[0], v[1], v[2], v[3]
		if whole < service || start < late {
			return in.problem("the query took longer without the queue than with it, or began before the run")
		}
		e := trace.UnknownEvent()
		e.Service, e.Wait = service, whole-service
		e.Pool, e.Class = "stream"+row[t.columns[0].at], "q"+row[t.columns[1].at]
		if err := out.event(nanoseconds((start-late)/1000), &e); err != nil {
			return err
		}
	}
}

// ServeGen (github.com/alibaba/ServeGen): chunk-N-trace.csv has no names. Its
// columns are second, rate per second, coefficient of variation of the gaps, and
// the distribution that fits them with its two parameters. Only its name tells them
// from any CSV without names.
var serveGenLine = regexp.MustCompile(`^[0-9.eE+-]+,[0-9.eE+-]*,[0-9.eE+-]*,(?i:gamma|weibull|expon\w*|lognorm\w*|pareto),[0-9.eE+-]*,[0-9.eE+-]*(?:,|$)`)

func isServeGen(head string) bool { return serveGenLine.MatchString(firstLine(head)) }

func readServeGen(in *input, out *sink) error {
	columns := []picked{{target: "t_s", source: "#1"}, {target: "rate_rps", source: "#2"}, {target: "ia_cv", source: "#3"}}
	t, err := openTable(in, columns)
	if err != nil {
		return err
	}
	open := true
	out.begin(trace.Header{Kind: trace.Intervals, OpenLoop: &open, Source: "alibaba/ServeGen", Licence: "Apache-2.0"}, []string{"t_s", "rate_rps", "ia_cv"})
	out.relative = true
	for {
		row, err := t.read()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := t.add(row, trace.Intervals, out); err != nil {
			return err
		}
	}
}
