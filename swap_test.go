package autotune_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pgautotune/autotune"
)

// The first two invariants: no query fails, is lost or runs twice because of a
// swap, and the server connections stay within the budget.

// swapping says whether a test shall do another swap after n: up to the usual
// number, but for no longer than a minute of a busy machine; or exactly as many
// as AUTOTUNE_SWAPS says, however long that takes.
func swapping(t *testing.T, usual int) (another func(n int) bool) {
	if v := os.Getenv("AUTOTUNE_SWAPS"); v != "" {
		exactly, err := strconv.Atoi(v)
		if err != nil || exactly < 1 {
			t.Fatalf("AUTOTUNE_SWAPS=%q is not a number of swaps", v)
		}
		return func(n int) bool { return n < exactly }
	}
	if testing.Short() {
		usual = min(usual, 50)
	}
	end := time.Now().Add(time.Minute)
	return func(n int) bool { return n < usual && (n < 50 || time.Now().Before(end)) }
}

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
	if err != nil && !errors.Is(err, errUndone) && !(impatient && ctx.Err() != nil && canceled(err)) {
		c.failures = append(c.failures, fmt.Errorf("%s: %w", kind.name, err))
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
	rows, err := conn.Query(t.Context(), "select id, count(*) from book group by id")
	var id int64
	var n int
	if _, err = pgx.ForEachRow(rows, []any{&id, &n}, func() error { copies[id] = n; return nil }); err != nil {
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

// wall is how the tests know that a budget is kept. The server's own connection
// limit of the role counts exactly, under a lock, at every connection: it is set
// to the budget, and what it refuses is noted. Beside that the backends are
// sampled. A look at pg_stat_activity is no snapshot, it reads one slot after
// the other while backends come and go; those that two looks in a row have in
// common were there together.
type wall struct {
	refused  atomic.Int64
	most     int
	samples  int
	stopped  context.CancelFunc
	finished sync.WaitGroup
}

// TraceConnectStart and its like see every connection of the pool.
func (*wall) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

func (w *wall) TraceConnectEnd(_ context.Context, data pgx.TraceConnectEndData) {
	var pgErr *pgconn.PgError
	if errors.As(data.Err, &pgErr) && pgErr.Code == "53300" {
		w.refused.Add(1)
	}
}

func (*wall) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (*wall) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (w *wall) trace(cfg *autotune.Config) { cfg.Pool.ConnConfig.Tracer = w }

// watch samples the backends called app until stop, as fast as leaves the server
// time for its work.
func (w *wall) watch(t *testing.T, super, app string) {
	t.Helper()
	conn := admin(t, super)
	var ctx context.Context
	ctx, w.stopped = context.WithCancel(context.Background())
	t.Cleanup(w.stop)
	w.finished.Go(func() {
		before := map[uint32]bool{}
		for tick := time.NewTicker(500 * time.Microsecond); ctx.Err() == nil; <-tick.C {
			rows, _ := conn.Query(context.Background(), "select pid from pg_stat_activity where application_name = $1", app)
			pids, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
			if err != nil {
				t.Errorf("watching: %v", err)
				return
			}
			now, both := map[uint32]bool{}, 0
			for _, pid := range pids {
				now[pid] = true
				if before[pid] {
					both++
				}
			}
			before = now
			w.most, w.samples = max(w.most, both), w.samples+1
		}
	})
}

func (w *wall) stop() { w.stopped(); w.finished.Wait() }

func (w *wall) check(t *testing.T, p *autotune.Pool, budget int) {
	t.Helper()
	w.stop()
	s := p.Snapshot()
	t.Logf("budget %d: at most %d backends in %d samples, %d counted where they are dialled, %d refused by the server", budget, w.most, w.samples, s.OpenPeak, w.refused.Load())
	if w.most > budget || s.OpenPeak > budget || w.refused.Load() > 0 {
		t.Errorf("the budget of %d was exceeded", budget)
	}
	if w.samples < 100 || w.most < budget/2 {
		t.Errorf("%d samples with at most %d backends prove nothing", w.samples, w.most)
	}
}

func TestAThousandSwapsUnderLoadLoseNothingAndStayWithinTheBudget(t *testing.T) {
	const budget, app = 6, "thousand"
	leakFree(t)
	dsn, super, _ := role(t, fmt.Sprint("connection limit ", budget))
	var wall wall
	p := open(t, with(dsn, "application_name", app), budget, wall.trace)
	watcher := admin(t, super)
	work := startClerks(t, p, 64)
	wall.watch(t, super, app)
	start := time.Now()
	swaps := 0
	for another := swapping(t, 1000); another(swaps); swaps++ {
		i := swaps
		if err := p.Resize(t.Context(), autotune.Size{Max: budget - 2*(i%2), Min: i % 3}); err != nil {
			t.Fatalf("swap %d: %v", i, err)
		}
	}
	took := time.Since(start)
	work.audit(t, watcher)
	wall.check(t, p, budget)
	s := settled(t, p)
	t.Logf("%d swaps in %s (%s each), %d connections opened, %d acquires, %d of them waited", s.Swaps, took.Round(time.Millisecond), (took / time.Duration(swaps)).Round(10*time.Microsecond), s.Connects, s.Arrivals, s.Waited)
	if s.Swaps < int64(swaps)-1 { // the first asks for what there is
		t.Errorf("%d swaps of %d took place", s.Swaps, swaps)
	}
	closes(t, p)
	eventually(t, func() string {
		if n := backends(t, watcher, app); n != 0 {
			return fmt.Sprintf("%d backends after Close", n)
		}
		return ""
	})
}

// A LISTENer and a long transaction pin the generations they came from.
func TestSwapsLeavePinnedConnectionsAlone(t *testing.T) {
	for name, change := range map[string]func(*autotune.Config){"manual": func(*autotune.Config) {}, "controlled": live} {
		t.Run(name, func(t *testing.T) {
			const budget, app = 8, "pinned"
			leakFree(t)
			dsn, super, _ := role(t, fmt.Sprint("connection limit ", budget+1)) // one for the controller
			var wall wall
			p := open(t, with(dsn, "application_name", app), budget, change, wall.trace, func(c *autotune.Config) { c.DrainTimeout = 20 * time.Millisecond })
			watcher := admin(t, super)
			work := startClerks(t, p, 32)
			wall.watch(t, super, app)

			listener, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, listener, "listen news")
			t.Cleanup(listener.Release)
			long, err := p.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = long.Rollback(context.Background()) })
			mustExec(t, long, "create temp table mine on commit drop as select 42 as answer")

			another := swapping(t, 100)
			for i := 0; another(i); i++ {
				if err := p.Resize(within(t), autotune.Size{Max: budget - 3*(i%2)}); err != nil {
					t.Fatalf("swap %d: %v", i, err)
				}
				if i%10 == 0 {
					said := fmt.Sprint("swap ", i)
					mustExec(t, watcher, "select pg_notify('news', $1)", said)
					n, err := listener.Conn().WaitForNotification(within(t))
					if err != nil || n.Payload != said {
						t.Fatalf("the listener got %+v, %v", n, err)
					}
				}
			}
			var answer int
			if err := long.QueryRow(t.Context(), "select answer from mine").Scan(&answer); err != nil || answer != 42 {
				t.Errorf("the long transaction: %d, %v", answer, err)
			}
			if err := long.Commit(t.Context()); err != nil {
				t.Errorf("the long transaction: %v", err)
			}
			mustExec(t, listener, "unlisten *")
			listener.Release()
			work.audit(t, watcher)
			wall.check(t, p, budget)
			settled(t, p)
		})
	}
}
