package journal_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/await"
	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/journal"
)

func TestMain(m *testing.M) { pgtest.Main(m, pgtest.Options{}) }

var _ autotune.JournalRotator = (*journal.File)(nil)

// patience bounds every wait.
const patience = 30 * time.Second

func TestEachFileOfARotatedJournalReplaysByItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	file, err := journal.Open(path, journal.Options{MaxBytes: 24 << 10, Keep: -1})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := autotune.ParseConfig(pgtest.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Interval, cfg.Journal, cfg.Start, cfg.Ceiling = 100*time.Millisecond, file, 4, 16
	pool, err := autotune.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()

	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	var work sync.WaitGroup
	for range 24 {
		work.Go(func() {
			for ctx.Err() == nil {
				_, _ = pool.Exec(ctx, "select pg_sleep(0.002)") // ends with ctx
			}
		})
	}
	await.Until(t, patience, func() string { // in the middle of learning, too
		moved := 0
		for v, n := range pool.Snapshot().Decisions {
			if v.Action == controller.Grow || v.Action == controller.Shrink {
				moved += int(n)
			}
		}
		if files := len(file.Files()); moved == 0 || files < 4 {
			return fmt.Sprintf("%d files, and %d moves", files, moved)
		}
		return ""
	})
	stop()
	work.Wait()
	pool.Close()
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}

	var last time.Duration
	for i, path := range file.Files() {
		h, decisions := replay(t, path)
		if (i == 0) != (h.State == nil) {
			t.Errorf("file %d has the state %v in its header: the first one begins with none, every other one with one", i, h.State)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 64<<10 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has %d bytes and mode %s", path, info.Size(), info.Mode())
		}
		for _, d := range decisions {
			if d.At <= last {
				t.Errorf("file %d goes back in time, from %s to %s", i, last, d.At)
			}
			last = d.At
		}
		t.Logf("%s: %d decisions, %d bytes", filepath.Base(path), len(decisions), info.Size())
	}
}

type header struct {
	Version int               `json:"autotune_journal"`
	Config  controller.Config `json:"config"`
	State   *controller.State `json:"state"`
}

// replay gives the observations of a file to the controller and fails if it
// decides otherwise.
func replay(t *testing.T, path string) (h header, decisions []controller.Decision) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		t.Fatalf("%s is empty", path)
	}
	if err := json.Unmarshal(lines.Bytes(), &h); err != nil || h.Version != 1 {
		t.Fatalf("%s begins with %s: %v", path, lines.Bytes(), err)
	}
	var state controller.State
	if h.State != nil {
		state = *h.State
	}
	for lines.Scan() {
		var entry struct {
			Observation controller.Observation `json:"observation"`
			Decision    controller.Decision    `json:"decision"`
		}
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		var d controller.Decision
		if state, d = controller.Step(h.Config, state, entry.Observation); !reflect.DeepEqual(d, entry.Decision) {
			t.Fatalf("%s: decision %d differs in the replay:\n%+v\n%+v", path, len(decisions), entry.Decision, d)
		}
		decisions = append(decisions, d)
	}
	return h, decisions
}

// What a header does not hold, a replay does not know.
func TestAHeaderHoldsAllThatTheControllerRemembers(t *testing.T) {
	var check func(reflect.Type, string)
	check = func(typ reflect.Type, path string) {
		switch typ.Kind() {
		case reflect.Struct:
			for i := range typ.NumField() {
				f := typ.Field(i)
				if !f.IsExported() && !f.Anonymous || strings.HasPrefix(f.Tag.Get("json"), "-") {
					t.Errorf("%s.%s is not written to JSON", path, f.Name)
				}
				check(f.Type, path+"."+f.Name)
			}
		case reflect.Array:
			check(typ.Elem(), path+"[]")
		case reflect.Chan, reflect.Func, reflect.Interface, reflect.Map, reflect.Pointer, reflect.Slice, reflect.UnsafePointer:
			t.Errorf("%s is a %s: a copy of the state would share it", path, typ)
		}
	}
	check(reflect.TypeFor[controller.State](), "State")
}

