package ingest

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/simulations/replay"
	"github.com/pgautotune/autotune/simulations/trace"
)

func TestMain(m *testing.M) { pgtest.Main(m, pgtest.Options{WithoutVector: true}) }

func file(name, content string) replay.File {
	return replay.File{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

// imported runs an import into memory.
func imported(o Options, contents ...string) (text string, res Result, err error) {
	var b bytes.Buffer
	var files []replay.File
	for i, c := range contents {
		files = append(files, file(fmt.Sprintf("file%d", i+1), c))
	}
	res, err = Import(files, o, func(h trace.Header, columns ...string) (*trace.Writer, error) {
		return trace.NewWriter(&b, h, trace.Form{Columns: columns})
	})
	return b.String(), res, err
}

const watched = `                        Sun 01 Mar 2026 12:00:00 PM UTC (every 10s)

 database  | total_xact_count | total_query_count | total_xact_time | total_query_time | total_wait_time
-----------+------------------+-------------------+-----------------+------------------+-----------------
 app       |             1000 |              2000 |         5000000 |          4000000 |             100
 other     |               10 |                10 |           10000 |            10000 |               0
 pgbouncer |               77 |                 0 |               0 |                0 |               0
(3 rows)

                        Sun Mar  1 12:00:10 2026 (every 10s)

 database  | total_xact_count | total_query_count | total_xact_time | total_query_time | total_wait_time
-----------+------------------+-------------------+-----------------+------------------+-----------------
 app       |             1500 |              3000 |         7000000 |          6000000 |            1100
 other     |               10 |                10 |           10000 |            10000 |               0
(2 rows)

`

func TestEachFormatIsFoundOutAndImported(t *testing.T) {
	for _, c := range []struct {
		name, content string
		options       Options
		format        string
		header        []string // parts of the first line
		rows          string
	}{
		{"pgbench: the stamp is of the end", "0 1 500000 0 1700000001 000000\n1 1 900000 0 1700000001 000000\n0 2 skipped 0 1700000001 200000\n", Options{}, "pgbench",
			[]string{`"open_loop":false`, `"service_kind":"observed"`, `"t0":"2023-11-14T22:13:20.1Z"`},
			"t_s,service_ms,class,status,session\n0,900,script0,ok,client1\n0.4,500,script0,ok,client0\n1.1,,script0,skipped,client0\n"},
		{"pgbench --rate: the lag is a wait", "0 1 500000 0 1700000001 000000 200000\n", Options{}, "pgbench",
			[]string{`"open_loop":true`}, "t_s,service_ms,wait_ms,class,status,session\n0,300,200,script0,ok,client0\n"},
		{"pgbench aggregated, PostgreSQL 14", "1700000000 100 200000 500000000 1 9000\n1700000005 0 0 0 0 0\n", Options{}, "pgbench",
			[]string{`"kind":"intervals"`}, "t_s,dur_s,rate_rps,arrivals,service_ms_mean,service_ms_cv,wait_ms_mean\n0,5,20,100,2,0.5,\n5,5,0,0,,,\n"},
		{"pgbench aggregated with lag and failures", "1700000000 100 200000 500000000 1 9000 100000 1 1 1 10 0 0 3 2\n1700000005 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n", Options{}, "pgbench",
			[]string{`"open_loop":true`}, "t_s,dur_s,rate_rps,arrivals,service_ms_mean,service_ms_cv,wait_ms_mean\n0,5,23,115,1,,1\n5,5,0,0,,,\n"},
		{"Prometheus, one series", `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1700000000,"5"],[1700000060,"NaN"],[1700000120,"7.5"]]}]}}`, Options{}, "prometheus",
			nil, "t_s,dur_s,rate_rps\n0,120,5\n120,120,7.5\n"},
		{"Prometheus, counters of two series and a gauge", `{"status":"success","data":{"resultType":"matrix","result":[
{"metric":{"__name__":"q_total","i":"1"},"values":[[1700000000,"100"],[1700000010,"150"],[1700000020,"20"]]},
{"metric":{"__name__":"q_total","i":"2"},"values":[[1700000000,"0"],[1700000010,"10"],[1700000020,"20"]]},
{"metric":{"__name__":"busy"},"values":[[1700000000,"3"],[1700000010,"4"]]}]}}`, Options{Columns: "rate_rps=q_total,active=busy"}, "prometheus",
			nil, "t_s,dur_s,active,rate_rps\n0,10,3,6\n10,10,4,3\n"},
		{"Prometheus, names that do not tell", `{"status":"success","data":{"resultType":"matrix","result":[
{"metric":{"__name__":"pg_stat_database_xact_commit"},"values":[[1700000000,"100"],[1700000010,"150"]]},
{"metric":{"__name__":"pg_stat_activity_count"},"values":[[1700000000,"3"],[1700000010,"4"]]},
{"metric":{"__name__":"job:waits"},"values":[[1700000000,"10"],[1700000010,"30"]]},
{"metric":{"__name__":"most_total"},"values":[[1700000000,"8"],[1700000010,"9"]]}]}}`,
			Options{Columns: "rate_rps=pg_stat_database_xact_commit,active=pg_stat_activity_count,waiting=job:waits:counter,limit=most_total:gauge"}, "prometheus",
			nil, "t_s,dur_s,active,limit,rate_rps,waiting\n0,10,3,8,5,2\n10,10,4,9,,\n"},
		{"Prometheus, a histogram's count", `{"status":"success","data":{"resultType":"matrix","result":[
{"metric":{"__name__":"q_count"},"values":[[1700000000,"100"],[1700000010,"150"]]}]}}`, Options{Columns: "arrivals=q_count"}, "prometheus",
			nil, "t_s,dur_s,arrivals\n0,10,50\n"},
		{"PgBouncer's log", "x\n2026-03-01 12:01:00.500 UTC [7] LOG stats: 5 xacts/s, 9 queries/s, 0 client parses/s, in 1 B/s, out 2 B/s, xact 1200 us, query 300 us, wait 4 us\n2026-03-01 12:02:00.500 UTC [7] LOG stats: 0 xacts/s, 0 queries/s, in 1 B/s, out 2 B/s, xact 0 us, query 0 us, wait 0 us\n", Options{}, "pgbouncer",
			[]string{`"t0":"2026-03-01T12:00:00.5Z"`}, "t_s,dur_s,rate_rps,service_ms_mean,wait_ms_mean\n0,60,5,1.2,\n60,60,0,,\n"},
		{"PgBouncer under \\watch", watched, Options{}, "pgbouncer", []string{`"t0":"2026-03-01T12:00:00Z"`},
			"t_s,dur_s,rate_rps,service_ms_mean,wait_ms_mean\n0,10,50,4,0.002\n"},
		{"nginx: the stamp is of the end", `1.2.3.4 - - [01/Mar/2026:12:00:05 +0000] "GET /a?b HTTP/1.1" 200 12 "-" "curl" rt=2.500 urt=1.250` + "\n" + `::1 - bob [01/Mar/2026:12:00:04 +0000] "POST / HTTP/2.0" 500 - "-" "Moz [x] \"y\"" 0.500` + "\n", Options{}, "nginx",
			[]string{`"quantum_s":1`}, "t_s,service_ms,class,status\n0,1250,GET,200\n1,500,POST,500\n"},
		{"nginx with msec is exact", `::1 - - [01/Mar/2026:12:00:05 +0000] "GET / HTTP/1.1" 200 12 "-" "curl" rt=0.500 msec=1772366405.250` + "\n" + `::1 - - [01/Mar/2026:12:00:05 +0000] "GET / HTTP/1.1" 200 12 "-" "curl" rt=0.500 msec=1772366405.500` + "\n", Options{}, "nginx",
			[]string{`"quantum_s":0.001`}, "t_s,service_ms,class,status\n0,500,GET,200\n0.25,500,GET,200\n"},
		{"nginx, one line without msec", `::1 - - [01/Mar/2026:12:00:05 +0000] "GET / HTTP/1.1" 200 12 "-" "curl" rt=0.500 msec=1772366405.250` + "\n" + `::1 - - [01/Mar/2026:12:00:06 +0000] "GET / HTTP/1.1" 200 12 "-" "curl" rt=0.500` + "\n", Options{}, "nginx",
			[]string{`"quantum_s":1`}, "t_s,service_ms,class,status\n0,500,GET,200\n0.75,500,GET,200\n"},
		{"nginx, times that the client sent", `1.2.3.4 - - [01/Mar/2026:12:00:05 +0000] "GET / HTTP/1.1" 200 12 "http://x/?rt=9.000&msec=1.500" "a\" urt=8.000 \"b" "rt=7.000" rt=2.500 urt=1.250` + "\n" + `1.2.3.4 - - [01/Mar/2026:12:00:05 +0000] "GET / HTTP/1.1" 200 12 "-" "x rt=9.000" "1.1.1.1" 0.500` + "\n", Options{}, "nginx",
			[]string{`"quantum_s":1`}, "t_s,service_ms,class,status\n0,1250,GET,200\n2,500,GET,200\n"},
		{"Envoy: the stamp is of the begin", `[2026-03-01T12:00:00.250Z] "GET /x HTTP/2" 200 - 154 0 226 100 "10.0.0.1" "a" "b" "c" "d"` + "\n" + `[2026-03-01T12:00:00.000Z] "POST /x HTTP/2" 503 UF via_upstream - "-" 154 0 226 - "10.0.0.1"` + "\n", Options{}, "envoy",
			[]string{`"open_loop":true`}, "t_s,service_ms,class,status\n0,226,POST,503\n0.25,100,GET,200\n"},
		{"nginx, several upstream servers", `1.2.3.4 - - [01/Mar/2026:12:00:05 +0000] "GET / HTTP/1.1" 200 12 "-" "curl" rt=2.000 urt="0.001, 1.250" uct="-"` + "\n" + `1.2.3.4 - - [01/Mar/2026:12:00:05 +0000] "GET / HTTP/1.1" 200 12 "-" "curl" rt=1.000 urt=-, 0.250 : 0.500` + "\n" + `1.2.3.4 - - [01/Mar/2026:12:00:05 +0000] "GET / HTTP/1.1" 200 12 "-" "curl" rt=0.500, urt=-` + "\n", Options{}, "nginx",
			[]string{`"quantum_s":1`}, "t_s,service_ms,class,status\n0,1251,GET,200\n1,750,GET,200\n1.5,500,GET,200\n"},
		{"Envoy's JSON", `{"start_time":"2026-03-01T12:00:00.250Z","method":"GET","response_code":200,"duration":7}` + "\n", Options{}, "envoy", nil, "t_s,service_ms,class,status\n0,7,GET,200\n"},
		{"OpenTelemetry", `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"spans":[
{"name":"query SELECT","startTimeUnixNano":"1700000001000000000","endTimeUnixNano":"1700000001002500000","attributes":[{"key":"db.system","value":{"stringValue":"postgresql"}}],"status":{"code":2}},
{"name":"pool.acquire","startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000001000000000","attributes":[{"key":"db.system","value":{"stringValue":"postgresql"}}]},
{"name":"GET k","startTimeUnixNano":"1700000000100000000","endTimeUnixNano":"1700000000200000000","attributes":[{"key":"db.system","value":{"stringValue":"redis"}}]},
{"name":"GET /","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}
{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x","startTimeUnixNano":1700000000500000000,"endTimeUnixNano":1700000000501000000,"attributes":[{"key":"db.system.name","value":{"stringValue":"postgresql"}},{"key":"db.operation.name","value":{"stringValue":"INSERT"}}]}]}]}]}`, Options{}, "otel",
			nil, "t_s,service_ms,class,status,pool\n0,1,INSERT,ok,\n0.5,2.5,query,error,shop\n"},
		{"Azure", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n", Options{}, "azure-llm",
			[]string{`"licence":"CC-BY-4.0"`, `"t0":"2023-11-16T18:15:46.68059Z"`}, "t_s,cost\n0,374\n4.314579,396\n"},
		{"RAGPulse", `{"timestamp": "93", "input_length": 1, "hash_ids": {"passages_ids": []}, "session_id": "a"}` + "\n" + `{"timestamp": "82", "input_length": 3112, "hash_ids": {"sys_prompt": [8302], "passages_ids": [7398, 7370]}, "session_id": "s"}` + "\n", Options{}, "ragpulse",
			[]string{`"quantum_s":1`}, "t_s,cost,session\n82,2,s\n"},
		{"CAB", "type,runtime,warehouse_size,query_stream_id,query_id, start,relative_start,query_duration,query_duration_with_queue,start_delay\nsnowflake,3600,8,2,11,1649336192291,7954,1873,1874,1\nsnowflake,3600,8,2,3,1649336184359,22,4608,5131,2\n", Options{}, "cab",
			[]string{`"pool_max_per_pool":10`}, "t_s,service_ms,wait_ms,class,pool\n0.02,4608,523,q3,stream2\n7.953,1873,1,q11,stream2\n"},
		{"ServeGen", "0,11.491667,1.091141,Gamma,0.84,0.10\n600,9.846667,1.059481,Weibull,0.9,0.1\n", Options{}, "servegen",
			[]string{`"kind":"intervals"`}, "t_s,rate_rps,ia_cv\n0,11.491667,1.091141\n600,9.846667,1.059481\n"},
		{"CSV of completions in other units", "when,took,what\n2026-03-01T12:00:01Z,500000,\"a,b\"\n\n2026-03-01T12:00:02Z,100000,c\n", Options{Columns: "end_s=when,service_ms=took:us,class=what"}, "csv",
			[]string{`"t0":"2026-03-01T12:00:00.5Z"`}, "t_s,service_ms,class\n0,500,\"a,b\"\n1.4,100,c\n"},
		{"CSV without names", "1500,3\n500,4\n", Options{Columns: "t_s=#1:ms,cost=#2"}, "csv", nil, "t_s,cost\n0,4\n1,3\n"},
		{"CSV of intervals", "min,n\n0,60\n1,\n", Options{Columns: "t_s=min:min,arrivals=n"}, "csv", []string{`"kind":"intervals"`}, "t_s,arrivals\n0,60\n60,\n"},
		{"a trace of dates", `#autotune-trace {"version":1,"kind":"events"}` + "\nt_s,class\n1700000000,a\n1700000001.5,b\n", Options{}, "trace",
			[]string{`"t0":"2023-11-14T22:13:20Z"`}, "t_s,service_ms,wait_ms,inuse,class,cost,deadline_ms,status,session,pool,weight\n0,,,,a,,,,,,\n1.5,,,,b,,,,,,\n"},
		{"a trace", `#autotune-trace {"version":1,"kind":"events","pool_max_per_pool":3}` + "\n" + `{"t_s":5,"class":"a"}`, Options{}, "trace",
			[]string{`"pool_max_per_pool":3`}, "t_s,service_ms,wait_ms,inuse,class,cost,deadline_ms,status,session,pool,weight\n5,,,,a,,,,,,\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, res, err := imported(c.options, c.content)
			if err != nil || res.Format != c.format {
				t.Fatalf("taken for %q: %v", res.Format, err)
			}
			header, rows, _ := strings.Cut(text, "\n")
			for _, part := range c.header {
				if !strings.Contains(header, part) {
					t.Errorf("%s is not in %s", part, header)
				}
			}
			if rows != c.rows {
				t.Errorf("got\n%swant\n%s", rows, c.rows)
			}
			if res.Rows != int64(strings.Count(rows, "\n")-1) {
				t.Errorf("%d rows counted", res.Rows)
			}
			r, err := trace.NewReader(strings.NewReader(text), "x")
			if err != nil || r.Header().Kind != res.Header.Kind {
				t.Errorf("it does not read back: %v", err)
			}
		})
	}
}

func TestWhatCannotBeImportedSaysWhere(t *testing.T) {
	for _, c := range []struct {
		name, content string
		options       Options
		want          string
	}{
		{"nothing", "", Options{}, "file1: the file is empty"},
		{"anything", "hello\nworld\n", Options{}, "what this is cannot be told from its begin; name its --format (trace, journal, "},
		{"a format that is none", "x", Options{Format: "mp3"}, `unknown format "mp3"; the formats are trace`},
		{"pgbench, then not", "0 1 5 0 1700000001 0\nfoo\n", Options{}, "file1:2: the line has 1 fields and the first one 6"},
		{"pgbench, another column", "0 1 5 0 1700000001 0\n0 1 5 0 1700000001 0 5\n", Options{}, "file1:2: the line has 7 fields"},
		{"pgbench, a negative latency", "0 1 -5 0 1700000001 0\n", Options{}, `file1:1: column 3 is "-5"`},
		{"pgbench, a lag longer than all", "0 1 5 0 1700000001 0 7\n", Options{}, `file1:1: column 7 is "7", which is not a lag within the 5 µs`},
		{"pgbench, one interval", "1700000000 1 1 1 1 1\n", Options{}, "one interval alone"},
		{"pgbench, intervals going back", "1700000009 1 1 1 1 1\n1700000000 1 1 1 1 1\n", Options{}, "interval 2 does not begin after"},
		{"Prometheus, broken", "{\"data\":{\"resultType\":\"matrix\",\n\"result\":[}", Options{}, "file1:2: the JSON cannot be read"},
		{"Prometheus, failed", `{"status":"error","error":"no such","data":{"resultType":"matrix"}}`, Options{}, "the query failed: no such"},
		{"Prometheus, two metrics", `{"data":{"resultType":"matrix","result":[{"metric":{"__name__":"a"}},{"metric":{"__name__":"b"}}]}}`, Options{}, "several metrics (a, b); say which"},
		{"Prometheus, no such metric", `{"data":{"resultType":"matrix","result":[{"metric":{"__name__":"a"}}]}}`, Options{Columns: "rate_rps=c"}, `there is no metric "c"; there are a`},
		{"Prometheus, no such column", `{"data":{"resultType":"matrix","result":[{"metric":{"__name__":"a"}}]}}`, Options{Columns: "rat=a"}, `intervals have no column "rat"`},
		{"Envoy, connections alone", `[2026-01-01T00:00:00.000Z] "- - -" 0 - - - "-" 906 1352475 1183563 - "-" "-"` + "\n", Options{}, "file1:1: no line is of a request: 1 are each of a TCP connection"},
		{"OpenTelemetry, no database", `{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x"}]}]}]}`, Options{}, "none of the 1 spans is of a call to PostgreSQL"},
		{"OpenTelemetry, cut off", `{"resourceSpans":[{`, Options{}, "the document at byte 0 cannot be read as OTLP JSON"},
		{"OpenTelemetry, cut off in a value", `{"resourceSpans":[{"a`, Options{}, "it ends early: the file"},
		{"OpenTelemetry, times", `{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x","startTimeUnixNano":"5","endTimeUnixNano":"4","attributes":[{"key":"db.system","value":{"stringValue":"postgresql"}}]}]}]}]}`, Options{}, "which are not times in ns"},
		{"nginx, mostly other lines", `1.2.3.4 - - [01/Mar/2026:12:00:05 +0000] "GET / HTTP/1.1" 200 12 "-" "curl"` + "\nx\ny\n", Options{}, "file1:2: the line is not of nginx' combined format; 2 lines are like it"},
		{"PgBouncer without times", " database | total_xact_count | total_xact_time | total_wait_time\n a | 1 | 1 | 1\n", Options{}, "has no time above it"},
		{"CSV without a map", "a,b\n1,2\n", Options{Format: "csv"}, "say which column is what, as --columns t_s="},
		{"CSV, a map that is none", "a,b\n1,2\n", Options{Columns: "t_s"}, `"t_s" is not of the form`},
		{"CSV, no such target", "a,b\n1,2\n", Options{Columns: "time=a"}, `a trace has no column "time"`},
		{"CSV, a rate with a unit", "a,b\n1,2\n", Options{Columns: "t_s=a,rate_rps=b:min"}, `"rate_rps=b:min" has the unit min, and rate_rps is not a time`},
		{"CSV, a variation with a unit", "a,b\n1,2\n", Options{Columns: "t_s=a,service_ms_cv=b:ms"}, `service_ms_cv is not a time`},
		{"CSV, no such source", "a,b\n1,2\n", Options{Columns: "t_s=c"}, `file1:1: there is no column "c"; there are a, b`},
		{"CSV, a target twice", "a,b,c\n1,2,3\n", Options{Columns: "t_s=a,service_ms=b,service_ms=c"}, "service_ms is there twice"},
		{"CSV, a zone that is only abbreviated", "a,b\n2026-03-08 01:59:59 XYT,2\n", Options{Columns: "t_s=a"}, "in the zone XYT, which this machine does not know"},
		{"a trace that nothing can be drawn from", "#autotune-trace {\"version\":1,\"kind\":\"intervals\"}\nt_s,dur_s,rate_rps,ia_cv\n0,10,100,1e200\n", Options{}, "file1:3: ia_cv is 1e+200; a coefficient of variation is at most 100"},
		{"ServeGen, a variation beyond all bounds", "0,11.4,1.09,Gamma,0.8,0.1\n300,11.4,110,Gamma,0.8,0.1\n", Options{}, "file1:2: a coefficient of variation is 110, and nothing can be drawn from one above 100"},
		{"CSV, no such number", "1,2\n", Options{Columns: "t_s=#3"}, "there is no column #3; the first line has 2"},
		{"CSV, no times", "a,b\n1,2\n", Options{Columns: "cost=a"}, "has to name one column of times"},
		{"CSV, both kinds", "a,b\n1,2\n", Options{Columns: "t_s=a,class=b,arrivals=b"}, "a trace has one kind"},
		{"CSV, a bad number", "a,b\n1,2\n\n2,x\n", Options{Columns: "t_s=a,cost=b"}, `file1:4: b is "x", which is not a number`},
		{"CSV, a bad time", "a,b\nsoon,2\n", Options{Columns: "t_s=a"}, `file1:2: a is "soon", which is neither a date`},
		{"CSV, a bad number behind a record of three lines", "a,b,c\n1,\"x\ny\nz\",2\n2,y,z\n", Options{Columns: "t_s=a,cost=c"}, `file1:5: c is "z"`},
		{"CSV, a line too long behind a record of three lines", "a,b,c\n1,\"x\ny\nz\",2\n" + strings.Repeat("x", maxLine+1), Options{Columns: "t_s=a,cost=c"}, "file1:5: the line is longer than"},
		{"CSV without names or a map", "1,2,3,abc,5,6\n", Options{}, "what this is cannot be told from its begin"},
		{"ServeGen, cut off", "0,11.4,1.09,Gamma,\n", Options{}, "what this is cannot be told from its begin"},
		{"Prometheus found nothing", `{"status":"success","data":{"resultType":"matrix","result":[]}}`, Options{}, "file1: there is no series in it: the query found nothing"},
		{"CSV, a short row", "a,b\n1\n", Options{Columns: "t_s=a"}, "file1:2: wrong number of fields"},
		{"CSV, a quote that does not end", "a,b\n1,\"" + strings.Repeat(strings.Repeat("x", 99)+"\n", maxRecord/100+1), Options{Columns: "t_s=a"}, "a quote is not closed"},
		{"CSV, an end without a length", "a,b\n1,\n", Options{Columns: "end_s=a,service_ms=b"}, "file1:2: end_s is a time of completion, and without a service time"},
		{"CSV, nothing in it", "a,b\n", Options{Columns: "t_s=a"}, "there is nothing in it"},
		{"RAGPulse, a bad time", `{"timestamp":"x","hash_ids":{"passages_ids":[]}}`, Options{}, `file1:1: timestamp is "\"x\""`},
		{"a journal without its header", `{"observation":{},"decision":{}}`, Options{}, "file1:1: the journal does not begin with its header"},
		{"a truncated gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x00", Options{Format: "pgbench"}, "the gzip stream ends early: the file is truncated"},
		{"a truncated gzip to find out", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x00", Options{}, "the gzip stream ends early: the file is truncated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if text, _, err := imported(c.options, c.content); err == nil || !strings.Contains(err.Error(), c.want) || text != "" {
				t.Errorf("got %v\nwant %s\nwritten %q", err, c.want, text)
			}
		})
	}
	if _, _, err := imported(Options{}, "0 1 5 0 1700000001 0\n", `{"observation":{}}`); err == nil || !strings.Contains(err.Error(), "file2: this is journal and file1 is pgbench") {
		t.Errorf("two formats: %v", err)
	}
}

