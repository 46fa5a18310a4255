package autotune

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"
	"github.com/pgautotune/autotune/internal/ramp"
)

// gate is the limit: a counting semaphore whose size can be changed at any
// moment, with one FIFO queue in front of all generations of the pool.
//
// Keeping the queue here, and not in the pools underneath, is what makes a
// hot-swap harmless: whoever waits when a new generation is published is
// served by it, instead of being stranded in the old one.
//
// A permit is handed from its releaser straight to the first in the queue, so
// a goroutine that releases and at once asks again cannot starve the others
// (puddle issue 46). Lowering the limit takes no permit away: the surplus is a
// debt, paid by the next releases.
//
// All methods are safe for concurrent use.
type gate struct {
	// state packs the callers queued (upper 32 bits) and the permits in use
	// (lower 32 bits), so that the uncontended paths are one compare-and-swap.
	// The queued half changes only while mu is held.
	state atomic.Uint64
	limit atomic.Int64 // negative: closed
	reach atomic.Int64 // permits that may be in use: the limit, or less by the ramp
	dials atomic.Int64 // connections that may be opened at once by the ramp
	peak  atomic.Int64 // highest in use + queued since the last snapshot, without the pool's own
	own   atomic.Int64 // of the permits in use, the pool's: for warming and swaps

	mu         sync.Mutex
	head, tail *waiter // guarded by mu
	stat       gateStat
	ahead      int64   // guarded by mu: of the queued, the pool's own
	enqueuedAt int64   // guarded by mu: sum over the other queued of the instant they came
	busySince  int64   // guarded by mu: when the queue was last found empty before it filled
	opening    opening // guarded by mu
	now        func() int64

	// onQueue, when set, is called without any lock whenever a caller has to
	// queue: the moment at which more permits, if there are any, are worth
	// finding.
	onQueue func()
}

// gateStat are the cumulative figures of the slow path, guarded by gate.mu.
type gateStat struct {
	waited        int64     // granted after queueing
	canceled      int64     // gave up while queued
	waitNanos     int64     // sum of the time queued of both
	canceledNanos int64     // the part of it that canceled callers waited
	busyNanos     int64     // time during which somebody was queued
	waits         durations // of the granted
}

const queuedOne = uint64(1) << 32

func inUseOf(state uint64) int64  { return int64(uint32(state)) }
func queuedOf(state uint64) int64 { return int64(state >> 32) }

// waiter is one queued caller. ready has room for one, so granting never blocks.
type waiter struct {
	ready      chan struct{}
	prev, next *waiter
	since      int64
	waited     int64 // set before ready
	closed     bool  // set before ready: woken because the gate closed
	ahead      bool  // of the pool itself: not in the statistics of callers
	queued     bool  // guarded by gate.mu: still in the list
}

var waiters = sync.Pool{New: func() any { return &waiter{ready: make(chan struct{}, 1)} }}

func newGate(limit int, now func() int64) *gate {
	g := &gate{now: now, opening: opening{Ramp: ramp.New()}}
	g.limit.Store(int64(limit))
	g.rebound()
	return g
}

// acquire takes a permit, queueing if it must. It returns how long it queued.
// The error is ctx's, or puddle.ErrClosedPool.
func (g *gate) acquire(ctx context.Context) (time.Duration, error) {
	if g.tryAcquire() {
		return 0, nil
	}
	return g.acquireQueued(ctx, false)
}

// acquireAhead is acquire for the pool's own work, one step of a hot-swap: it
// goes to the head of the queue, because behind it a swap among many callers
// would take a full round of the queue for each connection, and callers pay for
// every moment that two generations share the budget. Its permit, like that of
// tryAcquireOwn, goes back by releaseOwn, and counts as nobody's demand.
func (g *gate) acquireAhead(ctx context.Context) error {
	if g.tryAcquireOwn() {
		return nil
	}
	g.own.Add(1)
	_, err := g.acquireQueued(ctx, true)
	if err != nil {
		g.own.Add(-1)
	}
	return err
}

// tryAcquireOwn is tryAcquire for the pool's own work.
func (g *gate) tryAcquireOwn() bool {
	g.own.Add(1) // first, or the permit would be a caller's for a moment
	ok := g.tryAcquire()
	if !ok {
		g.own.Add(-1)
	}
	return ok
}

