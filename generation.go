package autotune

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"
	"github.com/pgautotune/autotune/internal/pgstat"
)

// Size is the size of the pool underneath, in connections. pgxpool fixes both numbers
// when it is made; a higher max is granted here as far as there is room.
type Size struct {
	Max int // most connections, at least 1
	Min int // MinConns, 0 to Max
}

// generation is one pgxpool.Pool under the façade. It lives from build over
// publish to drain; at most two generations take callers at any time.
type generation struct {
	id   int
	pool *pgxpool.Pool
	room int // MaxConns of pool: max can grow to this without a swap
	min  int
	max  atomic.Int64 // what the pool allows; see oneMore

	ready   atomic.Bool // pool is set
	minIdle int         // MinIdleConns of pool

	// inflight counts the callers inside pool.Acquire. A generation is closed
	// only when it is 0, because Close makes a running Acquire fail; see closeGeneration.
	inflight atomic.Int64
	hijacked int64 // guarded by Pool.hijackMu: connections known to have left the pool for good

	givenIdle atomic.Int64 // rounds of AcquireAllIdle, which pgxpool does not count

	retire  sync.Once
	retired atomic.Bool     // takes no new callers
	life    context.Context // ends when it is retired
	end     context.CancelFunc
	left    chan struct{} // closed when it is retired and nobody is inside Acquire
	closed  chan struct{} // closed when its last connection is back and closed
}

// routes says where callers get their connections. next is set during a
// hand-over only.
type routes struct{ current, next *generation }

// build makes a generation that holds no connection yet.
func (p *Pool) build(template *pgxpool.Config, size Size) (*generation, error) {
	gen := &generation{id: int(p.generations.Add(1)), room: p.room(template, size), min: size.Min, minIdle: int(template.MinIdleConns), left: make(chan struct{}), closed: make(chan struct{})}
	gen.max.Store(int64(size.Max))
	gen.life, gen.end = context.WithCancel(context.Background())
	cfg := template.Copy()
	cfg.MaxConns, cfg.MinConns = int32(gen.room), int32(size.Min)
	before := template.BeforeConnect
	cfg.BeforeConnect = func(ctx context.Context, cc *pgx.ConnConfig) error {
		if ctx.Value(unannounced{}) != nil {
			return errWarmedExplicitly
		}
		if gen.retired.Load() {
			if p.closed() {
				return puddle.ErrClosedPool
			}
			return errRetired
		}
		if err := gen.oneMore(ctx.Value(ownAcquire{}) != nil, p.gate.dials.Load()); err != nil {
			return err
		}
		if !p.budget.hasRoom() {
			return errNoBudget // before the user's hook fetches a token for nothing
		}
		if before != nil {
			if err := before(ctx, cc); err != nil {
				return err
			}
		}
		if _, ours := cc.Tracer.(*tracer); !ours { // a hook of the user has put its own there
			cc.Tracer = newTracer(cc.Tracer, p)
		}
		p.guardDial(gen, cc)
		return nil
	}
	after := template.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if after != nil {
			if err := after(ctx, conn); err != nil {
				return err
			}
		}
		if p.profile.checkVector {
			// Loads pgvector's library too, which the first query would
			// otherwise wait for. A failure is for Health to tell.
			err := pgstat.CheckVector(ctx, conn)
			p.tuner.telemetry.noteVector(err)
			if conn.IsClosed() {
				return err
			}
		}
		if s := socketOf(conn); s != nil {
			s.canServe()
		}
		return nil
	}
	forCallersOnly(cfg)
	cfg.ConnConfig.Tracer = newTracer(template.ConnConfig.Tracer, p)

	// pgxpool dials MinConns in the background, all at once, as soon as it is
	// made, and hides the errors. The marker turns that first round away: the
	// generation is warmed with a ramp instead, and checked. pgxpool still
	// replaces connections that are lost later.
	pool, err := pgxpool.NewWithConfig(context.WithValue(context.Background(), unannounced{}, true), cfg)
	if err != nil {
		gen.end()
		return nil, fmt.Errorf("autotune: building a pool of max %d: %w", size.Max, err)
	}
	gen.pool = pool
	gen.ready.Store(true)
	p.gensMu.Lock()
	p.alive = append(p.alive, gen)
	p.gensMu.Unlock()
	return gen, nil
}

