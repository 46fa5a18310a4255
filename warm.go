package autotune

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// warmStart opens the first generation's min in the background.
func (p *Pool) warmStart(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // as pgxpool allows it
	defer cancel()
	gen := p.routes.Load().current
	want := min(gen.size().Max, max(gen.min, int(p.template.Load().MinIdleConns)))
	for p.warm(ctx, nil, gen, want) {
		if s := gen.pool.Stat(); gen.retired.Load() || int(s.IdleConns()+s.AcquiredConns()) >= want {
			return
		}
		// What is missing was being opened: by callers, or by the round that pgxpool
		// begins with, which is turned away, see build.
		t := time.NewTimer(time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// warm opens connections in a generation until it has want of them.
//
// pgxpool opens a connection only for a caller that finds none idle, so warming
// keeps those it got until the last is open. It gives them up at once when
// callers come near the limit, and stops when even then one lies idle, or when the
// generation is retired: it would wait there for a connection that a caller holds. It
// tells whether the generation has want of them, those that are being opened included.
func (p *Pool) warm(ctx context.Context, old, next *generation, want int) (enough bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(next.life, cancel)()
	kept := p.warming.begin(p)
	defer p.warming.end(kept)
	busy := func() bool { // callers queue, or come near the limit by themselves
		g := p.gate.peek()
		return g.queued > 0 || 2*g.inUse >= g.limit
	}
	for !next.retired.Load() && int(next.pool.Stat().TotalConns()) < want {
		if busy() {
			kept.giveUp()
		}
		if !p.gate.tryAcquireOwn() {
			// Never queue with permits in hand: callers would queue behind
			// permits that nobody uses, and where the limit was lowered
			// meanwhile, for as long as warming may take.
			if kept.count() > 0 || p.gate.acquireAhead(ctx) != nil {
				return false
			}
		}
		opened := next.pool.Stat().NewConnsCount()
		conn, err := p.acquireForItself(ctx, next)
		if errors.Is(err, errNoBudget) && old != nil {
			_, err = p.openInstead(ctx, old, func() (err error) {
				conn, err = p.acquireForItself(ctx, next)
				return err
			})
		}
		if err != nil {
			p.gate.releaseOwn()
			return false
		}
		spare := next.pool.Stat().NewConnsCount() == opened
		kept.add(conn)
		if spare && busy() {
			return false
		}
	}
	return !next.retired.Load()
}

// warming are the rounds of warming under way: one in the background from the
// start, one of a swap.
type warming struct {
	mu     sync.Mutex
	rounds []*kept // guarded by mu; never changed, only replaced
}

func (w *warming) begin(p *Pool) *kept {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := &kept{pool: p}
	w.rounds = append(slices.Clone(w.rounds), k)
	return k
}

func (w *warming) end(k *kept) {
	k.giveUp()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rounds = slices.DeleteFunc(slices.Clone(w.rounds), func(other *kept) bool { return other == k })
}

// giveUp makes all rounds give up what they keep, because a caller queues: the
// next connection may take long to open, and until then it would wait in vain.
func (w *warming) giveUp() {
	w.mu.Lock()
	rounds := w.rounds
	w.mu.Unlock()
	for _, k := range rounds {
		k.giveUp()
	}
}

// kept are the connections that a round of warming keeps, with a permit each.
type kept struct {
	pool *Pool

	mu    sync.Mutex
	conns []*pgxpool.Conn // guarded by mu
}

func (k *kept) add(conn *pgxpool.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conns = append(k.conns, conn)
}

func (k *kept) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.conns)
}

func (k *kept) giveUp() {
	k.mu.Lock()
	conns := k.conns
	k.conns = nil
	k.mu.Unlock()
	for _, conn := range conns {
		conn.Release()
		k.pool.gate.releaseOwn()
	}
}

// acquireForItself acquires from a generation for the pool's own work. No caller
// waits meanwhile, and so it does not count as waiting for the pool, and the hooks of
// the user that prepare a connection for a caller do not run.
func (p *Pool) acquireForItself(ctx context.Context, gen *generation) (*pgxpool.Conn, error) {
	began := time.Now()
	var got time.Time
	conn, err := gen.pool.Acquire(context.WithValue(ctx, ownAcquire{}, &got))
	if err == nil {
		socketOf(conn.Conn()).own = true
		if got.IsZero() {
			got = time.Now()
		}
	}
	if !got.IsZero() {
		p.ownWaits.add(got.Sub(began))
	}
	return conn, err
}

// ownAcquire is where an acquire of the pool itself notes when it got a connection.
type ownAcquire struct{}

// toBeClosed marks an acquire that wants a connection to close it, which need not
// answer: of a server that is gone least of all.
type toBeClosed struct{}

// forCallersOnly keeps the hooks of the user that run between getting a connection and
// giving it to a caller, and when it comes back, from acquires without a caller, as
// pgxpool does: such a hook may want what only the context of a caller has, a tenant
// for one, and its counterpart what it has left.
func forCallersOnly(cfg *pgxpool.Config) {
	own := func(ctx context.Context) bool {
		got, ok := ctx.Value(ownAcquire{}).(*time.Time)
		if ok && got.IsZero() {
			*got = time.Now()
		}
		return ok
	}
	ping := cfg.ShouldPing
	cfg.ShouldPing = func(ctx context.Context, c pgxpool.ShouldPingParams) bool {
		if ping != nil && !own(ctx) {
			return ping(ctx, c)
		}
		return c.IdleDuration > time.Second && ctx.Value(toBeClosed{}) == nil // as pgxpool
	}
	if hook := cfg.PrepareConn; hook != nil {
		cfg.PrepareConn = func(ctx context.Context, c *pgx.Conn) (bool, error) {
			if own(ctx) {
				return true, nil
			}
			ok, err := hook(ctx, c)
			if !ok && err == nil {
				noteTurnedDown(ctx)
			}
			return ok, err
		}
	}
	if hook := cfg.AfterRelease; hook != nil {
		cfg.AfterRelease = func(c *pgx.Conn) bool { return socketOf(c).own || hook(c) }
	}
	//lint:ignore SA1019 of users that have not moved on
	if hook := cfg.BeforeAcquire; hook != nil {
		//lint:ignore SA1019 the same
		cfg.BeforeAcquire = func(ctx context.Context, c *pgx.Conn) bool {
			ok := own(ctx) || hook(ctx, c)
			if !ok {
				noteTurnedDown(ctx)
			}
			return ok
		}
	}
}

// ownWaits is how long the pool has waited for connections for its own work:
// pgxpool's figure has it among the callers'.
type ownWaits struct {
	mu   sync.Mutex
	sum  time.Duration // guarded by mu
	most time.Duration // guarded by mu: highest answer of callers
}

func (o *ownWaits) add(waited time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sum += waited
}

// callers is what is left of all waits for the callers. It never falls, although
// pgxpool counts a wait a moment before we do.
func (o *ownWaits) callers(all time.Duration) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.most = max(o.most, all-o.sum)
	return o.most
}
