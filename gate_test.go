package autotune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/puddle/v2"
	"github.com/pgautotune/autotune/internal/ramp"
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

// plainGate is the gate as one would explain it: a limit, a ramp, who is in, and a
// list of who waits.
type plainGate struct {
	limit, inUse int
	ramp         plainRamp
	own          int // of those in use, the pool's
	queue        []*caller
	waits        []time.Duration // of those granted after queueing
	canceled     int
	waitTime     time.Duration // of granted and canceled
	busy         time.Duration
}

// plainRamp is how many are open, how many may be opened at once, if that holds at all,
// the fastest that one opened, and when it is to be seen that nothing has opened since.
type plainRamp struct {
	open, atOnce int
	fastest      float64
	lifted       bool
	deadline     time.Time
	opened       bool
}

func (p *plainGate) reach() int {
	if p.ramp.lifted {
		return p.limit
	}
	return min(p.limit, p.ramp.open+p.ramp.atOnce)
}

// watch notes when somebody begins to wait for the ramp.
func (p *plainGate) watch() {
	if r := &p.ramp; r.deadline.IsZero() && len(p.queue) > 0 && p.reach() < p.limit {
		r.deadline, r.opened = time.Now().Add(ramp.Patience), false
	}
}

func (r *plainRamp) opens(took float64) {
	r.open++
	r.lifted, r.opened = false, true
	if r.fastest = math.Ceil(1.002 * r.fastest); r.fastest == 0 || took < r.fastest {
		r.fastest = took
	}
	if took <= 1.5*r.fastest {
		r.atOnce++
	} else if took > 2*r.fastest && r.atOnce > 4 {
		r.atOnce--
	}
}

// due doubles the ramp, at its deadline, if nothing has opened.
func (p *plainGate) due() []*caller {
	r := &p.ramp
	r.deadline = time.Time{}
	if len(p.queue) > 0 && !r.opened {
		r.atOnce *= 2
	}
	return p.serve()
}

func (p *plainGate) ask(c *caller) (granted bool) {
	switch {
	case len(p.queue) == 0 && p.inUse < p.reach():
		p.enter(c)
		return true
	case c.ahead:
		p.queue = slices.Insert(p.queue, 0, c)
	default:
		p.queue = append(p.queue, c)
	}
	return false
}

func (p *plainGate) enter(c *caller) {
	p.inUse++
	if c.ahead {
		p.own++
	}
}

// release lets one out, of the pool's own if asked for or if there is no other.
func (p *plainGate) release(g *gate, own bool) {
	if p.own > 0 && (own || p.own == p.inUse) {
		g.releaseOwn()
		p.own--
	} else {
		g.release()
	}
	p.inUse--
}

func (p *plainGate) serve() (granted []*caller) {
	for len(p.queue) > 0 && p.inUse < p.reach() {
		c := p.queue[0]
		p.queue = p.queue[1:]
		p.enter(c)
		granted = append(granted, c)
		if !c.ahead {
			p.waits = append(p.waits, time.Since(c.since))
			p.waitTime += time.Since(c.since)
		}
	}
	return granted
}

// pass lets virtual time pass.
func (p *plainGate) pass(d time.Duration) {
	time.Sleep(d)
	if len(p.queue) > 0 {
		p.busy += d
	}
	synctest.Wait()
}

func (p *plainGate) leave(c *caller) {
	p.queue = slices.DeleteFunc(p.queue, func(q *caller) bool { return q == c })
	if !c.ahead {
		p.canceled++
		p.waitTime += time.Since(c.since)
	}
}

// gateStep is one thing that happens to a gate. Which caller or limit n means
// depends on what there is then.
type gateStep struct {
	what string
	n    int
}

var gateSteps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) gateStep {
	return gateStep{rapid.SampledFrom([]string{"acquire", "acquire", "acquire", "ahead", "release", "limit", "cancel", "time", "patience", "opened", "lost", "refused"}).Draw(t, "what"), rapid.IntRange(1, 5_000_000).Draw(t, "n")}
}), 100, 300) // rapid draws short ones otherwise, of five steps in the mean