func TestOnlyTheNewestFilesOfAJournalAreKept(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "a.b [1]*.jsonl")
	foreign := []string{"a.b [1]*-notes.jsonl", "a.b [1]*-20060102T150405.000000000Z.txt", "other-20060102T150405.000000000Z.jsonl"}
	for _, name := range append(foreign, filepath.Base(path)) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("from before\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := journal.Open(path, journal.Options{MaxBytes: 4 << 10, Keep: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if files := f.Files(); len(files) != 2 || read(t, files[0]) != "from before\n" || read(t, path) != "" {
		t.Errorf("after Open: %q", files)
	}
	line := strings.Repeat("x", 2047) + "\n"
	for i := range 10 { // 5 files of two lines
		if _, err := f.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		begun, err := f.Rotate()
		if err != nil || begun != (i%2 == 1) {
			t.Errorf("after line %d: begun %v, %v", i, begun, err)
		}
	}
	files := f.Files()
	if len(files) != 3 || read(t, files[0]) != line+line || read(t, files[1]) != line+line || read(t, files[2]) != "" {
		t.Errorf("the journal is %q", files)
	}
	for _, name := range foreign {
		if read(t, filepath.Join(folder, name)) != "from before\n" {
			t.Errorf("%s, which is none of the journal's, was touched", name)
		}
	}
	if all, _ := os.ReadDir(folder); len(all) != 3+len(foreign) {
		t.Errorf("the folder holds %v", all)
	}
}

// A service in a loop of crashes begins a file each time, with hardly more than a header.
func TestSmallFilesDoNotPushOutLargeOnes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	begin := func(content string) *journal.File {
		f, err := journal.Open(path, journal.Options{MaxBytes: 4 << 10, Keep: 3})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return f
	}
	incident := strings.Repeat("x", 4095) + "\n"
	begin(incident)
	var f *journal.File
	for range 10 {
		f = begin("header\n")
	}
	if files := f.Files(); len(files) != 11 || read(t, files[0]) != incident {
		t.Errorf("%d files, the first of %d bytes", len(files), len(read(t, files[0])))
	}
	for range 200 {
		f = begin("header\n")
	}
	if n := len(f.Files()); n != 61 {
		t.Errorf("%d files after 211", n)
	}
}

func TestAJournalThatCannotBeKeptSaysWhatToDo(t *testing.T) {
	if _, err := journal.Open(filepath.Join(t.TempDir(), "none", "j"), journal.Options{}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "folder that exists") {
		t.Errorf("in a folder that does not exist: %v", err)
	}
	if _, err := journal.Open(filepath.Join(t.TempDir(), "j"), journal.Options{MaxBytes: 100}); err == nil || !strings.Contains(err.Error(), "at least 4096") {
		t.Errorf("of 100 bytes: %v", err)
	}
	folder := t.TempDir()
	if _, err := journal.Open(folder, journal.Options{}); err == nil || !strings.Contains(err.Error(), "is a folder; name a file in it") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := os.Stat(folder); err != nil {
		t.Errorf("the folder: %v", err)
	}
	f, err := journal.Open(filepath.Join(t.TempDir(), "j"), journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	if _, err := f.Write([]byte("late")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if begun, err := f.Rotate(); begun || err != nil {
		t.Errorf("after Close: %v, %v", begun, err)
	}
}

func TestManyMayWriteAtOnce(t *testing.T) {
	f, err := journal.Open(filepath.Join(t.TempDir(), "j"), journal.Options{MaxBytes: 4 << 10, Keep: -1})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 200 {
				if _, err := fmt.Fprintf(f, "%d %d %s\n", i, j, strings.Repeat("-", 50)); err != nil {
					t.Error(err)
				}
				if _, err := f.Rotate(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, path := range f.Files() {
		lines = append(lines, strings.Fields(strings.ReplaceAll(read(t, path), strings.Repeat("-", 50), ";"))...)
	}
	slices.Sort(lines)
	if n := len(lines); n != 3*8*200 {
		t.Errorf("%d words arrived, not %d", n, 3*8*200)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
