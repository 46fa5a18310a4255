package autotune

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrAcquireTimeout is returned when no connection could be had within
// [Config.AcquireTimeout]. It is demand that was not served, not a fault of the
// database; errors.Is(err, context.DeadlineExceeded) holds too.
var ErrAcquireTimeout error = acquireTimeoutError{}

type acquireTimeoutError struct{}

func (acquireTimeoutError) Error() string {
	return "autotune: no connection within the acquire timeout"
}
func (acquireTimeoutError) Timeout() bool   { return true }
func (acquireTimeoutError) Is(e error) bool { return e == context.DeadlineExceeded }

// Pool is a [pgxpool.Pool] that resizes itself. It has every method of
// *pgxpool.Pool with the same meaning, and is safe for concurrent use.
//
// Underneath is an ordinary pgxpool.Pool, the current generation, with a gate in
// front of it that holds the limit, and a budget that counts server connections
// where they are dialled. The controller moves the limit often and replaces the
// generation rarely. If it stops, what remains is an ordinary pool.
type Pool struct {
	cfg     *Config // validated and complete; never changed
	profile profileSettings
	log     *slog.Logger
	epoch   time.Time

	gate     *gate
	levels   levels
	budget   *budget
	ledger   ledger
	routes   atomic.Pointer[routes]
	template atomic.Pointer[pgxpool.Config] // what generations are built from, size apart

	swapping turn        // one swap at a time
	draining *generation // guarded by swapping: replaced last, perhaps not yet empty
	warming  warming
	ownWaits ownWaits

	gensMu      sync.Mutex
	alive       []*generation // guarded by gensMu: not closed yet
	buried      poolCounters  // guarded by gensMu: of the generations that are closed
	generations atomic.Int64
	swaps       atomic.Int64
	swapNanos   atomic.Int64
	swapsFailed atomic.Int64
	searches    searchCounters
	granted     atomic.Int64 // as Stat said it last: its parts are read in turn, and one may be ahead
	retrying    atomic.Int64 // callers between two tries of an acquire, see connectAgain

	hijackMu   sync.Mutex
	hijackLook atomic.Int64 // when a queue last made somebody look for hijacked connections

	tuner      *tuner
	closeOnce  sync.Once
	life       context.Context // ends with Close
	end        context.CancelFunc
	background sync.WaitGroup // generations being closed
}

// New creates a Pool from a connection string, like [pgxpool.New]. It returns
// without waiting for a connection; a server that is down is not an error here.
func New(ctx context.Context, connString string) (*Pool, error) {
	cfg, err := ParseConfig(connString)
	if err != nil {
		return nil, err
	}
	return NewWithConfig(ctx, cfg)
}

// NewWithConfig creates a Pool. The config is copied; its Pool must come from
// [ParseConfig] or [pgxpool.ParseConfig]. The error says which knob was out of
// its bounds. ctx's values reach the first connections, its end does not stop them.
func NewWithConfig(ctx context.Context, config *Config) (*Pool, error) {
	cfg, settings, err := config.complete()
	if err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg, profile: settings, log: cfg.Logger, epoch: time.Now(), swapping: newTurn()}
	p.life, p.end = context.WithCancel(context.Background())
	p.gate = newGate(settings.start.Max, p.now)
	p.budget = &budget{size: cfg.Budget}
	p.template.Store(settings.template)
	p.tuner = newTuner(p) // which the connections of a generation tell of pgvector
	p.gate.onQueue = p.queued
	first, err := p.build(settings.template, settings.start)
	if err != nil {
		return nil, err
	}
	p.routes.Store(&routes{current: first})
	p.logStart()
	p.tuner.start(context.WithoutCancel(ctx))
	return p, nil
}

// now is the monotonic time since the pool was made, in nanoseconds, never 0.
func (p *Pool) now() int64 { return int64(time.Since(p.epoch)) + 1 }

// Acquire returns a connection from the pool, waiting for one as long as ctx
// and [Config.AcquireTimeout] allow.
func (p *Pool) Acquire(ctx context.Context) (*pgxpool.Conn, error) {
	if t := p.acquireTracer(); t != nil {
		var c *pgxpool.Conn
		err := p.traced(ctx, t, func(ctx context.Context) (conn *pgx.Conn, err error) {
			if c, err = p.acquire(ctx); err == nil {
				conn = c.Conn()
			}
			return conn, err
		})
		return c, err
	}
	return p.acquire(ctx)
}

