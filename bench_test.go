package autotune_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// benched is what both pools can do.
type benched interface {
	Acquire(context.Context) (*pgxpool.Conn, error)
	QueryRow(context.Context, string, ...any) pgx.Row
}

// BenchmarkFacade prints what the façade costs as a ratio to plain pgxpool. The
// two alternate in slices of a few milliseconds within one run, so that a noisy
// machine slows both; the ratio is the median over the pairs of slices.
func BenchmarkFacade(b *testing.B) {
	dsn := pgtest.DSN(b) + "&pool_max_conns=64"
	ctx := context.Background()
	raw, err := pgxpool.New(ctx, dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	tuned, err := autotune.New(ctx, dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer tuned.Close()

	acquire := func(b *testing.B, p benched) {
		c, err := p.Acquire(ctx)
		if err != nil {
			b.Error(err)
			return
		}
		c.Release()
	}
	roundTrip := func(b *testing.B, p benched) {
		var one int
		if err := p.QueryRow(ctx, "select 1").Scan(&one); err != nil {
			b.Error(err)
		}
	}
	for _, goroutines := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("acquire_release/goroutines=%d", goroutines), func(b *testing.B) {
			compare(b, raw, tuned, goroutines, 20_000, acquire)
		})
	}
	b.Run("round_trip/goroutines=1", func(b *testing.B) {
		compare(b, raw, tuned, 1, 300, roundTrip)
	})
}

// compare runs op on both pools in turn, b.N pairs of slices of n operations.
func compare(b *testing.B, raw, tuned benched, goroutines, n int, op func(*testing.B, benched)) {
	slice := func(p benched) time.Duration {
		var done sync.WaitGroup
		start := time.Now()
		for range goroutines {
			done.Go(func() {
				for range n / goroutines {
					op(b, p)
				}
			})
		}
		done.Wait()
		return time.Since(start) / time.Duration(n/goroutines*goroutines)
	}
	slice(raw) // opens the connections
	slice(tuned)
	var rawTimes, tunedTimes []time.Duration
	var ratios []float64
	for i := range max(b.N, 151) { // so many that the median stands on a noisy machine
		var r, t time.Duration
		if i%2 == 0 {
			r, t = slice(raw), slice(tuned)
		} else {
			t, r = slice(tuned), slice(raw)
		}
		rawTimes, tunedTimes = append(rawTimes, r), append(tunedTimes, t)
		ratios = append(ratios, float64(t)/float64(r))
	}
	slices.Sort(rawTimes)
	slices.Sort(tunedTimes)
	slices.Sort(ratios)
	b.ReportMetric(float64(rawTimes[len(rawTimes)/2]), "raw-ns/op")
	b.ReportMetric(float64(tunedTimes[len(tunedTimes)/2]), "tuned-ns/op")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(0, "ns/op")
}
