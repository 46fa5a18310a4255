package pgstat

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestAKilledServerIsAnErrorAndARestartedOneIsReadAgain(t *testing.T) {
	srv := pgtest.New(t, pgtest.Options{})
	const timeout = 2 * time.Second
	r := open(t, Config{ConnConfig: parsed(t, srv.DSN()), Timeout: timeout})
	if _, err := r.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		begin := time.Now()
		if a, err := r.Read(t.Context()); err == nil {
			t.Fatalf("read %+v from a dead server", a)
		}
		if took := time.Since(begin); took > timeout+time.Second {
			t.Fatalf("the error took %v, the timeout is %v", took, timeout)
		}
	}
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context()); err != nil {
		t.Fatalf("the server is back, but: %v", err)
	}
}

func TestAHangingServerCostsOneTimeout(t *testing.T) {
	dsn := pgtest.DSN(t)
	man := between(t, parsed(t, dsn), false)
	const timeout = 300 * time.Millisecond
	r := open(t, Config{ConnConfig: parsed(t, dsn, through(man.address)), Timeout: timeout, FactsTimeout: timeout})
	readUntil(t, r, func(Activity) bool { return true })

	man.hang.Store(true)
	looks := map[string]func(context.Context) error{
		"Read":        func(ctx context.Context) error { _, err := r.Read(ctx); return err },
		"Facts":       func(ctx context.Context) error { _, err := r.Facts(ctx); return err },
		"CheckVector": r.CheckVector,
	}
	var all sync.WaitGroup
	for name, look := range looks { // at once: waiting for one's turn is bounded too
		all.Go(func() {
			begin := time.Now()
			err := look(t.Context())
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 300ms") {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(begin); took > timeout+2*time.Second {
				t.Errorf("%s took %v, the timeout is %v", name, took, timeout)
			}
		})
	}
	all.Wait()

	// The connection in the dark is gone before a new one is made.
	man.letGo()
	deadline := time.Now().Add(patience)
	for _, err := r.Read(t.Context()); err != nil; _, err = r.Read(t.Context()) {
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	count := dial(t, parsed(t, dsn))
	var readers int
	err := count.QueryRow(t.Context(), "select count(*) from pg_stat_activity where datname = current_database() and application_name = $1", ApplicationName).Scan(&readers)
	if err != nil || readers != 1 {
		t.Errorf("%d connections of the reader (%v), want 1", readers, err)
	}
}

