package autotune_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pgautotune/autotune"
)

// clerks write down what they did: every operation inserts numbers nobody else
// has, and the book says which of them were acknowledged, refused or left open.
type clerks struct {
	pool *autotune.Pool
	next atomic.Int64

	mu       sync.Mutex
	certain  map[int64]bool // acknowledged; must be there once
	perhaps  map[int64]bool // canceled or timed out; may be there once
	never    map[int64]bool // rolled back; must not be there
	failures []error        // that no cancel explains
	done     sync.WaitGroup
	stop     context.CancelFunc
	stopped  context.Context
}

func startClerks(t *testing.T, p *autotune.Pool, n int) *clerks {
	mustExec(t, p, "create table book (id bigint not null)") // without a key, so that a second copy shows
	c := &clerks{pool: p, certain: map[int64]bool{}, perhaps: map[int64]bool{}, never: map[int64]bool{}}
	c.stopped, c.stop = context.WithCancel(context.Background())
	t.Cleanup(c.end) // also where the test is given up
	for i := range n {
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		c.done.Go(func() {
			for c.stopped.Err() == nil {
				c.work(rng)
			}
		})
	}
	return c
}

func (c *clerks) end() { c.stop(); c.done.Wait() }

// work does one operation of a random kind, every eighth with a context that
// ends somewhere in the middle.
func (c *clerks) work(rng *rand.Rand) {
	ctx := context.Background()
	impatient := rng.IntN(8) == 0
	if impatient {
		var cancel context.CancelFunc
		after := time.Duration(rng.IntN(5000)) * time.Microsecond
		if rng.IntN(2) == 0 {
			ctx, cancel = context.WithTimeout(ctx, after)
		} else {
			ctx, cancel = context.WithCancel(ctx)
			defer time.AfterFunc(after, cancel).Stop()
		}
		defer cancel()
	}
	kind := clerical[rng.IntN(len(clerical))]
	ids := make([]int64, kind.ids)
	for i := range ids {
		ids[i] = c.next.Add(1)
	}
	err := kind.do(ctx, c.pool, ids)

	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		switch {
		case errors.Is(err, errUndone):
			c.never[id] = true
		case err == nil:
			c.certain[id] = true
		default:
			c.perhaps[id] = true
		}
	}
	gaveUp := impatient && ctx.Err() != nil
	// pgx closes the connection of a canceled CopyFrom and goes on writing to it: what
	// comes back is then the end of the connection, and not that of the context.
	own := canceled(err) || kind.name == "CopyFrom" && (errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed))
	if err != nil && !errors.Is(err, errUndone) && !(gaveUp && own) {
		c.failures = append(c.failures, fmt.Errorf("%s (its context has ended: %t): %w", kind.name, gaveUp, err))
	}
}

// canceled tells whether an error is the end of the caller's own context.
func canceled(err error) bool {
	var pgErr *pgconn.PgError
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) ||
		errors.As(err, &pgErr) && pgErr.Code == "57014" // query_canceled
}

var errUndone = errors.New("rolled back")

const insert = "insert into book values ($1)"

// clerical are the kinds of operation.
var clerical = []struct {
	name string
	ids  int
	do   func(ctx context.Context, p *autotune.Pool, ids []int64) error
}{
	{"Exec", 1, func(ctx context.Context, p *autotune.Pool, ids []int64) error {
		_, err := p.Exec(ctx, insert, ids[0])
		return err
	}},
	{"Query", 1, func(ctx context.Context, p *autotune.Pool, ids []int64) error {
		rows, err := p.Query(ctx, "with i as ("+insert+" returning id) select id, generate_series(1, 20) from i", ids[0])
		if err != nil {
			return err
		}
		n := 0
		for rows.Next() {
			n++
		}
		if rows.Err() == nil && n != 20 {
			return fmt.Errorf("%d rows of 20", n)
		}
		return rows.Err()
	}},
	{"QueryRow", 1, func(ctx context.Context, p *autotune.Pool, ids []int64) error {
		var got int64
		err := p.QueryRow(ctx, insert+" returning id", ids[0]).Scan(&got)
		if err == nil && got != ids[0] {
			err = fmt.Errorf("the answer of another: %d to %d", got, ids[0])
		}
		return err
	}},
	{"Begin, Commit", 2, func(ctx context.Context, p *autotune.Pool, ids []int64) error {
		return inTx(ctx, p, ids, pgx.Tx.Commit)
	}},
	{"Begin, Rollback", 2, func(ctx context.Context, p *autotune.Pool, ids []int64) error {
		if err := inTx(ctx, p, ids, pgx.Tx.Rollback); err != nil {
			return err
		}
		return errUndone
	}},
	{"SendBatch", 3, func(ctx context.Context, p *autotune.Pool, ids []int64) error {
		b := &pgx.Batch{}
		for _, id := range ids {
			b.Queue(insert, id)
		}
		return p.SendBatch(ctx, b).Close()
	}},
	{"SendBatch with a transaction", 2, func(ctx context.Context, p *autotune.Pool, ids []int64) error {
		b := &pgx.Batch{}
		b.BeginTx(pgx.TxOptions{})
		b.Queue(insert, ids[0])
		r := p.SendBatch(ctx, b)
		tx := r.Tx()
		if tx == nil {
			return r.Close()
		}
		defer tx.Rollback(context.Background())
		if err := r.Close(); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insert, ids[1]); err != nil {
			return err
		}
		return tx.Commit(ctx)
	}},
	{"CopyFrom", 5, func(ctx context.Context, p *autotune.Pool, ids []int64) error {
		rows := make([][]any, len(ids))
		for i, id := range ids {
			rows[i] = []any{id}
		}
		n, err := p.CopyFrom(ctx, pgx.Identifier{"book"}, []string{"id"}, pgx.CopyFromRows(rows))
		if err == nil && n != int64(len(ids)) {
			err = fmt.Errorf("%d rows copied of %d", n, len(ids))
		}
		return err
	}},
}

func inTx(ctx context.Context, p *autotune.Pool, ids []int64, end func(pgx.Tx, context.Context) error) error {
	tx, err := p.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.Background())
	for _, id := range ids {
		if _, err := tx.Exec(ctx, insert, id); err != nil {
			return err
		}
	}
	return end(tx, ctx)
}

// audit ends the work and compares the book with the table.
func (c *clerks) audit(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	c.end()
	for _, err := range c.failures[:min(len(c.failures), 10)] {
		t.Errorf("failed without having been canceled: %v", err)
	}
	if n := len(c.failures); n > 0 {
		t.Errorf("%d operations failed", n)
	}
	copies := map[int64]int{}
	rows, _ := conn.Query(t.Context(), "select id, count(*) from book group by id") // the error is in the rows
	var id int64
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error { copies[id] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	lost, twice, undead := 0, 0, 0
	for id := range c.certain {
		if copies[id] == 0 {
			lost++
		}
	}
	for id, n := range copies {
		if n > 1 {
			twice++
		}
		if !c.certain[id] && !c.perhaps[id] {
			undead++
		}
	}
	if lost+twice+undead > 0 {
		t.Errorf("%d acknowledged were lost, %d ran twice, %d are there although they were rolled back", lost, twice, undead)
	}
	t.Logf("%d acknowledged, %d canceled, %d rolled back; %d in the table", len(c.certain), len(c.perhaps), len(c.never), len(copies))
	if len(c.certain) == 0 || len(c.perhaps) == 0 || len(c.never) == 0 {
		t.Error("not every kind of end has occurred: the test proves nothing")
	}
}
