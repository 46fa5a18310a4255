package main

import (
	"context"
	"io"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/load"
)

// subject is the pool that the load meets: tuned or fixed.
type subject interface {
	load.Pool
	gauge(pending int64) gauges
	Close()
}

// gauges is a pool at one instant, in connections and callers.
type gauges struct {
	inUse, queued, limit, max int
	swaps                     int64
}

// openSubject makes the pool. journal gets what the tuner sees and decides.
func (o *demoOptions) openSubject(ctx context.Context, db *demoDatabase, journal io.Writer, show *screen) (subject, error) {
	cfg, err := o.config(db.cfg.ConnString())
	if err != nil {
		return nil, err
	}
	if db.searchPath != "" {
		cfg.Pool.ConnConfig.RuntimeParams["search_path"] = db.searchPath
	}
	if o.fixed > 0 {
		cfg.Pool.MaxConns, cfg.Pool.MinConns = int32(o.fixed), 0
		p, err := pgxpool.NewWithConfig(ctx, cfg.Pool)
		return fixedPool{p}, err
	}
	cfg.Logger = o.logger(show)
	cfg.Journal = journal
	p, err := autotune.NewWithConfig(ctx, cfg)
	return tunedPool{p}, err
}

type tunedPool struct{ *autotune.Pool }

func (p tunedPool) gauge(int64) gauges {
	s := p.Snapshot()
	return gauges{inUse: s.InUse, queued: s.Queued, limit: s.Limit, max: s.Size.Max, swaps: s.Swaps}
}

type fixedPool struct{ *pgxpool.Pool }

// gauge takes the queued from the requests that are under way: pgxpool does not
// count them.
func (p fixedPool) gauge(pending int64) gauges {
	s := p.Stat()
	size, inUse := int(s.MaxConns()), int(s.AcquiredConns())
	return gauges{inUse: inUse, queued: max(0, int(pending)-inUse), limit: size, max: size}
}
