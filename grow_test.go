package autotune_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
)

// naive is the swap that suggests itself: a pointer to a pgxpool.Pool. Who is
// queued in the old pool stays there.
type naive struct{ current atomic.Pointer[pgxpool.Pool] }

func (n *naive) Acquire(ctx context.Context) (*pgxpool.Conn, error) {
	return n.current.Load().Acquire(ctx)
}

const (
	small, large = 4, 24
	slowQuery    = "select pg_sleep(0.4)"
)

// grown lets callers queue for a pool of 4, each for a slow query, grows it to 24
// and returns how long the callers waited from then on, in order.
func grown(t *testing.T, p interface {
	Acquire(context.Context) (*pgxpool.Conn, error)
}, queued func() int, grow func()) (waits []time.Duration) {
	t.Helper()
	var callers sync.WaitGroup
	var mu sync.Mutex
	grew := make(chan time.Time, 1)
	release := hold(t, p, small) // whose holders are slow, too
	for range large - small {
		callers.Go(func() {
			conn, err := p.Acquire(within(t))
			if err != nil {
				t.Error(err)
				return
			}
			got := time.Now()
			defer conn.Release()
			at := <-grew
			grew <- at
			mu.Lock()
			waits = append(waits, got.Sub(at))
			mu.Unlock()
			if _, err := conn.Exec(within(t), slowQuery); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, func() string {
		if n := queued(); n != large-small {
			return fmt.Sprintf("%d callers queued", n)
		}
		return ""
	})
	// Those that hold the four connections run their slow query now.
	time.AfterFunc(400*time.Millisecond, release)
	grew <- time.Now()
	grow()
	callers.Wait()
	slices.Sort(waits)
	return waits
}

func TestGrowingServesTheQueueAtOnceWhereAPointerSwapStrandsIt(t *testing.T) {
	leakFree(t)
	dsn, _, _ := role(t, "")

	p := open(t, dsn, small, func(c *autotune.Config) { c.Ceiling, c.Budget = large, large+small })
	ours := grown(t, p, func() int { return p.Snapshot().Queued }, func() {
		if err := p.Resize(within(t), autotune.Size{Max: large}); err != nil {
			t.Error(err)
		}
	})

	build := func(size int) *pgxpool.Pool {
		pool, err := pgxpool.New(t.Context(), with(dsn, "pool_max_conns", fmt.Sprint(size)))
		if err != nil {
			t.Fatal(err)
		}
		return pool
	}
	var n naive
	old := build(small)
	defer old.Close()
	n.current.Store(old)
	var inside atomic.Int64
	theirs := grown(t, counting{&n, &inside}, func() int { return int(inside.Load()) }, func() {
		next := build(large)
		t.Cleanup(next.Close)
		if err := next.Ping(within(t)); err != nil {
			t.Error(err)
		}
		n.current.Store(next)
	})

	last := func(w []time.Duration) time.Duration { return w[len(w)-1].Round(time.Millisecond) }
	mid := func(w []time.Duration) time.Duration { return w[len(w)/2].Round(time.Millisecond) }
	t.Logf("growing %d to %d under a queue of %d: with the gate the median waits %s and the last %s, with a pointer swap %s and %s",
		small, large, large-small, mid(ours), last(ours), mid(theirs), last(theirs))
	if 2*last(ours) >= last(theirs) || 2*mid(ours) >= mid(theirs) {
		t.Error("the gate does not halve the wait")
	}
}

// counting counts the callers that wait inside.
type counting struct {
	pool *naive
	n    *atomic.Int64
}

func (c counting) Acquire(ctx context.Context) (*pgxpool.Conn, error) {
	c.n.Add(1)
	defer c.n.Add(-1)
	return c.pool.Acquire(ctx)
}