// Editors of some systems begin a file with a mark of its encoding.
func TestAByteOrderMarkIsNoPartOfAFile(t *testing.T) {
	for name, content := range map[string]string{
		"pgbench":    "0 1 500 0 1700000001 0\n",
		"prometheus": `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1700000000,"5"],[1700000060,"5"]]}]}}`,
		"otel":       `{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x","startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000100000000","attributes":[{"key":"db.system","value":{"stringValue":"postgresql"}}]}]}]}]}`,
		"trace":      "#autotune-trace {\"version\":1,\"kind\":\"events\"}\nt_s\n0\n",
	} {
		if _, res, err := imported(Options{}, "\ufeff"+content); err != nil || res.Format != name || res.Rows < 1 {
			t.Errorf("%s: %v, %+v", name, err, res)
		}
	}
}

// Of several files each has its say, or it is an error.
func TestFilesThatCannotBeOneTraceAreRefused(t *testing.T) {
	head := func(more string) string {
		return `#autotune-trace {"version":1,"kind":"events"` + more + "}\nt_s,service_ms\n"
	}
	for _, c := range []struct{ name, one, two, want string }{
		{"pgbench, transactions and intervals", "0 1 5 0 1700000001 0\n", "1700000000 1 1 1 1 1\n1700000001 1 1 1 1 1\n", "a trace has one kind"},
		{"service times of two kinds", head(`,"service_kind":"base"`) + "0,1\n", head(`,"service_kind":"observed"`) + "0,1\n", "service_kind is observed here and base in the trace before"},
		{"a sample", head("") + "0,1\n", head(`,"sample_rate":0.1`) + "0,1\n", "sample_rate is 0.1 here and 0 in the trace before"},
		{"a beginning that is not known", head(`,"t0":"2026-03-02T00:00:00Z"`) + "0,1\n", head("") + "0,1\n", "how long after that one this begins is unknown"},
		{"pgbench with and without --rate", "0 1 5 0 1700000001 0\n", "0 1 5 0 1700000001 0 2\n", "file2:1: the line has 7 fields, and of this and the file before only one has the schedule lag"},
		{"the wrong order", head(`,"t0":"2026-03-02T00:00:00Z"`) + "0,1\n", head(`,"t0":"2026-03-01T00:00:00Z"`) + "0,1\n", "name it first"},
	} {
		if text, _, err := imported(Options{}, c.one, c.two); err == nil || !strings.Contains(err.Error(), c.want) || text != "" {
			t.Errorf("%s: got %v\nwant %s\nwritten %q", c.name, err, c.want, text)
		}
	}
	for _, order := range [][]string{{"a\n1\n1\n2\n", "a\n3.25\n3.5\n"}, {"a\n3.25\n3.5\n", "a\n1\n1\n2\n"}} {
		if text, _, err := imported(Options{Columns: "t_s=a"}, order...); err == nil || !strings.Contains(err.Error(), "file2:") || !strings.Contains(err.Error(), "are whole seconds") || text != "" {
			t.Errorf("%q: %v\n%s", order, err, text)
		}
	}
	text, _, err := imported(Options{}, "1700000000 100 200000 500000000 1 9000 0 0 0 0\n1700000005 0 0 0 0 0 0 0 0 0\n", "1700000000 100 200000 500000000 1 9000 100000 1 1 1\n1700000005 0 0 0 0 0 0 0 0 0\n")
	if err != nil || !strings.Contains(text, `"open_loop":true`) {
		t.Errorf("a lag in the second file alone: %v\n%s", err, text)
	}
	text, _, err = imported(Options{}, head(`,"t0":"2026-03-02T00:00:00Z"`)+"0,1\n", head(`,"t0":"2026-03-02T01:00:00Z"`)+"5,2\n")
	if err != nil || !strings.Contains(text, "\n0,1,") || !strings.Contains(text, "\n3605,2,") {
		t.Errorf("an hour later: %v\n%s", err, text)
	}
}