func TestTheGateDoesWhatAPlainListWouldDo(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit, steps := rapid.IntRange(1, 20).Draw(rt, "limit"), gateSteps.Draw(rt, "steps")
		var wrong error
		bubble(t, func(*testing.T) { wrong = compareGates(limit, steps) })
		if wrong != nil {
			rt.Fatal(wrong)
		}
	})
}

// compareGates plays the steps on a gate and on a plain one, and tells the first
// difference. It runs in a bubble.
func compareGates(limit int, steps []gateStep) error {
	start := time.Now()
	g := newGate(limit, func() int64 { return int64(time.Since(start)) + 1 })
	plain := &plainGate{limit: limit, ramp: plainRamp{atOnce: 4}}
	var all []*caller
	defer func() {
		for _, c := range all {
			c.cancel()
		}
	}()
	for i, step := range steps {
		var granted []*caller
		switch step.what {
		case "acquire", "ahead":
			ctx, cancel := context.WithCancel(context.Background())
			c := &caller{cancel: cancel, since: time.Now(), ahead: step.what == "ahead"}
			if c.ahead && slices.ContainsFunc(plain.queue, func(c *caller) bool { return c.ahead }) {
				cancel()
				continue // a swap takes one step at a time
			}
			all = append(all, c)
			go func() {
				if c.ahead {
					c.err = g.acquireAhead(ctx)
				} else {
					_, c.err = g.acquire(ctx)
				}
				c.done = true
			}()
			if plain.ask(c) {
				granted = append(granted, c)
			}
		case "release":
			if plain.inUse > 0 {
				plain.release(g, step.n%2 == 0)
				granted = plain.serve()
			}
		case "limit":
			plain.limit = 1 + step.n%20
			g.setLimit(plain.limit)
			granted = plain.serve()
		case "cancel":
			if len(plain.queue) > 0 {
				c := plain.queue[step.n%len(plain.queue)]
				plain.leave(c)
				c.cancel()
				synctest.Wait()
				if !errors.Is(c.err, context.Canceled) {
					return fmt.Errorf("step %d: a canceled caller got %v", i, c.err)
				}
			}
		case "time", "patience":
			d := time.Duration(step.n)
			if step.what == "patience" {
				d += ramp.Patience / 2
			}
			if due := time.Until(plain.ramp.deadline); !plain.ramp.deadline.IsZero() && due <= d {
				plain.pass(due)
				granted = plain.due()
				plain.watch()
				d -= due
			}
			plain.pass(d)
		case "opened":
			plain.ramp.opens(float64(step.n))
			g.opened(time.Duration(step.n))
			granted = plain.serve()
		case "lost":
			if plain.ramp.open > 0 {
				plain.ramp.open--
				g.lost()
			}
		case "refused":
			plain.ramp.lifted = true
			g.notOpened()
			granted = plain.serve()
		}
		synctest.Wait()
		plain.watch()
		if err := plain.compare(g, granted); err != nil {
			return fmt.Errorf("step %d, %v: %w", i, step, err)
		}
	}
	if err := quantilesDiffer(g.peek().stat.waits, plain.waits); err != nil {
		return err
	}

	g.close()
	synctest.Wait()
	for _, c := range plain.queue {
		if !errors.Is(c.err, puddle.ErrClosedPool) {
			return fmt.Errorf("a queued caller got %v when the gate closed", c.err)
		}
	}
	if _, err := g.acquire(context.Background()); !errors.Is(err, puddle.ErrClosedPool) {
		return fmt.Errorf("a closed gate said %v", err)
	}
	for plain.inUse > 0 {
		plain.release(g, false)
	}
	if s := g.peek(); s.inUse != 0 || s.queued != 0 {
		return fmt.Errorf("%d in use and %d queued at the end", s.inUse, s.queued)
	}
	return nil
}

