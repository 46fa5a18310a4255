package metrics

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/await"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func TestMain(m *testing.M) { pgtest.Main(m, pgtest.Options{}) }

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// open makes a pool of the given size whose controller is off unless change says
// otherwise. It is closed at the end.
func open(t testing.TB, dsn string, size int, change ...func(*autotune.Config)) *autotune.Pool {
	t.Helper()
	cfg, err := autotune.ParseConfig(fmt.Sprintf("%s&pool_max_conns=%d", dsn, size))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Manual = true
	for _, f := range change {
		f(cfg)
	}
	p, err := autotune.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		done := make(chan struct{})
		go func() { defer close(done); p.Close() }()
		select {
		case <-done:
		case <-time.After(5 * time.Second): // a test that failed may have left a connection out
			t.Error("the pool cannot be closed: somebody holds a connection")
		}
	})
	return p
}

// live switches the controller on, at its quickest.
func live(cfg *autotune.Config) { cfg.Manual, cfg.Interval = false, 100*time.Millisecond }

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// hold takes n connections.
func hold(t testing.TB, p *autotune.Pool, n int) (release func()) {
	t.Helper()
	conns := make([]*pgxpool.Conn, n)
	for i := range conns {
		var err error
		if conns[i], err = p.Acquire(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for _, c := range conns {
			c.Release()
		}
	}
}

func exec(t testing.TB, p *autotune.Pool, sql string) {
	t.Helper()
	if _, err := p.Exec(within(t), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// eventually waits until wrong returns "", and fails with what it said last.
func eventually(t testing.TB, wrong func() string) {
	t.Helper()
	await.Until(t, patience, wrong)
}

// scraped are the values of one scrape by series, such as
// autotune_decisions_total{action="grow",reason="demand_rose"}. A histogram has
// _count and _sum.
type scraped map[string]float64

// scrape gathers as Prometheus would, through a registry that checks everything.
func scrape(t testing.TB, c prometheus.Collector) scraped {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := scraped{}
	for _, f := range families {
		for _, m := range f.Metric {
			name, labels := f.GetName(), labelsOf(m)
			switch {
			case m.Histogram != nil:
				out[name+"_count"+labels] = float64(m.Histogram.GetSampleCount())
				out[name+"_sum"+labels] = m.Histogram.GetSampleSum()
			case m.Counter != nil:
				out[name+labels] = m.Counter.GetValue()
			default:
				out[name+labels] = m.Gauge.GetValue()
			}
		}
	}
	return out
}

func labelsOf(m *dto.Metric) string {
	if len(m.Label) == 0 {
		return ""
	}
	var pairs []string
	for _, l := range m.Label {
		pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

// minus is the change since an earlier scrape; NaN where the series is absent.
func (s scraped) minus(earlier scraped) scraped {
	out := scraped{}
	for series := range s {
		before, ok := earlier[series]
		if !ok {
			before = math.NaN()
		}
		out[series] = s[series] - before
	}
	return out
}
