package autotune_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// One connection, held for 40 ms by each of three callers that ask at once: they
// wait 0, 40 and 80 ms and have their answers after 40, 80 and 120.
func TestTimesAreThoseOfTheCallers(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 1)
	mustExec(t, p, "select 1")
	before := p.Times()
	if _, ok := before.WaitQuantile(&before, 0.5); ok {
		t.Error("nobody came since, and yet there is a wait time")
	}
	if _, ok := before.ResponseQuantile(&before, 0.5); ok {
		t.Error("nobody came since, and yet there is a response time")
	}

	const held = 40 * time.Millisecond
	conn, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	for i := range 2 {
		go func() {
			done <- p.AcquireFunc(context.Background(), func(c *pgxpool.Conn) error {
				_, err := c.Exec(context.Background(), fmt.Sprintf("select pg_sleep(%g)", held.Seconds()))
				return err
			})
		}()
		queues(t, p, i+1)
	}
	if _, err := conn.Exec(t.Context(), fmt.Sprintf("select pg_sleep(%g)", held.Seconds())); err != nil {
		t.Fatal(err)
	}
	conn.Release()
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	p.Reset() // what closed connections served stays counted
	eventually(t, func() string {
		if n := p.Snapshot().Open; n > 0 {
			return fmt.Sprint(n, " connections are still open")
		}
		return ""
	})

	after := p.Times()
	for _, c := range []struct {
		what     string
		quantile func(*autotune.Times, *autotune.Times, float64) (time.Duration, bool)
		q        float64
		least    time.Duration
	}{
		{"wait p1", (*autotune.Times).WaitQuantile, 0.01, 0},
		{"wait p50", (*autotune.Times).WaitQuantile, 0.5, held},
		{"wait p99", (*autotune.Times).WaitQuantile, 0.99, held},
		{"response p1", (*autotune.Times).ResponseQuantile, 0.01, held},
		{"response p50", (*autotune.Times).ResponseQuantile, 0.5, 2 * held},
		{"response p99", (*autotune.Times).ResponseQuantile, 0.99, 2 * held},
	} {
		got, ok := c.quantile(&after, &before, c.q)
		if !ok || got < c.least || got > c.least+10*time.Second || c.least == 0 && got != 0 {
			t.Errorf("%s is %v (%v), want %v or somewhat more", c.what, got, ok, c.least)
		}
	}
}
