package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/journal"
	"github.com/pgautotune/autotune/simulations/trace"
)

// liveJournal is the journal of a pool that many callers have used, in files of a
// size.
func liveJournal(t *testing.T, o journal.Options) (files []string) {
	t.Helper()
	f, err := journal.Open(filepath.Join(t.TempDir(), "journal.jsonl"), o)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := autotune.ParseConfig(pgtest.DSN(t) + "&pool_max_conns=4")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Journal, cfg.Interval, cfg.Ceiling, cfg.Budget = f, 100*time.Millisecond, 16, 16
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := autotune.NewWithConfig(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ask, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	const callers = 12
	for range callers {
		go func() {
			for ask.Err() == nil {
				_, _ = p.Exec(ask, "select pg_sleep(0.002)")
			}
			ended <- struct{}{}
		}()
	}
	for { // until there are enough decisions, one of which moved the limit
		var b []byte
		for _, path := range f.Files() {
			piece, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue // between the old name and the new: it is rotated just now
			}
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, piece...)
		}
		if bytes.Count(b, []byte("\n")) > 20 && (bytes.Contains(b, []byte(`"action":"grow"`)) || bytes.Contains(b, []byte(`"action":"shrink"`))) {
			break
		}
		if _, err := p.Exec(ctx, "select pg_sleep(0.02)"); err != nil {
			t.Fatalf("the tuner decides nothing: %v", err)
		}
	}
	stop()
	for range callers {
		<-ended
	}
	p.Close()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Files()
}

// Each piece of a rotated journal replays alone, and all do together.
func TestPiecesOfARotatedJournalReplayAloneAndTogether(t *testing.T) {
	t.Parallel()
	files := liveJournal(t, journal.Options{MaxBytes: 24 << 10, Keep: -1})
	if len(files) < 2 {
		t.Fatalf("the journal did not rotate: %q", files)
	}
	sum, later := int64(0), int64(0)
	for i, path := range files {
		if got := call(t, nil, "replay", path); got.code != exitDone && !strings.Contains(got.stderr, "no decisions in it") { // the last may be new
			t.Errorf("%s alone: exit %d: %s%s", path, got.code, got.stdout, got.stderr)
		} else if got.code == exitDone {
			n := decode[replayResult](t, call(t, nil, "replay", "--output", "json", path).stdout).Decisions
			if sum += n; i > 0 {
				later += n
			}
		}
	}
	reversed := slices.Clone(files)
	slices.Reverse(reversed)
	for name, order := range map[string][]string{"oldest first": files, "newest first": reversed, "without the first": files[1:]} {
		if len(order) < len(files) && later == 0 { // the second is the last, and new
			continue
		}
		all := decode[replayResult](t, call(t, nil, append([]string{"replay", "--output", "json"}, order...)...).stdout)
		if !all.Same || all.Tuners != 1 || len(order) == len(files) && all.Decisions != sum {
			t.Errorf("%s: %+v, alone they have %d decisions", name, all, sum)
		}
	}
}

func in80Columns(t *testing.T, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if utf8.RuneCountInString(line) > helpWidth && !strings.Contains(line, "/") { // but for paths
			t.Errorf("longer than %d: %s", helpWidth, line)
		}
	}
}

