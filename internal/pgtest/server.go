package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// superuser is the role in [Server.DSN] of a server of our own.
const superuser = "postgres"

// ErrNotOwned is returned by [Server.Kill] and [Server.Restart] for the server of
// AUTOTUNE_TEST_DATABASE, which is somebody else's.
var ErrNotOwned = errors.New("pgtest: the server of " + EnvDatabase + " is not ours to stop; unset it to run on a throwaway one")

// stopPatience is how long a fast shutdown may take before the guard ends the
// server by force, and how long a killed one may take to be gone.
const stopPatience = 10 * time.Second

// portAttempts is how many ports are tried that others take first.
const portAttempts = 10

// Server is a running PostgreSQL. Its methods are safe for concurrent use; Stop,
// Kill and Restart wait for one another.
type Server struct {
	dsn     string
	version string
	vector  string // version of pgvector its databases come with, "" for none

	// The rest is for a server of our own.
	in   install
	who  account
	dir  string // on the machine: data directory, log
	data string // dir/data
	port int
	pid  atomic.Int64

	mu      sync.Mutex
	guard   *guard      // nil when not ours, and once stopped
	running *postmaster // nil while killed or stopped
}

// launch starts a server with the programs of in.
func launch(ctx context.Context, in install, o Options) (*Server, error) {
	conf, err := o.conf()
	if err != nil {
		return nil, err
	}
	who, err := serverAccount(in)
	if err != nil {
		return nil, err
	}
	s := &Server{in: in, who: who}
	if !o.WithoutVector {
		s.vector = in.vector
	}
	if err := s.makeFolder(); err != nil {
		return nil, err
	}
	if err := s.firstStart(ctx, o, conf); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// firstStart fills the folder of the server and boots it on a free port.
func (s *Server) firstStart(ctx context.Context, o Options, conf string) error {
	initial, err := s.fill(ctx, o)
	if err != nil {
		return err
	}
	if err := appendTo(filepath.Join(s.data, "postgresql.conf"), conf); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	// Between finding a free port and listening on it, another may take it.
	for attempt := 1; s.running == nil; attempt++ {
		if s.port, err = freePort(); err != nil {
			return err
		}
		pm, err := s.boot(ctx, s.port)
		if err != nil && (attempt == portAttempts || !errors.Is(err, errPortTaken)) {
			return err
		}
		s.setRunning(pm)
	}
	return s.setPassword(ctx, initial)
}

// makeFolder makes the folder of the server below its guard. It has to be one
// that the server's account can reach, and for a chroot inside of it.
func (s *Server) makeFolder() error {
	places := []string{filepath.Join(s.in.root, "var/tmp")}
	if s.in.root == "" {
		places = []string{os.TempDir(), "/tmp", "/var/tmp"}
	}
	name, err := newPassword()
	if err != nil {
		return err
	}
	for _, place := range places {
		if place, err = filepath.EvalSymlinks(place); err != nil {
			continue
		}
		if s.who.change && s.in.root == "" && !openToAll(place) {
			continue
		}
		s.dir = filepath.Join(place, "autotune-pg-"+name[:12])
		s.data = filepath.Join(s.dir, "data")
		if s.guard, err = setGuard(s.dir, s.data); err != nil {
			return err
		}
		if err = os.Mkdir(s.dir, 0o700); err == nil {
			err = s.who.own(s.dir)
		}
		if err == nil {
			return nil
		}
		err = errors.Join(err, s.Stop())
	}
	return fmt.Errorf("pgtest: no temporary folder for a data directory (looked at %s): %w", strings.Join(places, ", "), err)
}

// openToAll tells whether any account can pass through path and all above it.
func openToAll(path string) bool {
	for {
		info, err := os.Stat(path)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if path == filepath.Dir(path) {
			return true
		}
		path = filepath.Dir(path)
	}
}

// setPassword replaces the password of the template by one of the server's own.
func (s *Server) setPassword(ctx context.Context, initial string) error {
	password, err := newPassword()
	if err != nil {
		return err
	}
	s.dsn = s.dsnWith(initial)
	err = s.exec(ctx, s.dsn, func(conn *pgx.Conn) error {
		s.version, _, _ = strings.Cut(conn.PgConn().ParameterStatus("server_version"), " ")
		_, err := conn.Exec(ctx, "ALTER ROLE "+superuser+" PASSWORD '"+password+"'") // hexadecimal
		return err
	})
	s.dsn = s.dsnWith(password)
	if err != nil {
		return fmt.Errorf("pgtest: first connection to the new server: %w", err)
	}
	return nil
}

func (s *Server) dsnWith(password string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(superuser, password), Host: address(s.port), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// DSN returns the connection string of the database autotune_test, which has the
// extension vector (see [Server.HasVector]), as superuser; on
// AUTOTUNE_TEST_DATABASE, that string. It stays the same over Restart.
func (s *Server) DSN() string { return s.dsn }

// Version returns the version of PostgreSQL, e.g. "17.5".
func (s *Server) Version() string { return s.version }

// HasVector tells whether the databases of DSN and NewDatabase have the extension
// vector. It is true unless the server was started WithoutVector.
func (s *Server) HasVector() bool { return s.vector != "" }

// Owned tells whether this is a throwaway server, which may be killed; it is
// false for that of AUTOTUNE_TEST_DATABASE.
func (s *Server) Owned() bool { return s.in.bin != "" }

// PID returns the process id of the postmaster, which changes with Restart. It is
// 0 for a server that is not ours.
func (s *Server) PID() int { return int(s.pid.Load()) }

// Kill ends the postmaster and every backend with SIGKILL, and returns when they
// are gone and the port is closed. What was committed is there after [Server.Restart].
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Owned() {
		return ErrNotOwned
	}
	if s.running == nil {
		return nil
	}
	pids, err := crash(s.running.pid, s.data)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	if err := wait(ctx, s.running); err != nil {
		return err
	}
	s.running = nil
	return s.waitClosed(ctx, pids)
}

// Restart starts the server again on the same port and data, after Kill with
// crash recovery, else after a fast shutdown. It returns when connections are
// accepted.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Owned() {
		return ErrNotOwned
	}
	if s.guard == nil {
		return errors.New("pgtest: the server has been stopped, its data is gone")
	}
	if err := s.shutDown(ctx); err != nil {
		return err
	}
	pm, err := s.boot(ctx, s.port)
	if err != nil {
		return fmt.Errorf("%w (restart on port %d)", err, s.port)
	}
	s.setRunning(pm)
	return nil
}

