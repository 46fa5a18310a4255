package pgstat

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestFactsAboutServerAndSettings(t *testing.T) {
	srv := pgtest.New(t, pgtest.Options{Settings: map[string]string{
		"max_connections":                "37",
		"superuser_reserved_connections": "4",
		"shared_buffers":                 "48MB",
		"work_mem":                       "5MB",
		"maintenance_work_mem":           "70MB",
		"effective_cache_size":           "3GB",
		"statement_timeout":              "90s",
	}})
	admin := dial(t, parsed(t, srv.DSN()))
	role := newRole(t, admin)
	run(t, admin, "alter role "+role+" connection limit 11; alter role "+role+" set idle_in_transaction_session_timeout = '2min'")
	run(t, admin, "alter role "+role+" set hnsw.ef_search = 123")
	run(t, admin, fmt.Sprintf("alter database %s connection limit 29", pgx.Identifier{admin.Config().Database}.Sanitize()))
	var version int
	if err := admin.QueryRow(t.Context(), "select current_setting('server_version_num')::int").Scan(&version); err != nil {
		t.Fatal(err)
	}
	reserved := 0
	if version >= 160000 {
		run(t, admin, "alter system set reserved_connections = 2")
		_ = admin.Close(t.Context())
		if err := srv.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		reserved = 2
	}

	cfg := parsed(t, srv.DSN(), as(role, rolePassword))
	cfg.RuntimeParams["work_mem"] = "6MB" // what the pool's sessions start with
	r := open(t, Config{ConnConfig: cfg, FactsTimeout: patience})
	f, err := r.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := (Settings{
		MaxConnections: 37, SuperuserReservedConnections: 4, ReservedConnections: reserved,
		SharedBuffers: 48 << 20, WorkMem: 6 << 20, MaintenanceWorkMem: 70 << 20, EffectiveCacheSize: 3 << 30,
		StatementTimeout: 90 * time.Second, IdleInTransactionTimeout: 2 * time.Minute,
	}); f.Settings != want {
		t.Errorf("settings\n got %+v\nwant %+v", f.Settings, want)
	}
	if got := f.Settings.Reserved(); got != 4+reserved {
		t.Errorf("reserved %d", got)
	}
	if f.Search.EFSearch != 123 || f.Search.Probes < 1 {
		t.Errorf("search settings %+v", f.Search)
	}
	s := f.Server
	if s.VersionNum != version || !strings.HasPrefix(s.Version, fmt.Sprint(version/10000)) {
		t.Errorf("version %d %q, want %d", s.VersionNum, s.Version, version)
	}
	if s.Pooler || s.InRecovery || s.SeesAll || s.Role != role {
		t.Errorf("server %+v", s)
	}
	if s.RoleConnectionLimit != 11 || s.DatabaseConnectionLimit != 29 {
		t.Errorf("limits %d %d, want 11 29", s.RoleConnectionLimit, s.DatabaseConnectionLimit)
	}
	above, err := open(t, Config{ConnConfig: parsed(t, srv.DSN()), FactsTimeout: patience}).Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s := above.Server; s.RoleConnectionLimit != -1 || s.DatabaseConnectionLimit != -1 {
		t.Errorf("limits %d %d bind a superuser", s.RoleConnectionLimit, s.DatabaseConnectionLimit)
	}
	if !slices.Contains(s.Limits, ConnectionLimit{false, role, 11}) || !slices.ContainsFunc(s.Limits, func(l ConnectionLimit) bool { return l.OfDatabase && l.Max == 29 }) {
		t.Errorf("limits %+v", s.Limits)
	}
	if s.UnixSocket || !s.Address.IsLoopback() || s.BackendPID != int(r.conn.PgConn().PID()) {
		t.Errorf("address %v pid %d", s.Address, s.BackendPID)
	}
	if !missing(f, "hidden", "GRANT pg_read_all_stats TO", role) || len(f.Missing) != 1 {
		t.Errorf("missing: %q", f.Missing)
	}
}

