package autotune_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// calls counts by name; it is safe for concurrent use.
type calls struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *calls) note(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[name]++
}

func (c *calls) of(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}

func TestHooksOfTheUserKeepWorkingOverASwap(t *testing.T) {
	leakFree(t)
	var c calls
	p := open(t, pgtest.DSN(t), 2, func(cfg *autotune.Config) {
		cfg.Pool.BeforeConnect = func(_ context.Context, cc *pgx.ConnConfig) error {
			c.note("BeforeConnect")
			cc.RuntimeParams["application_name"] = "hooked"
			return nil
		}
		cfg.Pool.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			c.note("AfterConnect")
			_, err := conn.Exec(ctx, "set timezone to 'Asia/Tokyo'")
			return err
		}
		cfg.Pool.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { c.note("PrepareConn"); return true, nil }
		cfg.Pool.AfterRelease = func(*pgx.Conn) bool { c.note("AfterRelease"); return true }
		cfg.Pool.BeforeClose = func(conn *pgx.Conn) {
			c.note("BeforeClose")
			if conn.IsClosed() {
				t.Error("BeforeClose got a connection that was closed")
			}
		}
		cfg.Pool.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { c.note("ShouldPing"); return true }
	})
	for i := range 3 {
		var zone, app string
		if err := p.QueryRow(within(t), "select current_setting('timezone'), current_setting('application_name')").Scan(&zone, &app); err != nil || zone != "Asia/Tokyo" || app != "hooked" {
			t.Errorf("time zone %q, application name %q, %v", zone, app, err)
		}
		for _, name := range []string{"BeforeConnect", "AfterConnect", "PrepareConn", "AfterRelease", "ShouldPing"} {
			eventually(t, func() string {
				if c.of(name) <= i {
					return fmt.Sprintf("%s was called %d times after %d swaps", name, c.of(name), i)
				}
				return ""
			})
		}
		if err := p.Resize(within(t), autotune.Size{Max: 1 + i%2}); err != nil {
			t.Fatal(err)
		}
	}
	closes(t, p)
	if opened, closed := c.of("AfterConnect"), c.of("BeforeClose"); opened != closed {
		t.Errorf("AfterConnect was called %d times and BeforeClose %d times", opened, closed)
	}
}

func TestAHookThatTurnsAConnectionDownGetsItReplaced(t *testing.T) {
	leakFree(t)
	var reject sync.Map // of "PrepareConn", "AfterRelease"
	once := func(name string) bool { _, was := reject.LoadAndDelete(name); return !was }
	mine := errors.New("mine")
	p := open(t, pgtest.DSN(t), 1, func(cfg *autotune.Config) {
		cfg.Pool.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) {
			if !once("error") {
				return true, mine
			}
			return once("PrepareConn"), nil
		}
		cfg.Pool.AfterRelease = func(*pgx.Conn) bool { return once("AfterRelease") }
	})
	pid := func() (pid int) {
		if err := p.QueryRow(within(t), "select pg_backend_pid()").Scan(&pid); err != nil {
			t.Error(err)
		}
		return pid
	}
	last := pid()
	if now := pid(); now != last {
		t.Errorf("without a reason backend %d was replaced by %d", last, now)
	}
	for _, name := range []string{"PrepareConn", "AfterRelease"} {
		reject.Store(name, true)
		first, second := pid(), pid()
		if second == last {
			t.Errorf("%s turned backend %d down, and it was given out again (%d, %d)", name, last, first, second)
		}
		last = second
	}
	reject.Store("error", true)
	if err := p.Ping(within(t)); !errors.Is(err, mine) {
		t.Errorf("the hook's error became %v", err)
	}
	if now := pid(); now != last {
		t.Errorf("backend %d was replaced by %d although the hook kept it", last, now)
	}
	if s := settled(t, p); s.Failed != 1 {
		t.Errorf("%d acquires failed, not 1", s.Failed)
	}
}

