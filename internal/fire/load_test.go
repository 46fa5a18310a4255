package fire

import (
	"sync"
	"testing"
	"time"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/load"
)

// What the pool has to give under load. The numbers to reach are those of a
// vector service; the figures say how far above them it is.

// items is a data set to search, in a database of its own.
func items(t testing.TB) (dsn string, d *load.Dataset) {
	t.Helper()
	vectors(t)
	dsn = database(t)
	m, err := load.NewMixture(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	d = &load.Dataset{Schema: "fire", Mixture: m, Vectors: pick(20_000, 2_000)}
	if err := d.Create(t.Context(), admin(t, dsn), func(string, int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	return dsn, d
}

// drive runs a workload and fails on the first request that fails.
func drive(t testing.TB, p load.Pool, w load.Workload, s load.Shape, length time.Duration) *load.Tally {
	t.Helper()
	rec := load.NewRecorder()
	start := rec.Tally()
	if err := load.Run(t.Context(), p, w, s, length, 1, 0, rec); err != nil {
		t.Fatal(err)
	}
	for _, f := range rec.Failures() {
		t.Errorf("%d × %s", f.Count, f.Text)
	}
	return rec.Tally().Since(start)
}

func TestLoadFiftySearchesAtOnce(t *testing.T) {
	long(t, "load")
	dsn, d := items(t)
	p := open(t, dsn, 50, func(c *autotune.Config) { c.Profile = autotune.ProfileVector })
	w := load.NewIndexSearch(d)
	tally := drive(t, p, w, load.Closed{Clients: 50}, pick(20*time.Second, time.Second))
	s := p.Snapshot()
	if tally.Failed+tally.Abandoned+s.Canceled+s.Failed > 0 {
		t.Errorf("%d failed, %d abandoned; %d acquires canceled, %d failed", tally.Failed, tally.Abandoned, s.Canceled, s.Failed)
	}
	figure(t, "load", "50 simultaneous vector searches", "%d searches, none failed, none turned away; p99 %s; at most %d of 50 connections open",
		tally.Completed, ms(tally.Times.Quantile(0.99)), s.OpenPeak)
}

func TestLoadSaturationAlerts(t *testing.T) {
	leakFree(t)
	const size = 100
	dsn := database(t)
	boss := admin(t, dsn)
	p := open(t, cheapRole(t, boss, dsn), size, func(c *autotune.Config) { c.Manual, c.Pool.MinConns = true, size })
	// What a dial takes is another alert, which a slow machine gives.
	eventually(t, func() string { return differs(int(p.Stat().IdleConns()), size) })
	var back []func()
	defer func() {
		for _, f := range back {
			f()
		}
	}()
	for n := 1; n <= size; n++ {
		c, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, c.Release)
		want := autotune.Healthy
		if n >= 70 {
			want = autotune.Warning
		}
		if n >= 90 {
			want = autotune.Critical
		}
		if h := p.Health(t.Context()); h.Status != want || (want == autotune.Healthy) != (len(h.Reasons) == 0) {
			t.Errorf("with %d of %d in use the health is %s (%v), not %s", n, size, h.Status, h.Reasons, want)
		}
	}
	figure(t, "load", "saturation alerts", "69 of 100 healthy, 70 warning, 89 warning, 90 critical: exact at each of 100 steps")
}

func TestLoadSustained(t *testing.T) {
	long(t, "load")
	dsn, d := items(t)
	p := open(t, dsn, 20)
	length := pick(2*time.Minute, time.Second)
	tally := drive(t, p, load.NewIndexSearch(d), load.Closed{Clients: 10}, length)
	rate := float64(tally.Completed) / length.Seconds()
	if rate <= 50 {
		t.Errorf("only %.0f searches/s", rate)
	}
	figure(t, "load", "sustained searches, more than 50/s for "+length.String(), "%.0f searches/s, p99 %s, %d failed", rate, ms(tally.Times.Quantile(0.99)), tally.Failed)
}

func TestLoadRecoveryFromExhaustion(t *testing.T) {
	leakFree(t)
	const size = 10
	p := open(t, database(t), size, func(c *autotune.Config) { c.AcquireTimeout = 500 * time.Millisecond })
	p.Freeze()
	var worst time.Duration
	for range pick(10, 2) {
		var held []func()
		for range size {
			c, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, c.Release)
		}
		var queue sync.WaitGroup
		for range 200 {
			queue.Go(func() {
				if err := p.Ping(t.Context()); err != nil {
					t.Errorf("a caller of the queue: %v", err)
				}
			})
		}
		eventually(t, func() string { return differs(p.Snapshot().Queued, 200) })
		start := time.Now()
		for _, f := range held {
			f()
		}
		queue.Wait()
		for range size {
			if err := p.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		}
		worst = max(worst, time.Since(start))
	}
	if worst > 2*time.Second {
		t.Errorf("recovery took %s", worst)
	}
	figure(t, "load", "recovery from complete exhaustion (10 held, 200 queued)", "%s until all 200 were served and it was free again (worst of %d)", ms(worst), pick(10, 2))
}

func TestLoadHundredInserts(t *testing.T) {
	long(t, "load")
	dsn, d := items(t)
	boss := admin(t, dsn)
	before := count(t, boss, "select count(*) from "+d.Table("items"))
	p := open(t, dsn, 100)
	tally := drive(t, p, load.NewInsert(d), load.Closed{Clients: 100}, pick(20*time.Second, time.Second))
	rate := float64(tally.Completed) / pick(20.0, 1.0)
	added := count(t, boss, "select count(*) from "+d.Table("items")) - before
	if added != tally.Completed || tally.Failed > 0 || rate <= 10 {
		t.Errorf("%d acknowledged, %d found, %d failed, %.0f/s", tally.Completed, added, tally.Failed, rate)
	}
	figure(t, "load", "100 concurrent vector inserts", "%.1f %% of %d succeeded, %d acknowledged = %d found, %.0f/s",
		100*float64(tally.Completed)/float64(tally.Arrived), tally.Arrived, tally.Completed, added, rate)
}

func TestLoadAcquireTime(t *testing.T) {
	long(t, "load")
	dsn, d := items(t)
	p := open(t, dsn, 20)
	if err := p.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	tally := drive(t, p, load.NewIndexSearch(d), load.Open{Rate: 100}, pick(20*time.Second, time.Second))
	h := p.Health(t.Context())
	if h.AcquireTime > 100*time.Millisecond || h.Status == autotune.Critical {
		t.Errorf("%+v", h)
	}
	stat := p.Stat()
	figure(t, "load", "acquire time at a normal load (100 searches/s)", "mean %s over %d acquires; searches p99 %s",
		(stat.AcquireDuration() / time.Duration(max(1, stat.AcquireCount()))).Round(time.Microsecond), stat.AcquireCount(), ms(tally.Times.Quantile(0.99)))
}
