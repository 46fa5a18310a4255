package ingest

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/pgautotune/autotune/simulations/trace"
)

// httpNote says what a line of a proxy's log is to a pool.
const httpNote = "A row is a request to the proxy, not a query: scale by fan-out where one request makes several, and take its service time as an upper bound of the time a connection is held."

// Envoy's default text format begins with the start time in brackets:
//
//	[%START_TIME%] "%REQ(:METHOD)% …" %RESPONSE_CODE% %RESPONSE_FLAGS%
//	%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% …
//
// with durations in ms. Its JSON has the same fields by name. A TCP proxy writes the
// same format, of connections: without a method, with a code of 0.
var envoyLine = regexp.MustCompile(`^\[(\d{4}-\d\d-\d\dT[^\]]+)\] "(\S+)[^"]*" (\d+) \S+(?: \S+)*? (\d+) (\d+) (\d+) (\d+|-)(?: |$)`)

func isEnvoy(head string) bool {
	line := firstLine(head)
	return envoyLine.MatchString(line) || strings.HasPrefix(line, "{") && strings.Contains(line, `"start_time"`) && strings.Contains(line, `"duration"`)
}

func readEnvoy(in *input, out *sink) error {
	open := true
	out.begin(trace.Header{Kind: trace.Events, ServiceKind: trace.Observed, OpenLoop: &open, QuantumS: 0.001, Source: "Envoy access log"},
		[]string{"t_s", "service_ms", "class", "status"})
	out.note(httpNote)
	var used, connections, quick int64
	for text, err := in.next(); err == nil; text, err = in.next() {
		at, e, why := envoyRequest(text)
		if why == tcpConnection {
			connections++
			continue
		}
		if why != "" {
			in.skip(why)
			continue
		}
		used++
		if underTick(&e) {
			quick++
		}
		if err := out.event(at, &e); err != nil {
			return err
		}
	}
	if err := in.rest(); err != nil {
		return err
	}
	noteQuick(out, quick, used)
	switch {
	case connections > 0 && used == 0:
		return in.problem("no line is of a request: %d are each of %s, and say how long it lasted", connections, tcpConnection)
	case connections > 0:
		out.note("%d lines were left out, each of %s.", connections, tcpConnection)
	}
	return in.skipped(out, used)
}

// tcpConnection is why a line is left out that says nothing of requests, however many
// a log has.
const tcpConnection = "a TCP connection, not a request"

func envoyRequest(text string) (at int64, e trace.Event, why string) {
	e = trace.UnknownEvent()
	var start, took, upstream string
	if strings.HasPrefix(text, "{") {
		var o map[string]any
		if json.Unmarshal([]byte(text), &o) != nil {
			return 0, e, "the line is not a JSON object"
		}
		start, took, upstream = member(o, "start_time"), member(o, "duration"), member(o, "upstream_service_time", "x-envoy-upstream-service-time")
		e.Class, e.Status = member(o, "method"), member(o, "response_code")
	} else {
		m := envoyLine.FindStringSubmatch(text)
		if m == nil {
			return 0, e, "the line is not of Envoy's default format"
		}
		start, e.Class, e.Status, took, upstream = m[1], m[2], m[3], m[6], m[7]
	}
	at, ok := date(start)
	if !ok {
		return 0, e, "the start time is not a date"
	}
	if none(e.Class) && (none(e.Status) || e.Status == "0") {
		return 0, e, tcpConnection
	}
	if v, ok := number(upstream); ok {
		e.Service = v
	} else if v, ok := number(took); ok {
		e.Service = v
	}
	return at, e, ""
}

// underTick gives a request that took 0 of the log's whole milliseconds half of one: it
// took some of it, and a query that takes nothing is none.
func underTick(e *trace.Event) bool {
	if e.Service == 0 {
		e.Service = 0.5
		return true
	}
	return false
}

func noteQuick(out *sink, quick, used int64) {
	if quick > 0 {
		out.note("%d of %d requests took 0 ms by their log, which has whole ones: half of one is taken.", quick, used)
	}
}

// none tells a field that Envoy has nothing for.
func none(field string) bool { return field == "" || field == "-" }

// member is the first of some members as text.
func member(o map[string]any, names ...string) string {
	for _, n := range names {
		switch v := o[n].(type) {
		case string:
			return v
		case float64:
			text, _ := json.Marshal(v)
			return string(text)
		}
	}
	return ""
}