// compare looks for a difference between the two gates at rest. granted are
// those whose turn the last step was.
func (p *plainGate) compare(g *gate, granted []*caller) error {
	for _, c := range granted {
		if !c.done || c.err != nil {
			return fmt.Errorf("a caller whose turn it was got %t, %v", c.done, c.err)
		}
	}
	var waiting time.Duration
	callers := 0
	for i, c := range p.queue {
		if c.done {
			return fmt.Errorf("caller %d of %d in the queue was answered out of turn: %v", i, len(p.queue), c.err)
		}
		if !c.ahead { // a step of a swap is not a caller
			callers++
			waiting += time.Since(c.since)
		}
	}
	s := g.peek()
	if int(s.inUse) != p.inUse-p.own || int(s.queued) != callers || int(s.limit) != p.limit {
		return fmt.Errorf("%d in use, %d queued, limit %d; should be %d, %d, %d", s.inUse, s.queued, s.limit, p.inUse-p.own, callers, p.limit)
	}
	if int(s.stat.waited) != len(p.waits) || int(s.stat.canceled) != p.canceled || s.stat.waitNanos != int64(p.waitTime+waiting) {
		return fmt.Errorf("%d waited, %d canceled, %d ns; should be %d, %d, %d", s.stat.waited, s.stat.canceled, s.stat.waitNanos, len(p.waits), p.canceled, p.waitTime+waiting)
	}
	if s.stat.busyNanos != int64(p.busy) {
		return fmt.Errorf("somebody was queued for %d ns; should be %d", s.stat.busyNanos, p.busy)
	}
	return nil
}

// quantilesDiffer compares the histogram with the sorted list of what is in it.
func quantilesDiffer(h durations, waits []time.Duration) error {
	slices.Sort(waits)
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 1} {
		for _, zeros := range []int{0, 3} {
			all := append(make([]time.Duration, zeros), waits...)
			if len(all) == 0 {
				continue
			}
			exact := all[int(q*float64(len(all)-1))]
			got := h.quantile(&durations{}, int64(zeros), q)
			if got < exact || float64(got) > 1.19*float64(exact)+float64(edgeOf(0)) {
				return fmt.Errorf("quantile %g of %d waits and %d zeros is %s, the histogram says %s", q, len(waits), zeros, exact, got)
			}
		}
	}
	return nil
}

func TestAQuantileOfAHistogramIsAtMost19PercentTooHigh(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		waits := rapid.SliceOfN(rapid.Map(rapid.Int64Range(0, int64(time.Hour)), func(n int64) time.Duration { return time.Duration(n) }), 1, 50).Draw(t, "waits")
		var earlier, h durations
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
		if err := quantilesDiffer(since, waits); err != nil {
			t.Fatal(err)
		}
		if a, b := h.quantile(&earlier, 0, 0.9), since.quantile(&durations{}, 0, 0.9); a != b {
			t.Fatalf("since the earlier snapshot %s, alone %s", a, b)
		}
	})
	for i := range durationBuckets - 2 {
		if edgeOf(i) >= edgeOf(i+1) || bucketOf(int64(edgeOf(i))) != i || bucketOf(int64(edgeOf(i))+1) != i+1 {
			t.Errorf("the buckets %d and %d are out of order: up to %d and %d ns", i, i+1, edgeOf(i), edgeOf(i+1))
		}
	}
	var h durations
	h.add(1 << 62) // longer than the last bucket but one
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
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(2000))*time.Microsecond)
				_, err := g.acquire(ctx)
				if err != nil {
					canceled.Add(1)
				} else {
					if n := inUse.Add(1); n > high {
						t.Errorf("%d in use with a limit of %d", n, high)
					}
					granted.Add(1)
					for range rng.IntN(20) {
						runtime.Gosched() // so that the others come, and queue
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
	p.gate = newGate(1, p.now)
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
