package autotune

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// OpenDB makes a *sql.DB whose connections come from p, as
// [stdlib.OpenDBFromPool] does for a pgxpool.Pool. It keeps no idle connections
// of its own, so that the pool's limit holds for it too. Closing it does not
// close p.
func OpenDB(p *Pool, opts ...stdlib.OptionOpenDB) *sql.DB {
	db := sql.OpenDB(connector{pool: p, opts: opts})
	db.SetMaxIdleConns(0)
	return db
}

type connector struct {
	pool *Pool
	opts []stdlib.OptionOpenDB
}

func (c connector) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

// Connect takes a permit and lets stdlib acquire from the current generation;
// the permit comes back through the tracer when database/sql closes the
// connection.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	t := c.pool.acquireTracer()
	if t == nil {
		return c.connect(ctx)
	}
	var conn driver.Conn
	err := c.pool.traced(ctx, t, func(ctx context.Context) (raw *pgx.Conn, err error) {
		if conn, err = c.connect(ctx); err == nil {
			raw = conn.(*stdlib.Conn).Conn()
		}
		return raw, err
	})
	return conn, err
}

func (c connector) connect(ctx context.Context) (driver.Conn, error) {
	p, parent := c.pool, ctx
	if p.cfg.AcquireTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.cfg.AcquireTimeout, ErrAcquireTimeout)
		defer cancel()
	}
	waited, err := p.gate.acquire(ctx)
	if err != nil {
		return nil, p.timedOut(parent, ctx, err)
	}
	var conn driver.Conn
	acquire := func(ctx context.Context, gen *generation) (err error) {
		conn, err = stdlib.GetPoolConnector(gen.pool, c.opts...).Connect(ctx)
		return err
	}
	ended := false
	defer p.unlessEnded(&ended)
	gen := p.enter()
	err = gen.use(func(gen *generation) error { return acquire(ctx, gen) })
	if err != nil {
		err = p.connectAgain(ctx, gen, err, acquire)
	}
	ended = true
	if err != nil {
		p.notConnected(ctx)
		return nil, p.timedOut(parent, ctx, err)
	}
	s := socketOf(conn.(*stdlib.Conn).Conn())
	s.hold()
	s.waited = waited
	return conn, nil
}