func TestAJournalOfALivePoolIsReplayedAskedAndRecorded(t *testing.T) {
	path := liveJournal(t, journal.Options{})[0]
	got := call(t, nil, "replay", path)
	if got.code != exitDone || got.stderr != "" || !strings.Contains(got.stdout, "every decision is the same, bit for bit") {
		t.Fatalf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	in80Columns(t, got.stdout)
	document := decode[replayResult](t, call(t, nil, "replay", path, "--output", "json").stdout)
	if document.Schema != "autotune.replay/v1" || !document.Same || document.Decisions < 20 || document.Tuners != 1 || document.WhatIf != nil {
		t.Errorf("%+v", document)
	}

	// Another configuration decides otherwise, and the answer is not no.
	got = call(t, nil, "replay", path, "--what-if", "ceiling=3", "--what-if", "budget=8", "--show", "2")
	t.Logf("\n%s", got.stdout)
	if got.code != exitDone || !strings.Contains(got.stdout, "ceiling were 3 instead of 16") || !strings.Contains(got.stdout, "The first of them:") || strings.Contains(got.stdout, "otherwise   0 of") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	in80Columns(t, got.stdout)
	document = decode[replayResult](t, call(t, nil, "replay", path, "--what-if", "ceiling=3", "--output", "json").stdout)
	if document.WhatIf == nil || document.WhatIf.Otherwise == 0 || document.WhatIf.Config[0] != (keyValue{"ceiling", "3", "16"}) {
		t.Errorf("%+v", document.WhatIf)
	}

	// A journal that was changed does not replay.
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	lines[9] = bytes.Replace(lines[9], []byte(`"decision":{"at":`), []byte(`"decision":{"at":1`), 1)
	changed := filepath.Join(t.TempDir(), "changed")
	if err := os.WriteFile(changed, bytes.Join(lines, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	got = call(t, nil, "replay", changed)
	if got.code != exitNo || got.stderr != "" || !strings.Contains(got.stdout, "1 of ") || !strings.Contains(got.stdout, ":10, at ") {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}

	// A crash cuts the last line off.
	if err := os.WriteFile(changed, whole[:len(whole)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	if got = call(t, nil, "replay", changed); got.code != exitDone || !strings.Contains(got.stdout, "cut off ") {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}

	// And it can be made a trace.
	out := filepath.Join(t.TempDir(), "t.csv.gz")
	if got = call(t, nil, "record", "--from", path, "-o", out); got.code != exitDone || !strings.Contains(got.stdout, "of kind intervals, from journal") {
		t.Fatalf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	arrived := 0.0
	for _, i := range intervalsOf(t, out) {
		arrived += i.Arrivals
	}
	if arrived < 50 {
		t.Errorf("%v arrivals", arrived)
	}
}

func intervalsOf(t *testing.T, path string) (all []trace.Interval) {
	t.Helper()
	r, err := trace.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var i trace.Interval
	for err = r.Interval(&i); err == nil; err = r.Interval(&i) {
		all = append(all, i)
	}
	if err.Error() != "EOF" {
		t.Fatal(err)
	}
	return all
}

func TestReplayAndRecordSayWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		args       []string
		code       int
		wrong, try string
	}{
		{"no journal", []string{"replay"}, exitUsage, "no journal given", "autotune replay JOURNAL"},
		{"no such journal", []string{"replay", filepath.Join(dir, "none")}, exitFailed, "none cannot be opened: no such file", ""},
		{"no journal in the file", []string{"replay", there}, exitFailed, "there:1: the line is not of a journal", ""},
		{"an unknown key", []string{"replay", "x", "--what-if", "cieling=5"}, exitUsage, `"cieling" is not a key`, "Did you mean ceiling?"},
		{"a key unlike any", []string{"replay", "x", "--what-if", "zzzzzzzzzz=5"}, exitUsage, "is not a key", "The keys are floor, ceiling"},
		{"no value", []string{"replay", "x", "--what-if", "ceiling"}, exitUsage, "not of the form key=value", "ceiling=20"},
		{"a bad value", []string{"replay", "x", "--what-if", "wait_objective=50"}, exitUsage, "it may be a duration", "replay --help"},
		{"a key twice", []string{"replay", "x", "--what-if", "ceiling=20", "--what-if", "ceiling=30"}, exitUsage, "ceiling is there twice", "each key once"},
		{"when looks were taken", []string{"replay", "x", "--what-if", "interval=5s"}, exitUsage, "the looks were taken when they were", "replay --help"},
		{"nowhere to write", []string{"record", "--from", there}, exitUsage, "where to write is not given", "-o trace.csv.gz"},
		{"no database", []string{"record", "-o", filepath.Join(dir, "x")}, exitUsage, "no database given", "DATABASE_URL"},
		{"too short an interval", []string{"record", "-o", "x", "--interval", "10ms"}, exitUsage, "the shortest is 1s", "lag"},
		{"a format without a file", []string{"record", "-o", "x", "--format", "csv"}, exitUsage, "none is given", "--from FILE"},
		{"a time for a file", []string{"record", "-o", "x", "--from", there, "--for", "1s"}, exitUsage, "--for is about a live database", "Leave it out"},
		{"a database and a file", []string{"record", "-o", "x", "--from", there, "--dsn", "postgres://h/d"}, exitUsage, "a database and --from", "Leave out"},
		{"a file that is there", []string{"record", "-o", there, "--from", there}, exitFailed, "exists already and is left as it is", ""},
		{"a file of nothing known", []string{"record", "-o", filepath.Join(dir, "x"), "--from", there}, exitFailed, "what this is cannot be told", ""},
		{"a bad connection string", []string{"record", "-o", filepath.Join(dir, "x"), "postgres://u:hunter2@h:notaport/d"}, exitUsage, "the connection string cannot be used", "record --help"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := call(t, nil, c.args...)
			if got.code != c.code || got.stdout != "" || !strings.Contains(got.stderr, c.wrong) || !strings.Contains(got.stderr, c.try) || strings.Contains(got.stderr, "hunter2") {
				t.Errorf("exit %d, %s", got.code, got.stderr)
			}
		})
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("files were left: %v", left)
	}
}
