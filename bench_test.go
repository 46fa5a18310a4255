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
	// Two connections of the very same pool differ by several percent, with the
	// backend and the memory they got. So the round trip is compared over fresh
	// pools, and a plain pool against another shows how far chance goes.
	b.Run("round_trip/goroutines=1", func(b *testing.B) {
		var against, control pairs
		for range 8 {
			fresh := [3]benched{}
			for i := range fresh {
				if i == 2 {
					tuned, err := autotune.New(ctx, dsn)
					if err != nil {
						b.Fatal(err)
					}
					defer tuned.Close()
					fresh[i] = tuned
					continue
				}
				raw, err := pgxpool.New(ctx, dsn)
				if err != nil {
					b.Fatal(err)
				}
				defer raw.Close()
				fresh[i] = raw
			}
			control.measure(b, fresh[0], fresh[1], 1, 100, 25, roundTrip)
			against.measure(b, fresh[0], fresh[2], 1, 100, 25, roundTrip)
		}
		against.report(b)
		b.ReportMetric(control.ratio(), "raw/raw-ratio")
	})
}

// compare runs op on both pools in turn and reports what the second costs.
func compare(b *testing.B, raw, tuned benched, goroutines, n int, op func(*testing.B, benched)) {
	var p pairs
	p.measure(b, raw, tuned, goroutines, n, max(b.N, 151), op) // so many that the median stands on a noisy machine
	p.report(b)
}

// pairs are slices of the same work on two pools, one after the other.
type pairs struct {
	first, second []time.Duration // per operation
	ratios        []float64
}

// measure adds count pairs of slices of n operations.
func (p *pairs) measure(b *testing.B, first, second benched, goroutines, n, count int, op func(*testing.B, benched)) {
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
	slice(first) // opens the connections
	slice(second)
	for i := range count {
		var f, s time.Duration
		if i%2 == 0 {
			f, s = slice(first), slice(second)
		} else {
			s, f = slice(second), slice(first)
		}
		p.first, p.second = append(p.first, f), append(p.second, s)
		p.ratios = append(p.ratios, float64(s)/float64(f))
	}
}

func (p *pairs) ratio() float64 {
	slices.Sort(p.ratios)
	return p.ratios[len(p.ratios)/2]
}

func (p *pairs) report(b *testing.B) {
	slices.Sort(p.first)
	slices.Sort(p.second)
	b.ReportMetric(float64(p.first[len(p.first)/2]), "raw-ns/op")
	b.ReportMetric(float64(p.second[len(p.second)/2]), "tuned-ns/op")
	b.ReportMetric(p.ratio(), "ratio")
	b.ReportMetric(0, "ns/op")
}
