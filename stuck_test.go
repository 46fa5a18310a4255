package autotune_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

type tenant struct{}

// A hook that prepares connections for callers may want what only their contexts
// have. The pool's own acquires have no caller.
func TestHooksThatNeedTheCallersContextSeeCallersOnly(t *testing.T) {
	for name, hook := range map[string]func(*autotune.Config){
		"PrepareConn": func(c *autotune.Config) {
			c.Pool.PrepareConn = func(ctx context.Context, _ *pgx.Conn) (bool, error) {
				if ctx.Value(tenant{}) == nil {
					return true, errors.New("no tenant")
				}
				return true, nil
			}
		},
		"PrepareConn that panics": func(c *autotune.Config) {
			c.Pool.PrepareConn = func(ctx context.Context, _ *pgx.Conn) (bool, error) {
				return ctx.Value(tenant{}).(bool), nil
			}
		},
		"ShouldPing that panics": func(c *autotune.Config) {
			c.Pool.ShouldPing = func(ctx context.Context, _ pgxpool.ShouldPingParams) bool {
				return ctx.Value(tenant{}).(bool)
			}
		},
		"BeforeAcquire": func(c *autotune.Config) {
			//lint:ignore SA1019 of users that have not moved on
			c.Pool.BeforeAcquire = func(ctx context.Context, _ *pgx.Conn) bool { return ctx.Value(tenant{}) != nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			leakFree(t)
			p := open(t, with(pgtest.DSN(t), "pool_min_conns", "2"), 3, hook)
			eventually(t, func() string {
				if n := p.Stat().TotalConns(); n != 2 {
					return "not two connections"
				}
				return ""
			})
			caller := context.WithValue(within(t), tenant{}, true)
			for size := 3; size > 0; size-- {
				var all []func()
				for range size { // the budget is used up
					c, err := p.Acquire(caller)
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, c.Release)
				}
				for _, release := range all {
					release()
				}
				if err := p.Resize(within(t), autotune.Size{Max: size, Min: 1}); err != nil {
					t.Fatal(err)
				}
			}
			if s := p.Snapshot(); s.SwapsFailed > 0 {
				t.Errorf("%d swaps failed", s.SwapsFailed)
			}
			if name == "PrepareConn" {
				if err := p.Ping(within(t)); err == nil {
					t.Error("a caller without a tenant was served")
				}
			}
		})
	}
}

// What one hook takes when a caller gets a connection, the other gives when it comes back.
func TestPairedHooksStayPairs(t *testing.T) {
	leakFree(t)
	var taken atomic.Int64
	p := open(t, with(pgtest.DSN(t), "pool_min_conns", "2"), 3, func(c *autotune.Config) {
		c.Pool.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { taken.Add(1); return true, nil }
		c.Pool.AfterRelease = func(*pgx.Conn) bool {
			if taken.Add(-1) < 0 {
				t.Error("a connection came back that no caller got")
			}
			return true
		}
	})
	for size := range 3 {
		hold(t, p, 2-size/2)()
		if err := p.Resize(within(t), autotune.Size{Max: 2 - size/2, Min: 1}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() string {
		if n := taken.Load(); n != 0 {
			return "not all came back"
		}
		return ""
	})
}

// Servers of HTTP catch a handler's panic and go on, and so must the pool.
func TestAPanicInAnAcquireCostsNoPermitAndNoSwap(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 3, func(c *autotune.Config) {
		c.DrainTimeout, c.SwapTimeout = time.Millisecond, time.Second
	})
	panics := func(f func()) {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		f()
	}
	for range 3 {
		//lint:ignore SA1012 what a caller may do
		panics(func() { _, _ = p.Acquire(nil) })
	}
	hold(t, p, 3)()
	if s := p.Snapshot(); s.InUse != 0 || s.Failed != 3 {
		t.Errorf("%d in use, %d failed", s.InUse, s.Failed)
	}
	for size := 3; size > 0; size-- {
		if err := p.Resize(within(t), autotune.Size{Max: size}); err != nil {
			t.Fatal(err)
		}
	}
}

// spans is a tracer of acquires alone, which takes any context.
type spans struct {
	*tracer
	began, ended int
}

func (s *spans) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	s.began++
	return ctx
}
func (s *spans) TraceAcquireEnd(context.Context, *pgxpool.Pool, pgxpool.TraceAcquireEndData) {
	s.ended++
}