// releaseOwn gives a permit of the pool's own work back.
func (g *gate) releaseOwn() {
	g.release()
	g.own.Add(-1)
}

// tryAcquire takes a permit only if one is free and nobody is queued for it.
func (g *gate) tryAcquire() bool {
	for {
		s := g.state.Load()
		if queuedOf(s) != 0 || inUseOf(s) >= g.reach.Load() {
			return false
		}
		if g.state.CompareAndSwap(s, s+1) {
			g.notePeak(s + 1)
			return true
		}
	}
}

// notePeak raises the peak to what state holds.
func (g *gate) notePeak(s uint64) {
	if n := inUseOf(s) + queuedOf(s); n > g.peak.Load() {
		raise(&g.peak, n-g.own.Load())
	}
}

// raise makes high at least n, and returns what it is then. It is a read nearly always.
func raise(high *atomic.Int64, n int64) int64 {
	for {
		old := high.Load()
		if n <= old {
			return old
		}
		if high.CompareAndSwap(old, n) {
			return n
		}
	}
}

func (g *gate) acquireQueued(ctx context.Context, ahead bool) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		if !ahead {
			g.mu.Lock()
			g.stat.canceled++
			g.mu.Unlock()
		}
		return 0, err
	}
	w, err := g.enqueue(ahead)
	if w == nil {
		return 0, err
	}
	if g.onQueue != nil && !ahead {
		g.onQueue()
	}
	select {
	case <-w.ready:
		return g.granted(w)
	case <-ctx.Done():
		return g.abandon(w), ctx.Err()
	}
}

// enqueue appends the caller to the queue, or puts it ahead of all, or takes a
// permit that became free meanwhile and returns nil.
func (g *gate) enqueue(ahead bool) (*waiter, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit.Load() < 0 {
		return nil, puddle.ErrClosedPool
	}
	for {
		s := g.state.Load()
		if queuedOf(s) == 0 && inUseOf(s) < g.reach.Load() {
			if g.state.CompareAndSwap(s, s+1) {
				return nil, nil
			}
			continue
		}
		if g.state.CompareAndSwap(s, s+queuedOne) {
			w := waiters.Get().(*waiter)
			w.since, w.waited, w.closed, w.queued, w.ahead = g.now(), 0, false, true, ahead
			g.push(w)
			g.watchRamp()
			g.notePeak(s + queuedOne)
			return w, nil
		}
	}
}

// granted ends the wait of a caller that was woken: with its permit, or
// because the gate closed.
func (g *gate) granted(w *waiter) (time.Duration, error) {
	waited := time.Duration(w.waited)
	closed := w.closed
	waiters.Put(w)
	if closed {
		return waited, puddle.ErrClosedPool
	}
	return waited, nil
}

// abandon takes a caller out of the queue that will wait no longer. A permit
// granted in the same instant goes to the next in the queue.
func (g *gate) abandon(w *waiter) time.Duration {
	g.mu.Lock()
	waited := max(0, g.now()-w.since)
	if w.queued {
		g.remove(w)
		g.state.Add(^(queuedOne - 1)) // one queued less
		g.bookCanceled(w, waited)
		g.mu.Unlock()
	} else {
		if !w.closed {
			g.unbookGranted(w)
			g.bookCanceled(w, w.waited)
		}
		g.mu.Unlock()
		<-w.ready
		if !w.closed {
			g.release()
		}
	}
	waiters.Put(w)
	return time.Duration(waited)
}

