package pgstat

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m, pgtest.Options{}) }

// patience bounds what happens at once on an idle machine.
const patience = 30 * time.Second

// parsed is a connection config for dsn, changed by with.
func parsed(t testing.TB, dsn string, with ...func(*pgx.ConnConfig)) *pgx.ConnConfig {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range with {
		f(cfg)
	}
	return cfg
}

func as(user, password string) func(*pgx.ConnConfig) {
	return func(cfg *pgx.ConnConfig) { cfg.User, cfg.Password = user, password }
}

func named(application string) func(*pgx.ConnConfig) {
	return func(cfg *pgx.ConnConfig) { cfg.RuntimeParams["application_name"] = application }
}

// through makes cfg connect to address, whatever its host says.
func through(address string) func(*pgx.ConnConfig) {
	return func(cfg *pgx.ConnConfig) {
		cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
}

func dial(t testing.TB, cfg *pgx.ConnConfig) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// occupy runs sql, which does not end by itself, until the test ends.
func occupy(t testing.TB, cfg *pgx.ConnConfig, sql ...string) {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, s := range sql {
			_, _ = conn.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		<-conn.PgConn().CleanupDone()
	})
}

func open(t testing.TB, cfg Config) *Reader {
	t.Helper()
	r := Open(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// readUntil reads until the activity is as wanted.
func readUntil(t testing.TB, r *Reader, wanted func(Activity) bool) Activity {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		a, err := r.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if wanted(a) {
			return a
		}
		if ctx.Err() != nil {
			t.Fatalf("never as wanted, last: %+v", a)
		}
	}
}

var roles atomic.Int64

const rolePassword = "s3cret-of-the-role"

// newRole makes a role that may log in and nothing else, until the test ends.
func newRole(t testing.TB, admin *pgx.Conn) string {
	t.Helper()
	role := fmt.Sprintf("pgstat_%d_%d", admin.PgConn().PID(), roles.Add(1))
	run(t, admin, "create role "+role+" login password '"+rolePassword+"'")
	cleanup := admin.Config().Copy()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := pgx.ConnectConfig(ctx, cleanup)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, "drop owned by "+role+"; drop role "+role, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Error(err)
		}
	})
	return role
}

// middleman stands between client and server, as a pooler does: it tells the
// client another backend pid than the server's. It can hang, too.
type middleman struct {
	address string
	hang    atomic.Bool // while set, answers of the server are kept back
	resume  chan struct{}
	once    sync.Once
}

// between starts a middleman in front of the server of cfg.
func between(t testing.TB, cfg *pgx.ConnConfig, changePID bool) *middleman {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &middleman{address: listener.Addr().String(), resume: make(chan struct{})}
	server := net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port))
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer client.Close()
				backend, err := net.Dial("tcp", server)
				if err != nil {
					return
				}
				defer backend.Close()
				m.carry(client, backend, changePID)
			})
		}
	})
	t.Cleanup(func() {
		m.letGo()
		_ = listener.Close()
		all.Wait()
	})
	return m
}

func (m *middleman) letGo() {
	m.hang.Store(false)
	m.once.Do(func() { close(m.resume) })
}

// carry moves bytes up as they are, and messages down one by one.
func (m *middleman) carry(client, backend net.Conn, changePID bool) {
	up := make(chan struct{})
	go func() {
		defer close(up)
		buf := make([]byte, 4096)
		for {
			n, err := client.Read(buf)
			if err == nil {
				_, err = backend.Write(buf[:n])
			}
			if err != nil {
				_ = backend.Close()
				return
			}
		}
	}()
	defer func() { _ = client.Close(); <-up }()
	fromServer := pgproto3.NewFrontend(backend, nil)
	for {
		msg, err := fromServer.Receive()
		if err != nil {
			return
		}
		if m.hang.Load() {
			<-m.resume
		}
		if key, ok := msg.(*pgproto3.BackendKeyData); ok && changePID {
			key.ProcessID ^= 1 << 20
		}
		out, err := msg.Encode(nil)
		if err == nil {
			_, err = client.Write(out)
		}
		if err != nil {
			return
		}
	}
}

func missing(f Facts, words ...string) bool {
	for _, sentence := range f.Missing {
		all := true
		for _, w := range words {
			all = all && strings.Contains(sentence, w)
		}
		if all {
			return true
		}
	}
	return false
}
