package autotune_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestAHijackedConnectionGivesItsPermitBack(t *testing.T) {
	leakFree(t)
	dsn := pgtest.DSN(t)
	p := open(t, dsn, 1, func(c *autotune.Config) { c.Budget = 5 })
	ctx := within(t)
	for range 3 {
		start := time.Now()
		c, err := p.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the permit of the hijacked connection came back after %s", took)
		}
		own := c.Hijack()
		if err := own.Ping(ctx); err != nil {
			t.Errorf("the hijacked connection: %v", err)
		}
		defer own.Close(ctx)
	}
	if s := p.Stat(); s.AcquiredConns() != 0 || s.TotalConns() != 0 {
		t.Errorf("after three were hijacked, %d acquired and %d in total", s.AcquiredConns(), s.TotalConns())
	}
	if err := p.Resize(ctx, autotune.Size{Max: 2}); err != nil {
		t.Errorf("a swap among hijacked connections: %v", err)
	}
}

func TestAcquireAllIdleTakesTheIdleOnesAndGivesThemBack(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 3)
	ctx := within(t)
	hold(t, p, 3)()
	eventually(t, func() string {
		if s := p.Stat(); s.IdleConns() != 3 {
			return fmt.Sprintf("%d idle", s.IdleConns())
		}
		return ""
	})
	all := p.AcquireAllIdle(ctx)
	if s := p.Snapshot(); len(all) != 3 || s.InUse != 3 || s.Idle != 0 {
		t.Errorf("%d acquired; %d in use, %d idle", len(all), s.InUse, s.Idle)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := p.Acquire(short); err == nil {
		t.Error("a fourth of three connections was given out")
	}
	for _, c := range all {
		c.Release()
	}
	settled(t, p)
}

// hold acquires n connections and returns how to give them back.
func hold(t testing.TB, p interface {
	Acquire(context.Context) (*pgxpool.Conn, error)
}, n int) (release func()) {
	t.Helper()
	conns := make([]*pgxpool.Conn, n)
	for i := range conns {
		c, err := p.Acquire(within(t))
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c
	}
	return func() {
		for _, c := range conns {
			c.Release()
		}
	}
}

func TestResetReplacesEveryConnection(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 2)
	ctx := within(t)
	pid := func() (pid int) {
		if err := p.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	before := pid()
	if again := pid(); again != before {
		t.Fatalf("backend %d, then %d, although nothing was reset", before, again)
	}
	held, err := p.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p.Reset()
	if err := held.Ping(ctx); err != nil {
		t.Errorf("Reset cut a connection in use: %v", err)
	}
	held.Release()
	if after := pid(); after == before {
		t.Error("the connection of before the Reset was given out")
	}
}

// hangs is a journal on a file system that does not answer.
type hangs struct{ reached, answer chan struct{} }

func (h hangs) Write(line []byte) (int, error) {
	select {
	case h.reached <- struct{}{}:
	default:
	}
	<-h.answer
	return len(line), nil
}

func TestAJournalThatHangsKeepsNobodyWaiting(t *testing.T) {
	leakFree(t)
	journal := hangs{make(chan struct{}, 1), make(chan struct{})}
	answer := sync.OnceFunc(func() { close(journal.answer) })
	defer answer() // also if the test fails
	p := open(t, pgtest.DSN(t), 2, live, func(c *autotune.Config) { c.Journal = journal })
	<-journal.reached
	soon := func(what string, do func()) {
		t.Helper()
		done := make(chan struct{})
		go func() { defer close(done); do() }()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatalf("%s waits for the journal", what)
		}
	}
	soon("a query", func() {
		if err := p.Ping(within(t)); err != nil {
			t.Error(err)
		}
	})
	soon("Freeze", p.Freeze)
	soon("Resize", func() {
		if err := p.Resize(within(t), autotune.Size{Max: 1}); err != nil {
			t.Error(err)
		}
	})
	soon("Thaw", p.Thaw)
	soon("Snapshot", func() { p.Snapshot() })

	release := hold(t, p, 1)
	turnedAway, closed := make(chan error, 1), make(chan struct{})
	go func() {
		_, err := p.Acquire(context.Background())
		turnedAway <- err
	}()
	queues(t, p, 1)
	go func() { defer close(closed); p.Close() }()
	soon("a caller in the queue of a closed pool", func() {
		if err := <-turnedAway; !errors.Is(err, puddle.ErrClosedPool) {
			t.Errorf("a queued caller got %v", err)
		}
	})
	release()
	answer()
	soon("Close, which the journal answered,", func() { <-closed })
}

