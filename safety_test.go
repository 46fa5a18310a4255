package autotune_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// buffer is written to by several goroutines.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// looks waits for n further looks of the controller.
func looks(t *testing.T, p *autotune.Pool, n int) {
	t.Helper()
	for range n {
		last := p.Snapshot().LookedAt
		eventually(t, func() string {
			if p.Snapshot().LookedAt.Equal(last) {
				return "the controller does not look"
			}
			return ""
		})
	}
}

func TestAPasswordIsNeverWrittenDown(t *testing.T) {
	leakFree(t)
	dsn, super, name := role(t, "")
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := u.User.Password()
	const second, wrong = "second-s3cret", "wrong-s3cret"
	var log, journal buffer
	p := open(t, dsn, 3, live, func(c *autotune.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug - 4, AddSource: true}))
		c.Journal = &journal
	})
	looked(t, p)
	boss := admin(t, super)
	mustExec(t, boss, cheap+"alter role "+name+" password '"+second+"'")
	var said []string
	note := func(v ...any) {
		for _, v := range v {
			said = append(said, fmt.Sprintf("%v %+v", v, v))
		}
	}
	note(p.Reconfigure(within(t), func(c *pgxpool.Config) error { c.ConnConfig.Password = wrong; return nil }))
	mustExec(t, boss, "select pg_terminate_backend(pid) from pg_stat_activity where usename = '"+name+"'")
	note(p.Ping(within(t)), p.Resize(within(t), autotune.Size{Max: 1}), p.Health(within(t))) // the first password is refused by now
	looks(t, p, 5)
	note(p.Reconfigure(within(t), func(c *pgxpool.Config) error { c.ConnConfig.Password = second; return nil }))
	looked(t, p)
	note(p.Health(within(t)), p.Snapshot(), p.Decision(), *p.Stat())
	if err := p.Ping(within(t)); err != nil {
		t.Error(err)
	}
	closes(t, p)
	for what, text := range map[string]string{"log": log.String(), "journal": journal.String(), "what it returned": strings.Join(said, "\n")} {
		if len(text) < 500 {
			t.Errorf("%s has only %d bytes: it proves nothing", what, len(text))
		}
		for i, secret := range []string{first, second, wrong} {
			if strings.Contains(text, secret) {
				t.Errorf("password %d is in the %s", i, what)
			}
		}
	}
	if !strings.Contains(log.String(), "28P01") && !strings.Contains(strings.Join(said, ""), "28P01") {
		t.Error("no password was refused: it proves nothing")
	}
}

func TestThePoolWorksOnWhenTheControllerIsCutOff(t *testing.T) {
	leakFree(t)
	const size = 3
	dsn, super, name := role(t, "")
	p := open(t, dsn, size, live)
	p.Freeze() // at this size, so that all of it can be held
	boss := admin(t, super)
	for range 3 { // the connection is cut: it comes back
		eventually(t, func() string {
			var cut int
			if err := boss.QueryRow(t.Context(), "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where usename = $1 and application_name = 'autotune'", name).Scan(&cut); err != nil || cut != 1 {
				return fmt.Sprintf("%d connections of the controller were cut, %v", cut, err)
			}
			return ""
		})
		hold(t, p, size)()
	}
	looked(t, p)

	// The role has no connection left for it.
	hold(t, p, size)()
	mustExec(t, boss, fmt.Sprintf("alter role %s connection limit %d", name, size))
	eventually(t, func() string {
		// Again and again: one that was let in a moment before has no name yet.
		mustExec(t, boss, "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = '"+name+"' and application_name = 'autotune'")
		hold(t, p, size)()
		if p.Snapshot().Observation.Server != nil {
			return "the controller still sees the server"
		}
		return ""
	})
	p.Thaw()
	looks(t, p, 1)
	before := p.Snapshot()
	looks(t, p, 5)
	if s := settled(t, p); s.Size != before.Size || s.Limit != before.Limit || s.Failed != 0 {
		t.Errorf("blind, it moved from %+v, limit %d to %+v, limit %d; %d failed", before.Size, before.Limit, s.Size, s.Limit, s.Failed)
	}
	mustExec(t, boss, fmt.Sprintf("alter role %s connection limit -1", name))
	looked(t, p)
}

func TestFreezeHoldsThePoolStillAndThawLetsItMove(t *testing.T) {
	leakFree(t)
	dsn, _, _ := role(t, "")
	p := open(t, dsn, 8, live)
	p.Freeze()
	looks(t, p, 1)
	p.SetLimit(1)
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	defer callers.Wait()
	defer cancel()
	for range 20 {
		callers.Go(func() {
			for ctx.Err() == nil {
				_, _ = p.Exec(ctx, "select pg_sleep(0.005)")
			}
		})
	}
	eventually(t, func() string {
		if p.Snapshot().Queued < 10 {
			return "nobody queues"
		}
		return ""
	})
	looks(t, p, 10)
	if s := p.Snapshot(); s.Limit != 1 || s.Size.Max != 8 || s.Swaps != 0 || !s.Frozen {
		t.Errorf("frozen %t, limit %d, max %d, %d swaps", s.Frozen, s.Limit, s.Size.Max, s.Swaps)
	}
	p.Thaw()
	eventually(t, func() string {
		if s := p.Snapshot(); s.Limit == 1 || s.Frozen {
			return fmt.Sprintf("thawed, with %d callers queued: frozen %t, limit %d, %s because %s", s.Queued, s.Frozen, s.Limit, s.Decision.Action, s.Decision.Reason)
		}
		return ""
	})
}

