package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgautotune/autotune/internal/advice"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/internal/pooltest"
)

// savedSamples is a file of a service that holds transactions: 12 connections, of
// which 2 compute, on a server of 4 cores.
func savedSamples(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`{"schema":"autotune.samples/v1","database":"app","machine":{"shared":false,"cores":4},"facts":{"Server":{"Version":"17.5 (Debian)","SeesAll":true,"Role":"me"},"Settings":{"MaxConnections":100,"SuperuserReservedConnections":3,"SharedBuffers":134217728,"WorkMem":4194304},"Search":{"EFSearch":40,"IterativeScan":"off","ScanMemMultiplier":1},"Vectors":{"Installed":true,"Version":"0.8.0","Rows":250000,"IndexBytes":268435456,"NeverAnalyzed":0,"Indexes":[{"Method":"hnsw","Valid":true}],"Columns":[{"Schema":"public","Table":"items"}]}}}` + "\n")
	for i := range 300 {
		b.WriteString(`{"at_ns":` + strconv.Itoa(i*100_000_000) + `,"spent_ns":150000,"transactions":{"app":` + strconv.Itoa(i*20) + `},"groups":[` +
			`{"database":"app","role":"svc","application":"api","kind":"client","state":"active","backends":2},` +
			`{"database":"app","role":"svc","application":"api","kind":"client","state":"active","wait":"IO:DataFileRead","backends":1},` +
			`{"database":"app","role":"svc","application":"api","kind":"client","state":"idle_in_transaction","backends":9,"oldest_ns":30000000,"ages_ns":90000000},` +
			`{"database":"app","role":"etl","application":"nightly","kind":"client","state":"idle","backends":30,"oldest_ns":7200000000000}]}` + "\n")
	}
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The URL of a service has settings of its pool, which no server knows.
func TestAServicesURLIsGoodForLooking(t *testing.T) {
	dsn := pgtest.DSN(t)
	busy(t, dsn, "service")
	dsn += "&pool_max_conns=4&pool_min_conns=1"
	file := filepath.Join(t.TempDir(), "day.jsonl")
	for range 2 {
		got := call(t, nil, "recommend", "--dsn", dsn, "--for", "1s", "--save", file)
		if _, again := os.Stat(file); again != nil || got.code != exitDone && !strings.Contains(got.stderr, "exists already") {
			t.Fatalf("exit %d, %q", got.code, got.stderr)
		}
	}
	if got := call(t, nil, "recommend", "--dsn", pgtest.DSN(t)+"&no_such_setting=1", "--for", "1s"); got.code != exitFailed || !strings.Contains(got.stderr, "check the settings in the connection string") {
		t.Errorf("exit %d, %q", got.code, got.stderr)
	}
}

func TestTheRecommendationReadsWellIn80Columns(t *testing.T) {
	file := savedSamples(t)
	for name, args := range map[string][]string{
		"server": nil, "application": {"--application", "api", "--instances", "3"}, "batch": {"--application", "api", "--workers", "60"}, "nobody": {"--user", "nobody"},
	} {
		got := call(t, nil, append([]string{"recommend", "--from", file}, args...)...)
		code := exitDone
		if name == "nobody" {
			code = exitNo
		}
		if got.code != code || got.stderr != "" {
			t.Fatalf("%s: exit %d, stderr %q", name, got.code, got.stderr)
		}
		for _, line := range strings.Split(got.stdout, "\n") {
			if utf8.RuneCountInString(line) > helpWidth || strings.Contains(line, "\x1b") {
				t.Errorf("%s: %q", name, line)
			}
		}
		golden(t, filepath.Join("testdata", "recommend", name+".txt"), got.stdout)
	}
}

