package pgstat

import (
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestBackendsAreCountedByWhatTheyDo(t *testing.T) {
	dsn := pgtest.DSN(t)
	admin := dial(t, parsed(t, dsn))
	role := newRole(t, admin)
	run(t, admin, "create table account (id int primary key, n int); insert into account values (1, 0); grant all on account to "+role)

	ours := parsed(t, dsn, as(role, rolePassword), named("shop"))
	r := open(t, Config{ConnConfig: ours, Timeout: patience})
	before := readUntil(t, r, func(Activity) bool { return true })
	if before.Ours.Total() != 0 {
		t.Fatalf("the reader counts itself or a stranger as ours: %+v", before.Ours)
	}

	dial(t, ours)
	dial(t, ours)
	holder := dial(t, ours) // idle in transaction, holding the row
	run(t, holder, "begin; update account set n = 1 where id = 1")
	aborted := dial(t, ours)
	run(t, aborted, "begin")
	if _, err := aborted.Exec(t.Context(), "select 1/0"); err == nil {
		t.Fatal("a division by zero succeeded")
	}
	occupy(t, ours, "select pg_sleep(600)")
	occupy(t, ours, "update account set n = 2 where id = 1") // waits for the row
	occupy(t, ours, "do $$ begin loop end loop; end $$")     // computes for ever

	// Not ours, each by one of the three marks.
	dial(t, parsed(t, dsn, as(role, rolePassword), named("other-shop")))
	dial(t, parsed(t, dsn, named("shop")))
	dial(t, parsed(t, pgtest.DSN(t), as(role, rolePassword), named("shop")))

	want := Backends{OnCPU: 1, Lock: 1, OtherWait: 1, IdleInTransaction: 2, Idle: 2}
	a := readUntil(t, r, func(a Activity) bool { return a.Ours == want })
	for _, event := range []WaitEvent{{"Timeout:PgSleep", 1}, {"Lock:transactionid", 1}} {
		if !slices.Contains(a.Waits, event) {
			t.Errorf("no %v among the wait events %v", event, a.Waits)
		}
	}
	if len(a.Waits) != 2 {
		t.Errorf("idle backends wait for their client, which is no wait event of an active one: %v", a.Waits)
	}
	if a.LongestTransaction <= 0 || a.LongestTransaction < a.LongestIdleInTransaction || a.LongestIdleInTransaction <= 0 {
		t.Errorf("oldest transaction %v, longest idle in one %v", a.LongestTransaction, a.LongestIdleInTransaction)
	}
	if a.LongestTransaction > patience {
		t.Errorf("oldest transaction %v: wrong unit?", a.LongestTransaction)
	}
	// admin, the same role under another name, the same name under another
	// role, the other database. Other tests of the binary run one at a time.
	if got := a.Others.Total(); got < 4 {
		t.Errorf("%d others, want at least 4: %+v", got, a.Others)
	}
	if a.RoundTrip <= 0 || a.RoundTrip > patience {
		t.Errorf("round trip %v", a.RoundTrip)
	}

	// The ages grow with the clock of the server.
	first := a.LongestIdleInTransaction
	readUntil(t, r, func(a Activity) bool { return a.LongestIdleInTransaction >= first+100*time.Millisecond })
}

func TestOthersAreCountedOnceAndPartialWithoutTheRight(t *testing.T) {
	srv := pgtest.New(t, pgtest.Options{}) // alone, so that all counts are exact
	admin := dial(t, parsed(t, srv.DSN()))
	role := newRole(t, admin)
	occupy(t, parsed(t, srv.DSN()), "select pg_sleep(600)")
	mine := parsed(t, srv.DSN(), as(role, rolePassword))
	dial(t, mine) // idle, and of the pool: neither has a name

	blind := open(t, Config{ConnConfig: mine, Timeout: patience})
	a := readUntil(t, blind, func(a Activity) bool { return a.Ours == Backends{Idle: 1} })
	if want := (Backends{Unknown: 2}); a.Others != want || !a.Partial {
		t.Errorf("without the right: others %+v partial %v, want %+v, true", a.Others, a.Partial, want)
	}

	run(t, admin, "grant pg_read_all_stats to "+role)
	a = readUntil(t, blind, func(a Activity) bool { return !a.Partial })
	if want := (Backends{OtherWait: 1, Idle: 1}); a.Others != want {
		t.Errorf("with the right: others %+v, want %+v", a.Others, want)
	}
	if want := (Backends{Idle: 1}); a.Ours != want {
		t.Errorf("with the right: ours %+v, want %+v", a.Ours, want)
	}

	// A reader under another role finds the same pool by name.
	other := open(t, Config{ConnConfig: parsed(t, srv.DSN()), User: role, Timeout: patience})
	a = readUntil(t, other, func(Activity) bool { return true })
	if want := (Backends{Idle: 1}); a.Ours != want {
		t.Errorf("seen by another role: ours %+v, want %+v", a.Ours, want)
	}
}

func TestTransactionsCountUpward(t *testing.T) {
	dsn := pgtest.DSN(t)
	r := open(t, Config{ConnConfig: parsed(t, dsn), Timeout: patience})
	first := readUntil(t, r, func(Activity) bool { return true })
	client := dial(t, parsed(t, dsn))
	for range 50 {
		run(t, client, "select 1")
	}
	run(t, client, "begin")
	run(t, client, "rollback")
	_ = client.Close(t.Context()) // reports its counters at the latest now
	last := readUntil(t, r, func(a Activity) bool { return a.Transactions >= first.Transactions+51 })
	if last.DatabaseBackends < 1 {
		t.Errorf("%d backends in the database, and one of them reads this", last.DatabaseBackends)
	}
	if !last.StatsReset.IsZero() {
		t.Errorf("counters never reset, but %v", last.StatsReset)
	}
	admin := dial(t, parsed(t, dsn))
	run(t, admin, "select pg_stat_reset()")
	readUntil(t, r, func(a Activity) bool { return !a.StatsReset.IsZero() && a.Transactions < last.Transactions })
}

// The server cleans names outside of ASCII and cuts them at 63 bytes.
func TestThePoolIsFoundWhateverItsName(t *testing.T) {
	dsn := pgtest.DSN(t)
	for _, name := range []string{
		"", "shop", "Büchertisch ☕", `back\slash 'quote'`,
		"a name that is longer than the sixty-three bytes which PostgreSQL shows of one",
	} {
		t.Run(name, func(t *testing.T) {
			pool := parsed(t, dsn, named(name))
			dial(t, pool)
			for mode, change := range map[string]func(*pgx.ConnConfig){
				"direct": func(*pgx.ConnConfig) {},
				"pooler": through(between(t, pool, true).address),
			} {
				r := open(t, Config{ConnConfig: parsed(t, dsn, named(name), change), Timeout: patience})
				// Not two for long: the other reader calls itself autotune, and a session of
				// the test before is gone a moment after it was closed.
				a := readUntil(t, r, func(a Activity) bool { return a.Ours.Total() <= 1 })
				if want := (Backends{Idle: 1}); a.Ours != want {
					t.Errorf("%s: ours %+v, want %+v", mode, a.Ours, want)
				}
			}
		})
	}
}

func TestAnUnknownDatabaseIsAnError(t *testing.T) {
	r := open(t, Config{ConnConfig: parsed(t, pgtest.DSN(t)), Database: "no such database", Timeout: patience})
	if a, err := r.Read(t.Context()); err == nil {
		t.Errorf("counted %+v for a database that does not exist", a)
	}
}

func BenchmarkRead(b *testing.B) {
	dsn := pgtest.DSN(b)
	for _, idle := range []int{0, 100} {
		b.Run(map[int]string{0: "alone", 100: "100_backends"}[idle], func(b *testing.B) {
			for range idle {
				dial(b, parsed(b, dsn, named("shop")))
			}
			r := open(b, Config{ConnConfig: parsed(b, dsn, named("shop"))})
			if _, err := r.Read(b.Context()); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := r.Read(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
