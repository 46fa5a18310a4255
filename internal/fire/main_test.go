package fire

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/await"
	"github.com/pgautotune/autotune/internal/pgtest"
	"go.uber.org/goleak"
)

// full tells whether the suites run at their full length.
var full = os.Getenv("AUTOTUNE_FIRE") == "full"

// plain asks for a PostgreSQL without pgvector.
var plain = os.Getenv("AUTOTUNE_FIRE_PG") == "plain"

// patience bounds every wait: long enough for a machine that does three other
// things, the race detector and a crash recovery.
const patience = 60 * time.Second

// modelPatience bounds those of the model, whose every failure rapid tries again
// up to a hundred times to find a shorter one.
const modelPatience = 5 * time.Second

func TestMain(m *testing.M) {
	if child := os.Getenv(childVariable); child != "" {
		os.Exit(childMain(child))
	}
	code := m.Run()
	shared.once.Do(func() {})
	if shared.server != nil {
		if err := shared.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	figures.print(os.Stdout)
	os.Exit(code)
}

// shared is the server of the tests that do it no lasting harm.
var shared struct {
	once   sync.Once
	server *pgtest.Server
	err    error
}

// ours is a server for this test alone, to be killed or to have settings of its
// own; common is the one of all.
func ours(t testing.TB, settings map[string]string) *pgtest.Server {
	t.Helper()
	return pgtest.New(t, pgtest.Options{Settings: settings, WithoutVector: plain})
}

func common(t testing.TB) *pgtest.Server {
	t.Helper()
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
		defer cancel()
		shared.server, shared.err = pgtest.Start(ctx, pgtest.Options{WithoutVector: plain})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	figures.version(shared.server.Version())
	return shared.server
}

// database is a fresh one on the common server.
func database(t testing.TB) string {
	t.Helper()
	return databaseOn(t, common(t))
}

func databaseOn(t testing.TB, s *pgtest.Server) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dsn, drop, err := s.NewDatabase(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(drop)
	return dsn
}

// long marks a test that go test leaves out by default.
func long(t testing.TB, target string) {
	t.Helper()
	if os.Getenv("AUTOTUNE_FIRE") == "" {
		t.Skipf("takes long: make %s runs it", target)
	}
}

// vectors marks a test that needs pgvector.
func vectors(t testing.TB) {
	t.Helper()
	if !common(t).HasVector() {
		t.Skip("this PostgreSQL has no pgvector: the line is proved on the one that has")
	}
}

// pick is the full or the short one of two values.
func pick[T any](long, short T) T {
	if full {
		return long
	}
	return short
}

// with adds settings, name and value in turn, to a connection string in URL form.
func with(t testing.TB, dsn string, settings ...string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal("the connection string is not a URL")
	}
	q := u.Query()
	for i := 0; i < len(settings); i += 2 {
		q.Set(settings[i], settings[i+1])
	}
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // a connection string is no form
	return u.String()
}

// at is a connection string with another address, that of a proxy.
func at(t testing.TB, dsn, hostport string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal("the connection string is not a URL")
	}
	u.Host = hostport
	return u.String()
}

// hostport is the address in a connection string.
func hostport(t testing.TB, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal("the connection string is not a URL")
	}
	return u.Host
}

// open makes a pool with the controller on, at its quickest, and closes it at
// the end.
func open(t testing.TB, dsn string, size int, change ...func(*autotune.Config)) *autotune.Pool {
	t.Helper()
	cfg, err := autotune.ParseConfig(with(t, dsn, "pool_max_conns", strconv.Itoa(size)))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Interval = 100 * time.Millisecond
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

// leakFree fails the test if a goroutine outlives it. Call it before anything is
// opened.
func leakFree(t testing.TB) {
	t.Helper()
	common(t)
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		// toxiproxy itself leaves links behind when a timeout is taken out.
		goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*NoopToxic).Pipe"),
			goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"))
	})
}

// admin is a connection beside the pool.
func admin(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), with(t, dsn, "application_name", "admin"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func do(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func count(t testing.TB, conn *pgx.Conn, sql string, args ...any) (n int64) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// cheapRole makes a superuser whose password costs next to nothing to check, and
// returns the connection string for it: with 4,096 rounds, and the race detector in
// each, a test that connects ten thousand times would measure SHA-256.
func cheapRole(t testing.TB, boss *pgx.Conn, dsn string) string {
	t.Helper()
	name, password := "r"+strings.ToLower(rand.Text()), rand.Text()
	do(t, boss, "create role "+name+" login superuser password '"+verifier(t, password)+"'")
	t.Cleanup(func() {
		ctx := context.Background()
		if conn, err := pgx.Connect(ctx, common(t).DSN()); err == nil {
			_, _ = conn.Exec(ctx, "drop role "+name)
			_ = conn.Close(ctx)
		}
	})
	return as(t, dsn, name, password)
}

// verifier is what PostgreSQL keeps of a password (RFC 5803), with a single round.
func verifier(t testing.TB, password string) string {
	t.Helper()
	salt := []byte(rand.Text()[:16])
	salted, err := pbkdf2.Key(sha256.New, password, salt, 1, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	key := func(of string) []byte {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(of))
		return mac.Sum(nil)
	}
	stored := sha256.Sum256(key("Client Key"))
	base := base64.StdEncoding
	return "SCRAM-SHA-256$1:" + base.EncodeToString(salt) + "$" + base.EncodeToString(stored[:]) + ":" + base.EncodeToString(key("Server Key"))
}

// as is a connection string with another user.
func as(t testing.TB, dsn, user, password string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal("the connection string is not a URL")
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

// eventually waits until wrong returns "", and fails with what it said last.
func eventually(t testing.TB, wrong func() string) {
	t.Helper()
	await.Until(t, patience, wrong)
}

// goes lets the load go on for so long: a fault has to last.
func goes(t testing.TB, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal("cut off")
	}
}

// logTo writes a pool's log to w.
func logTo(w io.Writer) func(*autotune.Config) {
	return func(c *autotune.Config) {
		c.Logger = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
}

// buffer is written to by several goroutines.
type buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
