package autotune

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/puddle/v2"
	"pgregory.net/rapid"
)

// bubble runs f in virtual time. The waiters' channels belong to the bubble they
// were made in, so it gets a store of them for itself.
func bubble(t *testing.T, f func(*testing.T)) {
	fresh := func() {
		waiters = sync.Pool{New: func() any { return &waiter{ready: make(chan struct{}, 1)} }}
	}
	fresh()
	defer fresh()
	synctest.Test(t, f)
}

// caller is one who asked the gate, and what became of it.
type caller struct {
	cancel context.CancelFunc
	since  time.Time
	ahead  bool
	err    error
	done   bool // the gate has answered
}

// plainGate is the gate as one would explain it: a limit, who is in, and a list
// of who waits.
type plainGate struct {
	limit, inUse int
	queue        []*caller
	waits        []time.Duration // of those granted after queueing
	canceled     int
	waitTime     time.Duration // of granted and canceled
	busy         time.Duration
}

func (p *plainGate) ask(c *caller) {
	switch {
	case len(p.queue) == 0 && p.inUse < p.limit:
		p.inUse++
		c.done = true
	case c.ahead:
		p.queue = slices.Insert(p.queue, 0, c)
	default:
		p.queue = append(p.queue, c)
	}
}

func (p *plainGate) serve() (granted []*caller) {
	for len(p.queue) > 0 && p.inUse < p.limit {
		c := p.queue[0]
		p.queue = p.queue[1:]
		p.inUse++
		granted = append(granted, c)
		if !c.ahead {
			p.waits = append(p.waits, time.Since(c.since))
			p.waitTime += time.Since(c.since)
		}
	}
	return granted
}

func (p *plainGate) leave(c *caller) {
	p.queue = slices.DeleteFunc(p.queue, func(q *caller) bool { return q == c })
	if !c.ahead {
		p.canceled++
		p.waitTime += time.Since(c.since)
	}
}

func TestTheGateDoesWhatAPlainListWouldDo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) {
			start := time.Now()
			limit := rapid.IntRange(1, 4).Draw(rt, "limit")
			g := newGate(limit, func() int64 { return int64(time.Since(start)) + 1 })
			plain := &plainGate{limit: limit}
			var all []*caller
			expect := func(granted []*caller) {
				synctest.Wait()
				for _, c := range granted {
					if !c.done || c.err != nil {
						rt.Fatalf("a caller whose turn it was got done %t, %v", c.done, c.err)
					}
				}
				for i, c := range plain.queue {
					if c.done {
						rt.Fatalf("caller %d of %d in the queue was answered out of turn: %v", i, len(plain.queue), c.err)
					}
				}
				s := g.peek()
				if int(s.inUse) != plain.inUse || int(s.queued) != len(plain.queue) || int(s.limit) != plain.limit {
					rt.Fatalf("%d in use, %d queued, limit %d; should be %d, %d, %d", s.inUse, s.queued, s.limit, plain.inUse, len(plain.queue), plain.limit)
				}
				waiting := time.Duration(0)
				for _, c := range plain.queue {
					waiting += time.Since(c.since)
				}
				if got, want := s.stat.waitNanos, int64(plain.waitTime+waiting); int(s.stat.waited) != len(plain.waits) || int(s.stat.canceled) != plain.canceled || got != want {
					rt.Fatalf("%d waited, %d canceled, %d ns; should be %d, %d, %d", s.stat.waited, s.stat.canceled, got, len(plain.waits), plain.canceled, want)
				}
				if s.stat.busyNanos != int64(plain.busy) {
					rt.Fatalf("somebody was queued for %d ns; should be %d", s.stat.busyNanos, plain.busy)
				}
			}
			ask := func(ahead bool) {
				ctx, cancel := context.WithCancel(context.Background())
				c := &caller{cancel: cancel, since: time.Now(), ahead: ahead}
				all = append(all, c)
				go func() {
					if ahead {
						c.err = g.acquireAhead(ctx)
					} else {
						_, c.err = g.acquire(ctx)
					}
					c.done = true
				}()
				synctest.Wait()
				answered := c.done
				c.done = false
				plain.ask(c)
				if c.done != answered {
					rt.Fatalf("answered at once: %t; should be %t", answered, c.done)
				}
				expect(nil)
			}
			rt.Repeat(map[string]func(*rapid.T){
				"acquire": func(rt *rapid.T) { ask(false) },
				"ahead": func(rt *rapid.T) {
					if slices.ContainsFunc(plain.queue, func(c *caller) bool { return c.ahead }) {
						rt.Skip("a swap takes one step at a time")
					}
					// its time in the queue is nobody's wait, so let none pass
					ask(true)
					if c := all[len(all)-1]; !c.done {
						plain.leave(c)
						c.cancel()
						synctest.Wait()
						if !errors.Is(c.err, context.Canceled) {
							rt.Fatalf("a canceled step got %v", c.err)
						}
						expect(nil)
					}
				},
				"release": func(rt *rapid.T) {
					if plain.inUse == 0 {
						rt.Skip("nothing to release")
					}
					g.release()
					plain.inUse--
					expect(plain.serve())
				},
				"limit": func(rt *rapid.T) {
					plain.limit = rapid.IntRange(1, 6).Draw(rt, "limit")
					g.setLimit(plain.limit)
					expect(plain.serve())
				},
				"cancel": func(rt *rapid.T) {
					if len(plain.queue) == 0 {
						rt.Skip("nobody is queued")
					}
					c := plain.queue[rapid.IntRange(0, len(plain.queue)-1).Draw(rt, "who")]
					plain.leave(c)
					c.cancel()
					expect(nil)
					if !errors.Is(c.err, context.Canceled) {
						rt.Fatalf("a canceled caller got %v", c.err)
					}
				},
				"time passes": func(rt *rapid.T) {
					d := time.Duration(rapid.IntRange(1, 5_000_000).Draw(rt, "ns"))
					time.Sleep(d) // virtual
					if len(plain.queue) > 0 {
						plain.busy += d
					}
					expect(nil)
				},
				"": func(*rapid.T) {},
			})

			checkQuantiles(rt, g.peek().stat.waits, plain.waits)
			queued := plain.queue
			g.close()
			synctest.Wait()
			for _, c := range queued {
				if !errors.Is(c.err, puddle.ErrClosedPool) {
					rt.Fatalf("a queued caller got %v when the gate closed", c.err)
				}
			}
			if _, err := g.acquire(context.Background()); !errors.Is(err, puddle.ErrClosedPool) {
				rt.Fatalf("a closed gate said %v", err)
			}
			for range plain.inUse {
				g.release()
			}
			if s := g.peek(); s.inUse != 0 || s.queued != 0 {
				rt.Fatalf("%d in use and %d queued at the end", s.inUse, s.queued)
			}
			for _, c := range all {
				c.cancel()
			}
		})
	})
}

