package pgstat

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/pgtest"
)

// censusUntil takes censuses until one is as wanted.
func censusUntil(t *testing.T, r *Reader, wanted func(Census) bool) Census {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		c, err := r.Census(ctx, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if wanted(c) {
			return c
		}
		if ctx.Err() != nil {
			t.Fatalf("never as wanted, last: %+v", c)
		}
	}
}

// count adds up the backends of an application in a state.
func (c Census) count(application string, state State, wait string) (n int) {
	for _, g := range c.Groups {
		if g.Application == application && g.State == state && g.Wait == wait {
			n += g.Backends
		}
	}
	return n
}

func TestTheCensusTellsApplicationsAndStatesApart(t *testing.T) {
	dsn := pgtest.DSN(t)
	cfg := func(app string) *pgx.ConnConfig { return parsed(t, dsn, named(app)) }
	occupy(t, cfg("sleeper"), "select pg_sleep(600)")
	occupy(t, cfg("worker"), "do $$ begin loop perform 1; end loop; end $$")
	holder := dial(t, cfg("holder"))
	run(t, holder, "begin; select 1")
	dial(t, cfg("lazy"))
	r := open(t, Config{ConnConfig: parsed(t, dsn)})
	c := censusUntil(t, r, func(c Census) bool {
		return c.count("sleeper", Active, "Timeout:PgSleep") == 1 && c.count("worker", Active, "") == 1 &&
			c.count("holder", IdleInTransaction, "") == 1 && c.count("lazy", Idle, "") == 1
	})
	if c.Spent <= 0 || c.count(ApplicationName, Active, "") != 0 {
		t.Errorf("spent %v, own backends %d", c.Spent, c.count(ApplicationName, Active, ""))
	}
	before := c.Databases[r.connect.Database]
	other := dial(t, cfg("writer"))
	censusUntil(t, r, func(c Census) bool {
		run(t, other, "select 1")
		return c.Databases[r.connect.Database] > before+3
	})
}

// Two that waited for the same lock ran at once, though no look met them.
func TestTheCensusSeesStatementsThatRanBetweenTwoLooks(t *testing.T) {
	dsn := pgtest.DSN(t)
	cfg := parsed(t, dsn, named("bursty"))
	holder := dial(t, parsed(t, dsn, named("gate")))
	run(t, holder, "select pg_advisory_lock(4711)")
	var both sync.WaitGroup
	for range 2 {
		conn := dial(t, cfg)
		both.Go(func() { _, _ = conn.Exec(context.Background(), "select pg_advisory_xact_lock_shared(4711)") })
	}
	r := open(t, Config{ConnConfig: parsed(t, dsn)})
	atOnce := func(c Census) (most float64) {
		if c.count("bursty", Idle, "") < 2 { // not split in those that have just ended and others
			return -1
		}
		for _, g := range c.Groups {
			if g.Application == "bursty" && g.State == Idle {
				most = max(most, g.Between)
			}
		}
		return most
	}
	censusUntil(t, r, func(c Census) bool { return c.count("bursty", Active, "Lock:advisory") == 2 })
	run(t, holder, "select pg_advisory_unlock(4711)")
	both.Wait()
	c := censusUntil(t, r, func(c Census) bool { return atOnce(c) >= 0 })
	if n := atOnce(c); n <= 1 || n > 2 {
		t.Errorf("%.2f at once since the minute before, want more than 1 of 2", n)
	}
	none, err := r.Census(t.Context(), 0)
	if n := atOnce(none); err != nil || n != 0 {
		t.Errorf("%.2f at once since just now, want none (%v)", n, err)
	}
}

func TestTheCensusOfARoleWithoutPrivilegeSaysWhatIsHidden(t *testing.T) {
	dsn := pgtest.DSN(t)
	admin := dial(t, parsed(t, dsn, named("seen by few")))
	role := newRole(t, admin)
	r := open(t, Config{ConnConfig: parsed(t, dsn, as(role, rolePassword))})
	c := censusUntil(t, r, func(c Census) bool { return c.count("seen by few", HiddenState, "") == 1 })
	for _, g := range c.Groups {
		if g.Role != role && g.Kind != HiddenKind {
			t.Errorf("%+v", g)
		}
	}
}

func TestTheCensusBehindAPooler(t *testing.T) {
	cfg := parsed(t, pgtest.DSN(t))
	through(between(t, cfg, true).address)(cfg)
	if _, err := open(t, Config{ConnConfig: cfg}).Census(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
}
