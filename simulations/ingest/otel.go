package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pgautotune/autotune/simulations/trace"
)

func isOTel(head string) bool {
	return strings.HasPrefix(head, "{") && strings.Contains(head, `"resourceSpans"`)
}

// export is a document of OTLP JSON; a file may hold several.
type export struct {
	ResourceSpans []struct {
		Resource   attributed `json:"resource"`
		ScopeSpans []struct {
			Spans []span `json:"spans"`
		} `json:"scopeSpans"`
	} `json:"resourceSpans"`
}

type span struct {
	attributed
	Trace  string      `json:"traceId"`
	ID     string      `json:"spanId"`
	Parent string      `json:"parentSpanId"`
	Name   string      `json:"name"`
	Start  json.Number `json:"startTimeUnixNano"`
	End    json.Number `json:"endTimeUnixNano"`
	Status struct {
		Code json.RawMessage `json:"code"` // 2 or STATUS_CODE_ERROR
	} `json:"status"`
}

type attributed struct {
	Attributes []struct {
		Key   string `json:"key"`
		Value struct {
			String string `json:"stringValue"`
		} `json:"value"`
	} `json:"attributes"`
}

// attribute is the first of some attributes that is a text.
func (a attributed) attribute(keys ...string) string {
	for _, k := range keys {
		for _, x := range a.Attributes {
			if x.Key == k {
				return x.Value.String
			}
		}
	}
	return ""
}

// readOTel takes the spans of database calls: those with a db.system. Spans of
// waiting for a connection, or of making one, are left out; what they cover is not
// service. So are those within another one ([nest]).
func readOTel(in *input, out *sink) error {
	open := true
	out.begin(trace.Header{Kind: trace.Events, ServiceKind: trace.Observed, OpenLoop: &open, Source: "OpenTelemetry spans"},
		[]string{"t_s", "service_ms", "class", "status", "pool"})
	out.note("A row is a span of a query: a connection that is held over several, as in a transaction, is held longer.")
	limited := &io.LimitedReader{R: in.lines, N: 0}
	d := json.NewDecoder(limited)
	taken, others, elsewhere := 0, 0, 0
	whole := nest{}
	for {
		limited.N = maxDocument
		var doc export
		begin := d.InputOffset()
		if err := d.Decode(&doc); err == io.EOF && limited.N > 0 {
			break
		} else if err != nil {
			why := trace.Describe(err)
			switch {
			case limited.N <= 0:
				why = fmt.Sprintf("it is longer than %d MiB", maxDocument>>20)
			case errors.Is(err, io.ErrUnexpectedEOF):
				why = "it ends early: the file, or the gzip stream that it is, is truncated"
			}
			return in.problem("the document at byte %d cannot be read as OTLP JSON: %s", begin, why)
		}
		for _, rs := range doc.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for i := range ss.Spans {
					s := &ss.Spans[i]
					switch system := strings.ToLower(s.attribute("db.system.name", "db.system")); {
					case system == "" || waiting(s.Name):
						others++
						continue
					case !strings.Contains(system, "postgres") && system != "pgx":
						elsewhere++
						continue
					}
					taken++
					at, e, err := s.event(in, rs.Resource.attribute("service.name"))
					if err != nil {
						return err
					}
					if statementOfBatch(s.Name) {
						whole.left++
						continue
					}
					if err := whole.add(named(s.Trace, s.ID), named(s.Trace, s.Parent), at, &e, out); err != nil {
						return err
					}
				}
			}
		}
	}
	if err := whole.flush(out); err != nil {
		return err
	}
	if taken == 0 && others+elsewhere > 0 {
		return in.problem("none of the %d spans is of a call to PostgreSQL (with the attribute db.system or db.system.name)", others+elsewhere)
	}
	if others > 0 {
		out.note("%d spans that are not of queries were left out.", others)
	}
	if whole.left > 0 {
		out.note("%d spans that are part of another call's, such as the statements of a batch, were left out.", whole.left)
	}
	if elsewhere > 0 {
		out.note("%d spans of other databases were left out.", elsewhere)
	}
	return nil
}

// waiting tells the spans of connections from those of queries, by the names that
// instrumentations of pgx give them.
func waiting(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "acquire") || strings.HasSuffix(name, "acquire") || strings.HasSuffix(name, "connect") || strings.HasPrefix(name, "prepare")
}

// statementOfBatch tells the spans of otelpgx for a statement of a batch, which end at
// once, also where that of the batch is missing or far away.
func statementOfBatch(name string) bool { return strings.HasPrefix(name, "batch query") }

func (s *span) event(in *input, pool string) (at int64, e trace.Event, err error) {
	start, err1 := strconv.ParseInt(string(s.Start), 10, 64)
	end, err2 := strconv.ParseInt(string(s.End), 10, 64)
	if err1 != nil || err2 != nil || start <= 0 || float64(start) > latest*1e9 || end < start {
		return 0, e, in.problem("the span %.60q is from %.30q to %.30q, which are not times in ns", s.Name, s.Start, s.End)
	}
	e = trace.UnknownEvent()
	e.Service = float64(end-start) / 1e6
	e.Class, e.Pool = s.attribute("db.operation.name", "db.operation"), pool
	if e.Class == "" {
		e.Class, _, _ = strings.Cut(s.Name, " ")
	}
	e.Class = strings.Clone(short(e.Class)) // a nest holds it for long, and not the statement that the name may be
	e.Pool = short(e.Pool)
	e.Status = "ok"
	if code := strings.Trim(string(s.Status.Code), `"`); code == "2" || code == "STATUS_CODE_ERROR" {
		e.Status = "error"
	}
	return start, e, nil
}
