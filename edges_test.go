package autotune

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgautotune/autotune/internal/await"
	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/pgtest"
)

const edgePatience = 20 * time.Second

// taken acquires a connection until the test ends.
func taken(t *testing.T, p *Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), edgePatience)
	defer cancel()
	c, err := p.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Release)
}

// While one connection is slow to open, those that are warm already serve callers.
func TestWarmingLetsGoOfWhatItKeepsWhileAConnectHangs(t *testing.T) {
	hang := make(chan struct{})
	dials := make(chan struct{}, 100)
	p := opened(t, pgtest.DSN(t), func(c *Config) {
		c.Pool.MaxConns, c.Start, c.Ceiling = 4, 4, 4
		c.Pool.MinConns = 4
		c.Pool.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
			dials <- struct{}{}
			if len(dials) == 4 {
				<-hang
			}
			return nil
		}
	})
	defer close(hang)
	await.Until(t, edgePatience, func() string {
		if n := len(dials); n < 4 {
			return "fewer than four connects have begun"
		}
		return ""
	})
	for range 3 { // the three that are open
		taken(t, p)
	}
	if n := len(dials); n != 4 {
		t.Errorf("%d connects instead of 4", n)
	}
}

func TestMinIdleConnsAreOpenedAtTheStartAndByASwap(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) {
		c.Pool.MaxConns, c.Pool.MinIdleConns, c.Start, c.Ceiling = 6, 3, 6, 6
	})
	idle := func() string {
		if s := p.Stat(); s.IdleConns() != 3 || s.TotalConns() != 3 {
			return "not three idle connections"
		}
		return ""
	}
	await.Until(t, edgePatience, idle)
	if err := p.Resize(t.Context(), Size{Max: 5}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, edgePatience, idle)
}

// A dial outlives its caller, so that callers with little time are served at last.
func TestAShortAcquireTimeoutDoesNotBoundTheDialToo(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) { c.AcquireTimeout = 20 * time.Millisecond })
	if got := p.template.Load().ConnConfig.ConnectTimeout; got != leastConnectTimeout {
		t.Errorf("a connect may take %s", got)
	}
}

func TestCountersDoNotFallWhenCallersGiveUp(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) { c.Pool.MaxConns, c.Start, c.Ceiling = 1, 1, 1 })
	taken(t, p)
	before := p.Stat()
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { _, err := p.Acquire(ctx); gone <- err }()
	await.Until(t, edgePatience, func() string {
		if p.Snapshot().WaitTime < 10*time.Millisecond {
			return "nobody has queued for 10 ms"
		}
		return ""
	})
	during := p.Stat()
	health := p.acquireTotals()
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	after := p.Stat()
	for _, s := range []*pgxpool.Stat{during, after} {
		if s.AcquireDuration() != before.AcquireDuration() || s.EmptyAcquireWaitTime() != before.EmptyAcquireWaitTime() {
			t.Errorf("nobody was let in, and %s became %s", before.AcquireDuration(), s.AcquireDuration())
		}
	}
	if wait := p.acquireTotals().wait - health.wait; wait != 0 {
		t.Errorf("the wait of the granted changed by %s", wait)
	}
}

func TestWhatThePoolWarmsIsNotWaitingOfCallers(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) {
		c.Pool.MaxConns, c.Pool.MinConns, c.Start, c.Ceiling = 6, 6, 6, 6
	})
	await.Until(t, edgePatience, func() string {
		if s := p.Stat(); s.IdleConns() != 6 {
			return "not warm"
		}
		return ""
	})
	if waited := p.Snapshot().ConnectTime; waited > time.Millisecond {
		t.Errorf("nobody asked, and callers have waited %s for connects", waited)
	}
}

func TestAResizeWaitsForAnotherOnlyAsLongAsItsContextAllows(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) { c.Pool.MaxConns, c.Start, c.Ceiling = 2, 2, 2 })
	if err := p.swapping.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := p.Resize(ctx, Size{Max: 1})
	during := p.Snapshot().Resizing
	p.swapping.give()
	if after := p.Snapshot().Resizing; !during || after {
		t.Errorf("a snapshot says that a resize is under way: %t while one was, %t afterwards", during, after)
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "another resize") {
		t.Errorf("%v", err)
	}
	if err := p.Resize(t.Context(), Size{Max: 1}); err != nil {
		t.Error(err)
	}
}