func TestFactsBehindAPooler(t *testing.T) {
	cfg := parsed(t, pgtest.DSN(t))
	through(between(t, cfg, true).address)(cfg)
	f, err := open(t, Config{ConnConfig: cfg, FactsTimeout: patience}).Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !f.Server.Pooler || !missing(f, "pooler") || f.Settings.MaxConnections == 0 || !f.Vectors.Usable {
		t.Errorf("%+v", f)
	}
}

func TestADatabaseWithoutVector(t *testing.T) {
	dsn := pgtest.DSN(t)
	conn := dial(t, parsed(t, dsn))
	run(t, conn, "drop extension vector")
	r := open(t, Config{ConnConfig: parsed(t, dsn), FactsTimeout: patience})
	f, err := r.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.Vectors.Installed || f.Vectors.Usable || f.Vectors.Rows != 0 || len(f.Missing) != 0 {
		t.Errorf("%+v missing %q", f.Vectors, f.Missing)
	}
	if f.Settings.MaxConnections < 1 {
		t.Errorf("settings %+v", f.Settings)
	}
	if err := r.CheckVector(t.Context()); !errors.Is(err, ErrNoVector) {
		t.Errorf("reader: %v", err)
	}
	if err := CheckVector(t.Context(), conn); !errors.Is(err, ErrNoVector) {
		t.Errorf("connection: %v", err)
	}
	// Installed while the reader is running, and in a schema of its own.
	run(t, conn, `create schema "My Schema"; create extension vector schema "My Schema"`)
	if err := r.CheckVector(t.Context()); err != nil {
		t.Errorf("reader: %v", err)
	}
	if err := CheckVector(t.Context(), conn); err != nil {
		t.Errorf("connection: %v", err)
	}
	role := newRole(t, conn)
	poor := open(t, Config{ConnConfig: parsed(t, dsn, as(role, rolePassword)), FactsTimeout: patience})
	if f, err = poor.Facts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.Vectors.Usable || f.Vectors.Schema != "My Schema" || !missing(f, `GRANT USAGE ON SCHEMA "My Schema"`) {
		t.Errorf("%+v missing %q", f.Vectors, f.Missing)
	}
	if err := poor.CheckVector(t.Context()); err == nil || errors.Is(err, ErrNoVector) {
		t.Errorf("a role that may not: %v", err)
	}
}

