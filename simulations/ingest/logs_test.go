package ingest

import (
	"strings"
	"testing"
)

// rowsOf cuts the header and the names of columns off a trace.
func rowsOf(text string) string {
	parts := strings.SplitN(text, "\n", 3)
	return parts[len(parts)-1]
}

// The wait of PgBouncer's log was µs of waiting a second until 1.22. That of 1.21 has
// parses too.
func TestTheWaitOfPgBouncersLogIsBelievedOfVersionsThatLogAMean(t *testing.T) {
	const (
		up     = "2026-03-01 12:00:00.000 UTC [7] LOG process up: PgBouncer "
		about  = ", libevent 2.1.12-stable (epoll), adns: c-ares 1.18.1, tls: OpenSSL 3.0.19\n"
		stats  = "2026-03-01 12:01:00.500 UTC [7] LOG stats: 5 xacts/s, 9 queries/s,"
		parses = " 0 client parses/s, 0 server parses/s, 0 binds/s,"
		rest   = " in 1 B/s, out 2 B/s, xact 1200 us, query 300 us, wait 4 us\n"
	)
	for _, c := range []struct {
		name, log string
		known     bool
	}{
		{"1.18", up + "1.18.0" + about + stats + rest, false},
		{"1.22, which logs parses", up + "1.22.1" + about + stats + parses + rest, false},
		{"1.23", up + "1.23.0" + about + stats + parses + rest, true},
		{"2.0", up + "2.0.0" + about + stats + parses + rest, true},
		{"an update downwards", up + "1.24.1" + about + up + "1.18.0" + about + stats + rest, false},
		{"without a start, with parses", stats + parses + rest, false},
		{"without a start, with logins", stats + parses + " 1 client logins/s," + rest, true},
	} {
		text, res, err := imported(Options{}, c.log)
		want := "0,60,5,1.2,\n"
		if c.known {
			want = "0,60,5,1.2,0.004\n"
		}
		if said := strings.Contains(strings.Join(res.Notes, "\n"), "How long transactions waited is unknown"); err != nil || rowsOf(text) != want || said == c.known {
			t.Errorf("%s: %v, %q\n%s", c.name, err, res.Notes, text)
		}
	}
}

// A log of whole milliseconds has 0 of many a query, and none of them took nothing.
func TestADurationOfZeroIsHalfOfTheLogsTick(t *testing.T) {
	for _, c := range []struct{ name, log, rows, note string }{
		{"Envoy", `[2026-03-01T12:00:00.000Z] "GET /x HTTP/2" 200 - via_upstream - "-" 154 0 0 - "10.0.0.1"` + "\n" + `[2026-03-01T12:00:01.000Z] "GET /x HTTP/2" 200 - via_upstream - "-" 154 0 9 0 "10.0.0.1"` + "\n" + `[2026-03-01T12:00:02.000Z] "GET /x HTTP/2" 200 - via_upstream - "-" 154 0 9 1 "10.0.0.1"` + "\n",
			"0,0.5,GET,200\n1,0.5,GET,200\n2,1,GET,200\n", "2 of 3 requests took 0 ms by their log"},
		{"nginx", `1.2.3.4 - - [01/Mar/2026:12:00:05 +0000] "GET / HTTP/1.1" 200 12 "-" "curl" rt=0.000` + "\n" + `1.2.3.4 - - [01/Mar/2026:12:00:06 +0000] "GET / HTTP/1.1" 200 12 "-" "curl" rt=0.000 urt=0.001` + "\n",
			"0,0.5,GET,200\n1,1,GET,200\n", "1 of 2 requests took 0 ms by their log"},
	} {
		text, res, err := imported(Options{}, c.log)
		if err != nil || rowsOf(text) != c.rows || !strings.Contains(strings.Join(res.Notes, "\n"), c.note) {
			t.Errorf("%s: %v, %q\n%s", c.name, err, res.Notes, text)
		}
	}
	_, res, err := imported(Options{Columns: "t_s=a,service_ms=b"}, "a,b\n1,0\n2,3\n")
	if err != nil || !strings.Contains(strings.Join(res.Notes, "\n"), "1 of 2 requests have a service time of 0") {
		t.Errorf("any CSV: %v, %q", err, res.Notes)
	}
}

func TestConnectionsInEnvoysLogAreNoRequests(t *testing.T) {
	const (
		tcp   = `[2026-03-01T11:00:00.000Z] "- - -" 0 - - - "-" 906 1352475 1183563 - "-" "-" "-" "-" "10.0.0.1:5432"` + "\n"
		http  = `[2026-03-01T12:00:00.000Z] "GET /x HTTP/2" 200 - via_upstream - "-" 154 0 226 100 "10.0.0.1"` + "\n"
		wrong = `[2026-03-01T12:00:01.000Z] "- - HTTP/1.1" 400 DPE http1.codec_error - "-" 0 11 0 - "-"` + "\n"
		gone  = `[2026-03-01T12:00:02.000Z] "GET /x HTTP/2" 0 DC downstream_remote_disconnect - "-" 154 0 226 - "10.0.0.1"` + "\n"
		null  = `{"start_time":"2026-03-01T11:00:00.000Z","method":null,"response_code":0,"duration":99999}` + "\n"
		none  = `{"start_time":"2026-03-01T11:00:00.000Z","duration":99999}` + "\n"
		named = `{"start_time":"2026-03-01T12:00:00.000Z","response_code":200,"duration":7}` + "\n"
	)
	for _, c := range []struct {
		name, log, rows, note string
	}{
		{"text", tcp + tcp + http, "0,100,GET,200\n", "2 lines were left out, each of a TCP connection, not a request"},
		{"requests without a method or an answer", http + wrong + gone, "0,100,GET,200\n1,0.5,-,400\n2,226,GET,0\n", ""},
		{"JSON", named + null + none, "0,7,,200\n", "2 lines were left out, each of a TCP connection"},
	} {
		text, res, err := imported(Options{}, c.log)
		if notes := strings.Join(res.Notes, "\n"); err != nil || rowsOf(text) != c.rows || !strings.Contains(notes, c.note) || (c.note == "") == strings.Contains(notes, "left out") {
			t.Errorf("%s: %v, %q\n%s", c.name, err, res.Notes, text)
		}
	}
}