// What a trace does not hold is left out, and no 0.
func TestAnAnswerFromATraceTellsOnlyWhatIsInIt(t *testing.T) {
	var b strings.Builder
	b.WriteString(`#autotune-trace {"version":1,"kind":"intervals","source":"pg_stat_activity, PostgreSQL 15.18 (Debian)"}` + "\nt_s,dur_s,rate_rps,active,idle_in_transaction,idle\n")
	for i := range 30 {
		fmt.Fprintf(&b, "%d,10,500,2.5,3.5,26\n", 10*i)
	}
	path := filepath.Join(t.TempDir(), "trace.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	got := call(t, nil, "recommend", "--from", path)
	if got.code != exitDone || got.stderr != "" {
		t.Fatalf("exit %d, stderr %q", got.code, got.stderr)
	}
	golden(t, filepath.Join("testdata", "recommend", "trace.txt"), got.stdout)
	for _, wrong := range []string{"0.00 %", "0.0 ms", "unknown version", "never more", "7 ever"} {
		if strings.Contains(got.stdout, wrong) {
			t.Errorf("%q is not in the trace", wrong)
		}
	}
}

// A name that nobody has is most likely a slip, and no answer in any form is the same.
func TestAFilterThatPicksNobodySaysWhoIsThere(t *testing.T) {
	file := savedSamples(t)
	for _, c := range []struct{ flag, name, says string }{
		{"--application", "nosuch", "No connection has the application name nosuch; connected are api, nightly."},
		{"--user", "nosuch", "No connection is of the user nosuch; connected are etl, svc."},
		{"--database", "nosuch", "No connection is to the database nosuch; connected are app."},
	} {
		for _, form := range []string{"text", "json", "env"} {
			got := call(t, nil, "recommend", "--from", file, c.flag, c.name, "--output", form)
			if said := strings.Join(strings.Fields(got.stdout+got.stderr), " "); got.code != exitNo || !strings.Contains(said, c.says) {
				t.Errorf("%s as %s: exit %d, %s", c.flag, form, got.code, said)
			}
		}
	}
	if got := call(t, nil, "recommend", "--from", file, "--application", "api", "--user", "etl", "--output", "env"); got.code != exitNo || !strings.Contains(got.stderr, "application api, user etl at once") {
		t.Errorf("exit %d, %s", got.code, got.stderr)
	}
}

func TestIndexesOfOtherExtensionsAreCountedByTheirNames(t *testing.T) {
	file := savedSamples(t)
	samples, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const one = `{"Method":"hnsw","Valid":true}`
	more := strings.Replace(string(samples), one, one+`,{"Method":"scann","Valid":true},{"Method":"diskann","Valid":true},{"Method":"scann","Valid":true}`, 1)
	if err := os.WriteFile(file, []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := call(t, nil, "recommend", "--from", file); !strings.Contains(strings.Join(strings.Fields(got.stdout), " "), "1 HNSW, 0 IVFFlat, 1 diskann and 2 scann indexes") {
		t.Error(got.stdout, got.stderr)
	}
	a := decode[advice.Advice](t, call(t, nil, "recommend", "--from", file, "--output", "json").stdout)
	if v := a.Vectors; v.HNSW != 1 || v.IVFFlat != 0 || v.Other["scann"] != 2 || v.Other["diskann"] != 1 {
		t.Errorf("%+v", v)
	}
}

func TestFormatsAreReadByThoseTheyAreFor(t *testing.T) {
	file := savedSamples(t)
	want := decode[advice.Advice](t, call(t, nil, "recommend", "--from", file, "--application", "api", "--output", "json").stdout).Size
	form := func(name string) string {
		t.Helper()
		got := call(t, nil, "recommend", "--from", file, "--application", "api", "--output", name)
		if got.code != exitDone {
			t.Fatalf("%s: %s", name, got.stderr)
		}
		golden(t, filepath.Join("testdata", "recommend", "format-"+name+".txt"), got.stdout)
		return got.stdout
	}
	t.Run("env, by a shell", func(t *testing.T) {
		out, err := exec.Command("sh", "-c", "set -a\n"+form("env")+"\necho $DB_MAX_CONNECTIONS $DB_MIN_CONNECTIONS").Output()
		if err != nil || strings.TrimSpace(string(out)) != strconv.Itoa(want.Max)+" "+strconv.Itoa(want.Min) {
			t.Errorf("%q %v", out, err)
		}
	})
	t.Run("pgx, by pgxpool", func(t *testing.T) {
		cfg, err := pgxpool.ParseConfig("postgres://u@h/d?" + strings.TrimSpace(form("pgx")))
		if err != nil || int(cfg.MaxConns) != want.Max || int(cfg.MinConns) != want.Min {
			t.Errorf("%+v %v", cfg, err)
		}
	})
	t.Run("yaml", func(t *testing.T) {
		var doc struct {
			Database struct {
				Pool struct {
					Max     int    `yaml:"max_connections"`
					Min     int    `yaml:"min_connections"`
					Timeout string `yaml:"connection_timeout"`
				}
			}
		}
		if err := yaml.UnmarshalWithOptions([]byte(form("yaml")), &doc, yaml.Strict()); err != nil || doc.Database.Pool.Max != want.Max || doc.Database.Pool.Min != want.Min {
			t.Errorf("%+v %v", doc, err)
		}
	})
	t.Run("pgbouncer, by PgBouncer", func(t *testing.T) {
		var lines []string
		for _, line := range strings.Split(form("pgbouncer"), "\n") {
			// What pooltest says itself stays out; a key twice would hide ours.
			if !strings.HasPrefix(line, "[") && !strings.HasPrefix(line, "default_pool_size") {
				lines = append(lines, line)
			}
		}
		p, err := pooltest.Start(t.Context(), pgtest.DSN(t), want.Max, strings.Join(lines, "\n")+"\nstats_users = postgres\nadmin_users = any\nauth_type = any")
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		}()
		if got := shown(t, p, "min_pool_size"); got != strconv.Itoa(want.Min) {
			t.Errorf("min_pool_size %q, want %d", got, want.Min)
		}
		if got := shown(t, p, "query_wait_timeout"); got != "10" {
			t.Errorf("query_wait_timeout %q", got)
		}
	})
	form("hikaricp")
	form("sqlx")
}

// shown is a setting as PgBouncer's console tells it.
func shown(t *testing.T, p *pooltest.Pooler, key string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(p.DSN(""))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Database, cfg.User = "pgbouncer", "any"
	delete(cfg.RuntimeParams, "application_name")
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), "show config")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		values := rows.RawValues()
		if string(values[0]) == key {
			return string(values[1])
		}
	}
	return ""
}