func TestVectorInventory(t *testing.T) {
	dsn := pgtest.DSN(t)
	conn := dial(t, parsed(t, dsn))
	run(t, conn, `
		create schema shop;
		create table shop.items (id int, e vector(3), h halfvec(4)) with (autovacuum_enabled = off);
		insert into shop.items select i, array[i, 1, 2]::vector(3), array[i, 1, 2, 3]::halfvec(4) from generate_series(1, 500) i;
		create index items_e on shop.items using hnsw (e vector_l2_ops) with (m = 8, ef_construction = 40);
		create index items_h on shop.items using hnsw (h halfvec_l2_ops);
		create index items_lists on shop.items using ivfflat (e vector_l2_ops) with (lists = 7);
		analyze shop.items;

		create table parts (id int, e vector) partition by range (id);
		create table parts_1 partition of parts for values from (0) to (100) with (autovacuum_enabled = off);
		create table parts_2 partition of parts for values from (100) to (1000) with (autovacuum_enabled = off);
		insert into parts select i, '[1,2,3]' from generate_series(0, 299) i;
		analyze parts;

		create table wide (s sparsevec(5), e vector(1500)) with (autovacuum_enabled = off);
		insert into wide select '{1:1}/5', array_fill(random()::real, array[1500])::vector from generate_series(1, 50);
		create table plain (id int);
		create temp table passing (e vector(3));`)
	r := open(t, Config{ConnConfig: parsed(t, dsn), FactsTimeout: patience})
	f, err := r.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := f.Vectors

	size := func(query string) (n int64) {
		if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	items, wide := size("select pg_table_size('shop.items')"), size("select pg_table_size('wide')")
	p1, p2 := size("select pg_table_size('parts_1')"), size("select pg_table_size('parts_2')")
	wantColumns := []VectorColumn{
		{"public", "parts_1", "e", "vector", 0, 100, p1},
		{"public", "parts_2", "e", "vector", 0, 200, p2},
		{"public", "wide", "s", "sparsevec", 5, -1, wide},
		{"public", "wide", "e", "vector", 1500, -1, wide},
		{"shop", "items", "e", "vector", 3, 500, items},
		{"shop", "items", "h", "halfvec", 4, 500, items},
	}
	if fmt.Sprint(v.Columns) != fmt.Sprint(wantColumns) {
		t.Errorf("columns\n got %v\nwant %v", v.Columns, wantColumns)
	}
	if wide < 50*6000 {
		t.Errorf("50 vectors of 6 kB fill %d bytes: TOAST is missing", wide)
	}
	e, h, l := size("select pg_relation_size('shop.items_e')"), size("select pg_relation_size('shop.items_h')"), size("select pg_relation_size('shop.items_lists')")
	wantIndexes := []VectorIndex{
		{"shop", "items_e", "items", "hnsw", e, true, false, 8, 40, 0},
		{"shop", "items_h", "items", "hnsw", h, true, false, 16, 64, 0},
		{"shop", "items_lists", "items", "ivfflat", l, true, false, 0, 0, 7},
	}
	if fmt.Sprint(v.Indexes) != fmt.Sprint(wantIndexes) {
		t.Errorf("indexes\n got %v\nwant %v", v.Indexes, wantIndexes)
	}
	if !v.Installed || !v.Usable || v.Schema != "public" || v.Rows != 800 || v.NeverAnalyzed != 1 || v.Estimated ||
		v.TableBytes != items+wide+p1+p2 || v.IndexBytes != e+h+l {
		t.Errorf("sums %+v", v)
	}
	if !missing(f, "1 of the tables", "never analyzed", "ANALYZE") || len(f.Missing) != 1 {
		t.Errorf("missing: %q", f.Missing)
	}

	// The index is being rebuilt: the look does not wait, and says so.
	run(t, conn, "analyze wide; begin; lock table wide in access exclusive mode")
	begin := time.Now()
	locked, err := r.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("waited %v for the lock", took)
	}
	if !locked.Vectors.Estimated || !missing(locked, "locked") || len(locked.Vectors.Columns) != 6 || locked.Vectors.Rows != 850 {
		t.Errorf("%+v missing %q", locked.Vectors, locked.Missing)
	}
	if got := locked.Vectors.IndexBytes; got != v.IndexBytes {
		t.Errorf("index bytes %d estimated, %d measured, just after they were built", got, v.IndexBytes)
	}
	run(t, conn, "rollback; truncate shop.items, parts, wide; drop table shop.items, parts")
	run(t, conn, "create table fresh (e vector(3)) with (autovacuum_enabled = off); drop table wide")
	if f, err = r.Facts(t.Context()); err != nil || f.Vectors.Rows != -1 || f.Vectors.NeverAnalyzed != 1 {
		t.Errorf("only a table never analyzed: %+v, %v", f.Vectors, err)
	}
}

func TestAnInvalidIndexIsSeen(t *testing.T) {
	dsn := pgtest.DSN(t)
	conn := dial(t, parsed(t, dsn))
	run(t, conn, "create table items (e vector); insert into items values ('[1,2]'), ('[1,2,3]')")
	if _, err := conn.Exec(t.Context(), "create index concurrently broken on items using hnsw ((e::vector(3)) vector_l2_ops)"); err == nil {
		t.Fatal("an index over vectors of two lengths was built")
	}
	f, err := open(t, Config{ConnConfig: parsed(t, dsn), FactsTimeout: patience}).Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if x := f.Vectors.Indexes; len(x) != 1 || x[0].Valid || x[0].Index != "broken" {
		t.Errorf("indexes %+v", x)
	}
}