// checkQuantiles compares the histogram with the sorted list of what is in it.
func checkQuantiles(t rapid.TB, h waitHistogram, waits []time.Duration) {
	t.Helper()
	slices.Sort(waits)
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 1} {
		for _, zeros := range []int{0, 3} {
			all := append(make([]time.Duration, zeros), waits...)
			if len(all) == 0 {
				continue
			}
			exact := all[int(q*float64(len(all)-1))]
			got := h.quantile(&waitHistogram{}, int64(zeros), q)
			if got < exact || float64(got) > 1.25*float64(exact)+waitUnit {
				t.Fatalf("quantile %g of %d waits and %d zeros is %s, the histogram says %s", q, len(waits), zeros, exact, got)
			}
		}
	}
}

func TestTheHistogramOfWaitsIsExactToAQuarter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		waits := rapid.SliceOfN(rapid.Map(rapid.Int64Range(0, int64(time.Hour)), func(n int64) time.Duration { return time.Duration(n) }), 1, 50).Draw(t, "waits")
		var earlier, h waitHistogram
		for _, w := range rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour)), 0, 10).Draw(t, "earlier") {
			earlier.add(w)
			h.add(w)
		}
		for _, w := range waits {
			h.add(int64(w))
		}
		since := h
		for i := range since {
			since[i] -= earlier[i]
		}
		checkQuantiles(t, since, waits)
		if a, b := h.quantile(&earlier, 0, 0.9), since.quantile(&waitHistogram{}, 0, 0.9); a != b {
			t.Fatalf("since the earlier snapshot %s, alone %s", a, b)
		}
	})
	for i := range waitBuckets - 1 {
		if waitUpper(i) >= waitUpper(i+1) || waitBucket(int64(waitUpper(i)))-i > 1 {
			t.Errorf("the buckets %d and %d are out of order", i, i+1)
		}
	}
	var h waitHistogram
	h.add(1 << 62) // longer than the last bucket
	if h.total() != 1 {
		t.Error("a very long wait is lost")
	}
}

