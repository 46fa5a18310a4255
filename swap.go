package autotune

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune/internal/pgstat"
)

// Size is the size of the pool underneath: the two numbers of pgxpool that only
// a hot-swap can change, in connections.
type Size struct {
	Max int // MaxConns, at least 1
	Min int // MinConns, 0 to Max
}

// generation is one pgxpool.Pool under the façade. It lives from build over
// publish to drain; at most two generations take callers at any time.
type generation struct {
	id   int
	pool *pgxpool.Pool
	size Size

	// inflight counts the callers inside pool.Acquire. A generation is closed
	// only when it is 0, because Close makes a running Acquire fail.
	inflight atomic.Int64
	hijacked int64 // guarded by Pool.hijackMu: connections known to have left the pool for good

	retire  sync.Once
	retired atomic.Bool   // takes no new callers
	left    chan struct{} // closed when it is retired and nobody is inside Acquire
	closed  chan struct{} // closed when its last connection is back and closed
}

// routes says where callers get their connections. next is set during a
// hand-over only.
type routes struct{ current, next *generation }

// build makes a generation that holds no connection yet.
func (p *Pool) build(template *pgxpool.Config, size Size) (*generation, error) {
	gen := &generation{id: int(p.generations.Add(1)), size: size, left: make(chan struct{}), closed: make(chan struct{})}
	cfg := template.Copy()
	cfg.MaxConns, cfg.MinConns = int32(size.Max), int32(size.Min)
	before := template.BeforeConnect
	cfg.BeforeConnect = func(ctx context.Context, cc *pgx.ConnConfig) error {
		if ctx.Value(unannounced{}) != nil {
			return errWarmedExplicitly
		}
		if !p.budget.hasRoom() {
			return errNoBudget // before the user's hook fetches a token for nothing
		}
		if before != nil {
			if err := before(ctx, cc); err != nil {
				return err
			}
		}
		p.guardDial(gen, cc)
		return nil
	}
	if p.profile.checkVector {
		after := template.AfterConnect
		cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			if after != nil {
				if err := after(ctx, conn); err != nil {
					return err
				}
			}
			// Loads pgvector's library too, which the first query would
			// otherwise wait for. A failure is for Health to tell.
			p.tuner.telemetry.noteVector(pgstat.CheckVector(ctx, conn))
			return nil
		}
	}
	cfg.ConnConfig.Tracer = newTracer(template.ConnConfig.Tracer, p)

	// pgxpool dials MinConns in the background, all at once, as soon as it is
	// made, and hides the errors. The marker turns that first round away: the
	// generation is warmed with a ramp instead, and checked. pgxpool still
	// replaces connections that are lost later.
	pool, err := pgxpool.NewWithConfig(context.WithValue(context.Background(), unannounced{}, true), cfg)
	if err != nil {
		return nil, fmt.Errorf("autotune: building a pool of max %d: %w", size.Max, err)
	}
	gen.pool = pool
	p.gensMu.Lock()
	p.alive = append(p.alive, gen)
	p.gensMu.Unlock()
	return gen, nil
}

type unannounced struct{}

var errWarmedExplicitly = errors.New("autotune: the generation is warmed explicitly")

// enter picks the generation a caller shall use and keeps it from being closed
// until leave.
func (p *Pool) enter() *generation {
	for {
		r := p.routes.Load()
		gen := r.current
		if r.next != nil {
			gen = r.next
			if gen.pool.Stat().IdleConns() == 0 && r.current.enterIdle() {
				if p.routes.Load() == r {
					return r.current
				}
				r.current.leave()
				continue
			}
		}
		gen.inflight.Add(1)
		if p.routes.Load() == r {
			return gen
		}
		gen.leave()
	}
}

// enterIdle enters the old generation during a hand-over if a connection lies
// idle there for this caller, so that nobody dials meanwhile, and nobody waits
// in it for a connection that the next generation could open.
func (g *generation) enterIdle() bool {
	if int64(g.pool.Stat().IdleConns()) >= g.inflight.Add(1) {
		return true
	}
	g.leave()
	return false
}

