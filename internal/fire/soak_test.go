package fire

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
)

// TestSoak lets the pool live for SOAK (2m by default): the load shifts, faults
// come at random, and at the end nothing may be left behind and no counter may
// have drifted.
func TestSoak(t *testing.T) {
	long(t, "soak")
	leakFree(t)
	length := 2 * time.Minute
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("SOAK is %q: write a duration such as 10m", text)
		}
	}
	dsn := with(t, database(t), "application_name", "soak")
	boss := admin(t, dsn)
	proxy, through := newProxy(t, dsn)
	const size = 16
	p := open(t, with(t, through, "connect_timeout", "2"), size)
	b := keep(t, boss, p, 4, func(b *book) { b.within = 3 * time.Second })
	rng := rand.New(rand.NewPCG(11, 12))
	faults := map[string]func(){
		"terminate": func() {
			do(t, boss, "select pg_terminate_backend(pid) from (select pid from pg_stat_activity where application_name = 'soak' order by random() limit 3) v")
		},
		"latency": func() { proxy.poison("latency", `{"latency":30,"jitter":20}`, 0.5) },
		"stall":   func() { proxy.poison("timeout", `{"timeout":0}`, 0.2) },
		"cut": func() {
			proxy.Stop()
			if err := proxy.Start(); err != nil {
				t.Fatal(err)
			}
		},
		"resize": func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_ = p.Resize(ctx, autotune.Size{Max: 2 + rng.IntN(size-1), Min: rng.IntN(3)})
		},
		"reconfigure": func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_ = p.Reconfigure(ctx, func(c *pgxpool.Config) error {
				c.ConnConfig.RuntimeParams["statement_timeout"] = fmt.Sprint(10_000 + rng.IntN(1000))
				return nil
			})
		},
		"limit": func() { p.SetLimit(1 + rng.IntN(size)) },
		"reset": p.Reset,
	}
	names := []string{"terminate", "latency", "stall", "cut", "resize", "reconfigure", "limit", "reset", "quiet", "quiet"}
	type footprint struct{ goroutines, files, heap, backends int64 }
	look := func() footprint {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		files, _ := os.ReadDir("/proc/self/fd") // elsewhere 0, and 0 it stays
		return footprint{int64(runtime.NumGoroutine()), int64(len(files)), int64(m.HeapAlloc),
			count(t, boss, "select count(*) from pg_stat_activity where application_name = 'soak'")}
	}
	rest := func() footprint { // nobody works
		b.end()
		balanced(t, p)
		f := look()
		return f
	}
	first := rest()
	did := map[string]int{}
	start := time.Now()
	for time.Since(start) < length {
		b.start([]int{1, 4, 12, 40}[rng.IntN(4)])
		name := names[rng.IntN(len(names))]
		did[name]++
		if f := faults[name]; f != nil {
			f()
		}
		goes(t, time.Second)
		proxy.heal()
		if s := p.Snapshot(); s.Open > s.Budget || s.OpenPeak > size {
			t.Errorf("%d open, at most %d, of %d", s.Open, s.OpenPeak, s.Budget)
		}
		b.end()
	}
	last := rest()
	if last.goroutines > first.goroutines+4*size || last.files > first.files+4*size || last.backends > size+1 {
		t.Errorf("from %+v to %+v", first, last)
	}
	// The accounting itself keeps the ids, about 50 bytes each.
	if grown := last.heap - first.heap - 100*b.next.Load(); grown > 32<<20 {
		t.Errorf("the heap has grown by %d MB", grown>>20)
	}
	books := b.audit(t, boss)
	s := p.Snapshot()
	closes(t, p)
	eventually(t, func() string {
		if n := count(t, boss, "select count(*) from pg_stat_activity where application_name in ('soak', 'autotune') and datname = current_database()"); n != 0 {
			return fmt.Sprintf("%d backends are left", n)
		}
		return ""
	})
	figure(t, "soak", "shifting load and random faults for "+length.String(), "%s; %d failed; %d arrivals = %d completions + %d canceled + %d failed; %d swaps, %d connects",
		books, b.failures.Load(), s.Arrivals, s.Completions, s.Canceled, s.Failed, s.Swaps, s.Connects)
	figure(t, "soak", "what it left", "goroutines %d → %d, files %d → %d, heap %.1f → %.1f MB, backends %d → %d, after Close 0; faults %s",
		first.goroutines, last.goroutines, first.files, last.files, float64(first.heap)/(1<<20), float64(last.heap)/(1<<20), first.backends, last.backends, strings.TrimPrefix(fmt.Sprint(did), "map"))
}
