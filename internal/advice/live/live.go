// Package live shows the latest answer of a watch to people and to machines:
//
//	/             the answer as text
//	/answer.json  the same as JSON, the form of autotune recommend
//	/healthz      200 while the watch goes on, else 503 and why
//	/readyz       200 while there is an answer and the server has answered a look within
//	              five answers' time, 25 s at least; else 503 and why
//	/metrics      the answer and what it rests on, for Prometheus
//
// live.go answers requests, metrics.go is the table of metrics.
package live

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pgautotune/autotune/internal/advice"
)

// Source is a watch that goes on. Its methods are safe for concurrent use.
type Source interface {
	Last() *advice.Advice // nil before the first
	Progress() Progress
}

// Progress is how far a watch has come.
type Progress struct {
	Began      time.Time
	Every      time.Duration // from answer to answer
	Looks      int64         // that the server answered
	Failures   int64         // looks that it did not, or too late
	LookedAt   time.Time     // of the last look that it answered; zero before the first
	Answers    int64
	AnsweredAt time.Time // of the last answer; zero before the first
}

// patience is how long the watch may be silent before it counts as stalled: five
// answers, and not less than five of the slowest looks.
func (p *Progress) patience() time.Duration { return max(5*p.Every, 25*time.Second) }

// stalled tells whether no answer has come for too long; "" if not.
func (p *Progress) stalled(now time.Time) string {
	since, what := p.AnsweredAt, "the last answer was"
	if since.IsZero() {
		since, what = p.Began, "there is no answer yet; the watch began"
	}
	if age := now.Sub(since); age > p.patience() {
		return fmt.Sprintf("%s %s ago, and one is due every %s", what, age.Round(time.Second), p.Every)
	}
	return ""
}

// unready tells why the answer should not be used now; "" if it should.
func (p *Progress) unready(now time.Time) string {
	if p.AnsweredAt.IsZero() {
		return "there is no answer yet"
	}
	if age := now.Sub(p.LookedAt); age > p.patience() {
		return fmt.Sprintf("the server last answered a look %s ago", age.Round(time.Second))
	}
	return p.stalled(now)
}

// Options of a handler.
type Options struct {
	Text    func(*advice.Advice) string // the answer for people; nothing in it may be secret
	Metrics http.Handler                // answers /metrics
}

// Handler shows a watch. It is safe for concurrent use.
type Handler struct {
	source  Source
	options Options
}

// New makes a handler of a watch.
func New(source Source, o Options) *Handler { return &Handler{source, o} }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "nothing here can be changed: use GET", http.StatusMethodNotAllowed)
		return
	}
	p := h.source.Progress()
	switch r.URL.Path {
	case "/":
		h.page(w, &p)
	case "/style.css":
		header.Set("Content-Type", "text/css; charset=utf-8")
		_, _ = w.Write([]byte(style)) // a browser that went away needs no answer
	case "/answer.json":
		h.answer(w)
	case "/healthz":
		verdict(w, p.stalled(time.Now()))
	case "/readyz":
		verdict(w, p.unready(time.Now()))
	case "/metrics":
		h.options.Metrics.ServeHTTP(w, r)
	default:
		http.Error(w, "there is only /, /answer.json, /healthz, /readyz and /metrics", http.StatusNotFound)
	}
}

func verdict(w http.ResponseWriter, wrong string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if wrong != "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, wrong)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

func (h *Handler) answer(w http.ResponseWriter) {
	a := h.source.Last()
	if a == nil {
		verdict(w, "there is no answer yet")
		return
	}
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		http.Error(w, "the answer cannot be written as JSON: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
}

const style = `:root{color-scheme:light dark}
body{margin:1rem auto;max-width:86ch;padding:0 1rem;font:1rem/1.4 system-ui,sans-serif}
pre{overflow-x:auto;font:0.9rem/1.4 ui-monospace,monospace}
`

var page = template.Must(template.New("watch").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>autotune watch</title><link rel="stylesheet" href="style.css"></head>
<body><main><h1>autotune watch</h1>
{{if .Text}}<p role="status">{{if .Wrong}}Out of date: {{.Wrong}}.{{else}}Answer {{.Answers}}, at {{.At}}.{{end}} This page looks again every {{.Every}}.</p>
<pre tabindex="0">{{.Text}}</pre>
{{else}}<p role="status">There is no answer yet. This page looks again every {{.Every}}.</p>{{end}}
<p><a href="answer.json">as JSON</a> · <a href="metrics">metrics</a> · <a href="healthz">health</a> · <a href="readyz">readiness</a></p>
</main></body></html>
`))

// page is read again by the browser itself, without a script.
func (h *Handler) page(w http.ResponseWriter, p *Progress) {
	content := struct {
		Text, Wrong, At string
		Answers         int64
		Every           time.Duration
	}{At: p.AnsweredAt.UTC().Format("15:04:05 UTC"), Answers: p.Answers, Every: p.Every, Wrong: p.unready(time.Now())}
	if a := h.source.Last(); a != nil {
		content.Text = strings.TrimRight(h.options.Text(a), "\n")
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Refresh", strconv.Itoa(max(1, int(p.Every.Seconds()))))
	_ = page.Execute(w, content)
}