// release gives a permit back: to the first in the queue, unless the limit was
// lowered meanwhile and the permit is owed.
func (g *gate) release() {
	for {
		s := g.state.Load()
		if queuedOf(s) != 0 {
			break
		}
		if s == 0 || g.state.CompareAndSwap(s, s-1) {
			return // at 0 nobody holds a permit: below, the counts would be nonsense for ever
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		s := g.state.Load()
		if queuedOf(s) == 0 || inUseOf(s) > g.reach.Load() {
			if g.state.CompareAndSwap(s, s-1) {
				return
			}
			continue
		}
		if g.state.CompareAndSwap(s, s-queuedOne) { // in use stays: the permit changes hands
			g.grantFirst()
			return
		}
	}
}

// setLimit changes the limit at once, serving the queue as far as it reaches.
func (g *gate) setLimit(limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit.Load() < 0 {
		return
	}
	g.limit.Store(int64(limit))
	g.rebound()
}

// force takes n permits whatever the limit says, for connections that are in
// use although no caller asked the gate for them (AcquireAllIdle).
func (g *gate) force(n int) { g.state.Add(uint64(n)) }

// grantFirst wakes the first in the queue, whose permit has been booked. mu is held.
func (g *gate) grantFirst() {
	w := g.head
	g.remove(w)
	w.waited = max(0, g.now()-w.since)
	if !w.ahead {
		g.stat.waited++
		g.stat.waitNanos += w.waited
		g.stat.waits.add(w.waited)
	}
	w.ready <- struct{}{}
}

// unbookGranted takes back what grantFirst booked, for a caller that gave up in
// the same instant. mu is held.
func (g *gate) unbookGranted(w *waiter) {
	if !w.ahead {
		g.stat.waited--
		g.stat.waitNanos -= w.waited
		g.stat.waits[bucketOf(w.waited)]--
	}
}

// bookCanceled books a caller that left the queue without a permit. mu is held.
func (g *gate) bookCanceled(w *waiter, waited int64) {
	if !w.ahead {
		g.stat.canceled++
		g.stat.waitNanos += waited
		g.stat.canceledNanos += waited
	}
}

// close turns everybody away from now on, the queue included. Permits in use
// may still be released.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit.Store(-1)
	g.reach.Store(-1)
	for g.head != nil {
		w := g.head
		g.remove(w)
		g.state.Add(^(queuedOne - 1))
		w.waited, w.closed = max(0, g.now()-w.since), true
		g.bookCanceled(w, w.waited)
		w.ready <- struct{}{}
	}
}

func (g *gate) push(w *waiter) {
	if w.ahead {
		g.ahead++
	} else {
		g.enqueuedAt += w.since
	}
	w.prev, w.next = nil, nil
	switch {
	case g.head == nil:
		g.head, g.tail = w, w
		g.busySince = w.since
	case w.ahead:
		w.next, g.head.prev = g.head, w
		g.head = w
	default:
		w.prev, g.tail.next = g.tail, w
		g.tail = w
	}
}

func (g *gate) remove(w *waiter) {
	if w.prev == nil {
		g.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		g.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	if w.ahead {
		g.ahead--
	} else {
		g.enqueuedAt -= w.since
	}
	if g.head == nil {
		g.stat.busyNanos += max(0, g.now()-g.busySince)
	}
}

// gateSnapshot is a consistent look at the gate.
type gateSnapshot struct {
	stat                 gateStat
	limit, inUse, queued int64 // by callers, without the pool's own
	reach                int64 // of the limit, while connections are opened
	peak                 int64 // highest in use + queued since the last snapshot
	queuedNanos          int64 // the part of stat.waitNanos of callers that are queued still
}

// grantedWait is how long those waited that got a permit, all together.
func (g *gateSnapshot) grantedWait() time.Duration {
	return time.Duration(g.stat.waitNanos - g.queuedNanos - g.stat.canceledNanos)
}

// peek reads the gate. Times of callers still queued are counted up to now.
func (g *gate) peek() gateSnapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.state.Load()
	own := max(0, g.own.Load()-g.ahead) // who is queued ahead has none yet
	out := gateSnapshot{stat: g.stat, limit: g.limit.Load(), reach: g.reach.Load(), inUse: max(0, inUseOf(s)-own), queued: queuedOf(s) - g.ahead}
	if g.head != nil {
		now := g.now()
		out.stat.busyNanos += max(0, now-g.busySince)
		out.queuedNanos = max(0, out.queued*now-g.enqueuedAt)
		out.stat.waitNanos += out.queuedNanos
	}
	out.peak = max(g.peak.Load(), out.inUse+out.queued)
	return out
}

// snapshot is peek for the one who counts peaks: it starts a new one.
func (g *gate) snapshot() gateSnapshot {
	out := g.peek()
	g.peak.Store(0)
	return out
}