// acquireTracer is the user's, nil for none.
func (p *Pool) acquireTracer() pgxpool.AcquireTracer {
	t, _ := p.template.Load().ConnConfig.Tracer.(pgxpool.AcquireTracer)
	return t
}

// traced shows the user's tracer a whole acquire, queueing included, which a tracer
// inside the pool underneath would not see. It shows the end of one that panics too.
func (p *Pool) traced(ctx context.Context, t pgxpool.AcquireTracer, acquire func(context.Context) (*pgx.Conn, error)) error {
	pool := p.routes.Load().current.pool
	ctx = t.TraceAcquireStart(ctx, pool, pgxpool.TraceAcquireStartData{})
	var conn *pgx.Conn
	var err error
	defer func() { t.TraceAcquireEnd(ctx, pool, pgxpool.TraceAcquireEndData{Conn: conn, Err: err}) }()
	conn, err = acquire(ctx)
	return err
}

func (p *Pool) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	if p.cfg.AcquireTimeout > 0 {
		return p.acquireWithin(ctx, p.cfg.AcquireTimeout)
	}
	waited, err := p.gate.acquire(ctx)
	if err != nil {
		return nil, err
	}
	return p.connect(ctx, waited)
}

// acquireWithin bounds the whole acquire, the dial included. A context of its
// own costs six allocations, so only profiles that set a timeout pay for it.
func (p *Pool) acquireWithin(parent context.Context, timeout time.Duration) (*pgxpool.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(parent, timeout, ErrAcquireTimeout)
	defer cancel()
	waited, err := p.gate.acquire(ctx)
	if err == nil {
		var c *pgxpool.Conn
		if c, err = p.connect(ctx, waited); err == nil {
			return c, nil
		}
	}
	return nil, p.timedOut(parent, ctx, err)
}

// timedOut makes err the end of the acquire timeout, if that is what ended ctx, which
// was made of parent.
func (p *Pool) timedOut(parent, ctx context.Context, err error) error {
	if parent.Err() != nil || context.Cause(ctx) != ErrAcquireTimeout {
		return err
	}
	g, cold := p.gate.peek(), ""
	if g.reach < g.limit {
		cold = fmt.Sprintf(", of which %d are let in until more connections are open", g.reach)
	}
	return fmt.Errorf("%w of %s: %d connections in use (limit %d%s), %d callers queued: %w", ErrAcquireTimeout, p.cfg.AcquireTimeout, g.inUse, g.limit, cold, g.queued, err)
}

// released takes back what a caller gives back: the hold is booked and the
// permit goes to the next in the queue. pgxpool calls it, through the tracer,
// as the first thing of Release.
func (p *Pool) released(conn *pgx.Conn) {
	s := socketOf(conn)
	if !s.giveBack() {
		return
	}
	if conn.IsClosed() || conn.PgConn().IsBusy() || conn.PgConn().TxStatus() != 'I' {
		// pgxpool will destroy it; whatever it was doing may still run.
		if s.closedAt.Load() != 0 {
			p.ledger.remove(s)
		}
		s.releasePermitWhenGone()
		return
	}
	p.gate.release()
	p.budget.poke()
}

// queued is called whenever a caller has to queue: the moment to look whether a
// connection that was hijacked still holds a permit, to let go of connections that
// are only being warmed, and to wake the tuner.
func (p *Pool) queued() {
	now := p.now()
	if last := p.hijackLook.Load(); now-last > int64(time.Millisecond) && p.hijackLook.CompareAndSwap(last, now) {
		p.reconcileHijacked()
	}
	p.warming.giveUp()
	p.tuner.wake()
}

// closed tells whether Close was called.
func (p *Pool) closed() bool { return p.gate.limit.Load() < 0 }