// newest is the generation that stays.
func (r *routes) newest() *generation {
	if r.next != nil {
		return r.next
	}
	return r.current
}

// enterNewest is enter for a caller that an older generation has failed.
func (p *Pool) enterNewest() *generation {
	for {
		r := p.routes.Load()
		gen := r.newest()
		gen.inflight.Add(1)
		if p.routes.Load() == r {
			return gen
		}
		gen.leave()
	}
}

func (g *generation) leave() {
	if g.inflight.Add(-1) == 0 && g.retired.Load() {
		g.retire.Do(func() { close(g.left) })
	}
}

// swap replaces the generation by one of the given template and size: build,
// check, hand over, publish, drain. Callers keep their connections throughout;
// server connections stay within the budget. On an error nothing has changed.
// swapMu is held.
func (p *Pool) swap(ctx context.Context, template *pgxpool.Config, size Size, limit int) error {
	if err := p.awaitDrain(ctx); err != nil {
		return err
	}
	start := time.Now()
	old := p.routes.Load().current
	next, err := p.build(template, size)
	if err != nil {
		return err
	}
	if err := p.check(ctx, next); err != nil {
		p.closeGeneration(next)
		return fmt.Errorf("autotune: the new generation was not published, the pool stays as it was (max %d, min %d): %w", old.size.Max, old.size.Min, err)
	}

	// From here on nothing can fail. A lower limit goes first, because the new
	// generation cannot serve more than its max; a higher one last, because the
	// old one cannot serve more than its own: it lets the queue in at once, to
	// dial for itself.
	lower := limit < int(p.gate.limit.Load())
	if lower {
		p.gate.setLimit(limit)
	}
	p.routes.Store(&routes{current: old, next: next})
	if !lower {
		p.gate.setLimit(limit)
	}
	moved := p.handOver(ctx, old, next)
	p.routes.Store(&routes{current: next})
	p.template.Store(template)
	p.drain(old)
	p.swaps.Add(1)
	p.swapNanos.Add(int64(time.Since(start)))
	p.log.Info("pool resized", "generation", next.id,
		"max", size.Max, "min", size.Min, "old_max", old.size.Max, "old_min", old.size.Min,
		"limit", limit, "warmed", moved, "took", time.Since(start))
	return nil
}

// awaitDrain waits for the callers of the generation replaced last. Those that
// hold a connection for longer than DrainTimeout (a LISTEN, a long
// transaction, a leak) are left behind with it: their connections are never
// cut, and close when they come back.
func (p *Pool) awaitDrain(ctx context.Context) error {
	old := p.draining
	if old == nil {
		return nil
	}
	select {
	case <-old.closed:
		p.draining = nil
		return nil
	default:
	}
	t := time.NewTimer(p.cfg.DrainTimeout)
	defer t.Stop()
	select {
	case <-old.closed:
	case <-t.C:
		<-old.left // bounded by the callers' own acquires
		p.log.Info("generation left behind", "generation", old.id, "still_held", old.pool.Stat().AcquiredConns(), "after", p.cfg.DrainTimeout)
	case <-ctx.Done():
		return fmt.Errorf("autotune: the previous resize is still being drained: %w", ctx.Err())
	}
	p.draining = nil
	return nil
}

// check opens the first connection of a generation, so that a wrong password or
// host is found before any caller can meet it.
func (p *Pool) check(ctx context.Context, next *generation) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.SwapTimeout)
	defer cancel()
	var conn *pgxpool.Conn
	acquire := func() (err error) {
		conn, err = next.pool.Acquire(ctx)
		return err
	}
	err := acquire()
	if errors.Is(err, errNoBudget) {
		if err = p.gate.acquireAhead(ctx); err == nil {
			old := p.routes.Load().current
			if err = p.openInstead(ctx, old, acquire); err == nil {
				p.gate.release()
			} else {
				p.background.Go(func() { p.reopen(old) })
			}
		}
	}
	if err != nil {
		return err
	}
	conn.Release()
	return nil
}

