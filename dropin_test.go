package autotune_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// dbtx is what sqlc generates for pgx/v5, with :copyfrom and :batch queries.
type dbtx interface {
	Exec(context.Context, string, ...interface{}) (pgconn.CommandTag, error)
	Query(context.Context, string, ...interface{}) (pgx.Rows, error)
	QueryRow(context.Context, string, ...interface{}) pgx.Row
	CopyFrom(ctx context.Context, tableName pgx.Identifier, columnNames []string, rowSrc pgx.CopyFromSource) (int64, error)
	SendBatch(context.Context, *pgx.Batch) pgx.BatchResults
}

var _ dbtx = (*autotune.Pool)(nil)

// lacks lists the methods of want that have does not have with the same signature.
func lacks(have, want reflect.Type) (missing []string) {
	for i := range want.NumMethod() {
		m := want.Method(i)
		h, ok := have.MethodByName(m.Name)
		if !ok {
			missing = append(missing, m.Name)
			continue
		}
		signature := func(f reflect.Type) (s []reflect.Type) {
			for i := 1; i < f.NumIn(); i++ { // 0 is the receiver
				s = append(s, f.In(i))
			}
			s = append(s, reflect.TypeFor[bool]())
			for i := range f.NumOut() {
				s = append(s, f.Out(i))
			}
			return s
		}
		if !reflect.DeepEqual(signature(h.Type), signature(m.Type)) || h.Type.IsVariadic() != m.Type.IsVariadic() {
			missing = append(missing, fmt.Sprintf("%s is %s, not %s", m.Name, h.Type, m.Type))
		}
	}
	return missing
}

type notQuiteAPool struct{ *pgxpool.Pool }

func (notQuiteAPool) Ping(context.Context, ...string) error { return nil }

func TestThePoolHasEveryMethodOfPgxpool(t *testing.T) {
	want := reflect.TypeFor[*pgxpool.Pool]()
	if missing := lacks(reflect.TypeFor[*autotune.Pool](), want); missing != nil {
		t.Errorf("*autotune.Pool lacks %q", missing)
	}
	if want.NumMethod() < 15 { // pgx 5.12 has 15
		t.Errorf("only %d methods were compared", want.NumMethod())
	}
	if missing := lacks(reflect.TypeFor[notQuiteAPool](), want); len(missing) != 1 {
		t.Errorf("the check is blind: of a pool with a wrong Ping it said %q", missing)
	}
	if missing := lacks(reflect.TypeFor[*pgx.Conn](), want); len(missing) < 5 {
		t.Errorf("the check is blind: of *pgx.Conn it said %q", missing)
	}
}

func TestAQueryThatGetsNoConnectionReturnsRowsInAnErrorState(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 1)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, ctx := range map[string]context.Context{"canceled": canceled, "syntax": t.Context()} {
		rows, err := p.Query(ctx, "selec 1")
		if err == nil || rows == nil {
			t.Fatalf("%s: rows %v, error %v", name, rows, err)
		}
		if rows.Next() {
			t.Errorf("%s: there is a row", name)
		}
		if rows.Err() == nil || rows.Scan(new(int)) == nil {
			t.Errorf("%s: the rows have no error", name)
		}
		if _, err := rows.Values(); err == nil {
			t.Errorf("%s: Values has no error", name)
		}
		rows.Close()
		if err := p.QueryRow(ctx, "selec 1").Scan(new(int)); err == nil {
			t.Errorf("%s: QueryRow has no error", name)
		}
	}
	settled(t, p)
}

type panics struct{}

func (panics) Scan(any) error { panic("in Scan") }