// pgxpool tries as often as it has connections, and once more; so does who waits for the
// budget between two tries.
func TestAHookThatTurnsEveryConnectionDownEndsTheAcquire(t *testing.T) {
	for name, hook := range map[string]func(*pgxpool.Config, func() bool){
		"PrepareConn": func(c *pgxpool.Config, good func() bool) {
			c.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { return good(), nil }
		},
		"BeforeAcquire": func(c *pgxpool.Config, good func() bool) {
			//lint:ignore SA1019 of users that have not moved on
			c.BeforeAcquire = func(context.Context, *pgx.Conn) bool { return good() }
		},
	} {
		for _, size := range []int{1, 2, 4} {
			t.Run(fmt.Sprintf("%s of %d", name, size), func(t *testing.T) {
				leakFree(t)
				var tried atomic.Int64
				var mended atomic.Bool
				p := open(t, pgtest.DSN(t), size, func(c *autotune.Config) {
					hook(c.Pool, func() bool { tried.Add(1); return mended.Load() })
				})
				db := autotune.OpenDB(p)
				defer db.Close()
				for way, acquire := range map[string]func(context.Context) error{"Ping": p.Ping, "database/sql": db.PingContext} {
					before := tried.Load()
					err := acquire(within(t))
					if err == nil || !strings.Contains(err.Error(), "likely bug in PrepareConn") {
						t.Errorf("%s: %v", way, err)
					}
					if n := tried.Load() - before; n < int64(size)+1 || n > 3*int64(size+1) {
						t.Errorf("%s: %d connections were opened and turned down, of a pool of %d", way, n, size)
					}
				}
				mended.Store(true)
				hold(t, p, size)()
				settled(t, p)
			})
		}
	}
}

// A connection is announced when it is given back, and becomes idle only when
// the hook is through. With the budget used up nobody may miss it.
func TestASlowReleaseHookStrandsNobodyWhenTheBudgetIsUsedUp(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 3, func(cfg *autotune.Config) {
		cfg.DrainTimeout = time.Millisecond
		cfg.Pool.AfterRelease = func(*pgx.Conn) bool { time.Sleep(5 * time.Millisecond); return true } // the hook is slow: no wait of the test
	})
	pinned := hold(t, p, 1) // of the first generation: the next has two of three connections
	defer pinned()
	if err := p.Resize(within(t), autotune.Size{Max: 3, Min: 1}); err != nil {
		t.Fatal(err)
	}
	hold(t, p, 2)()
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 20 {
				if err := p.Ping(within(t)); err != nil {
					t.Errorf("a caller was stranded: %v", err)
					return
				}
			}
		})
	}
	callers.Wait()
}

// tracer implements every tracer there is.
type tracer struct {
	calls
	acquires []time.Duration // guarded by mu
}

type startKey struct{}

func (c *tracer) start(ctx context.Context, name string) context.Context {
	c.note(name)
	return context.WithValue(ctx, startKey{}, time.Now())
}
func (c *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return c.start(ctx, "query")
}
func (c *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {
	c.note("query end")
}
func (c *tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return c.start(ctx, "batch")
}
func (c *tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {
	c.note("batch query")
}
func (c *tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {
	c.note("batch end")
}
func (c *tracer) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	return c.start(ctx, "copy")
}
func (c *tracer) TraceCopyFromEnd(context.Context, *pgx.Conn, pgx.TraceCopyFromEndData) {
	c.note("copy end")
}
func (c *tracer) TracePrepareStart(ctx context.Context, _ *pgx.Conn, _ pgx.TracePrepareStartData) context.Context {
	return c.start(ctx, "prepare")
}
func (c *tracer) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {
	c.note("prepare end")
}
func (c *tracer) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return c.start(ctx, "connect")
}
func (c *tracer) TraceConnectEnd(context.Context, pgx.TraceConnectEndData) { c.note("connect end") }
func (c *tracer) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	return c.start(ctx, "acquire")
}
func (c *tracer) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, data pgxpool.TraceAcquireEndData) {
	if data.Conn == nil && data.Err == nil {
		c.note("acquire end without a result")
	}
	c.note("acquire end")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acquires = append(c.acquires, time.Since(ctx.Value(startKey{}).(time.Time)))
}
func (c *tracer) TraceRelease(*pgxpool.Pool, pgxpool.TraceReleaseData) { c.note("release") }

