package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune"
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

// The page of a demo is there while the load runs, and says nothing secret.
func TestADemoShowsItsPage(t *testing.T) {
	p := spawn(t, "demo", "--vectors", "300", "--duration", "6s", "--clients", "8", "--listen", ":0")
	p.until(t, "live page: ")
	_, address, _ := strings.Cut(strings.TrimSpace(p.seen.String()[strings.LastIndex(p.seen.String(), "live page: "):]), "live page: ")
	p.until(t, "phase 2 of 5")
	code, page := fetch(t, address, "")
	if code != 200 || !strings.Contains(page, "app.js") {
		t.Fatalf("%d %s", code, page)
	}
	for path, want := range map[string]string{"healthz": "ok", "readyz": "ok"} {
		if code, body := fetch(t, address+path, ""); code != 200 || !strings.HasPrefix(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	p.until(t, "")
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%v:\n%s", err, p.seen.String())
	}
}