// A storm of callers that give up at the very moment they are served must lose
// no permit, and the limit must hold all the time.
func TestNoPermitIsLostOrDoubledInAStormOfCancels(t *testing.T) {
	start := time.Now()
	const low, high, callers = 2, 6, 48
	g := newGate(high, func() int64 { return int64(time.Since(start)) + 1 })
	var inUse, granted, canceled atomic.Int64
	stop := make(chan struct{})
	var done sync.WaitGroup
	for i := range callers {
		rng := rand.New(rand.NewPCG(2, uint64(i)))
		done.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(200))*time.Microsecond)
				_, err := g.acquire(ctx)
				if err != nil {
					canceled.Add(1)
				} else {
					if n := inUse.Add(1); n > high {
						t.Errorf("%d in use with a limit of %d", n, high)
					}
					granted.Add(1)
					for range rng.IntN(50) {
						_ = ctx.Err()
					}
					inUse.Add(-1)
					g.release()
				}
				cancel()
			}
		})
	}
	for i := range 2000 {
		g.setLimit(low + i%(high-low+1))
		g.snapshot()
	}
	for granted.Load() < 2000 || canceled.Load() < 200 {
		g.setLimit(low + rand.IntN(high-low+1))
	}
	close(stop)
	done.Wait()
	s := g.peek()
	if s.inUse != 0 || s.queued != 0 || g.head != nil || g.tail != nil || g.enqueuedAt != 0 {
		t.Errorf("left over: %d in use, %d queued, enqueued %d", s.inUse, s.queued, g.enqueuedAt)
	}
	if s.stat.canceled != canceled.Load() || s.stat.waits.total() != s.stat.waited || s.stat.waited > granted.Load() {
		t.Errorf("%d canceled of %d; %d waited, %d in the histogram, %d granted", s.stat.canceled, canceled.Load(), s.stat.waited, s.stat.waits.total(), granted.Load())
	}
	t.Logf("%d granted, %d of them waited, %d canceled", granted.Load(), s.stat.waited, canceled.Load())
}

// puddle issue 46: who releases and asks again at once must not starve others.
func TestWhoReleasesAndAsksAgainQueuesBehindTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		start := time.Now()
		g := newGate(1, func() int64 { return int64(time.Since(start)) + 1 })
		if _, err := g.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		var order []int
		for i := range 3 {
			go func() {
				_, _ = g.acquire(context.Background())
				order = append(order, i)
				g.release()
			}()
			synctest.Wait()
		}
		g.release()
		if g.tryAcquire() {
			t.Error("the permit was snatched from the first in the queue")
		}
		_, _ = g.acquire(t.Context())
		synctest.Wait()
		if fmt.Sprint(order) != "[0 1 2]" {
			t.Errorf("served in the order %v", order)
		}
	})
}

func TestTheBudgetIsNeverExceededAndWakesWhoWaits(t *testing.T) {
	b := &budget{size: 3}
	var open atomic.Int64
	var done sync.WaitGroup
	for range 24 {
		done.Go(func() {
			for range 300 {
				for {
					free := b.subscribe()
					taken := b.take()
					if !taken {
						select {
						case <-free:
						case <-time.After(time.Minute):
							t.Error("nobody woke a waiter although tokens came back")
							b.unsubscribe()
							return
						}
					}
					b.unsubscribe()
					if taken {
						break
					}
				}
				if n := open.Add(1); n > 3 {
					t.Errorf("%d tokens of 3 are out", n)
				}
				open.Add(-1)
				b.give()
			}
		})
	}
	done.Wait()
	if out, peak, size := b.snapshot(); out != 0 || peak > 3 || size != 3 || b.wanted.Load() != 0 {
		t.Errorf("%d out, peak %d, size %d, %d waiting", out, peak, size, b.wanted.Load())
	}
}

func TestUnmeasuredHoldsAreCountedAllTheSame(t *testing.T) {
	p := &Pool{epoch: time.Now()}
	s := &socket{pool: p}
	l := &ledger{}
	l.add(s)
	for i := range int64(100) {
		s.hold()
		if got, _ := l.totals(p.now()); got.held != 1 || got.completed != i || !s.isHeld() {
			t.Fatalf("during hold %d: %d held, %d completed", i, got.held, got.completed)
		}
		if !s.giveBack() || s.giveBack() {
			t.Fatalf("hold %d was not given back exactly once", i)
		}
		if got, _ := l.totals(p.now()); got.held != 0 || got.completed != i+1 {
			t.Fatalf("after hold %d: %d held, %d completed", i, got.held, got.completed)
		}
	}
	l.remove(s)
	if got, _ := l.totals(p.now()); got.completed != 100 || len(l.live) != 0 {
		t.Errorf("of a closed socket %d of 100 holds are left", got.completed)
	}
}