func TestAConnectionComesBackWhateverItsUserDoes(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 1) // one that is not given back blocks the next case
	mustExec(t, p, "create table n (i int)")
	tests := map[string]func(ctx context.Context) error{
		"a Scan method panics": func(ctx context.Context) error {
			defer func() { _ = recover() }()
			_ = p.QueryRow(ctx, "select 'x'").Scan(panics{})
			return errors.New("it did not panic")
		},
		"Scan fails in the middle of rows": func(ctx context.Context) error {
			rows, err := p.Query(ctx, "select 'x' from generate_series(1, 10)")
			if err != nil || !rows.Next() || rows.Scan(new(int)) == nil {
				return fmt.Errorf("no scan error: %w", err)
			}
			return nil
		},
		"rows are closed early, twice": func(ctx context.Context) error {
			rows, err := p.Query(ctx, "select generate_series(1, 10000)")
			rows.Next()
			rows.Close()
			rows.Close()
			return err
		},
		"rows are read to their end": func(ctx context.Context) error {
			rows, err := p.Query(ctx, "select generate_series(1, 10)")
			for rows.Next() {
			}
			return err
		},
		"released twice": func(ctx context.Context) error {
			c, err := p.Acquire(ctx)
			if err == nil {
				c.Release()
				c.Release()
			}
			return err
		},
		"rollback after commit": func(ctx context.Context) error {
			tx, err := p.Begin(ctx)
			if err != nil {
				return err
			}
			if err := tx.Commit(ctx); err != nil {
				return err
			}
			if err := tx.Rollback(ctx); !errors.Is(err, pgx.ErrTxClosed) {
				return fmt.Errorf("rollback after commit: %w", err)
			}
			return nil
		},
		"commit of a failed transaction": func(ctx context.Context) error {
			tx, err := p.Begin(ctx)
			if err != nil {
				return err
			}
			_, _ = tx.Exec(ctx, "selec")
			if err := tx.Commit(ctx); !errors.Is(err, pgx.ErrTxCommitRollback) {
				return fmt.Errorf("commit: %w", err)
			}
			return nil
		},
		"begin fails": func(ctx context.Context) error {
			if _, err := p.BeginTx(ctx, pgx.TxOptions{BeginQuery: "selec"}); err == nil {
				return errors.New("it did not fail")
			}
			return nil
		},
		"released inside a transaction": func(ctx context.Context) error {
			c, err := p.Acquire(ctx)
			if err == nil {
				_, err = c.Exec(ctx, "begin")
				c.Release()
			}
			return err
		},
		"the function of AcquireFunc fails": func(ctx context.Context) error {
			want := errors.New("mine")
			if err := p.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return want }); err != want {
				return fmt.Errorf("AcquireFunc: %w", err)
			}
			return nil
		},
		"the connection is closed by hand": func(ctx context.Context) error {
			return p.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return c.Conn().Close(ctx) })
		},
		"the query is canceled": func(ctx context.Context) error {
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			if _, err := p.Exec(short, "select pg_sleep(10)"); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("exec: %w", err)
			}
			return nil
		},
		"a batch is closed": func(ctx context.Context) error {
			b := &pgx.Batch{}
			b.Queue("insert into n values (1)")
			b.Queue("insert into n values (2)")
			r := p.SendBatch(ctx, b)
			if err := r.Close(); err != nil {
				return err
			}
			return r.Close()
		},
		"a batch begins a transaction": func(ctx context.Context) error {
			b := &pgx.Batch{}
			b.BeginTx(pgx.TxOptions{})
			b.Queue("insert into n values (3)")
			r := p.SendBatch(ctx, b)
			tx := r.Tx()
			if tx == nil {
				return errors.New("no transaction")
			}
			if err := r.Close(); err != nil {
				return err
			}
			if s := p.Snapshot(); s.InUse != 1 {
				return fmt.Errorf("%d in use during the transaction", s.InUse)
			}
			if _, err := tx.Exec(ctx, "insert into n values (4)"); err != nil {
				return err
			}
			return tx.Commit(ctx)
		},
		"a batch fails": func(ctx context.Context) error {
			b := &pgx.Batch{}
			b.Queue("selec")
			if err := p.SendBatch(ctx, b).Close(); err == nil {
				return errors.New("it did not fail")
			}
			return nil
		},
		"a batch is canceled": func(ctx context.Context) error {
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			b := &pgx.Batch{}
			b.Queue("select pg_sleep(10)")
			if err := p.SendBatch(short, b).Close(); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("batch: %w", err)
			}
			return nil
		},
		"a batch gets no connection": func(ctx context.Context) error {
			over, cancel := context.WithCancel(ctx)
			cancel()
			b := &pgx.Batch{}
			b.Queue("select 1")
			if err := p.SendBatch(over, b).Close(); !errors.Is(err, context.Canceled) {
				return fmt.Errorf("batch: %w", err)
			}
			return nil
		},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			ctx := within(t)
			if err := f(ctx); err != nil {
				t.Fatal(err)
			}
			if err := p.Ping(ctx); err != nil {
				t.Fatalf("the connection did not come back: %v", err)
			}
			settled(t, p)
		})
	}
	var n int
	if err := p.QueryRow(t.Context(), "select sum(i) from n").Scan(&n); err != nil || n != 1+2+3+4 {
		t.Errorf("the batches left %d, %v", n, err)
	}
}