func TestTracersOfTheUserSeeWhatPgxpoolWouldShowThem(t *testing.T) {
	leakFree(t)
	c := &tracer{}
	p := open(t, pgtest.DSN(t), 1, func(cfg *autotune.Config) { cfg.Pool.ConnConfig.Tracer = c })
	ctx := within(t)
	mustExec(t, p, "create table n (i int)")
	var one int
	if err := p.QueryRow(ctx, "select $1::int", 1).Scan(&one); err != nil {
		t.Fatal(err)
	}
	b := &pgx.Batch{}
	b.Queue("select 1")
	if err := p.SendBatch(ctx, b).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.CopyFrom(ctx, pgx.Identifier{"n"}, []string{"i"}, pgx.CopyFromRows([][]any{{1}})); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"query", "query end", "batch", "batch query", "batch end", "copy", "copy end", "prepare", "prepare end", "connect", "connect end"} {
		if c.of(name) == 0 {
			t.Errorf("the tracer saw no %s", name)
		}
	}
	db := autotune.OpenDB(p) // and in database/sql
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"acquire", "acquire end", "release"} {
		if n := c.of(name); n != 5 {
			t.Errorf("the tracer saw %d of 5: %s", n, name)
		}
	}

	const held = 50 * time.Millisecond
	release := hold(t, p, 1)
	time.AfterFunc(held, release)
	hold(t, p, 1)()
	if took := c.acquires[len(c.acquires)-1]; took < held/2 {
		t.Errorf("the tracer saw an acquire of %s, although the caller queued for %s", took, held)
	}
	if c.of("acquire end without a result") > 0 {
		t.Error("an acquire ended with neither connection nor error")
	}
}

// Connections that the pool opens ahead of its callers are nobody's acquire.
func TestTracersOfTheUserSeeNoReleaseWithoutAnAcquire(t *testing.T) {
	leakFree(t)
	c := &tracer{}
	p := open(t, pgtest.DSN(t), 3, func(cfg *autotune.Config) { cfg.Pool.ConnConfig.Tracer, cfg.Pool.MinConns = c, 3 })
	for _, max := range []int{3, 2, 3} {
		if err := p.Resize(within(t), autotune.Size{Max: max, Min: max}); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() string {
			if n := p.Stat().IdleConns(); int(n) < max {
				return fmt.Sprintf("%d of %d are open", n, max)
			}
			return ""
		})
	}
	hold(t, p, 2)()
	settled(t, p)
	if acquires, releases := c.of("acquire end"), c.of("release"); acquires != 2 || releases != 2 {
		t.Errorf("the tracer saw %d acquires and %d releases instead of 2 and 2", acquires, releases)
	}
}

// A hook that adds a tracer to each connection, as a library for tracing does.
func TestAHookBeforeTheConnectMaySetTheTracer(t *testing.T) {
	leakFree(t)
	c := &tracer{}
	p := open(t, pgtest.DSN(t), 2, func(cfg *autotune.Config) {
		cfg.Pool.BeforeConnect = func(_ context.Context, cc *pgx.ConnConfig) error { cc.Tracer = c; return nil }
	})
	hold(t, p, 2)()
	if s := settled(t, p); s.Open != 2 || s.Connects != 2 {
		t.Errorf("the budget counts %d connections and the ledger %d instead of 2", s.Open, s.Connects)
	}
	mustExec(t, p, "select 1")
	if c.of("connect") != 2 || c.of("query") == 0 {
		t.Errorf("the tracer of the hook saw %d connects instead of 2, and %d queries", c.of("connect"), c.of("query"))
	}
}