// Who closes does not wait longer than it wants to; the read that it did not wait for
// leaves nothing open.
func TestAReadThatIsUnderWayEndsTheConnectionForClose(t *testing.T) {
	r := open(t, Config{ConnConfig: parsed(t, pgtest.DSN(t))})
	if _, err := r.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, short := r.conn, canceledNow(t)
	if err := r.Close(short); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	r.give()
	if !conn.IsClosed() {
		t.Error("the connection is still open")
	}
	if _, err := r.Read(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func canceledNow(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestTheCallersContextEndsARead(t *testing.T) {
	r := open(t, Config{ConnConfig: parsed(t, pgtest.DSN(t))})
	if _, err := r.Read(canceledNow(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("want canceled, got %v", err)
	}
	if _, err := r.Read(t.Context()); err != nil {
		t.Errorf("the next read failed: %v", err)
	}
}

func TestNothingOfThePoolIsCalledAndNothingIsLeftBehind(t *testing.T) {
	dsn := pgtest.DSN(t)
	admin := dial(t, parsed(t, dsn))
	before := goleak.IgnoreCurrent()
	cfg := parsed(t, dsn, named("shop"))
	cfg.AfterConnect = func(context.Context, *pgconn.PgConn) error {
		t.Error("AfterConnect of the pool was called")
		return nil
	}
	cfg.Tracer = failTracer{t}
	dials := 0
	plain := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return plain(ctx, network, address)
	}
	renewed := 0
	r := Open(Config{ConnConfig: cfg, BeforeConnect: func(context.Context, *pgx.ConnConfig) error { renewed++; return nil }})
	if dials != 0 {
		t.Error("Open connected")
	}
	cfg.User = "changed after Open" // the reader has its own copy
	for range 20 {
		if _, err := r.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Facts(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if dials != 1 || renewed != 1 {
		t.Errorf("%d dials and %d calls of BeforeConnect, want one each", dials, renewed)
	}
	for range 2 {
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Read(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	goleak.VerifyNone(t, before)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for n := 1; n > 0; { // the server notices a moment later
		err := admin.QueryRow(ctx, "select count(*) from pg_stat_activity where datname = current_database() and application_name = $1", ApplicationName).Scan(&n)
		if err != nil {
			t.Fatalf("the reader's backend is still there: %v", err)
		}
	}
}

type failTracer struct{ t *testing.T }

func (f failTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	f.t.Error("the pool's tracer was called")
	return ctx
}
func (f failTracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestPasswordsStayOutOfErrors(t *testing.T) {
	dsn := pgtest.DSN(t)
	const secret = "tops3cret"
	for name, change := range map[string]func(*pgx.ConnConfig){
		"wrong password":    func(cfg *pgx.ConnConfig) { cfg.User = "nobody" },
		"no such database":  func(cfg *pgx.ConnConfig) { cfg.Database = "nowhere" },
		"nobody listens":    func(cfg *pgx.ConnConfig) { cfg.Port = 1 },
		"the hook gives up": func(cfg *pgx.ConnConfig) {},
	} {
		cfg := parsed(t, dsn, func(cfg *pgx.ConnConfig) { cfg.Password = secret }, change)
		r := open(t, Config{ConnConfig: cfg, BeforeConnect: func(context.Context, *pgx.ConnConfig) error {
			if name == "the hook gives up" {
				return errors.New("no token")
			}
			return nil
		}})
		for _, look := range []func() error{
			func() error { _, err := r.Read(t.Context()); return err },
			func() error { _, err := r.Facts(t.Context()); return err },
			func() error { return r.CheckVector(t.Context()) },
		} {
			err := look()
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Behind a pooler the session belongs to others as well: nothing may stay.
func TestBehindAPoolerNoSessionStateIsLeft(t *testing.T) {
	dsn := pgtest.DSN(t)
	state := func(conn *pgx.Conn) (s [5]string) {
		err := conn.QueryRow(t.Context(), `select current_setting('search_path'), current_setting('statement_timeout'),
			current_setting('default_transaction_read_only'), current_setting('application_name'),
			(select count(*)::text from pg_prepared_statements)`, pgx.QueryExecModeExec).Scan(&s[0], &s[1], &s[2], &s[3], &s[4])
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
		cfg := parsed(t, dsn, named("shop"), func(cfg *pgx.ConnConfig) { cfg.DefaultQueryExecMode = mode })
		through(between(t, cfg, true).address)(cfg)
		r := open(t, Config{ConnConfig: cfg, FactsTimeout: patience})
		if _, err := r.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !r.pooled {
			t.Fatal("the pooler was not noticed")
		}
		fresh := state(r.conn)
		if _, err := r.Facts(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.CheckVector(t.Context()); err != nil {
			t.Fatal(err)
		}
		// A refused statement leaves nothing either, and the connection works on.
		err := r.query(t.Context(), "select 1/0", nil, func(pgx.Rows) error { return nil })
		if _, ok := refused(err); !ok {
			t.Errorf("a division by zero: %v", err)
		}
		err = r.query(t.Context(), "create table proof (i int)", nil, func(pgx.Rows) error { return nil })
		if answer, ok := refused(err); !ok || answer.Code != "25006" {
			t.Errorf("writing must be refused as read-only, got %v", err)
		}
		if got := state(r.conn); got != fresh {
			t.Errorf("%v: the session changed from %v to %v", mode, fresh, got)
		}
		if want := dial(t, parsed(t, dsn)); fresh[0] != state(want)[0] || fresh[2] != "off" || fresh[4] != "0" {
			t.Errorf("%v: the session differs from a fresh one: %v", mode, fresh)
		}
		if _, err := r.Read(t.Context()); err != nil {
			t.Errorf("after a refused statement: %v", err)
		}
	}
}

func TestADirectSessionIsReadOnlyAndBounded(t *testing.T) {
	r := open(t, Config{ConnConfig: parsed(t, pgtest.DSN(t)), Timeout: time.Second, FactsTimeout: time.Second})
	if _, err := r.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	ignore := func(pgx.Rows) error { return nil }
	err := r.query(t.Context(), "create table proof (i int)", nil, ignore)
	if answer, ok := refused(err); !ok || answer.Code != "25006" {
		t.Errorf("writing must be refused as read-only, got %v", err)
	}
	err = r.query(t.Context(), "select pg_sleep(600)", nil, ignore) // no context bounds it
	if answer, ok := refused(err); !ok || answer.Code != queryCanceled {
		t.Errorf("the server must end it by itself, got %v", err)
	}
}

// Somebody put look-alikes of everything in front of pg_catalog.
func TestAHostileSearchPathDoesNotMatter(t *testing.T) {
	dsn := pgtest.DSN(t)
	admin := dial(t, parsed(t, dsn))
	run(t, admin, "create table items (e vector(3)); create index on items using hnsw (e vector_l2_ops); analyze items")
	calm := open(t, Config{ConnConfig: parsed(t, dsn), FactsTimeout: patience})
	want, err := calm.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	role := newRole(t, admin)
	run(t, admin, `create schema evil; grant usage on schema evil to public;
		create function evil.boom() returns void language plpgsql as 'begin raise ''boom''; end';
		create table evil.pg_stat_activity (x int); create table evil.pg_settings (x int); create table evil.pg_extension (x int);
		create type evil.vector as (x int); create domain evil.text as int; create domain evil.bool as int;
		create function evil.current_database() returns name language sql as 'select evil.boom(); select null::name';
		create function evil.set_config(pg_catalog.text, pg_catalog.text, pg_catalog.bool) returns pg_catalog.text language sql as 'select evil.boom(); select null::pg_catalog.text';
		create function evil.vectors_apart(public.vector, public.vector) returns float8 language sql as 'select evil.boom(); select 0::float8';
		create operator evil.<-> (leftarg = public.vector, rightarg = public.vector, function = evil.vectors_apart);`)
	for _, kind := range []string{"pg_catalog.text", "pg_catalog.name", `pg_catalog."char"`, "pg_catalog.oid", "pg_catalog.int2", "pg_catalog.int4"} {
		word := strings.NewReplacer("pg_catalog.", "", `"`, "").Replace(kind)
		run(t, admin, "create function evil.same_"+word+"("+kind+", "+kind+") returns pg_catalog.bool language plpgsql as 'begin raise ''boom''; end'")
		run(t, admin, "create operator evil.= (leftarg = "+kind+", rightarg = "+kind+", function = evil.same_"+word+")")
	}
	run(t, admin, "alter role "+role+" set search_path = evil, pg_catalog; grant pg_monitor to "+role)
	cfg := parsed(t, dsn, as(role, rolePassword), named("shop"))
	victim := dial(t, cfg)
	if _, err := victim.Exec(t.Context(), "select 'a'::pg_catalog.text = 'b'::pg_catalog.text"); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Fatalf("the trap does not work: %v", err)
	}

	for mode, change := range map[string]func(*pgx.ConnConfig){
		"direct": func(*pgx.ConnConfig) {},
		"pooler": through(between(t, cfg, true).address),
	} {
		change(cfg)
		r := open(t, Config{ConnConfig: cfg, FactsTimeout: patience})
		a, err := r.Read(t.Context())
		if err != nil || (a.Ours != Backends{Idle: 1}) {
			t.Errorf("%s: ours %+v, error %v", mode, a.Ours, err)
		}
		got, err := r.Facts(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", mode, err)
		}
		if len(got.Vectors.Columns) != 1 || len(got.Vectors.Indexes) != 1 || got.Vectors.Version != want.Vectors.Version || !got.Vectors.Usable {
			t.Errorf("%s: vectors %+v, want %+v", mode, got.Vectors, want.Vectors)
		}
		if got.Settings != want.Settings || got.Search != want.Search {
			t.Errorf("%s: settings %+v %+v, want %+v %+v", mode, got.Settings, got.Search, want.Settings, want.Search)
		}
	}
	if err := CheckVector(t.Context(), victim); err != nil {
		t.Errorf("on the pool's own connection: %v", err)
	}
}
