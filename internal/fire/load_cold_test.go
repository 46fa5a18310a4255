package fire

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/load"
)

// A crowd meets a cold pool that is as large as the crowd: a plain one, and one whose
// gate lets callers in as connections open, in turns. The controller is off.
func TestLoadColdCrowd(t *testing.T) {
	long(t, "load")
	const callers, each = 100, 4
	dsn, d := items(t)
	w := load.NewIndexSearch(d)
	crowd := func(p load.Pool) (took, mean time.Duration) {
		var all sync.WaitGroup
		var mu sync.Mutex
		var times []time.Duration
		begun := time.Now()
		for i := range callers {
			all.Go(func() {
				for n := range each {
					asked := time.Now()
					if err := w.Do(t.Context(), p, uint64(each*i+n)); err != nil {
						t.Error(err)
					}
					mu.Lock()
					times = append(times, time.Since(asked))
					mu.Unlock()
				}
			})
		}
		all.Wait()
		took = time.Since(begun)
		for _, d := range times {
			mean += d / time.Duration(len(times))
		}
		return took, mean
	}
	type result struct{ took, mean, conns []float64 }
	var plain, ramp result
	for range pick(7, 1) {
		raw, err := pgxpool.New(t.Context(), with(t, dsn, "pool_max_conns", "100"))
		if err != nil {
			t.Fatal(err)
		}
		took, mean := crowd(raw)
		plain.took, plain.mean, plain.conns = append(plain.took, took.Seconds()), append(plain.mean, mean.Seconds()), append(plain.conns, float64(raw.Stat().NewConnsCount()))
		raw.Close()

		p := open(t, dsn, callers, func(c *autotune.Config) { c.Manual = true })
		took, mean = crowd(p)
		ramp.took, ramp.mean, ramp.conns = append(ramp.took, took.Seconds()), append(ramp.mean, mean.Seconds()), append(ramp.conns, float64(p.Snapshot().Connects))
		p.Close()
	}
	middle := func(v []float64) float64 {
		slices.Sort(v)
		return v[len(v)/2]
	}
	if middle(ramp.took) > middle(plain.took) {
		t.Errorf("the crowd took %.3g s, with a plain pool %.3g s", middle(ramp.took), middle(plain.took))
	}
	figure(t, "load", "100 callers, 4 searches each, meet a cold pool of 100", "served in %.0f ms (plain pgxpool: %.0f), mean response %.0f ms (%.0f), connections opened %.0f (%.0f)",
		1e3*middle(ramp.took), 1e3*middle(plain.took), 1e3*middle(ramp.mean), 1e3*middle(plain.mean), middle(ramp.conns), middle(plain.conns))
}
