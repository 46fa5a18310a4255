package fire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgautotune/autotune"
)

// book is the accounting of a load: clerks insert numbers that nobody else has,
// and write down which of them were acknowledged, which were undone, and of which
// they do not know because the answer was lost on its way. The audit compares
// that with the table, in the database.
type book struct {
	pool  *autotune.Pool
	table string
	next  atomic.Int64
	rest  time.Duration // of a clerk after a failure
	// within bounds each operation; 0: no bound
	within time.Duration

	mu           sync.Mutex
	acknowledged map[int64]struct{} // guarded by mu
	undecided    map[int64]struct{} // guarded by mu
	undone       int64              // guarded by mu
	reasons      map[string]int     // guarded by mu: of failures

	good     []atomic.Int64 // successes, by clerk
	failures atomic.Int64
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// keep starts clerks on a pool, with a table of their own.
func keep(t testing.TB, conn *pgx.Conn, p *autotune.Pool, clerks int, change ...func(*book)) *book {
	t.Helper()
	b := &book{pool: p, table: fmt.Sprintf("book_%d", rand.Uint32()), rest: time.Millisecond, within: 5 * time.Second,
		acknowledged: map[int64]struct{}{}, undecided: map[int64]struct{}{}, reasons: map[string]int{}}
	for _, f := range change {
		f(b)
	}
	do(t, conn, "create table "+b.table+" (id bigint not null)") // without a key, so that a second copy shows
	b.start(clerks)
	t.Cleanup(b.end)
	return b
}

func (b *book) start(clerks int) {
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.good = make([]atomic.Int64, clerks)
	for i := range clerks {
		rng := rand.New(rand.NewPCG(7, uint64(i)))
		b.done.Go(func() {
			for ctx.Err() == nil {
				if b.work(ctx, rng) {
					b.good[i].Add(1)
					continue
				}
				timer := time.NewTimer(b.rest)
				select {
				case <-timer.C:
				case <-ctx.Done():
				}
				timer.Stop()
			}
		})
	}
}

func (b *book) end() { b.cancel(); b.done.Wait() }

var errUndone = errors.New("rolled back")

// work does one operation: an insert by itself, in a batch, or in a transaction
// that is committed or rolled back.
func (b *book) work(stop context.Context, rng *rand.Rand) bool {
	ctx := context.WithoutCancel(stop) // an operation that has begun is brought to its end
	if b.within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.within)
		defer cancel()
	}
	ids := []int64{b.next.Add(1)}
	insert := "insert into " + b.table + " values ($1)"
	var err error
	switch rng.IntN(8) {
	case 0:
		ids = append(ids, b.next.Add(1))
		err = b.inTx(ctx, insert, ids, pgx.Tx.Commit)
	case 1:
		if err = b.inTx(ctx, insert, ids, pgx.Tx.Rollback); err == nil {
			err = errUndone
		}
	case 2:
		ids = append(ids, b.next.Add(1), b.next.Add(1))
		batch := &pgx.Batch{}
		for _, id := range ids {
			batch.Queue(insert, id)
		}
		err = b.pool.SendBatch(ctx, batch).Close()
	default:
		_, err = b.pool.Exec(ctx, insert, ids[0])
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(err, errUndone) {
		b.undone++
		return true
	}
	for _, id := range ids {
		if err == nil {
			b.acknowledged[id] = struct{}{}
		} else {
			b.undecided[id] = struct{}{}
		}
	}
	if err != nil {
		b.failures.Add(1)
		if text := err.Error(); len(b.reasons) < 20 || b.reasons[text] > 0 {
			b.reasons[text]++
		}
	}
	return err == nil
}

func (b *book) inTx(ctx context.Context, insert string, ids []int64, end func(pgx.Tx, context.Context) error) error {
	tx, err := b.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		over, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = tx.Rollback(over)
	}()
	for _, id := range ids {
		if _, err := tx.Exec(ctx, insert, id); err != nil {
			return err
		}
	}
	return end(tx, ctx)
}

// round waits until every clerk has had a success from now on, and tells how
// long it took.
func (b *book) round(t testing.TB) time.Duration {
	t.Helper()
	start := time.Now()
	before := make([]int64, len(b.good))
	for i := range b.good {
		before[i] = b.good[i].Load()
	}
	eventually(t, func() string {
		for i := range b.good {
			if b.good[i].Load() == before[i] {
				return fmt.Sprintf("clerk %d has had no success; failures: %v", i, b.why())
			}
		}
		return ""
	})
	return time.Since(start)
}

func (b *book) why() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]int{}
	for k, v := range b.reasons {
		out[k] = v
	}
	return out
}

// audit ends the work and compares book and table. What it returns is for the
// table of figures.
func (b *book) audit(t testing.TB, conn *pgx.Conn) string {
	t.Helper()
	b.end()
	found := map[int64]int{}
	rows, _ := conn.Query(t.Context(), "select id, count(*) from "+b.table+" group by id") // its error is in the rows
	var id int64
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error { found[id] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	lost, twice, foundAcknowledged, foundUndecided, strange := 0, 0, 0, 0, 0
	for id := range b.acknowledged {
		if found[id] == 0 {
			lost++
		}
	}
	for id, n := range found {
		_, sure := b.acknowledged[id]
		_, unsure := b.undecided[id]
		switch {
		case n > 1:
			twice++
		case sure:
			foundAcknowledged++
		case unsure:
			foundUndecided++
		default:
			strange++
		}
	}
	if lost+twice+strange > 0 || foundAcknowledged != len(b.acknowledged) {
		t.Errorf("%d acknowledged were lost, %d are there twice, %d are there although undone or never asked for", lost, twice, strange)
	}
	if len(b.acknowledged) == 0 {
		t.Error("nothing was acknowledged: it proves nothing")
	}
	for why, n := range b.why() {
		t.Logf("%6d × %s", n, why)
	}
	text := fmt.Sprintf("%d acknowledged = %d found, 0 twice", len(b.acknowledged), foundAcknowledged)
	if n := len(b.undecided); n > 0 {
		text += fmt.Sprintf("; of %d whose answer was lost %d had happened", n, foundUndecided)
	}
	return text
}

// balanced checks that nothing is in use and that the pool's counters agree with
// each other.
func balanced(t testing.TB, p *autotune.Pool) {
	t.Helper()
	eventually(t, func() string {
		if s := p.Snapshot(); s.InUse != 0 || s.Queued != 0 {
			return fmt.Sprintf("%d in use, %d queued", s.InUse, s.Queued)
		}
		return ""
	})
	s := p.Snapshot()
	if s.Arrivals != s.Completions+s.Canceled+s.Failed {
		t.Errorf("%d arrivals, but %d completions + %d canceled + %d failed", s.Arrivals, s.Completions, s.Canceled, s.Failed)
	}
	if s.OpenPeak > s.Budget {
		t.Errorf("at most %d were open, of a budget of %d", s.OpenPeak, s.Budget)
	}
}
