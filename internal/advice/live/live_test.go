package live

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pgautotune/autotune/internal/advice"
)

// told is a source that says what it was told.
type told struct {
	a *advice.Advice
	p Progress
}

func (s told) Last() *advice.Advice { return s.a }
func (s told) Progress() Progress   { return s.p }

func answerOf(t *testing.T, s Source, method, path string) (int, string) {
	t.Helper()
	h := New(s, Options{Text: func(a *advice.Advice) string { return "max <" + a.Schema + ">\n" }, Metrics: http.NotFoundHandler()})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	if w.Header().Get("Content-Security-Policy") == "" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s is not guarded: %v", path, w.Header())
	}
	return w.Code, w.Body.String()
}

func TestHealthIsOfTheWatchAndReadinessOfTheServer(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const every = 10 * time.Second
	for _, c := range []struct {
		name           string
		p              Progress
		healthy, ready string // part of what is wrong; "" is well
	}{
		{"just begun", Progress{Began: ago(time.Second)}, "", "no answer yet"},
		{"begun, and never an answer", Progress{Began: ago(51 * time.Second)}, "the watch began 51s ago", "no answer yet"},
		{"well", Progress{Began: ago(time.Hour), LookedAt: now, AnsweredAt: ago(9 * time.Second)}, "", ""},
		{"late, within patience", Progress{Began: ago(time.Hour), LookedAt: ago(48 * time.Second), AnsweredAt: ago(48 * time.Second)}, "", ""},
		{"a server that is silent", Progress{Began: ago(time.Hour), LookedAt: ago(55 * time.Second), AnsweredAt: ago(45 * time.Second)}, "", "last answered a look 55s ago"},
		{"stalled", Progress{Began: ago(time.Hour), LookedAt: now, AnsweredAt: ago(55 * time.Second)}, "the last answer was 55s ago", "one is due every 10s"},
	} {
		c.p.Every = every
		s := told{p: c.p}
		for path, want := range map[string]string{"/healthz": c.healthy, "/readyz": c.ready} {
			code, body := answerOf(t, s, http.MethodGet, path)
			if (code == 200) != (want == "") || !strings.Contains(body, want) || want == "" && body != "ok\n" {
				t.Errorf("%s: %s is %d %q", c.name, path, code, body)
			}
		}
	}
	if p := (Progress{Every: time.Second}); p.patience() != 25*time.Second {
		t.Errorf("patience of %s is shorter than five of the slowest looks", p.patience())
	}
}

func TestThePageEscapesAndChangesNothing(t *testing.T) {
	s := told{p: Progress{Every: time.Second, Began: time.Now()}}
	if code, body := answerOf(t, s, http.MethodGet, "/"); code != 200 || !strings.Contains(body, "no answer yet") {
		t.Errorf("before the first answer: %d %s", code, body)
	}
	if code, _ := answerOf(t, s, http.MethodGet, "/answer.json"); code != http.StatusServiceUnavailable {
		t.Errorf("JSON before the first answer: %d", code)
	}
	s.a, s.p.AnsweredAt, s.p.LookedAt, s.p.Answers = &advice.Advice{Schema: "<script>"}, time.Now(), time.Now(), 7
	if code, body := answerOf(t, s, http.MethodGet, "/"); code != 200 || strings.Contains(body, "<script>") || !strings.Contains(body, "max &lt;&lt;script&gt;&gt;") || !strings.Contains(body, "Answer 7") {
		t.Errorf("%d %s", code, body)
	}
	for _, path := range []string{"/", "/healthz", "/metrics"} {
		if code, _ := answerOf(t, s, http.MethodPost, path); code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, code)
		}
	}
}

// Every metric has the value of what it names: each field has a number of its own.
func TestEveryMetricOfAWatchHasItsValue(t *testing.T) {
	perS, service := 101.5, 250.0
	a := &advice.Advice{
		Size:   advice.Size{Known: true, Lower: 11, Max: 12, Upper: 13, Min: 4, MaxEach: 6, MinEach: 2, Confidence: advice.Medium},
		Seen:   advice.Seen{Seconds: 30, Samples: 300, PerS: &perS, Service: &service, Cost: 0.002, Activity: advice.Activity{Computing: 1.5, IO: 2.5, Commit: 3.5, Lock: 4.5, Contention: 5.5, Other: 6.5, IdleInTransaction: 7.5, Turning: 8.5, Idle: 9.5, Unknown: 10.5}},
		Today:  advice.Today{Open: 60, Peak: 61},
		Demand: advice.Demand{Mean: 21.5, P99: 29, Clipped: 0.25},
		Supply: advice.Supply{Cores: 16, Saturated: 0.75},
		Server: advice.Server{MaxConnections: 100}, Findings: make([]advice.Finding, 3),
	}
	at := time.UnixMilli(1_700_000_000_500)
	s := told{a, Progress{Every: 5 * time.Second, Looks: 301, Failures: 2, Answers: 6, LookedAt: at, AnsweredAt: at.Add(-time.Second)}}
	c := NewCollector(s)
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	want, err := os.ReadFile("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	if err := testutil.CollectAndCompare(c, strings.NewReader(string(want))); err != nil {
		t.Error(err)
	}
	for _, m := range Table {
		if !strings.Contains(string(want), "\n"+m.Name) {
			t.Errorf("%s has no value in the test", m.Name)
		}
	}
	// Before the first answer there is only the watch itself; what is unknown is left out.
	if n := testutil.CollectAndCount(NewCollector(told{p: s.p})); n != 6 {
		t.Errorf("%d series before the first answer, want 6", n)
	}
	bare := NewCollector(told{a: &advice.Advice{}, p: s.p})
	if n := testutil.CollectAndCount(bare, "autotune_watch_recommendation_target_connections", "autotune_watch_transactions_per_second", "autotune_watch_server_cores", "autotune_watch_backends"); n != 0 {
		t.Errorf("%d series of what is unknown", n)
	}
}