// openInstead acquires from a new generation although the budget is used up, by
// closing an idle connection of the old one. The caller holds a permit, as
// everybody who needs a connection does, and so there is one that nobody needs:
// idle, or on its way back. It is kept until the end, because otherwise a caller
// would take the token that the closed connection leaves.
func (p *Pool) openInstead(ctx context.Context, old *generation, acquire func() error) error {
	var closing *socket
	return p.awaitBudget(ctx, func() error {
		more := closing == nil || closing.isGone() // whose token came back, and somebody else has it
		err := acquire()
		if more && errors.Is(err, errNoBudget) {
			closing = p.closeIdle(ctx, old)
		}
		return err
	})
}

// reopen makes good for the connection that a failed check may have cost the
// generation. It keeps the permit meanwhile: if the old password no longer works
// either, the pool goes on with the connections that are left, and no caller is
// sent to open one in vain.
func (p *Pool) reopen(gen *generation) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer p.gate.release()
	p.background.Go(func() {
		select {
		case <-gen.left:
			cancel()
		case <-ctx.Done():
		}
	})
	left := gen.pool.Stat().TotalConns()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 20 * time.Millisecond // the token of the failed check is back within a few
	pause.MaxInterval = 30 * time.Second          // a password that is refused again and again locks accounts out
	for {
		err := gen.probe(ctx)
		if err == nil || errors.Is(err, errNoBudget) && gen.pool.Stat().TotalConns() > left {
			return // it works, or did for a caller
		}
		t := time.NewTimer(pause.NextBackOff())
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// probe opens a connection as the generation would, beside it, and closes it.
func (g *generation) probe(ctx context.Context) error {
	cfg := g.pool.Config()
	if err := cfg.BeforeConnect(ctx, cfg.ConnConfig); err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return err
	}
	_ = conn.Close(ctx) // that it opened is all there was to know
	return nil
}

// closeIdle closes one idle connection of a generation and returns its socket,
// or nil if it has none. The caller holds a permit.
func (p *Pool) closeIdle(ctx context.Context, from *generation) *socket {
	if from.pool.Stat().IdleConns() == 0 {
		return nil
	}
	conn, err := from.pool.Acquire(ctx)
	if err != nil {
		return nil // a caller was quicker, and another could not be opened
	}
	s := socketOf(conn.Conn())
	_ = conn.Conn().Close(ctx)
	conn.Release()
	return s
}

// handOver moves the pool from the old generation to the next one connection at
// a time, while callers use both, and returns how many connections the next one
// has then. Every step holds a permit of the gate, as a caller would: where the
// budget is used up it frees a token by closing an idle connection of the old
// generation, and opens one in the next. It ends when the next generation has
// what is in use now, or has connections to spare, or at the swap timeout:
// what is missing then is opened by the callers that need it.
//
// Steps are taken one after the other on purpose: 50 connections take 66–182 ms
// whatever the parallelism, because the server forks them in turn, and a
// storm of them would crowd out queries.
func (p *Pool) handOver(ctx context.Context, old, next *generation) int {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.SwapTimeout)
	defer cancel()
	g := p.gate.peek()
	want := min(next.size.Max, int(g.limit), max(next.size.Min, int(g.inUse+g.queued)))
	p.warm(ctx, old, next, want)
	return int(next.pool.Stat().TotalConns())
}

// warmStart opens the first generation's min in the background.
func (p *Pool) warmStart(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // as pgxpool allows it
	defer cancel()
	gen := p.enter()
	defer gen.leave()
	p.warm(ctx, nil, gen, gen.size.Min)
}

