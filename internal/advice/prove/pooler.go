package main

import (
	"context"

	"github.com/pgautotune/autotune/internal/pooltest"
)

// pooled is a PgBouncer of the size that is tried.
type pooled struct{ *pooltest.Pooler }

func (b *bed) pooler(ctx context.Context, size int) (pooled, error) {
	p, err := pooltest.Start(ctx, b.large.DSN(), size, "")
	return pooled{p}, err
}

func (p pooled) connString(application string) (string, error) { return p.DSN(application), nil }

func (p pooled) stop() error { return p.Stop() }
