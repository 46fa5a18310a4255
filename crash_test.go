package autotune_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// workers run one query after the other, whatever becomes of it.
type workers struct {
	good []atomic.Int64 // successes, by worker
	bad  atomic.Int64
	stop func()
}

func startWorkers(t *testing.T, p *autotune.Pool, n int) *workers {
	w := &workers{good: make([]atomic.Int64, n)}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() {
			for ctx.Err() == nil {
				var one int
				if err := p.QueryRow(ctx, "select 1").Scan(&one); err == nil {
					w.good[i].Add(1)
				} else if w.bad.Add(1) > 1_000_000 {
					return // not a retry loop, but a storm
				}
			}
		})
	}
	w.stop = func() { cancel(); done.Wait() }
	t.Cleanup(w.stop)
	return w
}

// round waits until every worker has had a success from now on.
func (w *workers) round(t *testing.T) (took time.Duration) {
	t.Helper()
	start := time.Now()
	before := make([]int64, len(w.good))
	for i := range w.good {
		before[i] = w.good[i].Load()
	}
	eventually(t, func() string {
		for i := range w.good {
			if w.good[i].Load() == before[i] {
				return fmt.Sprintf("worker %d has had no success", i)
			}
		}
		return ""
	})
	return time.Since(start)
}

func TestThePoolRecoversByItselfWhenTheServerIsKilled(t *testing.T) {
	for name, change := range map[string]func(*autotune.Config){"manual": func(*autotune.Config) {}, "controlled": live} {
		t.Run(name, func(t *testing.T) {
			leakFree(t)
			server := pgtest.New(t, pgtest.Options{})
			p := open(t, server.DSN(), 8, change)
			w := startWorkers(t, p, 24)
			for range 2 {
				w.round(t)
				if err := server.Kill(); err != nil {
					t.Fatal(err)
				}
				bad := w.bad.Load()
				eventually(t, func() string {
					if w.bad.Load() == bad {
						return "nobody has noticed that the server is gone"
					}
					return ""
				})
				if err := server.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				took := w.round(t)
				t.Logf("every worker had a success %s after the server was back", took.Round(time.Millisecond))
				if took > 2*time.Second {
					t.Errorf("recovery took %s", took)
				}
			}
			w.stop()
			s := settled(t, p)
			t.Logf("%d arrivals: %d completions, %d failed, %d canceled; %d connects", s.Arrivals, s.Completions, s.Failed, s.Canceled, s.Connects)
			if s.OpenPeak > 8 || s.Completions == 0 {
				t.Errorf("at most %d open of 8, %d completions", s.OpenPeak, s.Completions)
			}
			closes(t, p)
			if s := p.Snapshot(); s.Open != 0 {
				t.Errorf("%d open after Close", s.Open)
			}
		})
	}
}

func TestAPoolOpenedBeforeItsServerWorksWhenThatComesUp(t *testing.T) {
	leakFree(t)
	server := pgtest.New(t, pgtest.Options{})
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	const retry = 300 * time.Millisecond
	p := open(t, server.DSN(), 4, live, func(c *autotune.Config) { c.ConnectRetry, c.Pool.MinConns = retry, 2 })
	start := time.Now()
	err := p.Ping(within(t))
	if took := time.Since(start); err == nil || took > retry+time.Second {
		t.Errorf("the first query, with nobody there: %v after %s", err, took)
	}
	t.Log(err)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Ping(within(t)); err != nil {
		t.Errorf("the server is up: %v", err)
	}
	// A caller whose patience spans the start notices nothing.
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	back := make(chan error, 1)
	go func() { back <- server.Restart(context.Background()) }()
	patient := open(t, server.DSN(), 4, func(c *autotune.Config) { c.ConnectRetry = patience })
	if err := patient.Ping(within(t)); err != nil {
		t.Errorf("with enough ConnectRetry: %v", err)
	}
	if err := <-back; err != nil {
		t.Fatal(err)
	}
}
