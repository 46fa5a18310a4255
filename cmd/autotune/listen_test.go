package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/advice"
	"github.com/pgautotune/autotune/internal/await"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/internal/promtest"
)

// noted collects what a command says on stderr.
type noted struct{ lines []string }

func (n *noted) note(format string, args ...any) {
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

// fetch gets an address, naming another host in the request if asked to.
func fetch(t *testing.T, address, host string) (code int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got.StatusCode, string(text)
}

// still is a source that never moves.
type still struct{}

func (still) Snapshot() autotune.Snapshot            { return autotune.Snapshot{Limit: 4} }
func (still) Decision() autotune.Decision            { return autotune.Decision{} }
func (still) Health(context.Context) autotune.Health { return autotune.Health{} }

func TestAPageIsOnThisMachineUnlessToldOtherwise(t *testing.T) {
	for _, c := range []struct {
		address string
		bound   string
		warned  bool
	}{
		{":0", "http://127.0.0.1:", false},
		{"0", "http://127.0.0.1:", false},
		{"localhost:0", "http://127.0.0.1:", false},
		{"127.0.0.1:0", "http://127.0.0.1:", false},
		{"0.0.0.0:0", "http://0.0.0.0:", true},
	} {
		t.Run(c.address, func(t *testing.T) {
			var n noted
			p, err := listen(t.Context(), "demo", c.address, n.note)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			said := strings.Join(n.lines, "\n")
			if !strings.HasPrefix(p.URL, c.bound) || !strings.Contains(said, p.URL) || strings.Contains(said, "other machines") != c.warned {
				t.Errorf("%s; said:\n%s", p.URL, said)
			}
			// A foreign name that leads here is an attack on a loopback page, and
			// how anybody comes to one that others may see.
			code, _ := fetch(t, strings.Replace(p.URL, "0.0.0.0", "127.0.0.1", 1), "evil.example")
			if refused := code == http.StatusMisdirectedRequest; refused == c.warned {
				t.Errorf("a request for another host: %d", code)
			}
		})
	}
}

func TestAnAddressThatCannotBeIsSaid(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, address := range []string{"here", "a:b:c", "127.0.0.1:99999", taken.Addr().String()} {
		if p, err := listen(t.Context(), "demo", address, (&noted{}).note); err == nil || !strings.Contains(err.Error(), address) {
			t.Errorf("%q: %v", address, err)
			p.close()
		}
	}
	if p, err := listen(t.Context(), "demo", "", nil); p != nil || err != nil {
		t.Errorf("no address: %v, %v", p, err)
	}
	var none *pages
	none.showPool("", still{})()
	none.showWatch(nil)
	none.close()
}

func TestPagesComeAndGo(t *testing.T) {
	p, err := listen(t.Context(), "bench", ":0", (&noted{}).note)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	root := strings.TrimSuffix(p.URL, "/")
	if code, body := fetch(t, root+"/", ""); code != 200 || !strings.Contains(body, "No tuned pool") {
		t.Errorf("%d %s", code, body)
	}
	hide := p.showPool("search.autotune-4", still{})
	p.showPool("search.autotune-40", still{})
	if code, body := fetch(t, root+"/metrics", ""); code != 200 || series(t, body, `autotune_limit_connections{pool="search.autotune-4"}`) != 4 || series(t, body, `autotune_limit_connections{pool="search.autotune-40"}`) != 4 {
		t.Errorf("all metrics: %d %s", code, body)
	}
	if code, body := fetch(t, root+"/search.autotune-40/metrics", ""); code != 200 || strings.Contains(body, `pool="search.autotune-4"`) {
		t.Errorf("the metrics of one: %d %s", code, body)
	}
	if code, body := fetch(t, root+"/", ""); code != 200 || strings.Count(body, `<a href="search.autotune-4`) != 2 {
		t.Errorf("%d %s", code, body)
	}
	for path, want := range map[string]int{"/search.autotune-4": 200, "/search.autotune-4/": 200, "/search.autotune-40/app.js": 200, "/search.autotune-400/": 404, "/x": 404} {
		if code, _ := fetch(t, root+path, ""); code != want {
			t.Errorf("%s: %d instead of %d", path, code, want)
		}
	}
	hide()
	if code, _ := fetch(t, root+"/search.autotune-4/", ""); code != 404 {
		t.Errorf("hidden: %d", code)
	}
	p.showPool("", still{})
	if code, body := fetch(t, root+"/", ""); code != 200 || !strings.Contains(body, "app.js") {
		t.Errorf("at the root: %d %s", code, body)
	}
}

func TestAPageEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p, err := listen(ctx, "demo", ":0", (&noted{}).note)
	if err != nil {
		t.Fatal(err)
	}
	p.showPool("", still{})
	got, err := http.Get(p.URL + "events") // a viewer that stays
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	cancel()
	_, _ = io.Copy(io.Discard, got.Body) // ends, else the test never does
	select {
	case <-p.served:
	case <-time.After(patience):
		t.Error("it still serves")
	}
	if _, err := net.DialTimeout("tcp", strings.TrimSuffix(strings.TrimPrefix(p.URL, "http://"), "/"), time.Second); err == nil {
		t.Error("it still listens")
	}
}