// Times to the second would be bursts at the second, and no size serves those well.
func TestTimesToTheSecondAreSaidToBeSo(t *testing.T) {
	for rows, want := range map[string]bool{"1,1\n1,1\n2,1\n": true, "1,1\n2,1\n3,1\n": false, "1,1\n1,1\n2.5,1\n": false} {
		text, res, err := imported(Options{Columns: "t_s=a,service_ms=b"}, "a,b\n"+rows)
		if said := strings.Contains(text, `"quantum_s":1`) && strings.Contains(strings.Join(res.Notes, "\n"), "spread over their second"); err != nil || said != want {
			t.Errorf("%q: %v, said %t\n%s", rows, err, said, text)
		}
	}
}

// PgBouncer takes its means over the time since the line before of the same process.
func TestAPeriodOfPgBouncerIsAsLongAsItWas(t *testing.T) {
	line := func(pid int, at string) string {
		return fmt.Sprintf("2026-03-01 %s.000 UTC [%d] LOG stats: 100 xacts/s, 100 queries/s, 0 client parses/s, in 1 B/s, out 2 B/s, xact 1200 us, query 300 us, wait 4 us\n", at, pid)
	}
	durations := func(lines ...string) (out []string) {
		text, _, err := imported(Options{}, strings.Join(lines, ""))
		if err != nil {
			t.Fatal(err)
		}
		for row := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
			if cells := strings.Split(row, ","); len(cells) > 2 && !strings.HasPrefix(row, "#") && cells[0] != "t_s" {
				out = append(out, cells[1])
			}
		}
		return out
	}
	if got := durations(line(7, "12:00:00"), line(7, "12:01:00"), line(7, "12:02:20"), line(7, "12:03:00"), line(7, "12:04:00")); strings.Join(got, " ") != "60 60 80 40 60" {
		t.Errorf("a tick that was late: %v", got)
	}
	if got := durations(line(7, "12:00:00"), line(8, "12:00:20"), line(7, "12:01:00"), line(8, "12:01:20")); strings.Join(got, " ") != "60 60 60 60" {
		t.Errorf("two processes: %v", got)
	}
	if got := durations(line(7, "12:00:00"), line(7, "12:01:00"), line(7, "14:01:00")); strings.Join(got, " ") != "60 60 60" {
		t.Errorf("two hours are missing: %v", got)
	}
}

