package dashboard_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/jackc/pgx/v5"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/dashboard"
	"github.com/pgautotune/autotune/internal/load"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// patience bounds every wait: long enough for a busy machine.
const patience = time.Minute

func TestMain(m *testing.M) { pgtest.Main(m, pgtest.Options{}) }

// openPool opens a tuned pool on a database of its own.
func openPool(t testing.TB, dsn string, change ...func(*autotune.Config)) *autotune.Pool {
	t.Helper()
	cfg, err := autotune.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(cfg)
	}
	p, err := autotune.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// site serves a handler at one address, from which it can be taken away.
type site struct {
	t       *testing.T
	handler http.Handler
	address string
	server  *http.Server
	ended   sync.WaitGroup
}

func serve(t *testing.T, h http.Handler) *site {
	t.Helper()
	s := &site{t: t, handler: h, address: "127.0.0.1:0"}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *site) start() {
	s.t.Helper()
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = l.Addr().String()
	s.server = &http.Server{Handler: s.handler}
	s.ended.Go(func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.t.Error(err)
		}
	})
}

func (s *site) stop() {
	_ = s.server.Close()
	s.ended.Wait()
}

func (s *site) origin() string { return "http://" + s.address }

// shiftingLoad drives a pool with a light load, and with a rush when told.
type shiftingLoad struct {
	rush, stop func()
}

func startLoad(t *testing.T, pool *autotune.Pool, dsn string) *shiftingLoad {
	t.Helper()
	mixture, err := load.NewMixture(32, 1)
	if err != nil {
		t.Fatal(err)
	}
	data := &load.Dataset{Schema: "page", Mixture: mixture, Vectors: 2000}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	err = data.Create(t.Context(), conn, nil)
	_ = conn.Close(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	rec := load.NewRecorder()
	drive := func(w load.Workload, s load.Shape) {
		running.Go(func() { _ = load.Run(ctx, pool, w, s, time.Hour, 1, 0, rec) })
	}
	drive(load.NewIndexSearch(data), load.Open{Rate: 40})
	t.Cleanup(func() { cancel(); running.Wait() })
	return &shiftingLoad{
		rush: func() { drive(load.NewHoldingSearch(data, 5*time.Millisecond), load.Closed{Clients: 48}) },
		stop: func() { cancel(); running.Wait() },
	}
}

// The whole of it: a browser looks at a pool that learns while its load shifts.
func TestABrowserSeesThePoolLearn(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	dsn := pgtest.DSN(t)
	pool := openPool(t, dsn, func(c *autotune.Config) { c.Start, c.Ceiling = 4, 16 }) // fewer than the callers of the rush: it has to learn
	h := dashboard.New(pool, dashboard.Options{Name: "orders"})
	t.Cleanup(h.Close)
	s := serve(t, h)
	work := startLoad(t, pool, dsn)
	t.Cleanup(work.stop)

	b.do(chromedp.Navigate(s.origin() + "/"))
	b.until("live, with curves", `document.querySelector('#connection').textContent === 'live' && document.querySelectorAll('path.trace').length >= 10`)
	b.until("the quiet load is seen", `(v => v > 15 && v < 90)(`+tile(0)+`)`)
	b.until("health is judged", `document.querySelector('#verdict').dataset.status !== 'unknown'`)

	// Curves move: the rush is in the tile, and in the path.
	before := eval[string](b, `document.querySelector('path.trace').getAttribute('d')`)
	decisions := eval[int](b, `document.querySelectorAll('#decisions > li').length`)
	work.rush()
	b.until("the rush is seen", tile(0)+` > 100`)
	b.until("somebody queues", tile(3)+` > 1`)
	if after := eval[string](b, `document.querySelector('path.trace').getAttribute('d')`); after == before || len(after) < 20 {
		t.Errorf("the curve did not move: %q", after)
	}
	// The list grows, and the curve gets points.
	b.until("decisions come", `document.querySelectorAll('#decisions > li').length >= `+itoa(decisions+4))
	b.until("limits were tried", `document.querySelectorAll('circle.pt').length >= 2 && document.querySelectorAll('#curve-table tbody tr').length >= 2`)

	// A decision expands, by keyboard, and stays open when others come.
	b.do(chromedp.Focus(`#decisions > li:last-child summary`), chromedp.KeyEvent(kb.Enter))
	b.until("the decision is open, with its evidence", `document.querySelectorAll('#decisions > li:last-child details[open] dl dt').length > 8`)

	// The cursor is read by keyboard, and says so.
	b.do(chromedp.Focus("#cursor"), chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.ArrowLeft))
	b.until("a time is read", `/^\d\d:\d\d:\d\d: arrival rate/.test(document.querySelector('#cursor').getAttribute('aria-valuetext')) && document.querySelectorAll('line.hair').length === 4`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until("it is back at now", `document.querySelector('#cursor').getAttribute('aria-valuetext').startsWith('now') && document.querySelectorAll('line.hair').length === 0`)

	b.do(chromedp.Blur("#cursor"))
	if os.Getenv("AUTOTUNE_TEST_SCREENSHOTS") != "" {
		b.until("much was seen", `document.querySelectorAll('#decisions > li').length > 5`)
		b.shoot("page", 1280, 900)
		b.shoot("page", 390, 844)
	}

	// The server goes away for five seconds, and the page heals: nothing is missing.
	b.setAway(true)
	s.stop()
	back := time.After(5 * time.Second)
	b.until("the loss is noticed", `document.querySelector('#connection').dataset.state === 'lost' && /last seen/.test(document.querySelector('#connection').textContent)`)
	<-back
	s.start()
	b.until("the page is live again", `document.querySelector('#connection').dataset.state === 'live'`)
	b.until("the curve has no gap", `(d => d.length > 20 && d.split('M').length === 2)(document.querySelector('path.trace.first').getAttribute('d'))`)
	b.until("the decision is still open", `document.querySelectorAll('#decisions > li details[open]').length === 1`)
	b.setAway(false)

	eval[bool](b, `document.querySelector('#figures').open = true`)
	b.until("the table is filled", `document.querySelectorAll('#table tbody tr').length === 13 && !/NaN|undefined/.test(document.body.innerText)`)
	b.asPhone(390)
	b.until("nothing is wider than a phone", `document.documentElement.scrollWidth <= 390`)
	b.quiet(s.origin())
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil || len(cfg.Password) < 8 {
		t.Fatalf("the database has no password to look for: %v", err)
	}
	if strings.Contains(eval[string](b, `document.documentElement.outerHTML`), cfg.Password) {
		t.Error("the password is in the page")
	}
}