// Close closes all connections in the pool and rejects future acquires. It
// blocks until all connections are returned and closed. The tuner ends, and a Resize or
// Reconfigure under way.
func (p *Pool) Close() {
	p.closeOnce.Do(func() {
		p.tuner.cancel()
		p.gate.close()
		p.end()        // and with it a swap under way
		p.tuner.stop() // may take as long as a hook of the user that it is in
		_ = p.swapping.take(context.Background())
		defer p.swapping.give()
		p.closeGeneration(p.routes.Load().current, false)
	})
	p.background.Wait()
	p.budget.closing.Wait()
}

// Reset closes all connections, but leaves the pool open. Those in use are
// closed when they are returned.
func (p *Pool) Reset() {
	for _, gen := range p.generationsAlive() {
		gen.pool.Reset()
	}
}

// AcquireFunc calls f with a connection that it releases afterwards.
func (p *Pool) AcquireFunc(ctx context.Context, f func(*pgxpool.Conn) error) error {
	c, err := p.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	return f(c)
}

// AcquireAllIdle acquires all idle connections, beyond the limit if need be. As in
// pgxpool, they are not pinged, whatever ValidateBeforeUse says.
func (p *Pool) AcquireAllIdle(ctx context.Context) []*pgxpool.Conn {
	gen := p.enter()
	defer gen.leave()
	conns := gen.pool.AcquireAllIdle(ctx)
	gen.givenIdle.Add(1) // before any of them counts as held
	p.gate.force(len(conns))
	for _, c := range conns {
		socketOf(c.Conn()).holdAside()
	}
	return conns
}

// Config returns a copy of the configuration that the current generation was
// built from, with the max and min it has now.
func (p *Pool) Config() *pgxpool.Config {
	cfg := p.template.Load().Copy()
	size := p.Size()
	cfg.MaxConns, cfg.MinConns = int32(size.Max), int32(size.Min)
	return cfg
}

// Size returns the max and min that the pool has now.
func (p *Pool) Size() Size { return p.routes.Load().current.size() }

// Exec executes SQL on a connection of the pool.
func (p *Pool) Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error) {
	c, err := p.Acquire(ctx)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	defer c.Release()
	return c.Exec(ctx, sql, arguments...)
}

// Query runs a query. The connection goes back when the rows are read or closed.
func (p *Pool) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	c, err := p.Acquire(ctx)
	if err != nil {
		return failedRows{err: err}, err
	}
	r, err := c.Query(ctx, sql, args...)
	if err != nil {
		c.Release()
		return failedRows{err: err}, err
	}
	return &rows{Rows: r, conn: c}, nil
}

// QueryRow runs a query of one row. Scan gives the connection back.
func (p *Pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	c, err := p.Acquire(ctx)
	if err != nil {
		return failedRows{err: err}
	}
	return &row{row: c.QueryRow(ctx, sql, args...), conn: c}
}

// SendBatch sends a batch. The connection goes back when the results are closed,
// or when the transaction that the batch began is over.
func (p *Pool) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	c, err := p.Acquire(ctx)
	if err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	results := c.SendBatch(ctx, b)
	if t := results.Tx(); t != nil {
		return &batchResults{BatchResults: results, tx: &tx{Tx: t, conn: c}}
	}
	return &batchResults{BatchResults: results, conn: c}
}

// Begin starts a transaction. The end of ctx does not roll it back.
func (p *Pool) Begin(ctx context.Context) (pgx.Tx, error) {
	return p.BeginTx(ctx, pgx.TxOptions{})
}

// BeginTx starts a transaction with the given options.
func (p *Pool) BeginTx(ctx context.Context, txOptions pgx.TxOptions) (pgx.Tx, error) {
	c, err := p.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	t, err := c.BeginTx(ctx, txOptions)
	if err != nil {
		c.Release()
		return nil, err
	}
	return &tx{Tx: t, conn: c}, nil
}

// CopyFrom copies rows into a table with the COPY protocol.
func (p *Pool) CopyFrom(ctx context.Context, tableName pgx.Identifier, columnNames []string, rowSrc pgx.CopyFromSource) (int64, error) {
	c, err := p.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Release()
	return c.CopyFrom(ctx, tableName, columnNames, rowSrc)
}

// Ping sends an empty statement over a connection of the pool.
func (p *Pool) Ping(ctx context.Context) error {
	c, err := p.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	return c.Ping(ctx)
}
