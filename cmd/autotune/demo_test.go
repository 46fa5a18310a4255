package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/pgtest"
)

// patience bounds what a test waits for.
const patience = 90 * time.Second

// witness makes the database keep, when the demo drops its schema, how many rows
// its table has and how often its index was searched: what the database says of
// the load, to compare with what the demo says. Backends report their searches
// when they end, so it waits for the pool's to be gone.
const witness = `
create table public.witness (items bigint, searches bigint, ended bool);
create function public.witness() returns event_trigger language plpgsql as $$
declare until timestamptz := clock_timestamp() + interval '10 s'; n int;
begin
	loop
		perform pg_stat_clear_snapshot();
		select count(*) into n from pg_stat_activity where datname = current_database() and application_name = 'autotune demo';
		exit when n = 0 or clock_timestamp() > until;
	end loop;
	perform pg_stat_clear_snapshot();
	insert into public.witness select (select count(*) from autotune_demo.items),
		(select idx_scan from pg_stat_user_indexes where schemaname = 'autotune_demo' and indexrelname = 'items_v_hnsw'), n = 0;
end $$;
create event trigger witness on ddl_command_start when tag in ('DROP SCHEMA') execute function public.witness()`

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func ask[T any](t *testing.T, conn *pgx.Conn, sql string) (v T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// hidesPassword fails if a text has the password of the connection string in it.
func hidesPassword(t *testing.T, dsn string, texts ...string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal("not a URL")
	}
	if password, set := u.User.Password(); set && password != "" {
		for _, text := range texts {
			if strings.Contains(text, password) {
				t.Error("the password is in the output")
			}
		}
	}
}

func TestTheDemoSaysWhatTheDatabaseSays(t *testing.T) {
	dsn := pgtest.DSN(t)
	conn := connect(t, dsn)
	execute(t, conn, witness)
	journal := filepath.Join(t.TempDir(), "journal")
	got := call(t, nil, "demo", "--dsn", dsn, "--duration", "6s", "--vectors", "3000", "--dimensions", "32", "--clients", "16",
		"--output", "json", "--journal", journal, "--log-level", "debug")
	if got.code != exitDone {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	r := decode[demoResult](t, got.stdout)
	var searches, inserts, sum int64
	for i, p := range r.Phases {
		most := max(p.MaxHigh, r.Phases[min(i+1, len(r.Phases)-1)].MaxHigh) // a swap may go on into the next phase, with its limit in force
		if p.Requests == 0 || p.P50 <= 0 || p.P99 < p.P50 || p.InUse <= 0 && !strings.HasPrefix(p.Name, "quiet") || p.InUse > float64(p.LimitHigh) || p.LimitLow < 1 || p.LimitHigh > most {
			t.Errorf("phase %+v", p)
		}
		if rate := float64(p.Requests) / p.Seconds; rate < 0.9*p.Throughput || rate > 1.1*p.Throughput {
			t.Errorf("phase %+v: the throughput is %.1f", p, rate)
		}
		if sum += p.Requests; p.Name == "insert burst" {
			inserts += p.Requests
		} else {
			searches += p.Requests
		}
	}
	if len(r.Phases) != 5 || r.Requests != sum || r.Errors != 0 || len(r.Failures) != 0 || r.Schema != "autotune.demo/v1" {
		t.Errorf("schema %q, %d phases, %d requests, %d errors, %v", r.Schema, len(r.Phases), r.Requests, r.Errors, r.Failures)
	}
	// Every request did its work once, swaps or not.
	if !ask[bool](t, conn, "select ended from public.witness") {
		t.Fatal("the pool's connections outlived it; the counts would be void")
	}
	if n := ask[int64](t, conn, "select items from public.witness"); n != 3000+inserts {
		t.Errorf("the table had %d rows, the demo says %d + %d", n, 3000, inserts)
	}
	if n := ask[int64](t, conn, "select searches from public.witness"); n != searches {
		t.Errorf("the index was searched %d times, the demo says %d", n, searches)
	}
	// The series is of the same run as the phases: it leaves out less than a
	// second at the end of each.
	var completed float64
	last := 0.0
	for _, p := range r.Series {
		completed += p.Throughput * 1 // a point is a second
		if p.At <= last {
			t.Errorf("the series goes back at %g s", p.At)
		}
		last = p.At
	}
	if len(r.Series) < 2 || completed > 1.2*float64(r.Requests) {
		t.Errorf("%d points with %.0f requests of %d", len(r.Series), completed, r.Requests)
	}
	lines, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(lines, []byte{'\n'}); n < 6 || !bytes.HasPrefix(lines, []byte(`{"autotune_journal":1`)) {
		t.Errorf("the journal has %d lines: %.80s", n, lines)
	}
	if !strings.Contains(got.stderr, "level=DEBUG") || !strings.Contains(got.stderr, "phase 5 of 5") || strings.Contains(got.stderr, "\x1b") || strings.Contains(got.stderr, "scans the table") {
		t.Errorf("stderr:\n%.2000s", got.stderr)
	}
	hidesPassword(t, dsn, got.stdout, got.stderr, string(lines))
	nothingLeft(t, conn)
}

// nothingLeft fails if a demo has left its schema or a connection.
func nothingLeft(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	const left = `select (select count(*) from pg_namespace where nspname = 'autotune_demo') +
		(select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend')`
	// A backend whose client has gone takes a moment to end.
	for deadline := time.Now().Add(10 * time.Second); ask[int](t, conn, left) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the schema or a connection of the demo is still there")
		}
	}
}