func TestLinesThatALogHasBesidesAreLeftOutAndCounted(t *testing.T) {
	line := `1.2.3.4 - - [01/Mar/2026:12:00:05 +0000] "GET / HTTP/1.1" 200 12 "-" "curl"` + "\n"
	_, res, err := imported(Options{}, line+"oops\n"+line)
	_, upstream, err2 := imported(Options{}, strings.Replace(line, `"curl"`, `"curl" urt=0.100`, 1))
	if text := strings.Join(upstream.Notes, "\n"); err2 != nil || !strings.Contains(text, "they stand at their end") {
		t.Errorf("the upstream's time alone: %v: %+v", err2, upstream)
	}
	if text := strings.Join(res.Notes, "\n"); err != nil || res.Rows != 2 || !strings.Contains(text, "1 lines were left out, first file1:2: ") || !strings.Contains(text, "Of 2 of 2 lines the request's time is unknown") {
		t.Errorf("%v: %+v", err, res)
	}
}

func TestSeveralLogsOfOneRunAreMerged(t *testing.T) {
	text, res, err := imported(Options{}, "0 1 0 0 1700000001 0\n0 2 0 0 1700000003 0\n", "1 1 0 0 1700000002 0\n")
	if err != nil || res.Rows != 3 || !strings.Contains(text, "\n0,0,script0,ok,client0\n1,0,script0,ok,client1\n2,0,script0,ok,client0\n") {
		t.Errorf("%v: %s", err, text)
	}
}

