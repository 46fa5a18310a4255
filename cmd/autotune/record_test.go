package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/pgstat"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/simulations/trace"
)

// busy keeps a connection of the given application busy until the test ends.
func busy(t *testing.T, dsn, application string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	conn, err := pgx.Connect(ctx, dsn+"&application_name="+application)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_, _ = conn.Exec(ctx, "select pg_sleep(0.02)")
		}
		_ = conn.Close(context.Background())
	}()
	t.Cleanup(func() { stop(); <-ended })
}

func TestALiveDatabaseIsRecordedAndAnInterruptionEndsTheTraceWell(t *testing.T) {
	dsn := pgtest.DSN(t)
	busy(t, dsn, "shop")
	busy(t, dsn, "other")
	out := filepath.Join(t.TempDir(), "t.csv.gz")
	var stdout, stderr bytes.Buffer
	ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
	defer interrupt()
	code := make(chan int)
	go func() {
		code <- run(ctx, []string{"record", dsn, "--interval", "1s", "-o", out}, func(string) (string, bool) { return "", false }, strings.NewReader(""), &stdout, &stderr)
	}()
	for rows := 0; rows < 2; { // each row is flushed
		select {
		case c := <-code:
			t.Fatalf("it ended by itself: %d, %s", c, stderr.String())
		case <-time.After(50 * time.Millisecond):
		}
		rows = flushed(out)
	}
	interrupt()
	if c := <-code; c != exitDone || stderr.Len() > 0 || !strings.Contains(stdout.String(), "from the live database") {
		t.Errorf("exit %d, %s%s", c, stdout.String(), stderr.String())
	}
	all := intervalsOf(t, out)
	if len(all) < 2 {
		t.Fatalf("%d rows", len(all))
	}
	rate := 0.0
	for _, i := range all {
		rate = max(rate, i.Rate)
		if i.Active+i.Idle < 1.5 || i.Active+i.Idle > 2.5 || i.Hidden != 0 || i.Dur < (time.Second-lookSeldom/2).Seconds()-0.001 {
			t.Errorf("two connections were recorded as %+v", i)
		}
	}
	if rate < 5 || rate > 150 { // two connections with 50/s each, on a slow machine
		t.Errorf("the rate is %v per second", rate)
	}
}

// What the environment says is for other commands too.
func TestARecordingOfAFileMindsNoDatabaseInTheEnvironment(t *testing.T) {
	env := map[string]string{"AUTOTUNE_DSN": "postgres://h/d", "AUTOTUNE_APPLICATION": "api", "AUTOTUNE_FOR": "1m"}
	log := writeFile(t, "pgbench.log", "0 1 500 0 1700000001 0\n0 2 500 0 1700000002 0\n")
	out := filepath.Join(t.TempDir(), "t.csv")
	if got := call(t, env, "record", "--from", log, "-o", out); got.code != exitDone {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	if got := call(t, env, "record", "--from", log, "--application", "api", "-o", out); got.code != exitUsage || !strings.Contains(got.stderr, "--application is about a live database") {
		t.Errorf("given on the command line: exit %d: %s", got.code, got.stderr)
	}
	if got := call(t, nil, "record", "--from", log, "--format", "nginx", "--columns", "a=b", "-o", out); got.code != exitUsage || !strings.Contains(got.stderr, "the format is nginx") {
		t.Errorf("a map for nginx: exit %d: %s", got.code, got.stderr)
	}
}

// flushed counts the rows of a trace that is being written.
func flushed(path string) (n int) {
	r, err := trace.Open(path)
	if err != nil {
		return 0
	}
	defer r.Close()
	for i := (trace.Interval{}); r.Interval(&i) == nil; n++ {
	}
	return n
}

// A service whose connection is in use for a few milliseconds of a second: one look
// a second would hardly ever find it so.
func TestAFastServiceIsRecordedWithItsServiceTime(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	ctx, stop := context.WithCancel(t.Context())
	conn, err := pgx.Connect(ctx, dsn+"&application_name=fast")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // 4 ms of work 50 times a second: in use a fifth of the time
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			_, _ = conn.Exec(ctx, "select pg_sleep(0.004) from (select 1 from pg_class limit 1) x") // the server counts a transaction late that reads no table
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		_ = conn.Close(context.Background())
	}()
	t.Cleanup(func() { stop(); <-ended })
	// 30 looks, of which 6 find it in use; a slow machine makes it longer, and one that
	// is busy otherwise looks so seldom that by chance none may find it.
	said := ""
	for range 5 {
		out := filepath.Join(t.TempDir(), "t.csv")
		if got := call(t, nil, "record", dsn, "--for", "3500ms", "--interval", "3s", "-o", out); got.code != exitDone {
			t.Fatalf("exit %d: %s%s", got.code, got.stdout, got.stderr)
		}
		all := intervalsOf(t, out)
		if len(all) == 0 {
			t.Fatal("no rows")
		}
		i := all[0]
		if i.ServiceMean > 0.5 && i.ServiceMean < 60 && i.Active <= 0.9 {
			return
		}
		said = fmt.Sprintf("recorded as %+v", i)
		if i.Active > 0 {
			break
		}
	}
	t.Error(said)
}