func TestTheDemoOnItsOwnServerInText(t *testing.T) {
	t.Parallel()
	got := call(t, map[string]string{"DATABASE_URL": "postgres://nobody:hunter2@192.0.2.1/nowhere"}, "demo", "--duration", "3s", "--vectors", "500", "--clients", "8")
	if got.code != exitDone {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	if !strings.Contains(got.stderr, "scans the table") { // 500 rows are too few for an index
		t.Errorf("it says nothing of the plan:\n%s", got.stderr)
	}
	for _, part := range []string{"500 × 128-d vectors, 8 clients, tuned pool, profile auto", "search rush", "quiet again", "decisions that changed the pool", "none failed"} {
		if !strings.Contains(got.stdout, part) {
			t.Errorf("%q is not in:\n%s", part, got.stdout)
		}
	}
	for _, line := range strings.Split(got.stdout, "\n") {
		if utf8.RuneCountInString(line) > helpWidth || strings.Contains(line, "\x1b") {
			t.Errorf("line: %q", line)
		}
	}
	if !strings.Contains(got.stderr, "DATABASE_URL and PG* are not used") || strings.Contains(got.stderr, "hunter2") {
		t.Errorf("stderr:\n%s", got.stderr)
	}
}

func TestAFixedPoolStaysAsItIs(t *testing.T) {
	t.Parallel()
	got := call(t, nil, "demo", "--dsn", pgtest.DSN(t), "--duration", "3s", "--vectors", "500", "--clients", "12", "--fixed", "3", "--output=json")
	if got.code != exitDone {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	r := decode[demoResult](t, got.stdout)
	if r.Pool.Tuned || r.Pool.Fixed != 3 || len(r.Decisions) != 0 {
		t.Errorf("pool %+v, %d decisions", r.Pool, len(r.Decisions))
	}
	for _, p := range r.Phases {
		if p.LimitLow != 3 || p.LimitHigh != 3 || p.MaxLow != 3 || p.MaxHigh != 3 || p.Swaps != 0 || p.InUse > 3 {
			t.Errorf("phase %+v", p)
		}
	}
}

func TestTheDemoRefusesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, setUp, says, check string }{
		{"no pgvector", "drop extension vector", "run CREATE EXTENSION vector", "select count(*) = 0 from pg_extension where extname = 'vector'"},
		{"a foreign schema", "create schema autotune_demo; create table autotune_demo.items (precious int)", "did not make", "select count(*) = 1 from pg_attribute where attname = 'precious'"},
		{"another demo", fmt.Sprintf("select pg_advisory_lock(%d)", demoLock), "another demo is running", "select true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dsn := pgtest.DSN(t)
			conn := connect(t, dsn)
			execute(t, conn, c.setUp)
			got := call(t, nil, "demo", "--dsn", dsn, "--vectors", "100")
			if got.code != exitFailed || !strings.Contains(got.stderr, c.says) || got.stdout != "" {
				t.Errorf("exit %d: %s", got.code, got.stderr)
			}
			if !ask[bool](t, conn, c.check) {
				t.Error("it was touched")
			}
			hidesPassword(t, dsn, got.stderr)
		})
	}
	t.Run("no server", func(t *testing.T) {
		got := call(t, nil, "demo", "--dsn", "postgres://u:hunter2@127.0.0.1:1/d")
		if got.code != exitFailed || !strings.Contains(got.stderr, "cannot be reached") || strings.Contains(got.stderr, "hunter2") {
			t.Errorf("exit %d: %s", got.code, got.stderr)
		}
	})
}