// nginx' combined format, with anything behind it. $time_local has a resolution of
// 1 s and is of the end of the request; so is $msec. The quoted fields after the bytes,
// the referer and the user agent first, are what the client sent: a time in them is none.
var (
	nginxLine  = regexp.MustCompile(`^\S+ \S+ .*?\[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "(\S*)[^"]*" (\d{3}) (?:\d+|-)(?: "(?:[^"\\]|\\.)*")*(.*)$`)
	nginxNamed = regexp.MustCompile(`\b(request_time|rt|msec)[=:] ?"?([0-9]+\.[0-9]+)`)
	// Servers that were asked in turn stand behind commas, those after an internal
	// redirect behind colons, and - is one that was not.
	nginxUpstream = regexp.MustCompile(`\b(?:upstream_response_time|urt)[=:] ?"?((?:[0-9]+\.[0-9]+|-)(?:(?:, ?| : )(?:[0-9]+\.[0-9]+|-))*)`)
	nginxTail     = regexp.MustCompile(`(?:^|") ([0-9]+\.[0-9]{3})(?: |$)`)
)

func isNginx(head string) bool { return nginxLine.MatchString(firstLine(head)) }

func readNginx(in *input, out *sink) error {
	open := true
	out.begin(trace.Header{Kind: trace.Events, ServiceKind: trace.Observed, OpenLoop: &open, QuantumS: 0.001, Source: "nginx access log"},
		[]string{"t_s", "service_ms", "class", "status"})
	out.note(httpNote)
	var used, timed, exact, quick int64
	for text, err := in.next(); err == nil; text, err = in.next() {
		at, e, msec, whole, why := nginxRequest(text)
		if why != "" {
			in.skip(why)
			continue
		}
		used++
		if whole {
			timed++
		}
		if msec {
			exact++
		}
		if underTick(&e) {
			quick++
		}
		if err := out.event(at, &e); err != nil {
			return err
		}
	}
	if err := in.rest(); err != nil {
		return err
	}
	noteQuick(out, quick, used)
	if exact < used { // one line without is enough: the trace has one quantum
		out.header.QuantumS = 1
	}
	if timed < used {
		out.note("Of %d of %d lines the request's time is unknown, and so when it began: they stand at their end. Log $request_time (as rt=$request_time) to have it.", used-timed, used)
	}
	return in.skipped(out, used)
}

// nginxRequest reads a line. msec says that its time is $msec, to the millisecond, timed
// that the request's time is known, and so when it began.
func nginxRequest(text string) (at int64, e trace.Event, msec, timed bool, why string) {
	e = trace.UnknownEvent()
	m := nginxLine.FindStringSubmatch(text)
	if m == nil {
		return 0, e, false, false, "the line is not of nginx' combined format"
	}
	at, ok := date(m[1])
	if !ok {
		return 0, e, false, false, "the time is not a date"
	}
	e.Class, e.Status = m[2], m[3]
	whole, exact := "", ""
	for _, n := range nginxNamed.FindAllStringSubmatch(m[4], -1) {
		switch n[1] {
		case "msec":
			exact = n[2]
		default:
			whole = n[2]
		}
	}
	if whole == "" {
		if n := nginxTail.FindStringSubmatch(m[4]); n != nil {
			whole = n[1]
		}
	}
	if ns, ok := epoch(exact, time.Second); ok {
		at, msec = ns, true
	}
	if v, ok := number(whole); ok && v < 1e6 {
		e.Service, timed = 1000*v, true
		at = max(0, at-nanoseconds(v)) // the stamp is of the end
	}
	if v, ok := upstreams(m[4]); ok {
		e.Service = 1000 * v
	}
	return at, e, msec, timed, ""
}

// upstreams is the time in s that all upstream servers of a request took.
func upstreams(rest string) (sum float64, ok bool) {
	m := nginxUpstream.FindStringSubmatch(rest)
	if m == nil {
		return 0, false
	}
	for _, text := range strings.FieldsFunc(m[1], func(r rune) bool { return strings.ContainsRune(",: ", r) }) {
		if v, isTime := number(text); isTime {
			sum, ok = sum+v, true
		}
	}
	return sum, ok
}
