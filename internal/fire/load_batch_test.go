package fire

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/load"
)

// The job of the batch profile: workers take files, compute over each, look up
// what is known of it and store what they found, in one transaction.
const (
	batchWorkers = 8
	fileBytes    = 64 << 10
)

type analysis struct{ file []byte }

func (a *analysis) one(ctx context.Context, p load.Pool, n int) error {
	sum := sha256.Sum256(a.file)
	tx, err := p.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	var known int
	if err := tx.QueryRow(ctx, "select count(*) from findings where file = $1", n).Scan(&known); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "insert into findings (file, sum) values ($1, $2)", n, fmt.Sprintf("%x", sum)); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// job analyses files with all workers, opening the pool included, and tells how
// long all took and how long the first file of each worker.
func (a *analysis) job(t testing.TB, p load.Pool, files int) (all, first time.Duration) {
	t.Helper()
	var next atomic.Int64
	var firsts [batchWorkers]time.Duration
	var workers sync.WaitGroup
	start := time.Now()
	for w := range batchWorkers {
		workers.Go(func() {
			for i := 0; ; i++ {
				n := int(next.Add(1))
				if n > files {
					return
				}
				if err := a.one(context.Background(), p, n); err != nil {
					t.Error(err)
					return
				}
				if i == 0 {
					firsts[w] = time.Since(start)
				}
			}
		})
	}
	workers.Wait()
	return time.Since(start), slices.Max(firsts[:])
}

// TestLoadBatch compares, in alternating pairs, a default pgxpool with the batch
// profile: a job that begins cold, and the same on connections that are warm.
func TestLoadBatch(t *testing.T) {
	long(t, "load")
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	do(t, boss, "create table findings (id bigint generated always as identity, file int, sum text)")
	do(t, boss, "create index on findings (file)")
	a := &analysis{file: make([]byte, fileBytes)}
	files, pairs := pick(4000, 200), pick(7, 1)
	type times struct{ cold, first, warm []float64 }
	var plainPool, batch times
	measure := func(p load.Pool, into *times) {
		_, first := a.job(t, p, batchWorkers)
		into.first = append(into.first, first.Seconds())
		all, _ := a.job(t, p, files)
		into.warm = append(into.warm, all.Seconds())
		into.cold = append(into.cold, first.Seconds()+all.Seconds())
		do(t, boss, "truncate findings")
	}
	for range pairs {
		p, err := pgxpool.New(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		measure(p, &plainPool)
		p.Close()

		cfg, err := autotune.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Profile, cfg.Workers = autotune.ProfileBatch, batchWorkers
		b, err := autotune.NewWithConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, func() string { // warm, as the profile promises: min is the workers
			if n := b.Stat().TotalConns(); n < batchWorkers {
				return fmt.Sprintf("%d connections", n)
			}
			return ""
		})
		measure(b, &batch)
		b.Close()
	}
	ratio := func(x, y []float64) (middle, least, most float64) {
		r := make([]float64, len(x))
		for i := range x {
			r[i] = x[i]/y[i] - 1
		}
		slices.Sort(r)
		return 100 * r[len(r)/2], 100 * r[0], 100 * r[len(r)-1]
	}
	gain, low, high := ratio(plainPool.cold, batch.cold)
	figure(t, "load", fmt.Sprintf("batch profile against a default pool of %d, %d workers, %d files", max(4, runtime.NumCPU()), batchWorkers, files),
		"%+.0f %% throughput (%+.0f … %+.0f in %d pairs)", gain, low, high, pairs)
	slices.Sort(plainPool.first)
	slices.Sort(batch.first)
	middle := len(batch.first) / 2
	figure(t, "load", "the first file of every worker, cold against warm", "%.1f ms cold (default pool), %.1f ms warm (batch profile)",
		1000*plainPool.first[middle], 1000*batch.first[middle])
}
