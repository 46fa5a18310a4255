package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/advice"
	vectors "github.com/pgautotune/autotune/internal/load"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/internal/survey"
)

const (
	rows       = 10_000 // random() in the scripts goes up to it
	dimensions = 64
	scale      = 20 // of pgbench: 2,000,000 accounts, 300 MB; what the scan reads
)

// bed is the servers under the loads.
type bed struct {
	large, small *pgtest.Server // small is started when it is needed
	pgbench      string
	folder       string
	database     string
}

func newBed(ctx context.Context) (_ *bed, err error) {
	b := &bed{}
	if b.pgbench, err = find("pgbench", "/usr/lib/postgresql/*/bin/pgbench"); err != nil {
		return nil, err
	}
	if b.folder, err = os.MkdirTemp("", "autotune-prove-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(b.folder, 0o755); err != nil { // PgBouncer runs as another user
		return nil, err
	}
	b.large, err = pgtest.Start(ctx, pgtest.Options{Log: os.Stderr, Settings: map[string]string{
		"max_connections": "320", "shared_buffers": "256MB", "autovacuum": "off", "max_wal_size": "4GB", "checkpoint_timeout": "1h"}})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.folder))
	}
	if err := b.fill(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// find looks for a program in PATH and where packages put it.
func find(name string, places ...string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, place := range places {
		if found, _ := filepath.Glob(place); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fmt.Errorf("%s is not installed; on Debian: apt-get install postgresql-contrib", name)
}

// fill makes the vectors, and the row that everybody updates.
func (b *bed) fill(ctx context.Context) error {
	cfg, err := pgx.ParseConfig(b.large.DSN())
	if err != nil {
		return err
	}
	b.database = cfg.Database
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	mixture, err := vectors.NewMixture(dimensions, 1)
	if err != nil {
		return err
	}
	d := vectors.Dataset{Schema: "autotune_prove", Mixture: mixture, Vectors: rows}
	if err := d.Create(ctx, conn, func(string, int64, int64) {}); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "create unique index on autotune_prove.items (id); analyze"); err != nil {
		return err
	}
	return b.initialise(ctx, b.large, 1)
}

func (b *bed) initialise(ctx context.Context, s *pgtest.Server, scale int) error {
	out, err := exec.CommandContext(ctx, b.pgbench, "-i", "-q", "-s", fmt.Sprint(scale), s.DSN()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgbench -i: %w: %s", err, out)
	}
	return nil
}

// server is the one that the load runs on.
func (b *bed) server(ctx context.Context, l load) (*pgtest.Server, error) {
	if !l.small {
		return b.large, nil
	}
	if b.small == nil {
		s, err := pgtest.Start(ctx, pgtest.Options{Log: os.Stderr, Settings: map[string]string{
			"max_connections": "320", "shared_buffers": "1MB", "autovacuum": "off", "max_wal_size": "4GB"}})
		if err != nil {
			return nil, err
		}
		b.small = s
		if err := b.initialise(ctx, s, scale); err != nil {
			return nil, err
		}
	}
	return b.small, nil
}

// look observes as the command does.
func (b *bed) look(ctx context.Context, l load, length time.Duration) (*advice.Recording, error) {
	s, err := b.server(ctx, l)
	if err != nil {
		return nil, err
	}
	cfg, err := pgx.ParseConfig(s.DSN())
	if err != nil {
		return nil, err
	}
	surveyor, err := survey.Open(ctx, survey.Config{ConnConfig: cfg})
	if err != nil {
		return nil, err
	}
	rec := surveyor.Known
	// What happens before all clients are there is not the load.
	if err := b.wait(ctx, surveyor, l); err != nil {
		return nil, errors.Join(err, surveyor.Close())
	}
	bounded, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	surveyor.Watch(bounded, func(sample advice.Sample) bool {
		rec.Samples = append(rec.Samples, sample)
		return true
	})
	return &rec, surveyor.Close()
}

// wait returns when all clients are connected.
func (b *bed) wait(ctx context.Context, surveyor *survey.Surveyor, l load) error {
	wanted := 0
	for _, sc := range l.scripts {
		wanted += sc.clients
	}
	bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	open := 0
	surveyor.Watch(bounded, func(sample advice.Sample) bool {
		open = 0
		for _, g := range sample.Groups {
			if g.Kind == "client" {
				open += g.Backends
			}
		}
		return open < wanted
	})
	if open < wanted {
		return fmt.Errorf("only %d of %d clients came", open, wanted)
	}
	return ctx.Err()
}

func (b *bed) close() {
	for _, s := range []*pgtest.Server{b.large, b.small} {
		if s != nil {
			if err := s.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, "prove:", err)
			}
		}
	}
	if err := os.RemoveAll(b.folder); err != nil {
		fmt.Fprintln(os.Stderr, "prove:", err)
	}
}