func TestIntervalsOfTheSameTimeAreAddedUp(t *testing.T) {
	// Two threads: 100 of 2 ms ± 1 ms and 300 of 4 ms, then 100 more of the first.
	one := "1700000000 100 200000 500000000 1 9000\n1700000005 100 200000 500000000 1 9000\n1700000010 0 0 0 0 0\n"
	two := "1700000000 300 1200000 4800000000 1 9000\n1700000005 0 0 0 0 0\n"
	for _, order := range [][]string{{one, two}, {two, one}} {
		text, res, err := imported(Options{}, order...)
		want := "\n0,5,80,400,3.5,0.2857142857142857,\n5,5,20,100,2,0.5,\n10,5,0,0,,,\n"
		if err != nil || !strings.HasSuffix(text, want) {
			t.Errorf("%v: got\n%swant%s", err, text, want)
		}
		if notes := strings.Join(res.Notes, "\n"); !strings.Contains(notes, "2 intervals were added to others of the same time") || strings.Contains(notes, "end after") {
			t.Errorf("%q", res.Notes)
		}
	}
	for _, c := range []struct {
		about, rows string
		want        int // that overlap
	}{
		{"one after the other", "0,5,1\n5,5,1\n", 0},
		{"into the next", "0,6,1\n5,5,1\n", 1},
		{"of other lengths", "0,5,1\n0,10,1\n10,5,1\n", 1},
		{"until the next", "0,,1\n5,,1\n", 0},
	} {
		text, res, err := imported(Options{Columns: "t_s=a,dur_s=b,rate_rps=c"}, "a,b,c\n"+c.rows)
		if said := strings.Contains(strings.Join(res.Notes, "\n"), fmt.Sprintf("%d intervals end after the next one begins", c.want)); err != nil || said != (c.want > 0) || !strings.HasSuffix(text, c.rows) {
			t.Errorf("%s: %v, %q\n%s", c.about, err, res.Notes, text)
		}
	}
}

