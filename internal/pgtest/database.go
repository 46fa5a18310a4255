package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// dropPatience bounds the drop of a database, which must not hang on a server
// that a test has killed.
const dropPatience = 10 * time.Second

// attach uses the server of AUTOTUNE_TEST_DATABASE.
func attach(ctx context.Context, dsn string, o Options) (*Server, error) {
	s := &Server{dsn: dsn}
	err := s.exec(ctx, dsn, func(conn *pgx.Conn) error {
		s.version, _, _ = strings.Cut(conn.PgConn().ParameterStatus("server_version"), " ")
		if o.WithoutVector {
			return nil
		}
		var err error
		s.vector, err = createVector(ctx, conn)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pgtest: the server of %s cannot be used: %w", EnvDatabase, err)
	}
	return s, nil
}

// NewDatabase creates an empty database, with the extension vector if
// [Server.HasVector], and returns its connection string. drop disconnects who is
// in it and removes it; it does nothing on a server that is gone.
func (s *Server) NewDatabase(ctx context.Context) (dsn string, drop func(), err error) {
	suffix, err := newPassword()
	if err != nil {
		return "", nil, err
	}
	name := "autotune_" + suffix[:16]
	if dsn, err = withDatabase(s.dsn, name); err != nil {
		return "", nil, err
	}
	if err := s.statement(ctx, "CREATE DATABASE "+name); err != nil {
		return "", nil, fmt.Errorf("pgtest: new database: %w", err)
	}
	drop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), dropPatience)
		defer cancel()
		// A server that is killed or stopped takes its databases along.
		_ = s.statement(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	}
	if s.HasVector() {
		err = s.exec(ctx, dsn, func(conn *pgx.Conn) error {
			_, err := createVector(ctx, conn)
			return err
		})
		if err != nil {
			drop()
			return "", nil, fmt.Errorf("pgtest: new database: %w", err)
		}
	}
	return dsn, drop, nil
}

// createVector creates the extension unless it is there, and returns its version.
func createVector(ctx context.Context, conn *pgx.Conn) (version string, err error) {
	if _, err := conn.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS vector"); err != nil {
		return "", fmt.Errorf("it has no pgvector, or its role may not create it: %w", err)
	}
	err = conn.QueryRow(ctx, "SELECT extversion FROM pg_extension WHERE extname = 'vector'").Scan(&version)
	return version, err
}

func (s *Server) statement(ctx context.Context, sql string) error {
	return s.exec(ctx, s.dsn, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql)
		return err
	})
}

// exec runs fn on a connection of its own, which has a name of its own too: the server
// shows it for a moment after it was closed, and who counts its sessions would count it.
func (s *Server) exec(ctx context.Context, dsn string, fn func(*pgx.Conn) error) error {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return err
	}
	cfg.RuntimeParams["application_name"] = "pgtest"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(fn(conn), conn.Close(ctx))
}

// withDatabase names another database in a connection string of either form.
func withDatabase(dsn, name string) (string, error) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return dsn + " dbname=" + name, nil // of a keyword given twice, the last counts
	}
	u, err := url.Parse(dsn)
	if err != nil { // its text has the password in it
		return "", errors.New("pgtest: " + EnvDatabase + " is not a connection string")
	}
	u.Path = "/" + name
	return u.String(), nil
}
