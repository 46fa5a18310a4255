//go:build unix

package dashboard

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// What an hour of history at one point a second may cost while ten look.
const (
	mostOfACore = 0.01
	mostBytes   = 20 << 20
	viewersHere = 10
)

// BenchmarkHour makes the 3,600 points of an hour, ten looks each, of a pool with
// 50 open connections, and sends them to ten viewers over TCP, each of which then
// loads the whole hour once more. The CPU time is that of the process, so the
// viewers' own reading is in it; memory is what lives afterwards.
//
//	go test ./dashboard -run '^$' -bench Hour -benchtime 1x
func BenchmarkHour(b *testing.B) {
	cfg, err := autotune.ParseConfig(pgtest.DSN(b))
	if err != nil {
		b.Fatal(err)
	}
	cfg.Start, cfg.Ceiling = 50, 50
	pool, err := autotune.NewWithConfig(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	var held []*pgxpool.Conn
	for range 50 {
		c, err := pool.Acquire(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		held = append(held, c)
	}
	for _, c := range held {
		c.Release()
	}
	for b.Loop() {
		hour(b, pool)
	}
}

func hour(b *testing.B, pool *autotune.Pool) {
	before := live()
	h := New(pool, Options{})
	h.stop()
	h.work.Wait() // the looks are made here, as quickly as they go
	server := httptest.NewServer(h)
	defer server.Close()
	defer h.Close()
	arrived := make(chan struct{}, viewersHere)
	watch(b, server.URL+"/events", arrived)

	cpu := used(b)
	s := newSampler(h)
	change := pool.Changes(0)
	for n := range pointsKept {
		for range 10 {
			s.look()
		}
		if n%9 == 0 && len(change) > 0 { // as many decisions as are kept
			s.note(change[0])
		}
		s.point(time.Now())
		for range viewersHere {
			<-arrived
		}
	}
	watch(b, server.URL+"/events", arrived)
	share := (used(b) - cpu).Seconds() / pointsKept
	size := live() - before
	b.ReportMetric(100*share, "%core")
	b.ReportMetric(float64(size)/(1<<20), "MB")
	if share > mostOfACore || size > mostBytes {
		b.Errorf("%.2f %% of a core and %.1f MB", 100*share, float64(size)/(1<<20))
	}
	runtime.KeepAlive(h)
}

// watch opens ten streams and returns when each has loaded the history; from then
// on each point that arrives at one of them is told.
func watch(b *testing.B, address string, arrived chan<- struct{}) {
	loaded := make(chan error, viewersHere)
	for range viewersHere {
		go func() {
			got, err := http.Get(address)
			if err != nil {
				loaded <- err
				return
			}
			defer func() { _ = got.Body.Close() }()
			lines := bufio.NewReaderSize(got.Body, 64<<10)
			for {
				line, err := lines.ReadSlice('\n')
				switch {
				case err == bufio.ErrBufferFull:
				case err != nil:
					return
				case strings.HasPrefix(string(line[:min(len(line), 16)]), "event: history"):
					loaded <- nil
				case strings.HasPrefix(string(line[:min(len(line), 16)]), "event: tick"):
					arrived <- struct{}{}
				}
			}
		}()
	}
	for range viewersHere {
		if err := <-loaded; err != nil {
			b.Fatal(err)
		}
	}
}

// used is the CPU time of this process.
func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// live is the memory that is in use.
func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
