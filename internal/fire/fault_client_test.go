package fire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgautotune/autotune"
)

func TestFaultJournalOnAFullDisk(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	dir := t.TempDir()
	size := pick("64k", "12k")
	path, kind := filepath.Join(dir, "journal"), "a tmpfs of "+size
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err == nil {
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
	} else {
		path, kind = "/dev/full", "/dev/full"
	}
	journal, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { journal.Close() })
	var log buffer
	p := open(t, dsn, 8, logTo(&log), func(c *autotune.Config) { c.Journal = journal })
	inFire(t, "full disk for the journal", func() *pgx.Conn { return boss }, p, func(b *book) string {
		eventually(t, func() string {
			if !strings.Contains(log.String(), "journal ended") {
				return "the disk is not full yet"
			}
			return ""
		})
		looked := p.Snapshot().LookedAt
		eventually(t, func() string {
			if s := p.Snapshot(); !s.LookedAt.After(looked.Add(300 * time.Millisecond)) {
				return "the controller has stopped"
			}
			return ""
		})
		if n := b.failures.Load(); n > 0 {
			t.Errorf("%d operations failed: %v", n, b.why())
		}
		lines := 0
		if kind != "/dev/full" {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for r := bufio.NewReader(f); ; lines++ {
				text, err := r.ReadBytes('\n')
				if err == io.EOF {
					break // the line that was cut
				}
				if !json.Valid(text) {
					t.Errorf("line %d is not JSON", lines+1)
				}
			}
		}
		return fmt.Sprintf("%s; %d whole lines, said once, the tuning went on", kind, lines)
	})
	if n := strings.Count(log.String(), "journal ended"); n != 1 {
		t.Errorf("it was said %d times", n)
	}
}

func TestFaultEveryContextCanceled(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	p := open(t, dsn, 8)
	inFire(t, "the service cancels every context", func() *pgx.Conn { return boss }, p, func(b *book) string {
		b.end()
		var canceled, done int64
		var mu sync.Mutex
		var storm sync.WaitGroup
		until := time.Now().Add(pick(10*time.Second, time.Second))
		for i := range 24 {
			rng := rand.New(rand.NewPCG(5, uint64(i)))
			storm.Go(func() {
				for time.Now().Before(until) {
					ctx, cancel := context.WithCancel(context.Background())
					timer := time.AfterFunc(time.Duration(rng.IntN(3000))*time.Microsecond, cancel)
					id := b.next.Add(1)
					_, err := p.Exec(ctx, "insert into "+b.table+" values ($1)", id)
					timer.Stop()
					cancel()
					mu.Lock()
					if err == nil {
						b.acknowledge(id)
						done++
					} else {
						b.doubt(id)
						canceled++
					}
					mu.Unlock()
				}
			})
		}
		storm.Wait()
		balanced(t, p)
		b.start(12)
		return fmt.Sprintf("%d canceled, %d were quicker", canceled, done)
	})
}

func (b *book) acknowledge(id int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acknowledged[id] = struct{}{}
}

func (b *book) doubt(id int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.undecided[id] = struct{}{}
}

func TestFaultLeakedConnections(t *testing.T) {
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	const size = 8
	p := open(t, dsn, size, func(c *autotune.Config) { c.AcquireTimeout = 200 * time.Millisecond })
	p.Freeze()
	inFire(t, "callers that leak connections", func() *pgx.Conn { return boss }, p, func(b *book) string {
		leak := func(n int) (back func()) {
			var backs []func()
			for len(backs) < n {
				c, err := p.Acquire(t.Context())
				if err != nil {
					continue // the others were quicker
				}
				backs = append(backs, c.Release)
			}
			return func() {
				for _, f := range backs {
					f()
				}
			}
		}
		most := leak(size - 1)
		b.round(t) // with the one that is left
		last := leak(1)
		_, err := p.Acquire(t.Context())
		if !errors.Is(err, autotune.ErrAcquireTimeout) {
			t.Errorf("with all leaked: %v", err)
		}
		h := p.Health(t.Context())
		if h.Status != autotune.Critical {
			t.Errorf("with all leaked the health is %+v", h)
		}
		last()
		most()
		return fmt.Sprintf("7 of 8: works; 8 of 8: %q", err)
	})
}

func TestFaultListenAndCopyAcrossSwaps(t *testing.T) {
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	do(t, boss, "create table copied (i bigint)")
	p := open(t, dsn, 8, func(c *autotune.Config) {
		c.Manual, c.DrainTimeout, c.SwapTimeout, c.Budget = true, 20*time.Millisecond, 5*time.Second, 16
	})
	inFire(t, "LISTEN and COPY across swaps", func() *pgx.Conn { return boss }, p, func(b *book) string {
		listener, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Release()
		if _, err := listener.Exec(t.Context(), "listen fire"); err != nil {
			t.Fatal(err)
		}
		rows, copied, swaps := int64(0), make(chan error, 1), pick(20, 3)
		stop := make(chan struct{})
		go func() {
			n, err := p.CopyFrom(context.Background(), pgx.Identifier{"copied"}, []string{"i"}, pgx.CopyFromFunc(func() ([]any, error) {
				select {
				case <-stop:
					return nil, nil
				default:
					rows++
					return []any{rows}, nil
				}
			}))
			if err == nil && n != rows {
				err = fmt.Errorf("%d of %d rows copied", n, rows)
			}
			copied <- err
		}()
		for i := range swaps {
			if err := p.Resize(t.Context(), autotune.Size{Max: 6 + i%3, Min: 1}); err != nil {
				t.Fatal(err)
			}
			do(t, boss, "select pg_notify('fire', $1)", fmt.Sprint(i))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			n, err := listener.Conn().WaitForNotification(ctx)
			cancel()
			if err != nil || n.Payload != fmt.Sprint(i) {
				t.Fatalf("notification %d: %+v, %v", i, n, err)
			}
		}
		close(stop)
		if err := <-copied; err != nil {
			t.Error(err)
		}
		if n := count(t, boss, "select count(*) from copied"); n != rows {
			t.Errorf("%d rows of the COPY arrived, not %d", n, rows)
		}
		if n := b.failures.Load(); n > 0 {
			t.Errorf("%d operations failed: %v", n, b.why())
		}
		return fmt.Sprintf("%d swaps, %d of %d notifications, COPY of %d rows whole", swaps, swaps, swaps, rows)
	})
}

// ballast keeps memory alive that the collector has to go through.
var ballast [][]*int

func TestFaultMemoryPressure(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	p := open(t, dsn, 8)
	inFire(t, "memory pressure", func() *pgx.Conn { return boss }, p, func(b *book) string {
		for range 50 {
			ballast = append(ballast, make([]*int, 1<<17))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		old := debug.SetMemoryLimit(1) // far below what is alive: the collector never rests
		goes(t, 5*time.Second)
		slowest := b.round(t)
		debug.SetMemoryLimit(old)
		runtime.ReadMemStats(&after)
		ballast = nil
		if n := b.failures.Load(); n > 0 {
			t.Errorf("%d operations failed: %v", n, b.why())
		}
		return fmt.Sprintf("%d collections; a round of all took %s under it", after.NumGC-before.NumGC, ms(slowest))
	})
}