// pgvectorscale and others are not in Debian. An access method of the same name over
// pgvector's own code is to the inventory what theirs is: rows in the catalogs.
func TestIndexesOfOtherExtensionsOnVectorsAreSeen(t *testing.T) {
	dsn := pgtest.DSN(t)
	conn := dial(t, parsed(t, dsn))
	run(t, conn, "create access method diskann type index handler hnswhandler")
	run(t, conn, "create operator class vector_disk_ops for type vector using diskann as operator 1 <-> for order by float_ops, function 1 vector_l2_squared_distance(vector, vector)")
	run(t, conn, "create table items (e vector(3)); insert into items select array[i, i, i]::vector from generate_series(1, 100) i; create index items_e on items using diskann (e vector_disk_ops); create index plain on items (e)")
	f, err := open(t, Config{ConnConfig: parsed(t, dsn), FactsTimeout: patience}).Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if x := f.Vectors.Indexes; len(x) != 1 || x[0].Method != "diskann" || x[0].Bytes == 0 || !x[0].Valid || f.Vectors.IndexBytes != x[0].Bytes {
		t.Errorf("indexes %+v, %d bytes in all", x, f.Vectors.IndexBytes)
	}
}

func TestInBytes(t *testing.T) {
	for _, c := range []struct {
		value, unit string
		want        int64
	}{
		{"16384", "8kB", 128 << 20}, {"4096", "kB", 4 << 20}, {"16", "MB", 16 << 20},
		{"7", "B", 7}, {"2", "GB", 2 << 30}, {"4", "32kB", 128 << 10}, {"-1", "kB", -1024},
	} {
		if got, err := inBytes(c.value, c.unit); err != nil || got != c.want {
			t.Errorf("%s × %s = %d (%v), want %d", c.value, c.unit, got, err, c.want)
		}
	}
	for _, c := range [][2]string{{"many", "kB"}, {"1", "parsec"}, {"1", ""}, {"1", "8"}} {
		if got, err := inBytes(c[0], c[1]); err == nil {
			t.Errorf("%s × %q = %d, want an error", c[0], c[1], got)
		}
	}
}

func TestEveryStatementIsExplainedAndByHand(t *testing.T) {
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		s := string(text)
		if !strings.HasPrefix(s, "-- ") || !strings.Contains(s, "\\i "+d.Name()) {
			t.Errorf("%s: no head comment, or it does not show how to run the file", path)
		}
		if strings.Contains(s, "$1") != strings.Contains(s, "\\bind ") {
			t.Errorf("%s: parameters and \\bind do not go together", path)
		}
		if !strings.HasSuffix(s, ";\n") || strings.Count(stripComments(s), ";") != 1 {
			t.Errorf("%s: want exactly one statement, ended by a semicolon", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func stripComments(sql string) string {
	var b strings.Builder
	for line := range strings.Lines(sql) {
		if !strings.HasPrefix(line, "--") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// Where PostgreSQL without pgvector is installed, often an older one, it is
// read here.
func TestAServerThatNeverHadPgvector(t *testing.T) {
	srv := pgtest.New(t, pgtest.Options{WithoutVector: true})
	if srv.HasVector() {
		t.Skip("the only PostgreSQL here has pgvector; TestADatabaseWithoutVector covers the rest")
	}
	r := open(t, Config{ConnConfig: parsed(t, srv.DSN()), Timeout: patience, FactsTimeout: patience})
	// The server ends the session that asked whether it is there a moment later.
	readUntil(t, r, func(a Activity) bool { return a.Ours.Total() == 0 && !a.Partial })
	f, err := r.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(f.Server.Version)
	if f.Vectors.Installed || (f.Search != Search{}) || f.Settings.MaxConnections < 1 || !f.Server.SeesAll || len(f.Missing) != 0 {
		t.Errorf("%+v", f)
	}
	if f.Server.VersionNum < 160000 && f.Settings.ReservedConnections != 0 {
		t.Errorf("reserved_connections %d on %s", f.Settings.ReservedConnections, f.Server.Version)
	}
}