// journalThat does something at a line and those after it.
type journalThat struct {
	lines atomic.Int32
	at    int32
	do    func() error
}

func (j *journalThat) Write(p []byte) (int, error) {
	if j.lines.Add(1) >= j.at {
		return 0, j.do()
	}
	return len(p), nil
}

func TestABugInTheControllerOrItsJournalLeavesAnOrdinaryPool(t *testing.T) {
	for name, c := range map[string]struct {
		at  int32
		do  func() error
		say string
	}{
		"panic at once": {1, func() error { panic("planted") }, "tuner stopped"},
		"panic":         {3, func() error { panic("planted") }, "tuner stopped"},
		"error":         {3, func() error { return errors.New("disk full") }, "journal ended"},
	} {
		t.Run(name, func(t *testing.T) {
			leakFree(t)
			var log buffer
			journal := &journalThat{at: c.at, do: c.do}
			p := open(t, pgtest.DSN(t), 3, live, func(cfg *autotune.Config) {
				cfg.Journal, cfg.Logger = journal, slog.New(slog.NewTextHandler(&log, nil))
			})
			eventually(t, func() string {
				if !strings.Contains(log.String(), c.say) {
					return "it was not reported: " + log.String()
				}
				return ""
			})
			// Swaps for five intervals of the controller, in which the trouble
			// would come again.
			for start := time.Now(); time.Since(start) < 500*time.Millisecond; {
				if err := p.Ping(within(t)); err != nil {
					t.Error(err)
				}
				if err := p.Resize(within(t), autotune.Size{Max: 2}); err != nil {
					t.Error(err)
				}
				if err := p.Resize(within(t), autotune.Size{Max: 3}); err != nil {
					t.Error(err)
				}
			}
			if n := strings.Count(log.String(), c.say); n != 1 {
				t.Errorf("%q was reported %d times", c.say, n)
			}
			settled(t, p)
		})
	}
}

func TestCloseDuringSwapsEndsEverything(t *testing.T) {
	leakFree(t)
	dsn, _, _ := role(t, "")
	for range 10 {
		p := open(t, dsn, 4, live)
		ctx, cancel := context.WithCancel(t.Context())
		started := make(chan struct{})
		var swaps sync.WaitGroup
		swaps.Go(func() {
			for i := 0; ; i++ {
				if err := p.Resize(ctx, autotune.Size{Max: 3 + i%2, Min: 2}); err != nil {
					return // closed
				}
				if i == 1 {
					close(started)
				}
			}
		})
		<-started
		closes(t, p)
		swaps.Wait()
		cancel()
		if s := p.Snapshot(); s.Open != 0 || s.InUse != 0 {
			t.Fatalf("after Close %d open, %d in use", s.Open, s.InUse)
		}
	}
}

func TestAPoolOutlivesTheContextItWasMadeWith(t *testing.T) {
	leakFree(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := autotune.New(over, with(pgtest.DSN(t), "pool_max_conns", "2")+"&pool_min_conns=2")
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, p)
	eventually(t, func() string {
		if n := p.Stat().TotalConns(); n != 2 {
			return fmt.Sprintf("%d connections of the min of 2", n)
		}
		return ""
	})
	hold(t, p, 2)()
	looked(t, p)
}

func TestManyPoolsOpenedAndClosedAtOnceLeaveNothing(t *testing.T) {
	leakFree(t)
	dsn, super, _ := role(t, "")
	dsn = with(dsn, "application_name", "many")
	watcher := admin(t, super)
	var pools sync.WaitGroup
	for i := range 8 {
		pools.Go(func() {
			for range 3 {
				cfg, err := autotune.ParseConfig(with(dsn, "pool_max_conns", "3") + "&pool_min_conns=1")
				if err != nil {
					t.Error(err)
					return
				}
				cfg.Manual, cfg.Interval = i%2 == 0, 100*time.Millisecond
				p, err := autotune.NewWithConfig(t.Context(), cfg)
				if err != nil {
					t.Error(err)
					return
				}
				if i%4 != 3 { // some are closed before anything happened
					if err := p.Ping(within(t)); err != nil {
						t.Error(err)
					}
				}
				p.Close()
			}
		})
	}
	pools.Wait()
	eventually(t, func() string {
		if n := backends(t, watcher, "many"); n != 0 {
			return fmt.Sprintf("%d backends are left", n)
		}
		return ""
	})
}
