package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/await"
	"go.uber.org/goleak"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/dashboard"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// scripted is a source that says what a test tells it to: for what a real pool
// does only when something breaks.
type scripted struct {
	mu     sync.Mutex
	snap   autotune.Snapshot
	health autotune.Health
	asked  int
}

func (s *scripted) Snapshot() autotune.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snap
}

func (s *scripted) Decision() autotune.Decision { return s.Snapshot().Decision }

func (s *scripted) Health(context.Context) autotune.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.health
}

func (s *scripted) set(change func(*scripted)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func handler(t testing.TB, s dashboard.Source, o dashboard.Options) *dashboard.Handler {
	t.Helper()
	h := dashboard.New(s, o)
	t.Cleanup(h.Close)
	return h
}

func get(t testing.TB, h http.Handler, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
	return w
}

func TestHealthzIsGoodWhileTheLoopStepped(t *testing.T) {
	for _, c := range []struct {
		name string
		age  time.Duration // since the last look; 0: there was none
		snap autotune.Snapshot
		code int
		says string
	}{
		{"just now", time.Millisecond, autotune.Snapshot{Limit: 4}, 200, "ok"},
		{"four intervals ago", 8 * time.Second, autotune.Snapshot{Limit: 4}, 200, "ok"},
		{"more than five intervals ago", 10*time.Second + time.Millisecond, autotune.Snapshot{Limit: 4}, 503, "its loop is stalled"},
		{"never", 0, autotune.Snapshot{Limit: 4}, 503, "has not looked yet"},
		{"before a resize that takes long", time.Minute, autotune.Snapshot{Limit: 4, Resizing: true}, 200, "a resize is under way"},
		{"never, because of one", 0, autotune.Snapshot{Limit: 4, Resizing: true}, 200, "a resize is under way"},
		{"just now, and the pool is closed", time.Millisecond, autotune.Snapshot{}, 503, "the pool is closed"},
		{"long ago, and the pool is closed", time.Minute, autotune.Snapshot{Resizing: true}, 503, "the pool is closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &scripted{snap: c.snap}
			if c.age > 0 {
				s.snap.LookedAt = time.Now().Add(-c.age)
			}
			got := get(t, handler(t, s, dashboard.Options{Interval: 2 * time.Second}), "/healthz")
			if got.Code != c.code || !strings.Contains(got.Body.String(), c.says) {
				t.Errorf("%d: %s", got.Code, got.Body)
			}
		})
	}
}

func TestReadyzIsGoodWhileTheServerAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		limit  int
		health autotune.Health
		code   int
		says   string
	}{
		{"it answers", 4, autotune.Health{Status: autotune.Healthy, ResponseTime: time.Millisecond}, 200, "answered in 1 ms"},
		{"it answers, and the pool is full", 4, autotune.Health{Status: autotune.Critical, ResponseTime: time.Millisecond}, 200, "ok"},
		{"it does not", 4, autotune.Health{Status: autotune.Critical, Reasons: []string{"no route"}}, 503, "no route"},
		{"the pool is closed", 0, autotune.Health{ResponseTime: time.Millisecond}, 503, "closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &scripted{snap: autotune.Snapshot{Limit: c.limit}, health: c.health}
			got := get(t, handler(t, s, dashboard.Options{}), "/readyz")
			if got.Code != c.code || !strings.Contains(got.Body.String(), c.says) {
				t.Errorf("%d: %s", got.Code, got.Body)
			}
		})
	}
}

func TestManyProbesAskTheServerOnce(t *testing.T) {
	s := &scripted{snap: autotune.Snapshot{Limit: 4}, health: autotune.Health{ResponseTime: time.Millisecond}}
	h := handler(t, s, dashboard.Options{})
	start := time.Now()
	for range 200 {
		get(t, h, "/readyz")
	}
	most := 1 + int(time.Since(start)/time.Second)
	s.set(func(s *scripted) {
		if s.asked > most+1 {
			t.Errorf("asked %d times in %s", s.asked, time.Since(start))
		}
	})
}

func TestOnRealPoolsTheProbesSayWhatIs(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	off := openPool(t, dsn, func(c *autotune.Config) { c.Manual = true })
	h := handler(t, off, dashboard.Options{})
	for target, says := range map[string]string{"/healthz": "switched off", "/readyz": "unknown"} {
		if got := get(t, h, target); got.Code != 200 || !strings.Contains(got.Body.String(), says) {
			t.Errorf("controller off, %s: %d %s", target, got.Code, got.Body)
		}
	}
	on := openPool(t, dsn)
	h = handler(t, on, dashboard.Options{})
	for _, target := range []string{"/healthz", "/readyz"} {
		eventually(t, func() string {
			if got := get(t, h, target); got.Code != 200 {
				return fmt.Sprintf("%s: %d %s", target, got.Code, got.Body)
			}
			return ""
		})
	}
	on.Close()
	for _, target := range []string{"/healthz", "/readyz"} {
		if got := get(t, h, target); got.Code != 503 || !strings.Contains(got.Body.String(), "closed") {
			t.Errorf("closed, %s: %d %s", target, got.Code, got.Body)
		}
	}
}

func TestNothingCanBeChanged(t *testing.T) {
	h := handler(t, &scripted{}, dashboard.Options{})
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get"} {
		for _, target := range []string{"/", "/events", "/healthz", "/metrics"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d", method, target, w.Code)
			}
		}
	}
}