// room is the MaxConns of a generation of that size: more than its max, which saves a
// swap, and with it reconnecting everything, when max grows. Not where it never does,
// nor where pgxpool itself goes by MaxConns: it opens idle connections that are asked for
// that far, and lets a hook refuse so many of them. Nor with a hook that runs when a
// connection comes back, whose permit is with the next caller by then: at MaxConns that
// caller waits inside for the connection; with room beyond, it would have to look for it.
func (p *Pool) room(template *pgxpool.Config, size Size) int {
	hooked := refuses(template) || template.AfterRelease != nil
	if p.cfg.Manual || p.profile.fixedSize || template.MinIdleConns > 0 || hooked {
		return size.Max
	}
	return min(p.cfg.Budget, max(size.Max, p.cfg.Ceiling))
}

// oneMore turns the connection about to be opened back if it is one more than max, or than
// the ramp allows at once: not if it is the pool's own, nor counting those that pgxpool
// opens by itself because they are asked for.
//
// Callers stay within both by their permits, but for moments in which a connection has no
// permit: one whose caller gave up while it was dialled, or that is on its way back.
// pgxpool would let the next caller wait then, and so does who meets errFull.
func (g *generation) oneMore(own bool, atOnce int64) error {
	if !g.ready.Load() {
		return nil
	}
	s := g.pool.Stat()
	if int64(s.TotalConns()) > g.max.Load() {
		return errFull
	}
	asked := max(0, g.min-int(s.TotalConns()-s.ConstructingConns()), g.minIdle-int(s.IdleConns()))
	if !own && int64(s.ConstructingConns()) > atOnce+int64(asked) {
		return errRamp
	}
	return nil
}

// errFull is met like a budget that is used up: whoever has a permit tries again as soon
// as something comes free.
var errFull = fmt.Errorf("autotune: the generation has as many connections as it may: %w", errNoBudget)

// size is what the generation is allowed now.
func (g *generation) size() Size { return Size{Max: int(g.max.Load()), Min: g.min} }

type unannounced struct{}

var errWarmedExplicitly = errors.New("autotune: the generation is warmed explicitly")

// errRetired sends a caller that would open a connection in a generation that was
// replaced to the one that replaced it.
var errRetired = errors.New("autotune: the generation has been replaced")

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

// use calls f in the generation, which was entered, and leaves it, even if a hook of
// the user panics in f.
func (g *generation) use(f func(*generation) error) error {
	defer g.leave()
	return f(g)
}

// acquire is use for the usual case, without a closure.
func (g *generation) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	defer g.leave()
	return g.pool.Acquire(ctx)
}

func (g *generation) leave() {
	if g.inflight.Add(-1) == 0 && g.retired.Load() {
		g.retire.Do(func() { close(g.left) })
	}
}

// closeGeneration lets nobody into a generation any more and closes it in the
// background, which takes as long as its callers hold its connections. Its idle ones
// close at once: one caller that hangs while it connects must not keep them, and
// their part of the budget, from the generation that follows.
//
// Who connects there still is waited for, because what is dialled can be used; unless the
// generation that follows has another configuration: then the dial may be to a host that
// is dead, and whoever waits for it is sent to the one named instead, see connectAgain.
func (p *Pool) closeGeneration(gen *generation, another bool) {
	gen.retired.Store(true)
	gen.end()
	if gen.inflight.Load() == 0 {
		gen.retire.Do(func() { close(gen.left) })
	}
	gen.pool.Reset()
	p.background.Go(func() {
		if !another {
			select {
			case <-gen.left:
			case <-p.life.Done(): // who still connects is turned away, as by pgxpool
			}
		}
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
		p.reconcile(gen)
	}
}

// reconcile does it for one generation. hijackMu is held.
func (p *Pool) reconcile(gen *generation) {
	given := func() int64 { return gen.pool.Stat().AcquireCount() + gen.givenIdle.Load() }
	before, held := given(), p.ledger.heldBy(gen)
	acquired := int64(gen.pool.Stat().AcquiredConns())
	if p.ledger.heldBy(gen) == held && given() == before {
		p.releaseHijacked(gen, held-acquired)
	}
}

// releaseHijacked gives back the permits of what was hijacked from a generation,
// n in all, but for those given back before. hijackMu is held.
func (p *Pool) releaseHijacked(gen *generation, n int64) {
	for ; n > gen.hijacked; gen.hijacked++ {
		p.gate.release()
	}
}

// hijackedNow is how many connections of the generations that live are known to have
// left the pool for good; the ledger still has them as held.
func (p *Pool) hijackedNow() (n int64) {
	p.hijackMu.Lock()
	defer p.hijackMu.Unlock()
	for _, gen := range p.generationsAlive() {
		n += gen.hijacked
	}
	return n
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
	if len(t.released) > 0 && socketOf(data.Conn).isHeld() { // not of connections that the pool itself held
		for _, r := range t.released {
			r.TraceRelease(pool, data)
		}
	}
	t.pool.released(data.Conn)
}
