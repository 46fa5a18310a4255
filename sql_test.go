package autotune_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestDatabaseSQLWorksOverThePoolAndItsSwaps(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 3)
	db := autotune.OpenDB(p)
	defer db.Close()
	ctx := within(t)
	if _, err := db.ExecContext(ctx, "create table n (i int)"); err != nil {
		t.Fatal(err)
	}
	prepared, err := db.PrepareContext(ctx, "insert into n values ($1)")
	if err != nil {
		t.Fatal(err)
	}
	defer prepared.Close()
	for i := range 6 {
		if _, err := prepared.ExecContext(ctx, i); err != nil {
			t.Errorf("prepared statement after %d swaps: %v", i, err)
		}
		tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec("insert into n values (100)"); err != nil {
			t.Error(err)
		}
		if err := p.Resize(ctx, autotune.Size{Max: 2 + i%2}); err != nil { // beneath the transaction
			t.Fatal(err)
		}
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
	var n, sum int
	if err := db.QueryRowContext(ctx, "select count(*), sum(i) from n").Scan(&n, &sum); err != nil || n != 6 || sum != 15 {
		t.Errorf("%d rows, sum %d, %v", n, sum, err)
	}
	settled(t, p)
}

func TestTheLimitHoldsForDatabaseSQL(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 2)
	db := autotune.OpenDB(p)
	defer db.Close()
	db.SetMaxOpenConns(10) // more than the pool gives
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if _, err := db.ExecContext(within(t), "select pg_sleep(0.01)"); err != nil {
				t.Error(err)
			}
			if s := p.Snapshot(); s.InUse > 2 || s.Open > 2 {
				t.Errorf("%d in use and %d open with a limit of 2", s.InUse, s.Open)
			}
		})
	}
	callers.Wait()
	if s := settled(t, p); s.Completions > 20 || s.Waited == 0 {
		t.Errorf("%d completions, %d waited", s.Completions, s.Waited)
	}

	// The pool's own callers and those of database/sql share the limit.
	release := hold(t, p, 2)
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := db.PingContext(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third of two connections: %v", err)
	}
	release()

	db.SetMaxOpenConns(1) // fewer than the pool gives
	conn, err := db.Conn(within(t))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if s := p.Snapshot(); s.InUse != 1 {
			return fmt.Sprintf("%d in use with one *sql.Conn", s.InUse)
		}
		return ""
	})
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	settled(t, p)
}

func TestDatabaseSQLGetsTheAcquireTimeout(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 1, func(c *autotune.Config) { c.AcquireTimeout = 500 * time.Millisecond })
	db := autotune.OpenDB(p)
	defer db.Close()
	defer hold(t, p, 1)()
	if err := db.PingContext(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("database/sql: %v", err)
	}
	_, err := p.Acquire(t.Context())
	if !errors.Is(err, autotune.ErrAcquireTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Acquire: %v", err)
	}
	t.Log(err)
}