func TestARoleWithFewRightsRecordsWhatItMaySeeAndSaysWhatNot(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	ctx := t.Context()
	admin, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	if _, err := admin.Exec(ctx, "drop role if exists autotune_recorder; create role autotune_recorder login password 'weak-1'"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), dsn)
		if err == nil {
			_, err = conn.Exec(context.Background(), "drop role autotune_recorder")
			_ = conn.Close(context.Background())
		}
		if err != nil {
			t.Error(err)
		}
	})
	busy(t, dsn, "shop")
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("autotune_recorder", "weak-1")
	out := filepath.Join(t.TempDir(), "t.csv")
	got := call(t, map[string]string{"DATABASE_URL": u.String()}, "record", "--for", "2200ms", "--interval", "1s", "-o", out, "--output", "json")
	res := decode[recordResult](t, got.stdout)
	if got.code != exitDone || res.Schema != "autotune.record/v1" || res.Rows < 1 || !strings.Contains(got.stderr, "GRANT pg_read_all_stats") {
		t.Fatalf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	text, err := os.ReadFile(out)
	if err != nil || strings.Contains(string(text), "weak-1") || strings.Contains(got.stdout+got.stderr, "weak-1") {
		t.Fatalf("%v, or the password is in it", err)
	}
	for _, i := range intervalsOf(t, out) {
		if i.Hidden+i.Others < 1 || i.Active >= 0 || i.ServiceMean >= 0 {
			t.Errorf("what is hidden was taken for known: %+v", i)
		}
	}

	narrow := filepath.Join(t.TempDir(), "narrow.csv")
	got = call(t, nil, "record", dsn, "--application", "shop", "--for", "1200ms", "--interval", "1s", "-o", narrow)
	if got.code != exitDone || !strings.Contains(got.stdout, "these filters rate_rps") {
		t.Fatalf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	for _, i := range intervalsOf(t, narrow) {
		if i.Active+i.Idle != 1 || i.Rate >= 0 {
			t.Errorf("one connection of the application was recorded as %+v", i)
		}
	}
	in80Columns(t, got.stdout)
}

// Looks are transactions of the database in which they are made; one that is only
// starting is not hidden.
func TestARecordingTakesOffItsOwnTransactionsOnlyWhereTheyAre(t *testing.T) {
	for elsewhere, want := range map[bool]float64{false: 90, true: 100} {
		out := filepath.Join(t.TempDir(), "t.csv")
		w, err := trace.Create(out, trace.Header{Version: trace.Version, Kind: trace.Intervals, ServiceKind: trace.Observed}, liveColumns...)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		r := recording{w: w, elsewhere: elsewhere, start: start, begun: start}
		last := pgstat.Activity{Transactions: 100, Ours: pgstat.Backends{OnCPU: 2, Unknown: 1}}
		for range 10 {
			r.look(last)
		}
		if err := r.end(last, start.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		last.Hidden, last.Transactions = 1, 200
		r.look(last)
		if err := errors.Join(r.end(last, start.Add(2*time.Second)), w.Close()); err != nil {
			t.Fatal(err)
		}
		all := intervalsOf(t, out)
		if len(all) != 2 || all[0].Rate != want || all[0].Active != 2 || !math.IsNaN(all[1].Active) {
			t.Errorf("elsewhere %t: %+v", elsewhere, all)
		}
	}
}
