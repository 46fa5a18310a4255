package autotune_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// The change from pgxpool is one line; everything else stays.
func Example() {
	ctx := context.Background()
	server, err := pgtest.Start(ctx, pgtest.Options{}) // yours is already running
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop()

	pool, err := autotune.New(ctx, server.DSN()) // was: pgxpool.New
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()

	var nearest int
	err = pool.QueryRow(ctx, `select id from (values (1, '[1,0]'::vector), (2, '[0,1]')) items (id, embedding)
		order by embedding <-> $1 limit 1`, "[0.1,0.9]").Scan(&nearest)
	fmt.Println(nearest, err)
	// Output: 2 <nil>
}

func ExampleNewWithConfig() {
	cfg, err := autotune.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg.Profile = autotune.ProfileVector
	cfg.Logger = slog.Default() // every decision, with its reason
	pool, err := autotune.NewWithConfig(context.Background(), cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
}

// A rotated password reaches the pool beneath its callers.
func ExamplePool_Reconfigure() {
	ctx := context.Background()
	pool, err := autotune.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	err = pool.Reconfigure(ctx, func(c *pgxpool.Config) error {
		c.ConnConfig.Password = os.Getenv("NEW_PASSWORD")
		return nil
	})
	fmt.Println(err)
}

func ExamplePool_Health() {
	ctx := context.Background()
	pool, err := autotune.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	if h := pool.Health(ctx); h.Status != autotune.Healthy {
		for _, reason := range h.Reasons {
			slog.Warn("pool", "status", h.Status, "reason", reason)
		}
	}
}