func TestACheckSaysThatItsRangeMayMove(t *testing.T) {
	for confidence, moves := range map[advice.Confidence]bool{advice.High: false, advice.Medium: false, advice.Low: true} {
		var said strings.Builder
		a := &advice.Advice{Size: advice.Size{Known: true, Lower: 1, Max: 2, Upper: 8, Confidence: confidence}}
		if err := (checked{max: 5, min: -1}).tell(a, &said); err != nil || strings.Contains(said.String(), "another look may move the range") != moves {
			t.Errorf("confidence %s: %q %v", confidence, said.String(), err)
		}
	}
}

func TestCheckAnswersWithItsExitCode(t *testing.T) {
	file := savedSamples(t)
	z := decode[advice.Advice](t, call(t, nil, "recommend", "--from", file, "--application", "api", "--output", "json").stdout).Size
	for _, c := range []struct {
		check string
		code  int
	}{
		{strconv.Itoa(z.Lower), exitDone}, {strconv.Itoa(z.Max) + "/" + strconv.Itoa(z.Min), exitDone}, {strconv.Itoa(z.Upper), exitDone},
		{strconv.Itoa(z.Upper + 1), exitNo}, {strconv.Itoa(z.Lower - 1), exitNo},
		{strconv.Itoa(z.Max) + "/" + strconv.Itoa(z.MinLower), exitDone}, {strconv.Itoa(z.Max) + "/" + strconv.Itoa(z.MinLower-1), exitNo},
		{strconv.Itoa(z.Upper+1) + "/" + strconv.Itoa(z.Min), exitNo},
		{"many", exitUsage}, {"5/6", exitUsage}, {"0", exitUsage}, {"5/", exitUsage},
	} {
		got := call(t, nil, "recommend", "--from", file, "--application", "api", "--check", c.check)
		if got.code != c.code {
			t.Errorf("%s: exit %d instead of %d: %s", c.check, got.code, c.code, got.stderr)
		}
	}
	for check, want := range map[string]struct {
		code     int
		max, min bool
	}{
		fmt.Sprintf("%d/%d", z.Max, z.Min):          {exitDone, true, true},
		fmt.Sprintf("%d/%d", z.Max, z.MinLower-1):   {exitNo, true, false},
		fmt.Sprintf("%d/%d", z.Upper+1, z.MinUpper): {exitNo, false, true},
	} {
		got := call(t, nil, "recommend", "--from", file, "--application", "api", "--check", check, "--output", "json")
		doc := decode[struct {
			advice.Advice
			Check verdict
		}](t, got.stdout).Check
		if got.code != want.code || doc.Fits != (want.code == exitDone) || doc.MaxFits != want.max || doc.MinFits == nil || *doc.MinFits != want.min || !strings.Contains(got.stderr, "min "+strconv.Itoa(*doc.Min)+" is ") {
			t.Errorf("%s: exit %d, %+v, %s", check, got.code, doc, got.stderr)
		}
	}
	for check, code := range map[string]int{"34/32": exitDone, "34": exitDone, "40": exitNo, "34/5": exitNo} { // of 32 workers
		if got := call(t, nil, "recommend", "--from", file, "--application", "api", "--workers", "32", "--check", check, "--output", "env"); got.code != code {
			t.Errorf("%s for 32 workers: exit %d, %s%s", check, got.code, got.stdout, got.stderr)
		}
	}
	if got := call(t, nil, "recommend", "--from", file, "--for", "10s"); got.code != exitUsage || !strings.Contains(got.stderr, "--for is about a live database") {
		t.Errorf("exit %d, %s", got.code, got.stderr)
	}
	if got := call(t, nil, "recommend", "--from", file, "--user", "nobody", "--check", "5"); got.code != exitFailed {
		t.Errorf("a check without an answer: exit %d", got.code)
	}
}

