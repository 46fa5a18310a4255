package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgautotune/autotune/internal/load"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/internal/redact"
)

const (
	schemaRead  = "autotune_bench"       // searched and never added to
	schemaWrite = "autotune_bench_write" // made anew for each workload that writes

	// ourOwn connections are the bench's, the tuners' and those on their way out.
	ourOwn = 12

	// mostTuned is the ceiling of the tuned pools, which is their default.
	mostTuned = 200

	cleanUpPatience = 15 * time.Second
)

// benchSettings are those of the throwaway server: room for all pools at once,
// table and index in memory, and no checkpoint or autovacuum in the middle of
// one contender's slice.
var benchSettings = map[string]string{
	"max_connections":    "600",
	"shared_buffers":     "512MB",
	"max_wal_size":       "8GB",
	"checkpoint_timeout": "1h",
	"autovacuum":         "off",
}

// database is the server with its vectors.
type database struct {
	server *pgtest.Server // nil where the user named one
	dsn    string
	conn   *pgx.Conn
	seed   uint64

	read  *load.Dataset
	write *load.Dataset // of the present workload; nil if none

	info Server
	room int // connections that the contenders may share
}

func openDatabase(ctx context.Context, o *Options, tell func(string)) (_ *database, err error) {
	mixture, err := load.NewMixture(o.Dimensions, o.Seed)
	if err != nil {
		return nil, err
	}
	db := &database{dsn: o.DSN, seed: o.Seed}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.close())
		}
	}()
	if db.dsn == "" {
		tell("starting PostgreSQL")
		if db.server, err = pgtest.Start(ctx, pgtest.Options{Settings: benchSettings, Log: o.Log}); err != nil {
			return nil, err
		}
		db.dsn = db.server.DSN()
	}
	cfg, err := db.config("setup")
	if err != nil {
		return nil, err
	}
	if db.conn, err = pgx.ConnectConfig(ctx, cfg.ConnConfig); err != nil {
		return nil, fmt.Errorf("the database cannot be reached: %w", err)
	}
	if err := db.ask(ctx); err != nil {
		return nil, err
	}
	db.read = &load.Dataset{Schema: schemaRead, Mixture: mixture, Vectors: o.Vectors, Exact: exactRows, Counters: counterRows}
	return db, db.create(ctx, db.read, tell)
}

// config is a plain pool's configuration. The name tells the contenders apart in
// pg_stat_activity: a tuner counts as its own what bears its pool's name.
func (db *database) config(name string) (*pgxpool.Config, error) {
	cfg, err := redact.ParsePool(db.dsn)
	if err != nil {
		return nil, fmt.Errorf("the connection string cannot be used: %w", err)
	}
	cfg.ConnConfig.RuntimeParams["application_name"] = "autotune bench " + name
	return cfg, nil
}

// ask reads what the result says of the server, and how much room it has.
func (db *database) ask(ctx context.Context) error {
	var reserved, others string
	err := db.conn.QueryRow(ctx, `select current_setting('server_version'),
		coalesce((select extversion from pg_extension where extname = 'vector'), ''),
		current_setting('max_connections'), current_setting('shared_buffers'), current_setting('fsync'),
		(coalesce(current_setting('superuser_reserved_connections', true), '0')::int + coalesce(current_setting('reserved_connections', true), '0')::int)::text,
		(select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid())::text`).
		Scan(&db.info.Version, &db.info.Pgvector, &db.info.MaxConnections, &db.info.SharedBuffers, &db.info.Fsync, &reserved, &others)
	if err != nil {
		return fmt.Errorf("reading the server's settings: %w", err)
	}
	if db.info.Pgvector == "" {
		return fmt.Errorf("this database has no pgvector, which the vectors need: %s, or name no database for a throwaway PostgreSQL", load.VectorRemedy(ctx, db.conn))
	}
	db.info.Version, _, _ = strings.Cut(db.info.Version, " ") // without the packager's
	db.info.Throwaway = db.server != nil && db.server.Owned()
	db.info.Cores = runtime.NumCPU()
	most, _ := strconv.Atoi(db.info.MaxConnections)
	r, _ := strconv.Atoi(reserved)
	n, _ := strconv.Atoi(others)
	db.room = most - r - n - ourOwn
	return nil
}

func (db *database) create(ctx context.Context, d *load.Dataset, tell func(string)) error {
	return d.Create(ctx, db.conn, func(step string, done, total int64) {
		tell(fmt.Sprintf("%s %d of %d", step, done, total))
	})
}

// dataset is what a workload runs on: the shared one, or one made for it.
func (db *database) dataset(ctx context.Context, w workload, tell func(string)) (*load.Dataset, error) {
	if !w.writes {
		return db.read, nil
	}
	d := *db.read
	d.Schema = schemaWrite
	db.write = &d
	return db.write, db.create(ctx, db.write, tell)
}

// close drops what was made and stops the server. It takes no context, because
// that of the run may be over.
func (db *database) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanUpPatience)
	defer cancel()
	var err error
	if db.server == nil || !db.server.Owned() {
		err = db.drop(ctx)
	}
	if db.conn != nil {
		_ = db.conn.Close(ctx) // the server notices by itself where it fails
	}
	if db.server != nil {
		err = errors.Join(err, db.server.Stop())
	}
	return err
}

// drop uses a connection of its own: the other one may have been cut off in the
// middle of a statement.
func (db *database) drop(ctx context.Context) error {
	if db.read == nil {
		return nil
	}
	conn, err := pgx.ConnectConfig(ctx, db.conn.Config())
	if err == nil {
		err = db.read.Drop(ctx, conn)
		if db.write != nil {
			err = errors.Join(err, db.write.Drop(ctx, conn))
		}
		err = errors.Join(err, conn.Close(ctx))
	}
	if err != nil {
		return fmt.Errorf("the schemas %s and %s may be left in the database; the next run replaces them: %w", schemaRead, schemaWrite, err)
	}
	return nil
}
