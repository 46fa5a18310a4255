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

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
)

// pingers keep n callers busy until stop, which returns how often it worked and
// what failed.
func pingers(p *autotune.Pool, n int) (rounds *atomic.Int64, stop func() []error) {
	ctx, cancel := context.WithCancel(context.Background())
	rounds = new(atomic.Int64)
	var mu sync.Mutex
	var errs []error
	var done sync.WaitGroup
	for range n {
		done.Go(func() {
			for ctx.Err() == nil {
				var one int
				if err := p.QueryRow(context.Background(), "select 1").Scan(&one); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					return
				}
				rounds.Add(1)
			}
		})
	}
	return rounds, func() []error { cancel(); done.Wait(); return errs }
}

func TestAPasswordIsRotatedUnderLoad(t *testing.T) {
	leakFree(t)
	dsn, super, name := role(t, "")
	const second, wrong = "second-s3cret-of-the-test", "wrong-s3cret-of-the-test"
	p := open(t, dsn, 4)
	boss := admin(t, super)
	rounds, stop := pingers(p, 12)
	progress := func() {
		t.Helper()
		before := rounds.Load()
		eventually(t, func() string {
			if rounds.Load() < before+100 {
				return fmt.Sprintf("%d rounds", rounds.Load()-before)
			}
			return ""
		})
	}
	progress()
	eventually(t, func() string { // who dials between the two commands is refused, and rightly
		if s := p.Stat(); s.AcquiredConns()+s.IdleConns() < s.MaxConns() {
			return fmt.Sprintf("%d in use and %d idle of %d", s.AcquiredConns(), s.IdleConns(), s.MaxConns())
		}
		return ""
	})
	mustExec(t, boss, cheap+"alter role "+name+" password '"+second+"'")
	progress()

	set := func(password string) func(*pgxpool.Config) error {
		return func(c *pgxpool.Config) error { c.ConnConfig.Password = password; return nil }
	}
	err := p.Reconfigure(within(t), set(wrong))
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "28P01" {
		t.Errorf("a wrong password: %v", err)
	}
	for _, secret := range []string{second, wrong, p.Config().ConnConfig.Password} {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("a password is in the error: %v", err)
		}
	}
	t.Log(err)
	if s := p.Snapshot(); s.Swaps != 0 {
		t.Error("the wrong password was published")
	}
	progress() // on the connections of before
	if err := p.Reconfigure(within(t), set(second)); err != nil {
		t.Errorf("the new password: %v", err)
	}
	p.Reset() // from here on every connection has to be opened with it
	progress()
	for _, err := range stop() {
		t.Errorf("a query failed: %v", err)
	}
	if got := p.Config().ConnConfig.Password; got != second {
		t.Error("Config has not got the new password")
	}
	settled(t, p)
}

// With the budget used up, checking a configuration costs a connection. If the
// check fails and the old password is no longer good for another one, callers
// queue for the connections that are left instead of being sent to fail.
func TestAFailedReconfigureSendsNobodyToOpenAConnectionInVain(t *testing.T) {
	leakFree(t)
	dsn, super, name := role(t, "")
	p := open(t, dsn, 2)
	boss := admin(t, super)
	hold(t, p, 2)()
	original := p.Config().ConnConfig.Password
	mustExec(t, boss, cheap+"alter role "+name+" password 'rotated'")
	if err := p.Reconfigure(within(t), func(c *pgxpool.Config) error { c.ConnConfig.Password = "wrong"; return nil }); err == nil {
		t.Fatal("the wrong password was accepted")
	}
	release := hold(t, p, 1)
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := p.Acquire(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second caller did not queue for the one connection that is left: %v", err)
	}
	release()
	mustExec(t, boss, cheap+"alter role "+name+" password '"+original+"'")
	hold(t, p, 2)() // the second connection is back
	settled(t, p)
}

func TestReconfigureChangesWhatIsAskedAndNothingWhenItFails(t *testing.T) {
	leakFree(t)
	dsn, _, _ := role(t, "")
	p := open(t, dsn, 3)
	ctx := within(t)
	mine := errors.New("mine")
	for name, change := range map[string]func(*pgxpool.Config) error{
		"its own error":         func(*pgxpool.Config) error { return mine },
		"no health check":       func(c *pgxpool.Config) error { c.HealthCheckPeriod = 0; return nil },
		"max 0":                 func(c *pgxpool.Config) error { c.MaxConns = 0; return nil },
		"min above max":         func(c *pgxpool.Config) error { c.MinConns = 4; return nil },
		"beyond the budget":     func(c *pgxpool.Config) error { c.MaxConns = 4; return nil },
		"a closed port":         func(c *pgxpool.Config) error { c.ConnConfig.Port = 1; c.ConnConfig.Fallbacks = nil; return nil },
		"an unknown database":   func(c *pgxpool.Config) error { c.ConnConfig.Database = "nowhere"; return nil },
		"a setting that is not": func(c *pgxpool.Config) error { c.ConnConfig.RuntimeParams["nonsense"] = "1"; return nil },
	} {
		if err := p.Reconfigure(ctx, change); err == nil {
			t.Errorf("%s: no error", name)
		}
		if s := p.Snapshot(); s.Size.Max != 3 || s.Limit != 3 || s.Swaps != 0 {
			t.Errorf("%s: now max %d, limit %d, %d swaps", name, s.Size.Max, s.Limit, s.Swaps)
		}
		if err := p.Ping(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	p.SetLimit(2)
	err := p.Reconfigure(ctx, func(c *pgxpool.Config) error {
		c.ConnConfig.RuntimeParams["statement_timeout"] = "12345"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var timeout string
	if err := p.QueryRow(ctx, "show statement_timeout").Scan(&timeout); err != nil || timeout != "12345ms" {
		t.Errorf("statement_timeout is %q, %v", timeout, err)
	}
	if s := p.Snapshot(); s.Limit != 2 {
		t.Errorf("the limit went from 2 to %d although the size is as it was", s.Limit)
	}
}