// What began has to end, or whoever draws the spans waits for good.
func TestTracersOfTheUserSeeTheEndOfAnAcquireThatPanics(t *testing.T) {
	leakFree(t)
	s := &spans{tracer: &tracer{}}
	p := open(t, pgtest.DSN(t), 1, func(c *autotune.Config) { c.Pool.ConnConfig.Tracer = s })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		//lint:ignore SA1012 what a caller may do
		_, _ = p.Acquire(nil)
	}()
	if s.began != 1 || s.ended != 1 {
		t.Errorf("the tracer saw %d acquires begin and %d end instead of 1 and 1", s.began, s.ended)
	}
}

// A goodbye that hangs holds up its own connection, and nobody else.
func TestABeforeCloseThatHangsStopsNoSwapForLong(t *testing.T) {
	leakFree(t)
	goodbye := make(chan struct{})
	p := open(t, pgtest.DSN(t), 2, func(c *autotune.Config) {
		c.SwapTimeout = 200 * time.Millisecond
		c.Pool.BeforeClose = func(*pgx.Conn) { <-goodbye }
	})
	hold(t, p, 2)()
	resized := make(chan error, 1)
	go func() { resized <- p.Resize(context.Background(), autotune.Size{Max: 1, Min: 1}) }()
	select {
	case err := <-resized:
		t.Logf("Resize: %v", err)
	case <-time.After(patience):
		t.Error("Resize waits for the goodbye")
	}
	hold(t, p, 1)()
	close(goodbye)
	settled(t, p)
}

// One caller may hang inside the generation that was replaced, for as long as its own
// context allows: in a hook, in a ping, in a dial.
func TestACallerThatHangsInAReplacedGenerationKeepsNothingFromTheNext(t *testing.T) {
	leakFree(t)
	answer, hangs := make(chan struct{}), make(chan struct{})
	p := open(t, pgtest.DSN(t), 3, func(c *autotune.Config) {
		c.DrainTimeout, c.SwapTimeout = time.Millisecond, 2*time.Second
		c.Pool.PrepareConn = func(ctx context.Context, _ *pgx.Conn) (bool, error) {
			if ctx.Value(tenant{}) != nil {
				close(hangs)
				<-answer
			}
			return true, nil
		}
	})
	hold(t, p, 3)()
	hung := make(chan error, 1)
	go func() { hung <- p.Ping(context.WithValue(context.Background(), tenant{}, true)) }()
	<-hangs
	if err := p.Resize(within(t), autotune.Size{Max: 3, Min: 1}); err != nil {
		t.Fatal(err)
	}
	hold(t, p, 2)() // all but that one
	if err := p.Resize(context.Background(), autotune.Size{Max: 2}); err == nil {
		t.Error("a second resize did not say that the first has not ended")
	}
	p.SetLimit(2)
	hold(t, p, 1)()
	close(answer)
	if err := <-hung; err != nil {
		t.Errorf("the caller that hung: %v", err)
	}
	if err := p.Resize(within(t), autotune.Size{Max: 2}); err != nil {
		t.Error(err)
	}
	settled(t, p)
}

// Like pgxpool's, Close turns away who still connects.
func TestCloseDoesNotWaitForADialThatHangs(t *testing.T) {
	leakFree(t)
	var dialling atomic.Bool
	p := open(t, pgtest.DSN(t), 2, func(c *autotune.Config) {
		c.Pool.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
			dialling.Store(true)
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	turned := make(chan error, 1)
	go func() { turned <- p.Ping(context.Background()) }()
	eventually(t, func() string {
		if !dialling.Load() {
			return "nobody dials"
		}
		return ""
	})
	closes(t, p)
	if err := <-turned; err == nil {
		t.Error("a server that is not there answered")
	}
}

// Nor for a resize under way, which may take as long as SwapTimeout, nor for who queues
// behind it.
func TestCloseEndsAResize(t *testing.T) {
	leakFree(t)
	var dialling atomic.Bool
	p := open(t, pgtest.DSN(t), 2, func(c *autotune.Config) { c.Budget, c.SwapTimeout = 4, 3*patience })
	hold(t, p, 1)()
	resized := make(chan error, 2)
	go func() {
		resized <- p.Reconfigure(context.Background(), func(c *pgxpool.Config) error {
			c.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
				dialling.Store(true)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil
		})
	}()
	eventually(t, func() string {
		if !dialling.Load() {
			return "nobody dials"
		}
		return ""
	})
	go func() { resized <- p.Resize(context.Background(), autotune.Size{Max: 1}) }()
	closes(t, p)
	for range 2 {
		if err := <-resized; err == nil || !strings.Contains(err.Error(), "the pool is closed") {
			t.Errorf("a resize of a pool that was closed meanwhile: %v", err)
		}
	}
}
