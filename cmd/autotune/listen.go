package main

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/pgautotune/autotune/dashboard"
	"github.com/pgautotune/autotune/internal/advice"
	"github.com/pgautotune/autotune/internal/advice/live"
	"github.com/pgautotune/autotune/metrics"
)

// addListen defines --listen, alike for all commands that have a page.
func addListen(fs *pflag.FlagSet, to *string) {
	fs.StringVar(to, "listen", "", "`address` to show a live page at, such as :8080; on this machine only, unless it names a host")
}

// pages serves the pages of a command's pools until it is closed. The zero
// number of pools is fine: a benchmark opens and closes them as it goes. A nil
// *pages shows nothing, for commands that were not told to listen. It is safe
// for concurrent use.
type pages struct {
	URL    string
	server *http.Server
	own    netip.Addr // loopback: only requests for this machine are answered
	served chan struct{}

	mu    sync.Mutex
	shown []*shownPage // guarded by mu: in order of coming
}

// shownPage is what is below one name.
type shownPage struct {
	name    string
	handler http.Handler // sees paths without the name
	metrics prometheus.Collector
	end     func()
}

// Bounds of a request; a stream of events bounds each event itself.
const (
	headerWithin = 5 * time.Second
	idleFor      = time.Minute
	goodbye      = 2 * time.Second // for answers under way when the command ends
)

// listen starts to serve at an address, or returns nil for "". An address without
// a host is on loopback; for one that others can reach it says so. It ends with
// close, or by itself when ctx ends.
func listen(ctx context.Context, command, address string, note func(format string, args ...any)) (*pages, error) {
	if address == "" {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil && !strings.ContainsAny(address, ":.") {
		host, port, err = "", address, nil // a port alone
	}
	if err != nil {
		return nil, usagef("Try: --listen :8080, or --listen 0.0.0.0:8080 to let other machines in", "%s: --listen %q is not an address: %v", command, address, err)
	}
	if _, err := net.DefaultResolver.LookupPort(ctx, "tcp", port); err != nil {
		return nil, usagef("Try: --listen :8080; a port is a number up to 65535", "%s: --listen %q has no port that there can be", command, address)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	network := "tcp"
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		network = "tcp4" // else 0.0.0.0 would be all of IPv6 too
	}
	listener, err := net.Listen(network, net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("the page cannot be served at %s: %w; another address can be given with --listen, port 0 takes any free one", address, err)
	}
	bound, _ := netip.ParseAddrPort(listener.Addr().String())
	p := &pages{URL: "http://" + listener.Addr().String() + "/", own: bound.Addr().Unmap(), served: make(chan struct{})}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: headerWithin, IdleTimeout: idleFor, BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() {
		defer close(p.served)
		_ = p.server.Serve(listener) // ends with the server, which close ends
	}()
	context.AfterFunc(ctx, p.close)
	note("live page: %s", p.URL)
	if !p.own.IsLoopback() {
		note("warning: other machines can reach this page. It changes nothing and shows no passwords, but has no log-in, and names hosts, users and databases")
	}
	return p, nil
}

// showPool adds the page of a pool with its metrics, see show.
func (p *pages) showPool(name string, pool dashboard.Source) (hide func()) {
	if p == nil {
		return func() {}
	}
	title := name
	if title == "" {
		title = "demo"
	}
	c := metrics.New(pool, metrics.Options{Pool: name})
	page := dashboard.New(pool, dashboard.Options{Name: title, Metrics: metrics.Handler(c)})
	return p.show(&shownPage{name, page, c, page.Close})
}

// showWatch adds the page of a watch.
func (p *pages) showWatch(w *watcher) {
	if p == nil {
		return
	}
	text := func(a *advice.Advice) string {
		var b strings.Builder
		_ = writeRecommendation(&b, a, style{}) // a builder has no errors
		return b.String()
	}
	c := live.NewCollector(w)
	p.show(&shownPage{"", live.New(w, live.Options{Text: text, Metrics: metrics.Handler(c)}), c, func() {}})
}

// show adds a page, at the root when its name is "", else below the name. The
// returned function takes it away again and ends it.
func (p *pages) show(page *shownPage) (hide func()) {
	if page.name != "" {
		page.handler = http.StripPrefix("/"+page.name, page.handler)
	}
	p.mu.Lock()
	p.shown = append(p.shown, page)
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		for i, s := range p.shown {
			if s == page {
				p.shown = append(p.shown[:i], p.shown[i+1:]...)
				break
			}
		}
		p.mu.Unlock()
		page.end()
	}
}

// ServeHTTP finds the page of a request.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A name that an attacker's page has pointed at this machine is turned away.
	if p.own.IsLoopback() && !isHere(r.Host) {
		http.Error(w, "this page answers on this machine only", http.StatusMisdirectedRequest)
		return
	}
	found, names := p.find(r.URL.Path)
	switch {
	case found != nil:
		found.ServeHTTP(w, r)
	case r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		writeList(w, names)
	case len(names) == 0 && (r.URL.Path == "/healthz" || r.URL.Path == "/readyz"):
		http.Error(w, "nothing is open yet", http.StatusServiceUnavailable)
	case r.URL.Path == "/metrics":
		p.allMetrics().ServeHTTP(w, r)
	default:
		http.Error(w, "no pool of this name is open now; see /", http.StatusNotFound)
	}
}

// find is the page of a path, and the names of all.
func (p *pages) find(path string) (found http.Handler, names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.shown {
		names = append(names, s.name)
		if s.name == "" || path == "/"+s.name || strings.HasPrefix(path, "/"+s.name+"/") {
			found = s.handler
		}
	}
	return found, names
}

// allMetrics are those of all pages together; each has its name in the label pool.
func (p *pages) allMetrics() http.Handler {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []prometheus.Collector
	for _, s := range p.shown {
		all = append(all, s.metrics)
	}
	return metrics.Handler(all...)
}

func isHere(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}

var listTemplate = template.Must(template.New("list").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>autotune</title></head>
<body><main><h1>autotune</h1>
{{if .}}<p>Tuned pools that are open now:</p><ul>{{range .}}<li><a href="{{.}}/">{{.}}</a></li>{{end}}</ul>
{{else}}<p>No tuned pool is open yet. This list looks again every three seconds.</p>{{end}}
</main></body></html>
`))

// writeList is the root where there are several pools, or none yet.
func writeList(w http.ResponseWriter, names []string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Refresh", "3")
	_ = listTemplate.Execute(w, names) // a browser that went away needs no answer
}

// close ends all pages and the server.
func (p *pages) close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	shown := p.shown
	p.shown = nil
	p.mu.Unlock()
	for _, s := range shown {
		s.end()
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	if err := p.server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		_ = p.server.Close()
	}
	<-p.served
}