func TestPGVectorInASchemaOfItsOwnIsFound(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	execute(t, connect(t, dsn), `drop extension vector; create schema "my ext"; create extension vector schema "my ext"`)
	if got := call(t, nil, "demo", "--dsn", dsn, "--duration", "2s", "--vectors", "200", "--clients", "4"); got.code != exitDone {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

// failing requests must not pass for a good demo.
func TestADemoInWhichRequestsFailEnds1(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	// The data is loaded by COPY, which rules leave alone.
	execute(t, connect(t, dsn), `
		create function public.spoil() returns event_trigger language plpgsql as $$
		begin
			create or replace function public.refuse() returns trigger language plpgsql as 'begin raise exception ''no more''; end';
			create trigger refuse before insert on autotune_demo.items for each row execute function public.refuse();
		end $$;
		create event trigger spoil on ddl_command_end when tag in ('CREATE INDEX') execute function public.spoil()`)
	got := call(t, nil, "demo", "--dsn", dsn, "--duration", "2s", "--vectors", "200", "--clients", "4")
	if got.code != exitFailed || !strings.Contains(got.stderr, "requests failed") || !strings.Contains(got.stderr, "no more") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	if !strings.Contains(got.stdout, "insert burst") {
		t.Errorf("the report is missing:\n%s", got.stdout)
	}
}

// process is the command in a process of its own.
type process struct {
	cmd    *exec.Cmd
	lines  *bufio.Scanner // of stderr
	seen   strings.Builder
	stdout bytes.Buffer
}

func spawn(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], args...)}
	p.cmd.Env = append(os.Environ(), asCommand+"=1")
	p.cmd.Stdout = &p.stdout
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	overdue := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	t.Cleanup(func() {
		overdue.Stop()
		_ = p.cmd.Process.Kill()
	})
	p.lines = bufio.NewScanner(stderr)
	return p
}

// until reads stderr up to a line with a text in it; to its end for "".
func (p *process) until(t *testing.T, text string) {
	t.Helper()
	for p.lines.Scan() {
		p.seen.WriteString(p.lines.Text() + "\n")
		if text != "" && strings.Contains(p.lines.Text(), text) {
			return
		}
	}
	if text != "" {
		t.Fatalf("the command ended without saying %q:\n%s", text, p.seen.String())
	}
}

// interrupt ends the process with a signal, which comes several times as timeout(1)
// sends it, to the process and to its group, and checks how it ends.
func (p *process) interrupt(t *testing.T, sig os.Signal) {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for range 5 {
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		<-again.C
	}
	p.until(t, "")
	_ = p.cmd.Wait()
	if code := p.cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(p.seen.String(), "interrupted; nothing is left behind") || p.stdout.Len() > 0 {
		t.Errorf("exit %d, stdout %q, stderr:\n%s", code, p.stdout.String(), p.seen.String())
	}
}

func TestAnInterruptedDemoLeavesNothingInADatabase(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, vectors, at string
		sig               os.Signal
	}{
		{"in a rush", "1000", "phase 2 of 5", os.Interrupt},
		{"between begin and commit", "1000", "phase 3 of 5", syscall.SIGTERM},
		{"while loading", "50000", "PostgreSQL ", os.Interrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			dsn := pgtest.DSN(t)
			conn := connect(t, dsn)
			p := spawn(t, "demo", "--dsn", dsn, "--vectors", c.vectors, "--duration", "8s")
			p.until(t, c.at)
			p.interrupt(t, c.sig)
			nothingLeft(t, conn)
			hidesPassword(t, dsn, p.seen.String())
		})
	}
}

func TestAnInterruptedDemoLeavesNoServer(t *testing.T) {
	t.Parallel()
	if os.Getenv(pgtest.EnvDatabase) != "" {
		t.Skip("needs the demo's own server")
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("looks for processes in /proc")
	}
	p := spawn(t, "demo", "--vectors", "1000", "--duration", "8s")
	p.until(t, "phase 2 of 5")
	children := descendants(t, p.cmd.Process.Pid)
	if len(children) < 3 { // the guard, the postmaster, a backend
		t.Fatalf("found only %d processes of the server", len(children))
	}
	p.interrupt(t, os.Interrupt)
	for deadline := time.Now().Add(20 * time.Second); ; {
		alive := ""
		for pid, started := range children {
			if _, now := parentOf(pid); now == started {
				alive = pid
			}
		}
		if alive == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %s of the server is still there", alive)
		}
	}
}

// descendants are the processes below one, with the time they were started.
func descendants(t *testing.T, pid int) map[string]string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	below := map[string]string{}
	for grown := true; grown; {
		grown = false
		for _, e := range entries {
			parent, started := parentOf(e.Name())
			if started == "" || below[e.Name()] != "" || parent != fmt.Sprint(pid) && below[parent] == "" {
				continue
			}
			below[e.Name()], grown = started, true
		}
	}
	return below
}

// parentOf reads the parent and the start time of a process; "" if it is gone or
// only waits for its parent to notice its end.
func parentOf(pid string) (parent, started string) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return "", ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // after the name, which may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" {
		return "", ""
	}
	return fields[1], fields[19]
}