func TestCloseTurnsTheQueueAwayAtOnceAndWaitsForTheRest(t *testing.T) {
	for name, change := range map[string]func(*autotune.Config){"manual": func(*autotune.Config) {}, "controlled": live} {
		t.Run(name, func(t *testing.T) {
			leakFree(t)
			p := open(t, pgtest.DSN(t), 1, change)
			release := hold(t, p, 1)
			const callers = 5
			turnedAway := make(chan error, callers)
			for range callers {
				go func() {
					_, err := p.Acquire(context.Background())
					turnedAway <- err
				}()
			}
			queues(t, p, callers)
			closed := make(chan struct{})
			start := time.Now()
			go func() { defer close(closed); p.Close() }()
			for range callers {
				if err := <-turnedAway; !errors.Is(err, puddle.ErrClosedPool) {
					t.Errorf("a queued caller got %v", err)
				}
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("the queue was turned away after %s", took)
			}
			if err := p.Ping(t.Context()); !errors.Is(err, puddle.ErrClosedPool) {
				t.Errorf("after Close: %v", err)
			}
			select {
			case <-closed:
				t.Error("Close did not wait for the connection in use")
			default:
			}
			release()
			select {
			case <-closed:
			case <-time.After(patience):
				t.Fatal("Close did not return")
			}
			p.Close() // once more is fine
			if s := settled(t, p); s.Open != 0 {
				t.Errorf("%d connections are open after Close", s.Open)
			}
			if err := p.Resize(t.Context(), autotune.Size{Max: 1, Min: 1}); err == nil {
				t.Error("a closed pool was resized")
			}
		})
	}
}

// The generation that a connection came from may be gone when it is hijacked,
// and nobody looks at that one any more.
func TestAConnectionHijackedFromAReplacedGenerationGivesItsPermitBack(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 1, func(c *autotune.Config) { c.Budget, c.DrainTimeout = 5, time.Millisecond })
	ctx := within(t)
	for range 3 {
		c, err := p.Acquire(ctx)
		if err != nil {
			t.Fatalf("the permit of the hijacked connection is lost: %v", err)
		}
		size := autotune.Size{Max: 1, Min: 1 - p.Size().Min}
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond) // nobody can move over while the only permit is out
		if err := p.Resize(short, size); err != nil {
			t.Fatal(err)
		}
		cancel()
		own := c.Hijack()
		defer own.Close(ctx)
	}
	settles(t, p)
}

// The owner of a hijacked connection closes it whenever he likes. The race
// detector sees it if that is counted where Close waits for the others.
func TestAHijackedConnectionIsClosedWhileThePoolIs(t *testing.T) {
	leakFree(t)
	for range 10 {
		p := open(t, pgtest.DSN(t), 2)
		c, err := p.Acquire(within(t))
		if err != nil {
			t.Fatal(err)
		}
		own := c.Hijack()
		closed := make(chan struct{})
		go func() { defer close(closed); _ = own.Close(context.Background()) }()
		p.Close()
		<-closed
		eventually(t, func() string {
			if s := p.Snapshot(); s.Open != 0 {
				return fmt.Sprintf("%d are open", s.Open)
			}
			return ""
		})
	}
}

// While min is being opened the limit may fall below it.
func TestWarmingNeverQueuesWithAPermitInHand(t *testing.T) {
	leakFree(t)
	dsn, _, _ := role(t, "")
	for range 10 {
		p := open(t, dsn, 2, func(c *autotune.Config) { c.Pool.MinConns = 2 })
		p.SetLimit(1)
		start := time.Now()
		hold(t, p, 1)()
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("the first caller waited %s for the warming to end", took)
		}
		settles(t, p)
		closes(t, p)
	}
}
