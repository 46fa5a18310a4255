package survey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/advice"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/internal/pooltest"
)

func TestMain(m *testing.M) { pgtest.Main(m, pgtest.Options{}) }

func parsed(t *testing.T, dsn string) *pgx.ConnConfig {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func dial(t *testing.T, cfg *pgx.ConnConfig) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// survey looks n times.
func look(t *testing.T, cfg *pgx.ConnConfig, n int) *advice.Recording {
	t.Helper()
	s, err := Open(t.Context(), Config{ConnConfig: cfg})
	if err != nil {
		t.Fatal(err)
	}
	rec := s.Known
	s.Watch(t.Context(), func(sample advice.Sample) bool {
		rec.Samples = append(rec.Samples, sample)
		return len(rec.Samples) < n
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return &rec
}

// state is all that a survey could have changed: every row of every table, the
// catalogs by their size, and whether anybody was given a transaction id, without
// which nothing can be written.
func state(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	var text string
	err := conn.QueryRow(t.Context(), `
		select concat_ws(' ', pg_snapshot_xmax(pg_current_snapshot()),
			(select md5(string_agg(k::text, '' order by id)) from keep k),
			(select string_agg(c.relname || ':' || pg_relation_size(c.oid), ',' order by c.oid) from pg_class c where c.relkind in ('r','i','t')),
			(select string_agg(s.setdatabase || ':' || s.setrole || ':' || s.setconfig::text, ',') from pg_db_role_setting s),
			(select count(*) from pg_prepared_xacts), (select count(*) from pg_locks l where l.pid <> pg_backend_pid()))`).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestASurveyChangesNothingAndHoldsOneConnection(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{Settings: map[string]string{"autovacuum": "off"}})
	cfg := parsed(t, server.DSN())
	conn := dial(t, cfg)
	run(t, conn, "create table keep (id int, v vector(3)); insert into keep select i, '[1,2,3]' from generate_series(1, 500) i; create index on keep using hnsw (v vector_l2_ops); analyze; checkpoint")
	before := state(t, conn)

	s, err := Open(t.Context(), Config{ConnConfig: cfg})
	if err != nil {
		t.Fatal(err)
	}
	looks, most := 0, 0
	s.Watch(t.Context(), func(advice.Sample) bool {
		looks++
		var mine int
		var readOnly string
		// What the surveyor's session is, seen by somebody else.
		if err := conn.QueryRow(t.Context(), "select count(*), current_setting('transaction_read_only') from pg_stat_activity where application_name = 'autotune'").Scan(&mine, &readOnly); err != nil {
			t.Error(err)
		}
		most = max(most, mine)
		return looks < 10
	})
	if err := errors.Join(err, s.Refresh(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	if most != 1 {
		t.Errorf("%d connections", most)
	}
	if after := state(t, conn); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
}

func TestRolesSeeWhatTheyMaySee(t *testing.T) {
	for _, server := range []*pgtest.Server{pgtest.Shared(t), pgtest.New(t, pgtest.Options{WithoutVector: true})} {
		t.Run("PostgreSQL "+server.Version(), func(t *testing.T) {
			admin := dial(t, parsed(t, server.DSN()))
			run(t, admin, "drop role if exists poor, monitor; create role poor login password 'p'; create role monitor login password 'p'; grant pg_monitor to monitor")
			service := parsed(t, server.DSN())
			service.RuntimeParams["application_name"] = "service"
			holder := dial(t, service)
			run(t, holder, "begin; select 1")
			for _, c := range []struct {
				role  string
				known bool
			}{{"poor", false}, {"monitor", true}, {"", true}} {
				cfg := parsed(t, server.DSN())
				if c.role != "" {
					cfg.User, cfg.Password = c.role, "p"
				}
				a := advice.Advise(advice.Question{Filter: advice.Filter{Application: "service"}}, look(t, cfg, 3))
				if a.Size.Known != c.known {
					t.Errorf("%q: %+v", c.role, a.Size)
				}
				missing := strings.Contains(fmt.Sprint(a.Unseen, a.Findings), "GRANT")
				if missing == c.known {
					t.Errorf("%q: unseen %q findings %+v", c.role, a.Unseen, a.Findings)
				}
				if a.Vectors.Installed != server.HasVector() || a.Server.MaxConnections == 0 || !a.Server.Machine.Shared {
					t.Errorf("%q: %+v %+v", c.role, a.Vectors, a.Server)
				}
			}
		})
	}
}

func TestAnEmptyDatabaseAndNobodyElse(t *testing.T) {
	rec := look(t, parsed(t, pgtest.DSN(t)), 2)
	a := advice.Advise(advice.Question{Filter: advice.Filter{Application: "nobody"}}, rec)
	if a.Size.Known || len(a.Size.Why) == 0 || a.Vectors.Rows > 0 {
		t.Errorf("%+v", a.Size)
	}
}

func TestPgBouncerIsToldApart(t *testing.T) {
	dsn := pgtest.DSN(t)
	p, err := pooltest.Start(t.Context(), dsn, 3, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	client := dial(t, parsed(t, p.DSN("service")))
	run(t, client, "begin; select 1")
	rec := look(t, parsed(t, p.DSN("")), 3)
	a := advice.Advise(advice.Question{}, rec)
	if !a.Server.Pooler || !strings.Contains(fmt.Sprint(a.Unseen, a.Findings), "pooler") {
		t.Errorf("%+v %q", a.Server, a.Unseen)
	}
	if a.Demand.Peak < 1 {
		t.Errorf("the pooler's own connections are not seen: %+v", a.Seen.Activity)
	}
}

func TestLookingCostsLittle(t *testing.T) {
	rec := look(t, parsed(t, pgtest.DSN(t)), 30)
	a := advice.Advise(advice.Question{}, rec)
	// Half of what is promised, were the machine quiet; the cost is elapsed time,
	// which a busy machine stretches, so only the promise is held.
	if a.Seen.Cost > 0.005 {
		t.Errorf("%.2f %% of a core", 100*a.Seen.Cost)
	}
	for _, c := range []struct{ spent, pace time.Duration }{
		{0, fastest}, {150 * time.Microsecond, fastest}, {time.Millisecond, 400 * time.Millisecond}, {time.Minute, slowest},
	} {
		s := Surveyor{}
		for range 8 {
			s.spent = append(s.spent, c.spent)
		}
		if got := s.pace(); got != c.pace {
			t.Errorf("%v: %v instead of %v", c.spent, got, c.pace)
		}
	}
}

func TestAServerThatIsNotThereIsAnError(t *testing.T) {
	_, err := Open(t.Context(), Config{ConnConfig: parsed(t, "postgres://u:hunter2@127.0.0.1:1/d")})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

// A week of looking must fit into memory and into what Read takes.
func TestALongSurveyLooksLessOften(t *testing.T) {
	for length, want := range map[time.Duration]time.Duration{0: fastest, time.Minute: fastest, time.Hour: fastest, 7 * 24 * time.Hour: 15120 * time.Millisecond} {
		if got := (&Surveyor{cfg: Config{Length: length}, spent: []time.Duration{time.Microsecond}}).pace(); got != want {
			t.Errorf("%s: every %s instead of %s", length, got, want)
		}
	}
}

func TestASurveyOutlivesARestartOfItsServer(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{WithoutVector: true})
	silent := make(chan error, 10)
	s, err := Open(t.Context(), Config{ConnConfig: parsed(t, server.DSN()), Patience: time.Millisecond, Silent: func(err error) { silent <- err }})
	if err != nil {
		t.Fatal(err)
	}
	looked, ended := make(chan struct{}, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		s.Watch(ctx, func(advice.Sample) bool {
			select {
			case looked <- struct{}{}:
			default:
			}
			return true
		})
	}()
	<-looked
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-silent; err == nil {
		t.Error("silent without an error")
	}
	select { // of before
	case <-looked:
	default:
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-looked
	cancel()
	<-ended
	if s.Failed() == 0 || len(silent) > 0 {
		t.Errorf("%d failed looks, told %d times more", s.Failed(), len(silent))
	}
	const end = "the end of it among that"
	missing := s.silent
	if said := strings.Join(s.Unseen(), ""); missing <= 0 || s.Gone() != 0 || !strings.Contains(said, fmt.Sprintf("What happened in %.1f s of ", missing.Seconds())) || strings.Contains(said, end) {
		t.Errorf("silent for %s, gone for %s: %q", missing, s.Gone(), said)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	s.cfg.Silent = func(error) { cancel() }
	s.Watch(ctx, func(advice.Sample) bool { return true })
	if said := strings.Join(s.Unseen(), ""); s.Gone() <= 0 || !strings.Contains(said, end) {
		t.Errorf("gone for %s at the end: %q", s.Gone(), said)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