// Stop shuts the server down, disconnecting its clients, and removes its data. A
// second call, or one for a server that is not ours, does nothing.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guard == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	_ = s.shutDown(ctx) // one that does not end is ended by the guard
	s.running = nil
	err := s.guard.release()
	s.guard = nil
	return err
}

// shutDown asks the postmaster to end and waits for it. The caller holds mu.
func (s *Server) shutDown(ctx context.Context) error {
	if s.running == nil {
		return nil
	}
	if err := askToStop(s.running.pid); err != nil {
		return err
	}
	if err := wait(ctx, s.running); err != nil {
		return err
	}
	s.running = nil
	return nil
}

// setRunning records a new run; nil, after a failed one, changes nothing.
func (s *Server) setRunning(pm *postmaster) {
	if pm != nil {
		s.running = pm
		s.pid.Store(int64(pm.pid))
	}
}

func wait(ctx context.Context, pm *postmaster) error {
	select {
	case <-pm.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("pgtest: the server (process %d) does not end: %w", pm.pid, ctx.Err())
	}
}

// inside is a path below dir as the server sees it, inside its root.
func (s *Server) inside(name string) string {
	return filepath.Join("/", strings.TrimPrefix(filepath.Join(s.dir, name), s.in.root))
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func (s *Server) logPath() string { return filepath.Join(s.dir, "log") }
