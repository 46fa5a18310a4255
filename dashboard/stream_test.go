package dashboard_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/dashboard"
	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestAStreamGoesOnWhereItBrokeOff(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(handler(t, &scripted{snap: autotune.Snapshot{Limit: 4}}, dashboard.Options{Name: "orders"}))
	defer server.Close()
	for _, how := range []string{"header", "query"} {
		e := openStream(t, server.URL+"/events", "")
		if name := string(e.next(t, "hello").data["name"]); name != `"orders"` {
			t.Errorf("name %s", name)
		}
		if whole := string(e.next(t, "history").data["whole"]); whole != "true" {
			t.Errorf("the first history is whole: %s", whole)
		}
		tick := e.next(t, "tick")
		_ = e.body.Close()

		if how == "header" {
			e = openStream(t, server.URL+"/events", tick.id)
		} else {
			e = openStream(t, server.URL+"/events?after="+tick.id, "")
		}
		e.next(t, "hello")
		history := e.next(t, "history")
		var points, point []any
		_ = json.Unmarshal(history.data["points"], &points)
		if string(history.data["whole"]) != "false" || len(points) > 2 {
			t.Errorf("%s: whole %s, %d points", how, history.data["whole"], len(points))
		}
		next := e.next(t, "tick")
		_ = json.Unmarshal(next.data["point"], &point)
		if next.id == tick.id || len(point) < 10 {
			t.Errorf("%s: after %s came %s with %v", how, tick.id, next.id, point)
		}
		_ = e.body.Close()
	}
}

// Secrets of the connection string in every place where pgx takes one.
const (
	secret = "hunter2-is-no-password"
	token  = "s3cr3t-in-options"
)

func TestNoSecretIsOnAnyPage(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	real, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*autotune.Config){
		"works": func(c *autotune.Config) {
			c.Pool.ConnConfig.RuntimeParams["options"] = "-c autotune.token=" + token
			c.Pool.ConnConfig.RuntimeParams["application_name"] = "shown"
		},
		"wrong password": func(c *autotune.Config) { c.Pool.ConnConfig.Password = secret },
		"no server":      func(c *autotune.Config) { c.Pool.ConnConfig.Password, c.Pool.ConnConfig.Port = secret, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := handler(t, openPool(t, dsn, change), dashboard.Options{})
			server := httptest.NewServer(h)
			defer server.Close()
			defer h.Close()
			var all strings.Builder
			for _, target := range []string{"/", "/app.js", "/style.css", "/healthz", "/readyz", "/nothing?" + "x", "/metrics"} {
				got := get(t, h, target)
				_ = got.Header().Write(&all)
				all.WriteString(got.Body.String())
			}
			e := openStream(t, server.URL+"/events", "")
			for _, event := range []string{"hello", "history", "tick", "tick"} {
				for _, data := range e.next(t, event).data {
					all.Write(data)
				}
			}
			_ = e.body.Close()
			if text := all.String(); !strings.Contains(text, real.Database) || !strings.Contains(text, "set, not shown") {
				t.Error("the configuration is not there at all")
			}
			for _, s := range []string{secret, token, real.Password} {
				if strings.Contains(all.String(), s) {
					t.Errorf("%q is in it", s)
				}
			}
		})
	}
}

// Whatever is asked, the answer is one of those that are meant, with the policy.
func FuzzHandler(f *testing.F) {
	for _, seed := range []string{"/", "", "/events", "/healthz", "/../../etc/passwd", "/app.js?x=%00", "//evil.example/", "/%2e%2e/page", "*", "/page/index.html"} {
		f.Add("GET", seed, "abc.1", "x")
		f.Add("HEAD", seed, "", "")
	}
	f.Add("POST", "/", "", "")
	h := dashboard.New(&scripted{snap: autotune.Snapshot{Limit: 4}, health: autotune.Health{ResponseTime: 1}}, dashboard.Options{})
	h.Close() // so that /events answers and ends
	f.Fuzz(func(t *testing.T, method, target, lastID, tag string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Method, r.RequestURI = method, target
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
		r.Header.Set("Last-Event-ID", lastID)
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case 200, 304, 404, 405, 503:
		case 307:
			if to := w.Header().Get("Location"); !strings.HasPrefix(to, "./") || strings.ContainsAny(to, "\r\n\\") {
				t.Errorf("%q: sent to %q", target, to)
			}
		default:
			t.Errorf("%s %q: %d", method, target, w.Code)
		}
		if !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'self'") {
			t.Errorf("%s %q: no policy", method, target)
		}
		if method != "GET" && method != "HEAD" && w.Code != 405 {
			t.Errorf("%s %q: %d", method, target, w.Code)
		}
	})
}