func TestEveryAnswerHasAStrictPolicyAndNoInlineCode(t *testing.T) {
	h := handler(t, &scripted{}, dashboard.Options{})
	for _, target := range []string{"/", "/app.js", "/style.css", "/healthz", "/nothing", "/../dashboard.go", "/page"} {
		got := get(t, h, target)
		policy := got.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'self';") || strings.Contains(policy, "unsafe") || got.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", target, got.Header())
		}
		if cache := got.Header().Get("Cache-Control"); cache != "no-store" && (cache != "no-cache" || got.Header().Get("ETag") == "") {
			t.Errorf("%s: may be cached: %q", target, cache)
		}
	}
	page := get(t, h, "/").Body.String()
	for _, inline := range []string{`<script>`, `<style`, ` style=`, ` onclick=`, ` onload=`, `javascript:`, `http://`, `https://`, `//`} {
		if strings.Contains(strings.Replace(page, "<!doctype", "", 1), inline) {
			t.Errorf("the page holds %q", inline)
		}
	}
	// Everything that the page names is there, with the right type.
	for _, m := range regexp.MustCompile(`(?:href|src)="([^"#]+)"`).FindAllStringSubmatch(page, -1) {
		got := get(t, h, "/"+m[1])
		if got.Code == http.StatusNotFound {
			t.Errorf("%s is not there", m[1])
		}
		if kind := map[string]string{".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}[path.Ext(m[1])]; !strings.HasPrefix(got.Header().Get("Content-Type"), kind) {
			t.Errorf("%s has type %q", m[1], got.Header().Get("Content-Type"))
		}
	}
}

func TestABrowserThatHasAFileIsToldSo(t *testing.T) {
	h := handler(t, &scripted{}, dashboard.Options{})
	first := get(t, h, "/app.js")
	r := httptest.NewRequest(http.MethodGet, "/app.js", nil)
	r.Header.Set("If-None-Match", first.Header().Get("ETag"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("%d with %d bytes", w.Code, w.Body.Len())
	}
}

func TestItWorksBelowAPrefix(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/ops/", http.StripPrefix("/ops/pool", handler(t, &scripted{}, dashboard.Options{})))
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, target := range []string{"/ops/pool", "/ops/pool/"} {
		got, err := http.Get(server.URL + target)
		if err != nil {
			t.Fatal(err)
		}
		_ = got.Body.Close()
		if got.StatusCode != 200 || got.Request.URL.Path != "/ops/pool/" {
			t.Errorf("%s: %d at %s", target, got.StatusCode, got.Request.URL)
		}
	}
}

func TestMetricsAreThoseGiven(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "autotune_limit 4\n") })
	if got := get(t, handler(t, &scripted{}, dashboard.Options{Metrics: metrics}), "/metrics"); got.Code != 200 || !strings.Contains(got.Body.String(), "autotune_limit") {
		t.Errorf("%d: %s", got.Code, got.Body)
	}
	if got := get(t, handler(t, &scripted{}, dashboard.Options{}), "/metrics"); got.Code != 404 {
		t.Errorf("without metrics: %d", got.Code)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	before := goleak.IgnoreCurrent()
	h := dashboard.New(&scripted{}, dashboard.Options{})
	server := httptest.NewServer(h)
	e := openStream(t, server.URL+"/events", "")
	e.next(t, "hello")
	h.Close()
	e.ends(t)
	if got := get(t, h, "/events"); got.Code != 503 || got.Header().Get("Retry-After") == "" {
		t.Errorf("after Close: %d", got.Code)
	}
	server.Close()
	http.DefaultClient.CloseIdleConnections()
	goleak.VerifyNone(t, before)
}

// eventStream reads server-sent events as a browser does.
type eventStream struct {
	body  io.ReadCloser
	lines *bufio.Scanner
}

type event struct {
	name, id string
	data     map[string]json.RawMessage
}

func openStream(t testing.TB, address, lastID string) *eventStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if got.StatusCode != 200 || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/event-stream") {
		t.Fatalf("%d %v", got.StatusCode, got.Header)
	}
	e := &eventStream{body: got.Body, lines: bufio.NewScanner(got.Body)}
	e.lines.Buffer(nil, 8<<20)
	t.Cleanup(func() { _ = got.Body.Close() })
	return e
}

// next reads the next event, which has to have this name.
func (e *eventStream) next(t testing.TB, name string) (got event) {
	t.Helper()
	for e.lines.Scan() {
		field, value, _ := strings.Cut(e.lines.Text(), ": ")
		switch field {
		case "event":
			got.name = value
		case "id":
			got.id = value
		case "data":
			if err := json.Unmarshal([]byte(value), &got.data); err != nil {
				t.Fatalf("%v in %s", err, value)
			}
		case "":
			if got.name != name {
				t.Fatalf("event %q instead of %q", got.name, name)
			}
			return got
		}
	}
	t.Fatalf("the stream ended instead of a %s: %v", name, e.lines.Err())
	return got
}

func (e *eventStream) ends(t testing.TB) {
	t.Helper()
	for e.lines.Scan() {
	}
	if err := e.lines.Err(); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
}

// eventually waits until wrong returns "", and fails with what it said last.
func eventually(t testing.TB, wrong func() string) {
	t.Helper()
	await.Until(t, patience, wrong)
}
