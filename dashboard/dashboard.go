// Package dashboard is a live page about one pool: what it does, and why.
//
//	page := dashboard.New(pool, dashboard.Options{Name: "orders"})
//	defer page.Close()
//	http.Handle("/autotune/", http.StripPrefix("/autotune", page))
//
// It serves
//
//	/           the page: rates, connections, times, capacity curve, decisions, health, configuration
//	/events     what the page shows, as server-sent events
//	/healthz    200 while the controller's loop runs or waits for a resize, else 503 and why
//	/readyz     200 while the database answers (with Manual: while the pool is open), else 503 and why
//	/metrics    whatever [Options.Metrics] is
//
// Nothing on it changes anything, and no secret of the configuration is on it;
// but it shows names of hosts, users and databases, and has no log-in of its own.
//
// Files, in order of use: dashboard.go answers requests, sampler.go looks at the
// pool, history.go keeps an hour of it, stream.go sends it to viewers; verdict.go
// is health, evidence.go and settings.go say decisions and configuration in words;
// page/ is what the browser runs.
package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/pgautotune/autotune"
)

// Source is what the page is about: an [autotune.Pool], or something like it. If
// it has the pool's methods Times, Changes, Curve and Settings, the page shows
// what they say, and otherwise that it is unknown.
type Source interface {
	Snapshot() autotune.Snapshot
	Health(ctx context.Context) autotune.Health
	Decision() autotune.Decision
}

// Options are all optional.
type Options struct {
	Name     string        // of the pool, in the page's title
	Metrics  http.Handler  // answers /metrics; nil: 404
	Interval time.Duration // of the controller's looks, for /healthz; default that of the pool's configuration, else 1 s
}

// Handler is the page. It is safe for concurrent use.
type Handler struct {
	source   Source
	options  Options
	history  *history
	stream   *stream
	verdict  *verdict
	assets   map[string]asset
	stop     context.CancelFunc
	stopping context.Context
	work     sync.WaitGroup
}

// New starts to keep history. The handler works until Close; the source is never
// closed by it.
func New(source Source, o Options) *Handler {
	if o.Interval <= 0 {
		o.Interval = time.Second
		if s := settingsOf(source); s != nil {
			o.Interval = s.Interval
		}
	}
	h := &Handler{source: source, options: o, history: newHistory(), verdict: &verdict{source: source}, assets: pageAssets}
	h.stream = newStream(h.history)
	h.stopping, h.stop = context.WithCancel(context.Background())
	h.work.Go(func() { newSampler(h).run(h.stopping) })
	return h
}

// Close ends all streams and the keeping of history, and waits for both. Health
// and metrics are answered after it too.
func (h *Handler) Close() {
	h.stop()
	h.stream.close()
	h.work.Wait()
}

// headers of every answer. The page needs nothing but its own files, so nothing
// else is let in, and no inline script or style either.
var headers = map[string]string{
	"Content-Security-Policy":      "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
	"X-Content-Type-Options":       "nosniff",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cache-Control":                "no-store",
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range headers {
		w.Header().Set(name, value)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "nothing here can be changed: use GET", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case r.URL.Path == "":
		h.toFolder(w, r)
	case name == "events":
		h.serveEvents(w, r)
	case name == "healthz":
		answer(w, h.alive(time.Now()))
	case name == "readyz":
		answer(w, h.ready(r.Context()))
	case name == "metrics" && h.options.Metrics != nil:
		h.options.Metrics.ServeHTTP(w, r)
	default:
		h.serveAsset(w, r, name)
	}
}

// toFolder sends a browser from …/autotune to …/autotune/, because all addresses
// of the page are relative to it. What was stripped is known from the request.
func (h *Handler) toFolder(w http.ResponseWriter, r *http.Request) {
	last := "."
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil {
		last = "./" + url.PathEscape(path.Base(u.Path))
	}
	w.Header().Set("Location", last+"/")
	w.WriteHeader(http.StatusTemporaryRedirect)
}
