package autotune

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune/internal/await"
	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/internal/sizing"
)

// quiet is a tuned pool whose controller has had its first look, and has the next in a
// minute.
func quiet(t *testing.T, change func(*Config)) *Pool {
	t.Helper()
	p := opened(t, pgtest.DSN(t), func(c *Config) {
		c.Manual, c.Interval = false, time.Minute
		change(c)
	})
	await.Until(t, time.Minute, func() string {
		if p.tuner.last.Load() == nil {
			return "the controller has not looked"
		}
		return ""
	})
	return p
}

// TestAHigherMaxReconnectsNothing grows a pool of 2 to 6 while both of its connections are
// held: four more are opened, and no other generation.
func TestAHigherMaxReconnectsNothing(t *testing.T) {
	p := quiet(t, func(c *Config) { c.Start, c.Ceiling = 2, 6 })
	take := func(n int) (pids []uint32, conns []*pgxpool.Conn) {
		for range n {
			c, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Release)
			pids, conns = append(pids, c.Conn().PgConn().PID()), append(conns, c)
		}
		return pids, conns
	}
	first, held := take(2)
	was := p.routes.Load().current

	obs := Observation{Gauges: controller.Gauges{Limit: 2, Max: 2}}
	p.tuner.act(t.Context(), obs, Decision{Action: controller.Grow, Reason: sizing.DemandRose, Limit: 5, Max: 6})
	if s := p.Snapshot(); s.Size.Max != 6 || s.Limit != 5 || s.Swaps != 0 || p.routes.Load().current != was {
		t.Fatalf("max %d, limit %d, %d swaps; want 6, 5, none and the same generation", s.Size.Max, s.Limit, s.Swaps)
	}
	if cfg := p.Config(); cfg.MaxConns != 6 {
		t.Errorf("the configuration says %d, want 6", cfg.MaxConns)
	}
	for _, c := range held {
		c.Release()
	}
	again, _ := take(5)
	for _, pid := range first {
		if !slices.Contains(again, pid) {
			t.Errorf("backend %d of before is not among %v", pid, again)
		}
	}
	if s := p.Snapshot(); s.Connects != 5 {
		t.Errorf("%d connections were opened for 5 in use", s.Connects)
	}
}

// Where the room does not suffice, a decision that grows in place is not carried out:
// the pool underneath could not hold what is asked for.
func TestNoMaxIsGrantedBeyondTheRoom(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"Manual": func(c *Config) { c.Manual = true },
		"PrepareConn": func(c *Config) {
			c.Pool.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { return true, nil }
		},
		"AfterRelease": func(c *Config) { c.Pool.AfterRelease = func(*pgx.Conn) bool { return true } },
	} {
		p := opened(t, pgtest.DSN(t), func(c *Config) { c.Start, c.Ceiling, c.Manual = 2, 6, false; change(c) })
		if room := p.routes.Load().current.room; room != 2 {
			t.Errorf("with %s the room is %d, want the max of 2", name, room)
		}
	}
	p := quiet(t, func(c *Config) { c.Start, c.Ceiling, c.Pool.MinIdleConns = 2, 6, 1 })
	obs := Observation{Gauges: controller.Gauges{Limit: 2, Max: 2}}
	p.tuner.act(t.Context(), obs, Decision{Action: controller.Grow, Reason: sizing.DemandRose, Limit: 5, Max: 6})
	if s := p.Snapshot(); s.Size.Max != 2 || s.Limit != 2 {
		t.Errorf("max %d, limit %d; want both 2", s.Size.Max, s.Limit)
	}
	p.tuner.act(t.Context(), obs, Decision{Action: controller.Grow, Reason: sizing.DemandRose, Limit: 5, Max: 6, Swap: true})
	if s := p.Snapshot(); s.Size.Max != 6 || s.Limit != 5 || s.Swaps != 1 {
		t.Errorf("max %d, limit %d, %d swaps; want 6, 5, 1", s.Size.Max, s.Limit, s.Swaps)
	}
}

// A caller gives up while its connection is dialled, and the dial goes on. It counts: the
// next caller opens no second one, but gets that one.
func TestADialThatWasGivenUpCountsUntilItEnds(t *testing.T) {
	answer := make(chan struct{})
	dialling := make(chan struct{}, 8)
	p := quiet(t, func(c *Config) {
		c.Start, c.Ceiling = 1, 8
		dial := c.Pool.ConnConfig.DialFunc
		c.Pool.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			if ctx.Value(connecting{}) != nil { // for the pool, not for its statistics
				dialling <- struct{}{}
				select {
				case <-answer:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			return dial(ctx, network, address)
		}
	})
	if room := p.routes.Load().current.room; room != 8 {
		t.Fatalf("the room is %d; the test proves nothing", room)
	}
	short, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := p.Acquire(short)
		gaveUp <- err
	}()
	<-dialling
	cancel()
	if err := <-gaveUp; err == nil {
		t.Fatal("the caller that gave up got a connection")
	}
	got := make(chan error, 1)
	go func() {
		c, err := p.Acquire(t.Context())
		if err == nil {
			c.Release()
		}
		got <- err
	}()
	await.Until(t, time.Minute, func() string {
		if p.retrying.Load() == 0 {
			return "the next caller is not waiting"
		}
		return ""
	})
	close(answer)
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if s := p.Snapshot(); s.Connects != 1 {
		t.Errorf("%d connections were opened with a max of 1", s.Connects)
	}
}

// A connection is on its way back for as long as the hook takes. Who has its permit by
// then waits for it as in a pgxpool, which is given to the next at once, and does not look
// for it again and again: side by side, both pools serve alike.
func TestAReleaseHookCostsNoMoreThanInPgxpool(t *testing.T) {
	const callers, enough = 4, 100
	hook := func(*pgx.Conn) bool { time.Sleep(5 * time.Millisecond); return true } // the hook is slow: no wait of the test
	p := quiet(t, func(c *Config) { c.Start, c.Ceiling, c.Pool.AfterRelease = 1, 8, hook })
	cfg, err := pgxpool.ParseConfig(pgtest.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns, cfg.AfterRelease = 1, hook
	plain, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plain.Close)
	pools := []interface {
		Acquire(context.Context) (*pgxpool.Conn, error)
	}{p, plain}
	for _, pool := range pools { // its connection opens now
		c, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Release()
	}
	var served [2]atomic.Int64
	var all sync.WaitGroup
	for i, pool := range pools {
		for range callers {
			all.Go(func() {
				for served[1].Load() < enough {
					c, err := pool.Acquire(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					served[i].Add(1)
					c.Release()
				}
			})
		}
	}
	all.Wait()
	if ours, theirs := served[0].Load(), served[1].Load(); 10*ours < 9*theirs {
		t.Errorf("%d callers were served while a pgxpool served %d", ours, theirs)
	}
}
