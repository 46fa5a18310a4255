package autotune_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/await"
	"github.com/pgautotune/autotune/internal/pgtest"
	"go.uber.org/goleak"
)

// The tests of this package run against a real PostgreSQL, which package pgtest
// starts. They run one after the other: each checks that it leaves no goroutine
// behind, which it could not tell from those of another.

func TestMain(m *testing.M) { pgtest.Main(m, pgtest.Options{}) }

// patience bounds every wait of these tests: long enough for the race detector
// on a busy machine, short enough to fail within one coffee.
const patience = 20 * time.Second

// leakFree fails the test if a goroutine outlives it. It has to be called before
// anything is opened.
func leakFree(t testing.TB) {
	t.Helper()
	pgtest.Shared(t)
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// with adds a setting to a connection string in URL form.
func with(dsn, name, value string) string {
	sep := "?"
	if strings.Contains(dsn, "?") {
		sep = "&"
	}
	return dsn + sep + name + "=" + value
}

// open makes a pool of the given size whose controller is off unless change
// says otherwise. It is closed at the end.
func open(t testing.TB, dsn string, size int, change ...func(*autotune.Config)) *autotune.Pool {
	t.Helper()
	cfg, err := autotune.ParseConfig(with(dsn, "pool_max_conns", fmt.Sprint(size)))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Manual = true
	cfg.Logger = testLog(t)
	for _, f := range change {
		f(cfg)
	}
	p, err := autotune.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closes(t, p) })
	return p
}

// live switches the controller on, at its quickest.
func live(cfg *autotune.Config) { cfg.Manual, cfg.Interval = false, 100*time.Millisecond }

// closes closes a pool and fails, naming what is out, if that does not end.
func closes(t testing.TB, p *autotune.Pool) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); p.Close() }()
	select {
	case <-done:
	case <-time.After(patience):
		s := p.Snapshot()
		t.Fatalf("Close has not returned after %s: %d in use, %d queued, %d open", patience, s.InUse, s.Queued, s.Open)
	}
}

// testLog writes to the log of the test, and to nothing once that is over.
func testLog(t testing.TB) *slog.Logger {
	w := &logWriter{t: t}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.t = nil
	})
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

type logWriter struct {
	mu sync.Mutex
	t  testing.TB // guarded by mu
}

func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil {
		w.t.Log(strings.TrimSpace(string(line)))
	}
	return len(line), nil
}

// admin is a connection beside the pool, for looking at the server.
func admin(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), with(dsn, "application_name", "admin"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func mustExec(t testing.TB, on interface {
	Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
}, sql string, args ...any) {
	t.Helper()
	if _, err := on.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// backends counts the server's connections with an application_name.
func backends(t testing.TB, conn *pgx.Conn, app string) (n int) {
	t.Helper()
	if err := conn.QueryRow(context.Background(), "select count(*) from pg_stat_activity where application_name = $1", app).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually waits until wrong returns "", and fails with what it said last.
func eventually(t testing.TB, wrong func() string) {
	t.Helper()
	await.Until(t, patience, wrong)
}

// queues waits until n callers are queued at the pool.
func queues(t testing.TB, p *autotune.Pool, n int) {
	t.Helper()
	eventually(t, func() string {
		if s := p.Snapshot(); s.Queued != n {
			return fmt.Sprintf("%d callers queued instead of %d (%d in use)", s.Queued, n, s.InUse)
		}
		return ""
	})
}

// settles waits until nothing is in use.
func settles(t testing.TB, p *autotune.Pool) {
	t.Helper()
	eventually(t, func() string {
		if s := p.Snapshot(); s.InUse != 0 || s.Queued != 0 {
			return fmt.Sprintf("%d in use, %d queued", s.InUse, s.Queued)
		}
		return ""
	})
}

// settled checks that nothing is in use and that every arrival is accounted for.
func settled(t testing.TB, p *autotune.Pool) autotune.Snapshot {
	t.Helper()
	settles(t, p)
	s := p.Snapshot()
	if s.Arrivals != s.Completions+s.Canceled+s.Failed {
		t.Errorf("%d arrivals, but %d completions + %d canceled + %d failed", s.Arrivals, s.Completions, s.Canceled, s.Failed)
	}
	return s
}

// within returns a context that ends with the test or with patience.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