// Two threads, or two clients, may have had the same load.
func TestEqualIntervalsOfTwoFilesAreBothLoad(t *testing.T) {
	for name, c := range map[string]struct{ one, rows string }{
		"pgbench":  {"1700000000 10 20000 50000000 1 9000\n1700000005 5 10000 25000000 1 9000\n", "0,5,4,20,2,0.5,\n5,5,2,10,2,0.5,\n"},
		"servegen": {"0,11.5,1.25,Gamma,0.84,0.10\n600,9.5,1.5,Weibull,0.9,0.1\n", "0,23,\n600,19,\n"},
	} {
		text, res, err := imported(Options{}, c.one, c.one)
		if err != nil || res.Format != name || rowsOf(text) != c.rows {
			t.Errorf("%s: %v %q\n%s", name, err, res.Notes, text)
		}
	}
}

func TestAGaugeThatNeverFallsIsPointedOut(t *testing.T) {
	for values, want := range map[string]bool{`[1,"1"],[2,"2"],[3,"3"]`: true, `[1,"1"],[2,"3"],[3,"2"]`: false, `[1,"1"],[2,"1"],[3,"1"]`: false} {
		_, res, err := imported(Options{}, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"commits"},"values":[`+values+`]}]}}`)
		if said := strings.Contains(strings.Join(res.Notes, "\n"), "say rate_rps=commits:counter"); err != nil || said != want {
			t.Errorf("%s: %v, %q", values, err, res.Notes)
		}
	}
}

func TestSortingOnDiskIsSortingInMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk, memory := sorter{length: rapid.IntRange(1, 7).Draw(t, "run")}, sorter{}
		defer disk.discard()
		for i := range rapid.IntRange(0, 60).Draw(t, "events") {
			e := trace.UnknownEvent()
			e.T, e.Cost, e.Class = 0, float64(i), strings.Repeat("x", i%5)
			at := rapid.Int64Range(-3, 9).Draw(t, "at")
			if disk.add(at, &e) != nil || memory.add(at, &e) != nil {
				t.Fatal("cannot add")
			}
		}
		if disk.finish() != nil || memory.finish() != nil {
			t.Fatal("cannot finish")
		}
		for {
			a, x, errA := disk.next()
			b, y, errB := memory.next()
			if errA != errB || a != b || fmt.Sprint(x) != fmt.Sprint(y) {
				t.Fatalf("%v %v %v, and %v %v %v", a, x, errA, b, y, errB)
			}
			if errA == io.EOF {
				return
			}
		}
	})
}

// A quarter of a million events wait in memory to be sorted: not with their lines.
func TestWhatWaitsToBeSortedHoldsNoLine(t *testing.T) {
	var s sorter
	memory := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := memory()
	for i := range 100 {
		line := strings.Repeat("GET ", 1<<18)
		e := trace.UnknownEvent()
		e.Class, e.Status, e.Session, e.Pool = line[:3], line[4:7], line[8:11], line[12:15]
		if err := s.add(int64(i), &e); err != nil {
			t.Fatal(err)
		}
	}
	if after := memory(); after > before+10<<20 {
		t.Errorf("%d events hold %d MiB", s.count, (after-before)>>20)
	}
	runtime.KeepAlive(&s)
}

// A method is what the client sends, however long it is.
func TestANameInALogIsCutShort(t *testing.T) {
	long := strings.Repeat("X", 70_000)
	for name, log := range map[string]string{
		"nginx": `1.2.3.4 - - [01/Mar/2026:12:00:05 +0000] "` + long + ` / HTTP/1.1" 400 12 "-" "curl"` + "\n",
		"envoy": `{"start_time":"2026-03-01T12:00:00.250Z","method":"` + long + `","response_code":400,"duration":7}` + "\n",
	} {
		text, _, err := imported(Options{Format: name}, log)
		if err != nil || !strings.Contains(text, ","+long[:80]+",400\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServiceTimesOfAJournalAreItsCounters(t *testing.T) {
	journal := `{"autotune_journal":1,"start":"2026-03-01T12:00:00Z","config":{}}
{"observation":{"at":1000000000,"counters":{"arrivals":10,"completions":10},"gauges":{"limit":4}},"decision":{}}
{"observation":{"at":3000000000,"counters":{"arrivals":30,"completions":20,"wait_time":50000000,"service_time":40000000,"in_use_time":40000000,"service_time_sq":0.0002},"gauges":{"limit":4,"idle":2,"queued":3}},"decision":{}}
{"observation":{"at":4000000000,"counters":{"arrivals":0},"gauges":{"limit":4}},"decision":{}}
{"observation":{"at":50000`
	text, res, err := imported(Options{}, journal)
	if err != nil || res.Format != "journal" {
		t.Fatalf("%q: %v", res.Format, err)
	}
	want := "t_s,dur_s,rate_rps,arrivals,service_ms_mean,service_ms_cv,wait_ms_mean,active,idle,waiting,limit,others,cpu_util\n0,2,10,20,4,0.5000000000000001,5,0.02,2,3,4,,\n2,1,,,,,,,0,0,4,,\n"
	if _, rows, _ := strings.Cut(text, "\n"); rows != want {
		t.Errorf("got\n%swant\n%s", rows, want)
	}
	if !strings.Contains(text, `"t0":"2026-03-01T12:00:01Z"`) || len(res.Notes) != 1 || !strings.Contains(res.Notes[0], "file1:5: the last line is cut off") {
		t.Errorf("%s, %q", text, res.Notes)
	}
}

// held is a file that counts how many of its kind are open.
type held struct {
	io.Reader
	open *int
}

func (h held) Close() error { *h.open--; return nil }

func TestAJournalOfManyPiecesIsReadWithOneOpen(t *testing.T) {
	open, most := 0, 0
	piece := func(i int, text string) replay.File {
		return replay.File{Name: fmt.Sprintf("piece%d", i), Open: func() (io.ReadCloser, error) {
			open++
			most = max(most, open)
			return held{strings.NewReader(text), &open}, nil
		}}
	}
	files := []replay.File{piece(0, `{"autotune_journal":1,"start":"2026-03-01T12:00:00Z","config":{}}`+"\n")}
	for i := range 50 {
		files = append(files, piece(i+1, fmt.Sprintf(`{"observation":{"at":%d000000000},"decision":{}}`+"\n", i+1)))
	}
	into := func(h trace.Header, columns ...string) (*trace.Writer, error) {
		return trace.NewWriter(io.Discard, h, trace.Form{Columns: columns})
	}
	if res, err := Import(files, Options{}, into); err != nil || res.Rows != 49 || most != 1 || open != 0 {
		t.Errorf("%v: %d rows, %d files were open at once, %d at the end", err, res.Rows, most, open)
	}
	files[20] = piece(20, "0 1 5 0 1700000001 0\n")
	if _, err := Import(files, Options{}, into); err == nil || !strings.Contains(err.Error(), "piece20: this is pgbench and piece0 is journal") || open != 0 {
		t.Errorf("%v, %d files are open", err, open)
	}
}

func FuzzImport(f *testing.F) {
	names, _ := Formats()
	for i, seed := range []string{
		"#autotune-trace {\"version\":1,\"kind\":\"events\"}\nt_s\n1\n",
		`{"autotune_journal":1,"start":"2026-03-01T12:00:00Z"}` + "\n" + `{"observation":{"at":1},"decision":{}}` + "\n" + `{"observation":{"at":2},"decision":{}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"a_total"},"values":[[1,"5"],[2,"7"]]}]}}`,
		`{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x","startTimeUnixNano":"5","endTimeUnixNano":"9","attributes":[{"key":"db.system","value":{"stringValue":"postgresql"}}]}]}]}]}`,
		`{"timestamp":"1","hash_ids":{"passages_ids":[1]}}`,
		"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n",
		"query_stream_id,query_id,relative_start,query_duration,query_duration_with_queue,start_delay\n1,2,30,4,5,1\n",
		"0,11.4,1.09,Gamma,0.8,0.1\n", watched, "0 1 5 0 1700000001 0\n",
		`[2026-03-01T12:00:00.250Z] "GET /x HTTP/2" 200 - 154 0 226 100 "a"`,
		`1.2.3.4 - - [01/Mar/2026:12:00:05 +0000] "GET / HTTP/1.1" 200 12 "-" "curl" 0.123`, "a,b\n1,2\n",
	} {
		f.Add([]byte(seed), uint8(i), "t_s=a,service_ms=b:us")
		f.Add([]byte(seed), uint8(255), "")
	}
	f.Add([]byte(matrixOf(seriesOf("a_total", "1", "", "", "9", "7"), seriesOf("a_total", "2", "3"))), uint8(2), "arrivals=a_total,wait_ms_mean=a_total:gauge,limit=a_total:gauge")
	f.Add([]byte(spans(aSpan(11, "x", "02", "01"), aSpan(10, "batch start", "01", ""))), uint8(3), "")
	f.Fuzz(func(t *testing.T, b []byte, format uint8, columns string) {
		o := Options{Columns: columns}
		if int(format) < len(names) {
			o.Format = names[format]
		}
		text, res, err := imported(o, string(b))
		if err != nil {
			return
		}
		r, err := trace.NewReader(strings.NewReader(text), "x")
		if err != nil {
			t.Fatalf("%s wrote a trace that does not read: %v", res.Format, err)
		}
		for n := int64(0); ; n++ {
			var e trace.Event
			var i trace.Interval
			if res.Header.Kind == trace.Events {
				err = r.Event(&e)
			} else {
				err = r.Interval(&i)
			}
			if err == io.EOF && n == res.Rows {
				return
			} else if err != nil {
				t.Fatalf("%s, row %d of %d: %v", res.Format, n, res.Rows, err)
			}
			if math.IsInf(e.T+i.T, 0) {
				t.Fatal("endless")
			}
		}
	})
}