// page reads stderr up to where the page is.
func (p *process) page(t *testing.T) (address string) {
	t.Helper()
	const said = "live page: "
	p.until(t, said)
	_, address, _ = strings.Cut(p.lines.Text(), said)
	return strings.TrimSpace(address)
}

// The page of a demo is there while the load runs, and says nothing secret.
func TestADemoShowsItsPage(t *testing.T) {
	t.Parallel()
	kept := filepath.Join(t.TempDir(), "demo.jsonl")
	if err := os.WriteFile(kept, []byte("from before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := spawn(t, "demo", "--vectors", "300", "--duration", "6s", "--clients", "8", "--listen", ":0", "--journal", kept)
	address := p.page(t)
	p.until(t, "phase 2 of 5")
	code, page := fetch(t, address, "")
	if code != 200 || !strings.Contains(page, "app.js") {
		t.Fatalf("%d %s", code, page)
	}
	for path, want := range map[string]string{"healthz": "ok", "readyz": "ok", "metrics": "# HELP autotune_"} {
		if code, body := fetch(t, address+path, ""); code != 200 || !strings.HasPrefix(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if _, body := fetch(t, address+"metrics", ""); series(t, body, "autotune_arrivals_total") < 1 || series(t, body, "autotune_limit_connections") < 1 {
		t.Errorf("the metrics of a pool in use:\n%s", body)
	}
	p.until(t, "")
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%v:\n%s", err, p.seen.String())
	}
	// Its journal replays, and the file that was there is still there.
	if got := call(t, nil, "replay", kept); got.code != exitDone {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	if before, _ := filepath.Glob(filepath.Join(filepath.Dir(kept), "demo-*.jsonl")); len(before) != 1 {
		t.Errorf("the earlier file has become %q", before)
	}
}

// A demo can be watched as a service would be: Prometheus gets its metrics while
// the load runs, and the alerts evaluate over them.
func TestARealPrometheusScrapesADemo(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	// It lasts until it is interrupted, however slow the machine is.
	p := spawn(t, "demo", "--dsn", dsn, "--vectors", "300", "--clients", "8", "--duration", (2 * patience).String(), "--listen", "127.0.0.1:0")
	target := strings.TrimSuffix(strings.TrimPrefix(p.page(t), "http://"), "/")
	p.until(t, "phase 1 of 5")
	prometheus := promtest.Start(t, target, "../../metrics/rules/autotune.rules.yml")
	of := fmt.Sprintf(`{job="app",instance=%q}`, target)
	for _, query := range []string{
		"up" + of,
		"rate(autotune_completions_total" + of + "[1m]) >bool 0", // it rises from scrape to scrape
		"autotune_limit_connections" + of + " >=bool 1",
		"autotune_max_connections" + of + " >=bool scalar(autotune_limit_connections" + of + ")",
	} {
		prometheus.Expect(t, query, "1")
	}
	prometheus.Expect(t, `autotune_controller_mode{mode="running"}`, "1")
	if rules := prometheus.Evaluated(t); len(rules) == 0 {
		t.Error("no rule is loaded")
	}
	p.interrupt(t, os.Interrupt)
	hidesPassword(t, dsn, p.seen.String())
}

// series is the value of a series in a page of metrics; -1 if it is not there.
func series(t *testing.T, page, name string) float64 {
	t.Helper()
	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return -1
}

// A watch answers on its page what it says on stdout.
func TestAWatchShowsItsAnswer(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	client := connect(t, dsn)
	execute(t, client, "set application_name = 'watched'; begin") // one connection in use, idle in its transaction
	p := spawn(t, "watch", "--dsn", dsn, "--application", "watched", "--every", "1s", "--listen", ":0")
	address := p.page(t)
	await.Until(t, patience, func() string { // it is said where the page is just before it is there
		code, body := fetch(t, address+"healthz", "")
		switch code {
		case http.StatusOK:
			return ""
		case http.StatusServiceUnavailable:
		default:
			t.Fatalf("healthz at the start: %d %s", code, body)
		}
		return fmt.Sprintf("healthz: %d %s", code, body)
	})
	var page string
	await.Until(t, patience, func() string {
		if _, page = fetch(t, address+"metrics", ""); series(t, page, "autotune_watch_answers_total") < 3 {
			return "no three answers:\n" + page
		}
		return ""
	})
	for name, want := range map[string][2]float64{
		"autotune_watch_open_connections":                      {1, 1},
		"autotune_watch_in_use_connections":                    {0.99, 1.01},
		`autotune_watch_backends{state="idle_in_transaction"}`: {0.5, 1.01}, // at first it was turning
		`autotune_watch_backends{state="computing"}`:           {0, 0.01},
		"autotune_watch_recommendation_known":                  {1, 1},
		"autotune_watch_recommendation_lower_connections":      {1, 10_000},
		"autotune_watch_recommendation_target_connections":     {1, 10_000},
		"autotune_watch_recommendation_upper_connections":      {1, 10_000},
		"autotune_watch_server_max_connections":                {10, 10_000},
		"autotune_watch_observation_errors_total":              {0, 1000},
		"autotune_watch_looks_total":                           {3, 1e6},
		"autotune_watch_answer_interval_seconds":               {1, 1},
		"autotune_watch_last_look_timestamp_seconds":           {float64(time.Now().Add(-patience).Unix()), float64(time.Now().Unix() + 1)},
	} {
		if v := series(t, page, name); v < want[0] || v > want[1] {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	code, body := fetch(t, address+"answer.json", "")
	if a := decode[advice.Advice](t, body); code != 200 || !a.Size.Known || a.Question.Filter.Application != "watched" {
		t.Errorf("%d %s", code, body)
	}
	for path, want := range map[string]string{"": "<pre tabindex=\"0\">", "healthz": "ok", "readyz": "ok", "style.css": "color-scheme"} {
		if code, body := fetch(t, address+path, ""); code != 200 || !strings.Contains(body, want) {
			t.Errorf("/%s: %d %s", path, code, body)
		}
		hidesPassword(t, dsn, body)
	}
	if code, _ := fetch(t, address+"events", ""); code != 404 {
		t.Errorf("what is not there: %d", code)
	}
	hidesPassword(t, dsn, page)
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.until(t, "")
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%v:\n%s", err, p.seen.String())
	}
	if !strings.Contains(p.stdout.String(), "max ") {
		t.Errorf("stdout: %s", p.stdout.String())
	}
}
