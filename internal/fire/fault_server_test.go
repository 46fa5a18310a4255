package fire

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgautotune/autotune"
)

// inFire runs a fault under load and proves what every fault has to leave intact:
// what was acknowledged is in the database once, every clerk works again, and the
// pool's books balance. The figure is how long after the fault's end the last
// clerk had a success.
func inFire(t *testing.T, what string, conn func() *pgx.Conn, p *autotune.Pool, fault func(b *book) string, change ...func(*book)) {
	t.Helper()
	b := keep(t, conn(), p, 12, change...)
	b.round(t)
	note := fault(b)
	took := b.round(t)
	if took > 10*time.Second {
		t.Errorf("recovery took %s", took)
	}
	text := b.audit(t, conn())
	balanced(t, p)
	if note != "" {
		note = note + "; "
	}
	figure(t, "fault", what, "%sall work again after %s; %s; %d operations failed", note, ms(took), text, b.failures.Load())
}

func TestFaultServerKilled(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	server := ours(t, nil)
	p := open(t, server.DSN(), 8)
	inFire(t, "SIGKILL of the server, restart", func() *pgx.Conn { return admin(t, server.DSN()) }, p, func(b *book) string {
		var worst time.Duration
		for range pick(3, 1) {
			if err := server.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			worst = max(worst, b.round(t))
		}
		if worst > 2*time.Second {
			t.Errorf("recovery took %s", worst)
		}
		return fmt.Sprintf("all worked again within %s of each restart", ms(worst))
	})
}

func TestFaultImmediateShutdown(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	server := ours(t, nil)
	p := open(t, server.DSN(), 8)
	inFire(t, "immediate shutdown of the server, restart", func() *pgx.Conn { return admin(t, server.DSN()) }, p, func(b *book) string {
		if err := syscall.Kill(server.PID(), syscall.SIGQUIT); err != nil {
			t.Fatal(err)
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		return ""
	})
}

func TestFaultBackendsTerminated(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	dsn := with(t, database(t), "application_name", "terminated")
	p := open(t, dsn, 8)
	boss := admin(t, dsn)
	inFire(t, "pg_terminate_backend of random backends", func() *pgx.Conn { return boss }, p, func(b *book) string {
		killed := int64(0)
		for end := time.Now().Add(pick(10*time.Second, time.Second)); time.Now().Before(end); {
			killed += count(t, boss, "select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity where application_name = 'terminated' order by random() limit 2) v")
			goes(t, 20*time.Millisecond)
		}
		return fmt.Sprintf("%d terminated", killed)
	})
}

func TestFaultConnectionsTakenByOthers(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	server := ours(t, map[string]string{"max_connections": "20"})
	dsn := server.DSN()
	p := open(t, dsn, 12)
	boss := admin(t, dsn)
	inFire(t, "max_connections taken by others", func() *pgx.Conn { return boss }, p, func(b *book) string {
		var others []*pgx.Conn
		defer func() {
			for _, c := range others {
				_ = c.Close(context.Background())
			}
		}()
		for len(others) < 30 {
			c, err := pgx.Connect(t.Context(), dsn)
			if err != nil {
				break
			}
			others = append(others, c)
		}
		p.Reset() // now it has to open anew what the others left
		goes(t, 3*time.Second)
		b.round(t)
		return fmt.Sprintf("%d of 20 taken by others", len(others))
	})
}

func TestFaultStatementTimeouts(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	do(t, boss, "create table slow (i int)")
	p := open(t, with(t, dsn, "statement_timeout", "50"), 8)
	inFire(t, "storm of statement_timeout", func() *pgx.Conn { return boss }, p, func(b *book) string {
		timeouts := 0
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
			if _, err := p.Exec(t.Context(), "select pg_sleep(10)"); err == nil {
				t.Fatal("no timeout")
			}
			timeouts++
		}
		return fmt.Sprintf("%d statements timed out", timeouts)
	})
}

func TestFaultLockPileUp(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	p := open(t, dsn, 8)
	inFire(t, "lock pile-up", func() *pgx.Conn { return boss }, p, func(b *book) string {
		locker := admin(t, dsn)
		do(t, locker, "begin")
		do(t, locker, "lock table "+b.table+" in access exclusive mode")
		goes(t, 3*time.Second)
		waiting := count(t, boss, "select count(*) from pg_locks where not granted")
		reason := p.Decision().Reason
		do(t, locker, "rollback")
		return fmt.Sprintf("%d waited for the lock, the controller said %s", waiting, reason)
	})
}

func TestFaultMaintenance(t *testing.T) {
	long(t, "chaos")
	vectors(t)
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	do(t, boss, "create table items (id bigint generated always as identity, v vector(32)); insert into items (v) select array(select random() from generate_series(1, 32 + i * 0))::vector from generate_series(1, 5000) i", pgx.QueryExecModeSimpleProtocol)
	do(t, boss, "create index on items using hnsw (v vector_l2_ops)")
	p := open(t, dsn, 8, func(c *autotune.Config) { c.Profile = autotune.ProfileVector })
	inFire(t, "REINDEX, VACUUM FULL, ANALYZE under way", func() *pgx.Conn { return boss }, p, func(b *book) string {
		for _, sql := range []string{"reindex table items", "vacuum full items", "analyze", "vacuum full " + b.table, "reindex table concurrently items"} {
			do(t, boss, sql)
		}
		return ""
	})
}

func TestFaultVectorDroppedAndCreated(t *testing.T) {
	long(t, "chaos")
	vectors(t)
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	p := open(t, dsn, 8, func(c *autotune.Config) { c.Profile = autotune.ProfileVector })
	state := func() autotune.VectorState { p.Reset(); _ = p.Ping(t.Context()); return p.Health(t.Context()).Vector }
	inFire(t, "pgvector dropped and created again", func() *pgx.Conn { return boss }, p, func(b *book) string {
		eventually(t, func() string { return differs(state(), autotune.VectorWorks) })
		do(t, boss, "drop extension vector cascade")
		eventually(t, func() string { return differs(state(), autotune.VectorLost) })
		do(t, boss, "create extension vector")
		eventually(t, func() string { return differs(state(), autotune.VectorWorks) })
		return "Health said works, lost, works"
	})
}

func differs[T comparable](got, want T) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("%v, not %v", got, want)
}

func TestFaultTwoPoolsOnOneServer(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	server := ours(t, map[string]string{"max_connections": "20"})
	dsn := server.DSN()
	boss := admin(t, dsn)
	first, second := open(t, with(t, dsn, "application_name", "first"), 12), open(t, with(t, dsn, "application_name", "second"), 12)
	b := keep(t, boss, second, 12)
	inFire(t, "two pools of max 12 on a server for 17", func() *pgx.Conn { return boss }, first, func(*book) string {
		most := int64(0)
		for end := time.Now().Add(8 * time.Second); time.Now().Before(end); {
			most = max(most, count(t, boss, "select count(*) from pg_stat_activity where application_name in ('first', 'second')"))
			goes(t, 50*time.Millisecond)
		}
		b.round(t)
		return "at most " + strconv.FormatInt(most, 10) + " backends"
	})
	b.audit(t, boss)
	balanced(t, second)
	if n := b.failures.Load(); n > 0 {
		t.Logf("%d operations of the second pool failed", n)
	}
}