func TestRecommendAgainstARealServer(t *testing.T) {
	dsn := pgtest.DSN(t)
	busy(t, dsn, "service")
	file := filepath.Join(t.TempDir(), "kept.jsonl")
	live := call(t, nil, "recommend", "--dsn", dsn, "--for", "1s", "--save", file)
	if live.code != exitDone || !strings.Contains(live.stdout, "What could not be seen") {
		t.Fatalf("exit %d\n%s%s", live.code, live.stdout, live.stderr)
	}
	again := call(t, nil, "recommend", "--from", file, "--output", "json")
	a := decode[advice.Advice](t, again.stdout)
	if a.Schema != advice.Schema || a.Seen.Samples < 3 || !a.Vectors.Installed || a.Server.MaxConnections == 0 {
		t.Errorf("%+v", a)
	}
	if cfg, err := pgx.ParseConfig(dsn); err != nil || strings.Contains(again.stdout+live.stdout, cfg.Password) {
		t.Errorf("the password is in it, %v", err)
	}
}

// A watch that ends before its first answer is due has seen something, too.
func TestAWatchAnswersAtItsEnd(t *testing.T) {
	t.Parallel()
	got := call(t, nil, "watch", "--dsn", pgtest.DSN(t), "--every", "1h", "--for", "1s", "--application", "nobody")
	if got.code != exitDone || strings.Count(got.stdout, "\n") != 1 || !strings.Contains(got.stdout, "no size") {
		t.Errorf("exit %d, %q, %s", got.code, got.stdout, got.stderr)
	}
}

func TestWatchWritesJSONOneLineEach(t *testing.T) {
	t.Parallel()
	got := call(t, nil, "watch", "--dsn", pgtest.DSN(t), "--every", "1s", "--for", "2500ms", "--application", "nobody", "--output", "json")
	if got.code != exitDone {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	lines := strings.Split(strings.TrimSuffix(got.stdout, "\n"), "\n")
	for _, line := range lines {
		if a := decode[advice.Advice](t, line); a.Schema != advice.Schema || a.Seen.Samples == 0 {
			t.Errorf("%+v", a)
		}
	}
}

func TestAnInterruptedRecommendationSaysThatItIsPartial(t *testing.T) {
	t.Parallel()
	dsn, kept := pgtest.DSN(t), filepath.Join(t.TempDir(), "kept.jsonl")
	busy(t, dsn, "service")
	ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
	defer interrupt()
	var stdout, stderr strings.Builder
	code := make(chan int)
	go func() {
		code <- run(ctx, []string{"recommend", "--dsn", dsn, "--for", "1h", "--save", kept, "--check", "1000"}, func(string) (string, bool) { return "", false }, strings.NewReader(""), &stdout, &stderr)
	}()
	for looks := 0; looks < 15; { // of which it answers
		select {
		case c := <-code:
			t.Fatalf("it ended by itself: %d, %s", c, stderr.String())
		case <-time.After(50 * time.Millisecond):
		}
		text, _ := os.ReadFile(kept)
		looks = strings.Count(string(text), "\n")
	}
	interrupt()
	if c := <-code; c != exitNo || !strings.Contains(stderr.String(), "s of 3600 s; the answer rests on these\nautotune: no: ") || !strings.Contains(stdout.String(), "after the interruption") {
		t.Errorf("exit %d, %s%s", c, stdout.String(), stderr.String())
	}
}

func TestWatchWritesDecisionsAndEndsOnSIGINT(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "watch", "--dsn", dsn, "--every", "1s", "--application", "nobody")
	cmd.Env = append(os.Environ(), asCommand+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "no size") {
		t.Errorf("%q %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) {
		t.Errorf("exit %d", exit.ExitCode())
	}
	// It has left nothing connected.
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for {
		var n int
		if err := conn.QueryRow(ctx, "select count(*) from pg_stat_activity where application_name = 'autotune' and datname = current_database()").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
}