func TestTheLastMinuteIsAMinuteHoweverOftenItIsLookedAt(t *testing.T) {
	now := time.Now()
	for _, every := range []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second, time.Minute} {
		var r recent
		asked := int64(0)
		for at := time.Duration(0); at <= 10*time.Minute; at += every {
			r.add(now.Add(at), acquireTotals{asked: asked})
			asked += int64(every / time.Millisecond) // one a millisecond
		}
		got := time.Duration(r.since(now.Add(10*time.Minute), acquireTotals{asked: asked}).asked) * time.Millisecond
		if got < time.Minute || got > time.Minute+2*max(every, time.Second) {
			t.Errorf("looked at every %s, the last minute has %s", every, got)
		}
	}
}

func TestDatabaseSQLMeetsTheAcquireTimeoutToo(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) {
		c.Pool.MaxConns, c.Start, c.Ceiling, c.AcquireTimeout = 1, 1, 1, 500*time.Millisecond
	})
	taken(t, p)
	db := OpenDB(p)
	defer db.Close()
	if err := db.PingContext(t.Context()); !errors.Is(err, ErrAcquireTimeout) {
		t.Errorf("%v", err)
	}
}

// What the budget has refused stays refused for this attempt: its fallback, without TLS
// or to a standby, is for a server that cannot be reached otherwise.
func TestAnAttemptRefusedByTheBudgetDoesNotFallBack(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) { c.Pool.MaxConns, c.Start, c.Ceiling, c.Budget = 1, 1, 1, 1 })
	if err := p.Ping(t.Context()); err != nil { // the only token
		t.Fatal(err)
	}
	cc := p.Config().ConnConfig
	p.guardDial(p.routes.Load().current, cc)
	ctx := context.WithValue(t.Context(), connecting{}, true)
	if _, err := cc.DialFunc(ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, errNoBudget) {
		t.Fatalf("without a token: %v", err)
	}
	p.Reset()
	await.Until(t, edgePatience, func() string {
		if !p.budget.hasRoom() {
			return "the token is not back"
		}
		return ""
	})
	if _, err := cc.DialFunc(ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, errNoBudget) {
		t.Errorf("the fallback of a refused attempt: %v", err)
	}
}

func TestAConnectionHeldForAMinuteIsPinned(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) { c.Pool.MaxConns, c.Start, c.Ceiling = 2, 2, 2 })
	taken(t, p)
	if err := p.Ping(t.Context()); err != nil { // on the other one
		t.Fatal(err)
	}
	c, err := p.Acquire(t.Context()) // and one whose new owner closes it
	if err != nil {
		t.Fatal(err)
	}
	own := c.Hijack()
	if err := own.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]int64{controller.PinnedAfter - 10*time.Second: 0, controller.PinnedAfter + time.Second: 1} {
		if t2, _ := p.ledger.totals(p.now() + int64(after)); t2.pinned != want || t2.held != 2 || t2.orphans != 1 {
			t.Errorf("after %s: %d pinned and %d closed of %d held, want %d and 1 of 2", after, t2.pinned, t2.orphans, t2.held, want)
		}
	}
}

// Another process of the service looks like ourselves to the server. It takes room all
// the same.
func TestOtherProcessesOfTheServiceTakeRoomOnTheServer(t *testing.T) {
	dsn := pgtest.DSN(t)
	sibling := opened(t, dsn, func(c *Config) { c.Pool.MaxConns, c.Start, c.Ceiling = 3, 3, 3 })
	for range 3 {
		taken(t, sibling)
	}
	p := opened(t, dsn, func(c *Config) {
		c.Pool.MaxConns, c.Start, c.Ceiling, c.Manual, c.Interval = 2, 2, 2, false, 100*time.Millisecond
	})
	await.Until(t, edgePatience, func() string {
		if err := p.Ping(t.Context()); err != nil {
			return err.Error()
		}
		w := p.tuner.telemetry.known()
		s := w.server()
		if s == nil {
			return "the server is out of sight"
		}
		if beside := s.Others - w.activity.Others.Total(); beside != 3 {
			return fmt.Sprintf("%d connections of siblings instead of 3", beside)
		}
		return ""
	})
}

// Who looks once a minute sees what the look before asked for.
func TestALongIntervalIsNotBlindness(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) { c.Interval = time.Minute })
	eyes := p.tuner.telemetry
	for age, blind := range map[time.Duration]bool{time.Minute: false, 3 * time.Minute: true} {
		eyes.mu.Lock()
		eyes.busy, eyes.seen.activityAt = true, time.Now().Add(-age) // nothing newer comes meanwhile
		eyes.mu.Unlock()
		if w := eyes.refresh(t.Context(), false); w.activityAt.IsZero() != blind {
			t.Errorf("after %s: blind %t", age, w.activityAt.IsZero())
		}
	}
}
