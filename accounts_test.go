package autotune

import (
	"context"
	"fmt"
	"math"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgautotune/autotune/internal/await"
	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// clockwork is a socket in a pool whose clock is set by hand.
func clockwork() (s *socket, l *ledger, tick func(time.Duration)) {
	p := &Pool{epoch: time.Now()}
	p.gate = newGate(1, p.now)
	s, l = &socket{pool: p}, &ledger{}
	l.add(s)
	return s, l, func(d time.Duration) { p.epoch = p.epoch.Add(-d) }
}

// Of holds that follow a very short one the time is not taken; they are counted as long
// as the next, which may be a long one.
func TestShortHoldsAreNoLongerThanTheTimeTheyHad(t *testing.T) {
	var l *ledger
	var got serviceTotals
	for range 20 { // on a busy machine one of them may be no short one
		s, books, tick := clockwork()
		for range shortEvery {
			s.hold()
			s.giveBack()
		}
		s.hold()
		tick(10 * time.Minute)
		s.giveBack()
		l = books
		if got, _ = l.totals(s.pool.now()); got.service >= 10*time.Minute {
			break
		}
	}
	if got.completed != shortEvery+1 || got.service < 10*time.Minute || got.service > 10*time.Minute+time.Second || got.inUse != got.service {
		t.Errorf("%d holds of %s in all (in use %s), of which one took ten minutes and the rest nothing", got.completed, got.service, got.inUse)
	}
	if sq := 600.0 * 600; math.Abs(got.serviceSq-sq) > 0.01*sq {
		t.Errorf("the sum of squares is %.0f s², want %.0f", got.serviceSq, sq)
	}
	if h := l.services(); h.total() != got.completed {
		t.Errorf("%d in the distribution of %d", h.total(), got.completed)
	}
}

// A hold that nobody took the time of, because the one before was short, is seen to last.
func TestALongHoldAfterAShortOneIsSeen(t *testing.T) {
	s, l, tick := clockwork()
	for range 3 {
		s.hold()
		s.giveBack()
	}
	s.hold() // a LISTEN, for one
	before, _ := l.totals(s.pool.now())
	tick(2 * controller.PinnedAfter)
	after, _ := l.totals(s.pool.now())
	if grown := after.inUse - before.inUse; after.held != 1 || after.pinned != 1 || grown < 2*controller.PinnedAfter || grown > 2*controller.PinnedAfter+time.Second {
		t.Errorf("in use grew by %s, %d held, %d of them pinned", grown, after.held, after.pinned)
	}
	if after.completed != before.completed {
		t.Errorf("%d completed, then %d, and nothing was given back", before.completed, after.completed)
	}
	s.giveBack()
	end, _ := l.totals(s.pool.now())
	if h := l.services(); end.completed != 4 || h.total() != 4 || end.inUse < after.inUse {
		t.Errorf("%d completed, %d in the distribution, in use %s after %s", end.completed, h.total(), end.inUse, after.inUse)
	}
}

// Short holds go on and on between two looks, and none of them lasts.
func TestShortHoldsAtEveryLookAreNotTakenForOneThatLasts(t *testing.T) {
	s, l, tick := clockwork()
	for range 1000 {
		for range 2*shortEvery + 1 {
			s.hold()
			s.giveBack()
		}
		s.hold()
		l.totals(s.pool.now())
		s.giveBack()
		tick(time.Second)
	}
	if got, _ := l.totals(s.pool.now()); got.service > time.Second {
		t.Errorf("%d holds of next to nothing took %s", got.completed, got.service)
	}
}

// A look at the books may give a hold its beginning in the moment in which it ends.
func TestAHoldThatEndsUnderALookCountsOnce(t *testing.T) {
	s, l, _ := clockwork()
	over := make(chan struct{})
	var looks sync.WaitGroup
	looks.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				l.totals(s.pool.now())
			}
		}
	})
	holds := int64(0)
	for end := time.Now().Add(time.Second); time.Now().Before(end); holds++ {
		s.hold()
		for range holds % 300 { // so that a look falls into each part of it
			runtime.KeepAlive(s)
		}
		s.giveBack()
	}
	close(over)
	looks.Wait()
	if got, _ := l.totals(s.pool.now()); got.completed != holds {
		t.Errorf("%d completions of %d holds", got.completed, holds)
	}
}

