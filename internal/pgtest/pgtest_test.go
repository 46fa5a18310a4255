//go:build unix

package pgtest

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestMain(m *testing.M) {
	if os.Getenv(ownerVariable) != "" {
		beOwner()
	}
	Main(m, Options{Log: os.Stderr})
}

// connect opens a connection that is closed when the test ends.
func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(t.Context()) })
	return conn
}

func one[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) (v T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func mustExec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestAServerAnswersAndHasPgvector(t *testing.T) {
	s := Shared(t)
	conn := connect(t, s.DSN())
	if v := one[string](t, conn, "SELECT extversion FROM pg_extension WHERE extname = 'vector'"); v == "" || !s.HasVector() {
		t.Errorf("extversion = %q, HasVector = %v", v, s.HasVector())
	}
	if d := one[float64](t, conn, "SELECT '[3,4]'::vector <-> '[0,0]'"); d != 5 {
		t.Errorf("distance = %v, want 5", d)
	}
	if v := one[string](t, conn, "SHOW server_version"); !strings.HasPrefix(v, s.Version()) || s.Version() == "" {
		t.Errorf("Version() = %q, the server says %q", s.Version(), v)
	}
	if s.Owned() != (os.Getenv(EnvDatabase) == "") {
		t.Errorf("Owned() = %v", s.Owned())
	}
}

func TestSettingsReachTheServer(t *testing.T) {
	s := New(t, Options{Settings: map[string]string{
		"max_connections":    "61",
		"search_path":        `"$user", public, it's`,
		"fsync":              "on",
		"autotune.backslash": `a\b`,
	}})
	conn := connect(t, s.DSN())
	for name, want := range map[string]string{
		"max_connections":    "61",                    // replaced default
		"shared_buffers":     "128MB",                 // default
		"jit":                "off",                   // default
		"autovacuum":         "on",                    // PostgreSQL's
		"search_path":        `"$user", public, it's`, // quoted
		"autotune.backslash": `a\b`,                   // escaped
		"fsync":              "on",                    // replaced default
		"listen_addresses":   "127.0.0.1",             // never to the outside
	} {
		if got := one[string](t, conn, "SELECT current_setting($1)", name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

func TestSettingsThatWouldBreakTheFileAreRefused(t *testing.T) {
	for _, settings := range []map[string]string{
		{"max connections": "1"}, {"": "1"}, {"a=b": "1"}, {"work_mem": "1MB\nfsync = off"},
	} {
		if conf, err := (Options{Settings: settings}).conf(); err == nil {
			t.Errorf("%q gave\n%s", settings, conf)
		}
	}
}

func TestASettingThatPostgreSQLRefusesIsQuotedFromItsLog(t *testing.T) {
	if os.Getenv(EnvDatabase) != "" {
		t.Skip("needs a server of its own")
	}
	s, err := Start(t.Context(), Options{Settings: map[string]string{"work_mem": "plenty"}})
	if err == nil {
		s.Stop()
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), `invalid value for parameter "work_mem": "plenty"`) {
		t.Errorf("the error does not say why:\n%v", err)
	}
}

func TestThePasswordIsChecked(t *testing.T) {
	s := New(t, Options{})
	config, err := pgx.ParseConfig(s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "127.0.0.1" || config.TLSConfig != nil {
		t.Errorf("host %q, TLS %v", config.Host, config.TLSConfig != nil)
	}
	config.Password += "x"
	_, err = pgx.ConnectConfig(t.Context(), config)
	if pgErr := new(pgconn.PgError); !errors.As(err, &pgErr) || pgErr.Code != "28P01" {
		t.Errorf("wrong password: %v, want SQLSTATE 28P01", err)
	}
	if other := New(t, Options{}); strings.Contains(other.DSN(), strings.TrimSuffix(config.Password, "x")) {
		t.Error("two servers have the same password")
	}
}

func TestWhatWasCommittedOutlivesKillAndRestart(t *testing.T) {
	s := New(t, Options{})
	conn := connect(t, s.DSN())
	mustExec(t, conn, "CREATE TABLE kept AS SELECT '[1,2,3]'::vector AS v")
	before := s.PID()

	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if alive(before) {
		t.Error("Kill returned and the postmaster lives")
	}
	if c, err := net.Dial("tcp", address(s.port)); err == nil {
		c.Close()
		t.Error("Kill returned and the port is open")
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a backend outlived Kill")
	}
	if err := s.Kill(); err != nil {
		t.Errorf("second Kill: %v", err)
	}

	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := connect(t, s.DSN()) // the same port and password
	if v := one[string](t, again, "SELECT v::text FROM kept"); v != "[1,2,3]" {
		t.Errorf("v = %q", v)
	}
	if s.PID() == before || !alive(s.PID()) {
		t.Errorf("PID() = %d, before %d", s.PID(), before)
	}

	// And the orderly kind, with a setting that needs it.
	mustExec(t, again, "ALTER SYSTEM SET max_connections = 33")
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := one[string](t, connect(t, s.DSN()), "SHOW max_connections"); v != "33" {
		t.Errorf("max_connections = %s", v)
	}
}

func TestStopLeavesNothingAndCanBeRepeated(t *testing.T) {
	for _, how := range []string{"running", "killed"} {
		t.Run(how, func(t *testing.T) {
			s := New(t, Options{})
			pid, segment := s.PID(), segmentOf(t, s)
			if how == "killed" {
				if err := s.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if err := s.Stop(); err != nil {
					t.Fatal(err)
				}
			}
			if left := leftovers(s.dir, []int{pid}, segment); left != "" {
				t.Error(left)
			}
			if err := s.Restart(t.Context()); err == nil {
				t.Error("Restart after Stop succeeded")
			}
		})
	}
}

func TestANewDatabaseIsEmptyHasVectorAndGoes(t *testing.T) {
	s := Shared(t)
	dsn, drop, err := s.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	inside := connect(t, dsn) // stays: drop has to disconnect it
	name := one[string](t, inside, "SELECT current_database()")
	mustExec(t, inside, "CREATE TABLE t (v vector(3))")
	outside := connect(t, s.DSN())
	if n := one[int](t, outside, "SELECT count(*) FROM pg_tables WHERE tablename = 't'"); n != 0 {
		t.Error("the table is in the other database too")
	}
	drop()
	if n := one[int](t, outside, "SELECT count(*) FROM pg_database WHERE datname = $1", name); n != 0 {
		t.Error("the database is still there")
	}
	if err := inside.Ping(t.Context()); err == nil {
		t.Error("its connection is still there")
	}
}

func TestDSNIsDroppedWithItsTest(t *testing.T) {
	var name string
	t.Run("inner", func(t *testing.T) { name = one[string](t, connect(t, DSN(t)), "SELECT current_database()") })
	if n := one[int](t, connect(t, Shared(t).DSN()), "SELECT count(*) FROM pg_database WHERE datname = $1", name); n != 0 {
		t.Errorf("%s is still there", name)
	}
}

func TestWithoutVectorThereIsNone(t *testing.T) {
	s := New(t, Options{WithoutVector: true})
	if n := one[int](t, connect(t, s.DSN()), "SELECT count(*) FROM pg_extension WHERE extname = 'vector'"); n != 0 || s.HasVector() {
		t.Errorf("%d extensions, HasVector = %v", n, s.HasVector())
	}
}

func TestAGivenServerIsUsedAndNotTouched(t *testing.T) {
	t.Setenv(EnvDatabase, Shared(t).DSN())
	s, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Owned() || s.PID() != 0 || !s.HasVector() || s.Version() != Shared(t).Version() || s.DSN() != Shared(t).DSN() {
		t.Errorf("%v %d %v %s", s.Owned(), s.PID(), s.HasVector(), s.Version())
	}
	if err := s.Kill(); !errors.Is(err, ErrNotOwned) {
		t.Errorf("Kill: %v", err)
	}
	if err := s.Restart(t.Context()); !errors.Is(err, ErrNotOwned) {
		t.Errorf("Restart: %v", err)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("Stop: %v", err)
	}
	dsn, drop, err := s.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer drop()
	connect(t, dsn)
	connect(t, s.DSN()) // still there after Stop
}

func TestAGivenServerThatIsNotThereIsNamedWithoutItsPassword(t *testing.T) {
	t.Setenv(EnvDatabase, "postgres://someone:hunter2@127.0.0.1:1/none?sslmode=disable")
	_, err := Start(t.Context(), Options{})
	if err == nil || !strings.Contains(err.Error(), EnvDatabase) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error: %v", err)
	}
}

func TestBothFormsOfConnectionStringTakeAnotherDatabase(t *testing.T) {
	for _, dsn := range []string{
		"postgres://u:p@h:1/a?sslmode=disable", "postgresql://u:p@h:1", "host=h port=1 user=u password=p dbname=a", "host=h port=1 user=u password=p",
	} {
		got, err := withDatabase(dsn, "b")
		if err != nil {
			t.Fatal(err)
		}
		config, err := pgx.ParseConfig(got)
		if err != nil || config.Database != "b" || config.Host != "h" || config.Port != 1 || config.User != "u" || config.Password != "p" {
			t.Errorf("%s → %s (%v)", dsn, got, err)
		}
	}
	if _, err := withDatabase("postgres://u:hunter2@h:port/", "b"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error: %v", err)
	}
}

func TestAWarmStartTakesLittleTime(t *testing.T) {
	New(t, Options{}) // the template is there from now on
	start := time.Now()
	New(t, Options{})
	took := time.Since(start)
	t.Logf("started in %v", took.Round(time.Millisecond))
	// 0.3 s on a quiet machine; what this catches is an initdb on each start (2–3 s).
	if took > 5*time.Second {
		t.Errorf("a warm start took %v", took)
	}
}

func TestKillWhileClientsConnectLeavesNoBackend(t *testing.T) {
	s := New(t, Options{})
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		connected := make(chan struct{}, 1)
		for range 16 {
			clients.Go(func() {
				for ctx.Err() == nil {
					if conn, err := pgx.Connect(ctx, s.DSN()); err == nil {
						select {
						case connected <- struct{}{}:
						default:
						}
						conn.Close(ctx)
					}
				}
			})
		}
		<-connected
		err := s.Kill()
		cancel()
		clients.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(t.Context()); err != nil { // fails if a backend is left
			t.Fatal(err)
		}
	}
	if v := one[int](t, connect(t, s.DSN()), "SELECT 1"); v != 1 {
		t.Errorf("SELECT 1 = %d", v)
	}
}
