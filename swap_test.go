package autotune_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// The first two invariants: no query fails, is lost or runs twice because of a
// swap, and the server connections stay within the budget.

// swapping says whether a test shall do another swap after n: up to the usual
// number, but for no longer than 20 s, which a busy machine spends on a hundred; or
// exactly as many as AUTOTUNE_SWAPS says, however long that takes: make swaps.
func swapping(t *testing.T, usual int) (another func(n int) bool) {
	if v := os.Getenv("AUTOTUNE_SWAPS"); v != "" {
		exactly, err := strconv.Atoi(v)
		if err != nil || exactly < 1 {
			t.Fatalf("AUTOTUNE_SWAPS=%q is not a number of swaps", v)
		}
		return func(n int) bool { return n < exactly }
	}
	if testing.Short() {
		usual = min(usual, 50)
	}
	end := time.Now().Add(20 * time.Second)
	return func(n int) bool { return n < usual && (n < 50 || time.Now().Before(end)) }
}

// wall is how the tests know that a budget is kept. The server's own connection
// limit of the role counts exactly, under a lock, at every connection: it is set
// to the budget, and what it refuses is noted. Beside that the backends are
// sampled. A look at pg_stat_activity is no snapshot, it reads one slot after
// the other while backends come and go; those that two looks in a row have in
// common were there together.
type wall struct {
	refused  atomic.Int64
	most     int
	samples  int
	stopped  context.CancelFunc
	finished sync.WaitGroup
}

// TraceConnectStart and its like see every connection of the pool.
func (*wall) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

func (w *wall) TraceConnectEnd(_ context.Context, data pgx.TraceConnectEndData) {
	var pgErr *pgconn.PgError
	if errors.As(data.Err, &pgErr) && pgErr.Code == "53300" {
		w.refused.Add(1)
	}
}

func (*wall) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (*wall) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (w *wall) trace(cfg *autotune.Config) { cfg.Pool.ConnConfig.Tracer = w }

// watch samples the backends called app until stop, as fast as leaves the server
// time for its work.
func (w *wall) watch(t *testing.T, super, app string) {
	t.Helper()
	conn := admin(t, super)
	var ctx context.Context
	ctx, w.stopped = context.WithCancel(context.Background())
	t.Cleanup(w.stop)
	w.finished.Go(func() {
		before := map[uint32]bool{}
		for tick := time.NewTicker(500 * time.Microsecond); ctx.Err() == nil; <-tick.C {
			rows, _ := conn.Query(context.Background(), "select pid from pg_stat_activity where application_name = $1", app)
			pids, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
			if err != nil {
				t.Errorf("watching: %v", err)
				return
			}
			now, both := map[uint32]bool{}, 0
			for _, pid := range pids {
				now[pid] = true
				if before[pid] {
					both++
				}
			}
			before = now
			w.most, w.samples = max(w.most, both), w.samples+1
		}
	})
}

func (w *wall) stop() { w.stopped(); w.finished.Wait() }

func (w *wall) check(t *testing.T, p *autotune.Pool, budget int) {
	t.Helper()
	w.stop()
	s := p.Snapshot()
	t.Logf("budget %d: at most %d backends in %d samples, %d counted where they are dialled, %d refused by the server", budget, w.most, w.samples, s.OpenPeak, w.refused.Load())
	if w.most > budget || s.OpenPeak > budget || w.refused.Load() > 0 {
		t.Errorf("the budget of %d was exceeded", budget)
	}
	if w.samples < 100 || w.most < budget/2 {
		t.Errorf("%d samples with at most %d backends prove nothing", w.samples, w.most)
	}
}