// slowDials makes connections take so long to open, and tells when one begins.
func slowDials(c *Config, takes time.Duration) {
	dial := c.Pool.ConnConfig.DialFunc
	c.Pool.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		t := time.NewTimer(takes)
		defer t.Stop()
		select {
		case <-t.C:
			return dial(ctx, network, address)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Who has a permit and waits for a connection to be opened has arrived.
func TestArrivalsNeverFall(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) {
		c.Pool.MaxConns, c.Start, c.Ceiling = 20, 20, 20
		slowDials(c, 200*time.Millisecond)
	})
	p.SetLimit(1)
	c, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release := sync.OnceFunc(c.Release)
	t.Cleanup(release) // or a failure would wait for it for ever
	var wg sync.WaitGroup
	for range 19 {
		wg.Go(func() { _ = p.Ping(t.Context()) })
	}
	await.Until(t, edgePatience, func() string {
		if n := p.Snapshot().Queued; n < 19 {
			return fmt.Sprintf("%d callers queue", n)
		}
		return ""
	})
	p.SetLimit(20)
	before := int64(0)
	for p.Snapshot().Completions < 15 {
		var now int64
		// Some are on their way from one part of the pool to the next, but not for as
		// long as a connection takes to open.
		await.Until(t, 100*time.Millisecond, func() string {
			if now = p.Snapshot().Arrivals; now < before-5 {
				return fmt.Sprintf("%d had arrived, and now %d", before, now)
			}
			return ""
		})
		before = max(before, now)
	}
	release()
	wg.Wait()
	if s := p.Snapshot(); s.Arrivals != 20 || s.Completions != 20 {
		t.Errorf("%d arrivals and %d completions of 20 callers", s.Arrivals, s.Completions)
	}
}

func TestWarmingIsNobodysDemand(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) {
		c.Profile, c.Workers = ProfileBatch, 16
		slowDials(c, 5*time.Millisecond)
	})
	for p.Stat().TotalConns() < 16 {
		if h := p.Health(t.Context()); h.Utilization > 0 {
			t.Fatalf("nobody has acquired anything, and health is %s: %v", h.Status, h.Reasons)
		}
		if g := p.gate.peek(); g.inUse != 0 || g.peak != 0 {
			t.Fatalf("%d in use, %d at most, by nobody", g.inUse, g.peak)
		}
	}
	await.Until(t, edgePatience, func() string {
		if n := p.gate.own.Load(); n != 0 {
			return fmt.Sprintf("%d permits are kept", n)
		}
		return ""
	})
}

// As in pgxpool, whose statistics it leaves alone.
func TestAcquireAllIdleIsNoDemand(t *testing.T) {
	dsn := pgtest.DSN(t)
	p := opened(t, dsn, func(c *Config) { c.Pool.MaxConns, c.Pool.MinConns, c.Start, c.Ceiling = 8, 5, 8, 8 })
	await.Until(t, edgePatience, func() string {
		if n := p.Stat().IdleConns(); n < 5 || p.gate.own.Load() != 0 {
			return fmt.Sprintf("%d idle connections", n)
		}
		return ""
	})
	if err := p.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.gate.snapshot() // begins a new peak
	before, stat := p.Snapshot(), p.Stat()
	for range 3 {
		conns := p.AcquireAllIdle(t.Context())
		if s := p.Stat(); len(conns) != 5 || s.AcquiredConns() != 5 || s.AcquireCount() != stat.AcquireCount() {
			t.Errorf("%d of 5 idle, %d acquired now, acquires %d after %d", len(conns), s.AcquiredConns(), s.AcquireCount(), stat.AcquireCount())
		}
		for _, c := range conns {
			c.Release()
		}
	}
	await.Until(t, edgePatience, func() string {
		if n := p.Stat().IdleConns(); n != 5 {
			return fmt.Sprintf("%d idle connections", n)
		}
		return ""
	})
	after := p.Snapshot()
	if after.Arrivals != before.Arrivals || after.Completions != before.Completions || after.InUse != 0 || p.gate.peek().peak != 0 {
		t.Errorf("arrivals %d → %d, completions %d → %d, %d in use, peak %d", before.Arrivals, after.Arrivals, before.Completions, after.Completions, after.InUse, p.gate.peek().peak)
	}

	var conn *pgxpool.Conn
	if conns := p.AcquireAllIdle(t.Context()); len(conns) > 0 { // one of them leaves for good
		for _, c := range conns[1:] {
			c.Release()
		}
		conn = conns[0]
	}
	own := conn.Hijack()
	p.reconcileHijacked()
	if g := p.gate.peek(); g.inUse != 0 {
		t.Errorf("%d in use after it was hijacked", g.inUse)
	}
	_ = own.Close(t.Context())
}

func TestChangesAfterAnyNumber(t *testing.T) {
	p := &Pool{tuner: &tuner{}}
	p.tuner.changes.n = 3
	for _, n := range []int64{math.MinInt64, 0, 3, math.MaxInt64} {
		if got, want := len(p.Changes(n)), int(3-min(max(n, 0), 3)); got != want {
			t.Errorf("%d changes after number %d of 3", got, n)
		}
	}
}
