package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/load"
	"github.com/pgautotune/autotune/internal/pgtest"
)

const (
	demoSchema = "autotune_demo"

	// demoLock is the advisory lock of a running demo: "autotune" in ASCII.
	demoLock = 0x6175746f74756e65

	// cleanUpPatience bounds the clean-up, which must not hang on a database that
	// went away.
	cleanUpPatience = 15 * time.Second
)

// demoDatabase is the server of a demo with its vectors.
type demoDatabase struct {
	server *pgtest.Server // nil when the user named a database
	cfg    *pgx.ConnConfig
	conn   *pgx.Conn // holds the lock
	data   *load.Dataset
	made   bool // the schema is ours to drop

	version, pgvector string
	searchPath        string // needed to see pgvector; "" when the default does
	loadTime          time.Duration
}

// openDemoDatabase gets a server and loads the vectors. After an error nothing
// is left.
func openDemoDatabase(ctx context.Context, o *demoOptions, show *screen) (_ *demoDatabase, err error) {
	mixture, err := load.NewMixture(o.dimensions, o.seed)
	if err != nil {
		return nil, err
	}
	db := &demoDatabase{data: &load.Dataset{Schema: demoSchema, Mixture: mixture, Vectors: o.vectors}}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.close())
		}
	}()
	dsn := o.dsn
	if dsn == "" {
		if dsn, err = db.startServer(ctx, o, show); err != nil {
			return nil, err
		}
	}
	// Also tells what is wrong with the pool's settings before anything is loaded.
	cfg, err := o.config(dsn)
	if err == nil {
		err = cfg.Validate()
	}
	if err != nil {
		said := strings.NewReplacer("\n", "; ", "autotune: ", "", "Config.Start", "--start").Replace(err.Error())
		return nil, usagef("Try: autotune demo --help", "demo: %v", said)
	}
	db.cfg = cfg.Pool.ConnConfig
	// The tuner takes what has the pool's name for the pool's connections.
	db.cfg.RuntimeParams["application_name"] += " setup"
	if err := db.connect(ctx); err != nil {
		return nil, err
	}
	show.note("PostgreSQL %s with pgvector %s%s", db.version, db.pgvector, db.whose())
	return db, db.load(ctx, show)
}

func (db *demoDatabase) startServer(ctx context.Context, o *demoOptions, show *screen) (string, error) {
	show.draw("starting PostgreSQL …")
	var err error
	db.server, err = pgtest.Start(ctx, pgtest.Options{Log: show, Settings: map[string]string{
		// Room for the pool, this command's own connections and the reserved ones.
		"max_connections": strconv.Itoa(max(200, o.fixed+20, 2*o.start+20)),
		"shared_buffers":  "256MB", // table and index of 100,000 × 128-d vectors
	}})
	if err != nil {
		return "", err
	}
	return db.server.DSN(), nil
}

func (db *demoDatabase) whose() string {
	if db.server != nil && db.server.Owned() {
		return ", started for this demo"
	}
	return fmt.Sprintf(" in database %q on %s", db.cfg.Database, db.cfg.Host)
}

// connect checks that the database can be used, and claims it.
func (db *demoDatabase) connect(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, db.cfg)
	if err != nil {
		return unreachable(err)
	}
	db.conn = conn
	db.version, _, _ = strings.Cut(conn.PgConn().ParameterStatus("server_version"), " ")

	var schema string
	var visible bool
	err = conn.QueryRow(ctx, `select extversion, nspname, nspname = any(current_schemas(true))
		from pg_extension e join pg_namespace n on n.oid = e.extnamespace where extname = 'vector'`).Scan(&db.pgvector, &schema, &visible)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("database %q on %s has no pgvector, which the demo's vectors need: %s, or leave out --dsn for a throwaway PostgreSQL", db.cfg.Database, db.cfg.Host, load.VectorRemedy(ctx, conn))
	}
	if err != nil {
		return err
	}
	if !visible {
		db.searchPath = pgx.Identifier{schema}.Sanitize() + ", public"
		db.cfg.RuntimeParams["search_path"] = db.searchPath
		if _, err := conn.Exec(ctx, "set search_path = "+db.searchPath); err != nil {
			return err
		}
	}
	var free bool
	if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", int64(demoLock)).Scan(&free); err != nil {
		return err
	}
	if !free {
		return fmt.Errorf("another demo is running in database %q on %s: wait for its end, or use another database", db.cfg.Database, db.cfg.Host)
	}
	return nil
}

// load makes the schema.
func (db *demoDatabase) load(ctx context.Context, show *screen) error {
	start := time.Now()
	db.made = true // Drop leaves alone what is not ours
	err := db.data.Create(ctx, db.conn, func(step string, done, total int64) {
		show.draw(fmt.Sprintf("%s %s %s of %s", bar(float64(done)/float64(total), 24), step, thousands(done), thousands(total)))
	})
	if errors.Is(err, load.ErrForeignSchema) {
		db.made = false
		return fmt.Errorf("database %q on %s has a schema %s that this demo did not make; it is left alone: rename or drop it, or use another database", db.cfg.Database, db.cfg.Host, demoSchema)
	}
	if err != nil {
		return err
	}
	db.loadTime = time.Since(start)
	show.note("%s clustered vectors of %d dimensions loaded and indexed in %.1f s", thousands(int64(db.data.Vectors)), db.data.Mixture.Dimensions(), db.loadTime.Seconds())
	indexed, err := load.NewIndexSearch(db.data).UsesIndex(ctx, db.conn)
	if err == nil && !indexed {
		show.note("with so few vectors PostgreSQL scans the table and leaves the index alone; more --vectors change that")
	}
	return err
}

// close drops the schema and stops the server, whatever has happened. The
// context of the demo may be over, so it does not take it.
func (db *demoDatabase) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanUpPatience)
	defer cancel()
	var err error
	if throwaway := db.server != nil && db.server.Owned(); db.made && !throwaway {
		err = db.drop(ctx)
	}
	if db.conn != nil {
		_ = db.conn.Close(ctx) // the server notices by itself where it fails
	}
	if db.server != nil {
		err = errors.Join(err, db.server.Stop())
	}
	if err != nil {
		return leftBehind{err}
	}
	return nil
}

// drop uses a connection of its own: that of the demo is closed if it was
// interrupted in a statement.
func (db *demoDatabase) drop(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, db.cfg)
	if err == nil {
		err = errors.Join(db.data.Drop(ctx, conn), conn.Close(ctx))
	}
	if err != nil {
		return fmt.Errorf("the schema %s may be left in database %q on %s; the next demo there replaces it, or: DROP SCHEMA %s CASCADE (%w)", demoSchema, db.cfg.Database, db.cfg.Host, demoSchema, err)
	}
	return nil
}