func TestAThousandSwapsUnderLoadLoseNothingAndStayWithinTheBudget(t *testing.T) {
	const budget, app = 6, "thousand"
	leakFree(t)
	dsn, super, _ := role(t, fmt.Sprint("connection limit ", budget))
	var wall wall
	p := open(t, with(dsn, "application_name", app), budget, wall.trace)
	watcher := admin(t, super)
	work := startClerks(t, p, 64)
	wall.watch(t, super, app)
	start := time.Now()
	swaps := 0
	for another := swapping(t, 1000); another(swaps); swaps++ {
		i := swaps
		if err := p.Resize(t.Context(), autotune.Size{Max: budget - 2*(i%2), Min: i % 3}); err != nil {
			t.Fatalf("swap %d: %v", i, err)
		}
	}
	took := time.Since(start)
	work.audit(t, watcher)
	wall.check(t, p, budget)
	s := settled(t, p)
	t.Logf("%d swaps in %s (%s each), %d connections opened, %d acquires, %d of them waited", s.Swaps, took.Round(time.Millisecond), (took / time.Duration(swaps)).Round(10*time.Microsecond), s.Connects, s.Arrivals, s.Waited)
	if s.Swaps < int64(swaps)-1 { // the first asks for what there is
		t.Errorf("%d swaps of %d took place", s.Swaps, swaps)
	}
	closes(t, p)
	eventually(t, func() string {
		if n := backends(t, watcher, app); n != 0 {
			return fmt.Sprintf("%d backends after Close", n)
		}
		return ""
	})
}

// A LISTENer and a long transaction pin the generations they came from.
func TestSwapsLeavePinnedConnectionsAlone(t *testing.T) {
	for name, change := range map[string]func(*autotune.Config){"manual": func(*autotune.Config) {}, "controlled": live} {
		t.Run(name, func(t *testing.T) {
			const budget, app = 8, "pinned"
			leakFree(t)
			dsn, super, _ := role(t, fmt.Sprint("connection limit ", budget+1)) // one for the controller
			var wall wall
			p := open(t, with(dsn, "application_name", app), budget, change, wall.trace, func(c *autotune.Config) { c.DrainTimeout = 20 * time.Millisecond })
			watcher := admin(t, super)
			work := startClerks(t, p, 32)
			wall.watch(t, super, app)

			listener, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, listener, "listen news")
			t.Cleanup(listener.Release)
			long, err := p.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = long.Rollback(context.Background()) })
			mustExec(t, long, "create temp table mine on commit drop as select 42 as answer")

			another := swapping(t, 100)
			for i := 0; another(i); i++ {
				if err := p.Resize(within(t), autotune.Size{Max: budget - 3*(i%2)}); err != nil {
					t.Fatalf("swap %d: %v", i, err)
				}
				if i%10 == 0 {
					said := fmt.Sprint("swap ", i)
					mustExec(t, watcher, "select pg_notify('news', $1)", said)
					n, err := listener.Conn().WaitForNotification(within(t))
					if err != nil || n.Payload != said {
						t.Fatalf("the listener got %+v, %v", n, err)
					}
				}
			}
			var answer int
			if err := long.QueryRow(t.Context(), "select answer from mine").Scan(&answer); err != nil || answer != 42 {
				t.Errorf("the long transaction: %d, %v", answer, err)
			}
			if err := long.Commit(t.Context()); err != nil {
				t.Errorf("the long transaction: %v", err)
			}
			mustExec(t, listener, "unlisten *")
			listener.Release()
			work.audit(t, watcher)
			wall.check(t, p, budget)
			settled(t, p)
		})
	}
}

// A caller that dials a server which does not answer is inside the generation
// that was replaced, for as long as its own context allows.
func TestAResizeEndsWithItsContextAlthoughACallerOfTheLastOneStillDials(t *testing.T) {
	leakFree(t)
	answer := make(chan struct{})
	var hang atomic.Bool
	p := open(t, pgtest.DSN(t), 3, func(c *autotune.Config) {
		c.DrainTimeout = time.Millisecond
		dial := c.Pool.ConnConfig.DialFunc
		c.Pool.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if hang.CompareAndSwap(true, false) {
				<-answer
			}
			return dial(ctx, network, addr)
		}
	})
	hang.Store(true)
	dialled := make(chan error, 1)
	go func() { dialled <- p.Ping(context.Background()) }()
	eventually(t, func() string {
		if hang.Load() {
			return "nobody dials"
		}
		return ""
	})
	if err := p.Resize(within(t), autotune.Size{Max: 2}); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Resize(short, autotune.Size{Max: 1}) }()
	select {
	case err := <-done:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Resize: %v", err)
		}
	case <-time.After(patience):
		t.Error("Resize goes on although its context is over")
	}
	close(answer)
	if err := <-dialled; err != nil {
		t.Errorf("the caller that dialled: %v", err)
	}
	settled(t, p)
}