// warm opens connections in a generation until it has want of them.
//
// pgxpool opens a connection only for a caller that finds none idle, so warming
// keeps those it got until the last is open. It gives them up at once when
// callers come near the limit, and stops when even then one lies idle.
func (p *Pool) warm(ctx context.Context, old, next *generation, want int) {
	var kept []*pgxpool.Conn
	giveUp := func() {
		for _, conn := range kept {
			conn.Release()
			p.gate.release()
		}
		kept = kept[:0]
	}
	defer giveUp()
	busy := func() bool { // callers queue, or come near the limit by themselves
		g := p.gate.peek()
		return g.queued > 0 || 2*(g.inUse-int64(len(kept))) >= g.limit
	}
	for !next.retired.Load() && int(next.pool.Stat().TotalConns()) < want {
		if busy() {
			giveUp()
		}
		if err := p.gate.acquireAhead(ctx); err != nil {
			return
		}
		opened := next.pool.Stat().NewConnsCount()
		conn, err := next.pool.Acquire(ctx)
		if errors.Is(err, errNoBudget) && old != nil {
			err = p.openInstead(ctx, old, func() (err error) {
				conn, err = next.pool.Acquire(ctx)
				return err
			})
		}
		if err != nil {
			p.gate.release()
			return
		}
		spare := next.pool.Stat().NewConnsCount() == opened
		kept = append(kept, conn)
		if spare && busy() {
			return
		}
	}
}

// awaitBudget retries an acquire that found the budget used up, each time
// something came free, until it does not or ctx ends. A connection that is given
// back is announced a moment before it is idle (see [Pool.released]), and a hook
// of the user may hold it up further: so it also looks without being told.
func (p *Pool) awaitBudget(ctx context.Context, acquire func() error) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		free := p.budget.subscribe()
		err := acquire()
		if errors.Is(err, errNoBudget) {
			t := time.NewTimer(pause)
			select {
			case <-free:
			case <-t.C:
			case <-ctx.Done():
				err = ctx.Err()
			}
			t.Stop()
		}
		p.budget.unsubscribe()
		if !errors.Is(err, errNoBudget) {
			return err
		}
	}
}

// drain retires a generation that is no longer published: its idle connections
// close now, those in use when their callers give them back.
func (p *Pool) drain(old *generation) {
	p.draining = old
	p.closeGeneration(old)
}

// closeGeneration lets nobody into a generation any more and closes it in the
// background, which takes as long as its callers hold its connections.
func (p *Pool) closeGeneration(gen *generation) {
	gen.retired.Store(true)
	if gen.inflight.Load() == 0 {
		gen.retire.Do(func() { close(gen.left) })
	}
	p.background.Go(func() {
		<-gen.left
		gen.pool.Close()
		p.forgetGeneration(gen)
		close(gen.closed)
	})
}

// reconcileHijacked gives back the permits of connections that callers took out
// of the pool for good with Hijack, which tells nobody.
//
// A connection that is held has its resource acquired in the pool underneath,
// unless it was hijacked. So if nothing was given or given back while both were
// counted, the difference is the number of hijacked ones; it is never too high.
func (p *Pool) reconcileHijacked() {
	p.hijackMu.Lock()
	defer p.hijackMu.Unlock()
	for _, gen := range p.generationsAlive() {
		given := gen.pool.Stat().AcquireCount()
		held := p.ledger.heldBy(gen)
		acquired := int64(gen.pool.Stat().AcquiredConns())
		if p.ledger.heldBy(gen) != held || gen.pool.Stat().AcquireCount() != given {
			continue
		}
		for ; held-acquired > gen.hijacked; gen.hijacked++ {
			p.gate.release()
		}
	}
}

// tracer is the way back from pgxpool: Release calls it before the connection
// returns. It hands every other event to the tracer in the user's configuration.
type tracer struct {
	pgx.QueryTracer
	pgx.BatchTracer
	pgx.CopyFromTracer
	pgx.PrepareTracer
	pgx.ConnectTracer
	released []pgxpool.ReleaseTracer
	pool     *Pool
}

func newTracer(user pgx.QueryTracer, p *Pool) *tracer {
	m := &multitracer.Tracer{}
	if user != nil {
		m = multitracer.New(user)
	}
	return &tracer{QueryTracer: m, BatchTracer: m, CopyFromTracer: m, PrepareTracer: m, ConnectTracer: m,
		released: m.PoolReleaseTracers, pool: p}
}

// TraceRelease implements [pgxpool.ReleaseTracer].
func (t *tracer) TraceRelease(pool *pgxpool.Pool, data pgxpool.TraceReleaseData) {
	for _, r := range t.released {
		r.TraceRelease(pool, data)
	}
	t.pool.released(data.Conn)
}
