package replay

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/trace"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// journal is what a tuner would write on a server that serves 100 queries per
// second and connection up to 8 connections, while 40 callers ask in turn.
func journal(t testing.TB, looks int, begin time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	cfg := controller.Config{Floor: 1, Ceiling: 64, Budget: 64, Users: 100, Interval: time.Second}
	write := func(v any) {
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	write(Header{Version: Version, Start: begin, Config: cfg})
	var (
		state controller.State
		c     controller.Counters
		d     controller.Decision
	)
	limit, size, at, callers := 4, 4, time.Duration(0), 40
	for range looks {
		step := time.Second
		if d.Next > 0 {
			step = d.Next
		}
		at += step
		inUse := min(limit, callers)
		n := int64(100 * float64(min(inUse, 8)) * step.Seconds())
		c.Arrivals, c.Completions, c.Waited = c.Arrivals+n, c.Completions+n, c.Waited+n
		if c.Arrivals == n {
			c.Arrivals += int64(callers)
		}
		c.ServiceTime += time.Duration(inUse) * step
		c.InUseTime += time.Duration(inUse) * step
		c.SaturatedTime += step
		c.WaitTime += time.Duration(callers-inUse) * step
		o := controller.Observation{At: at, Counters: c,
			Gauges: controller.Gauges{Limit: limit, Max: size, InUse: inUse, Queued: callers - inUse, Budget: 64, Peak: callers},
			Server: &controller.Server{MaxConnections: 100, Reserved: 3, Cores: 8, Ours: controller.Backends{OnCPU: inUse}}}
		state, d = controller.Step(cfg, state, o)
		write(Entry{o, d})
		limit, size = d.Limit, d.Max
	}
	return b.Bytes()
}

func file(name string, content []byte) File {
	return File{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}
}

func run(t testing.TB, o Options, files ...File) (Result, error) {
	t.Helper()
	if o.Keep == 0 {
		o.Keep = 5
	}
	return Run(NewReader(files...), o)
}

func lines(b []byte) [][]byte { return bytes.SplitAfter(b, []byte("\n")) }

func TestAJournalReplaysToTheSameDecisions(t *testing.T) {
	res, err := run(t, Options{}, file("j", journal(t, 400, start)))
	if err != nil || res.Looks != 400 || res.Different != 0 || res.Tuners != 1 {
		t.Fatalf("%v: %+v", err, res)
	}
	if res.Recorded.Changes == 0 || res.Recorded.LastLimit == 4 || res.Span < 20*time.Second {
		t.Errorf("nothing happened in it: %+v over %v", res.Recorded, res.Span)
	}
}

func TestAChangedDecisionAndAChangedObservationAreFound(t *testing.T) {
	good := journal(t, 200, start)
	all := lines(good)
	for name, change := range map[string]func([]byte) []byte{
		"limit":   func(l []byte) []byte { return bytes.Replace(l, []byte(`"limit":`), []byte(`"limit":1`), 2) },
		"counter": func(l []byte) []byte { return bytes.Replace(l, []byte(`"completions":`), []byte(`"completions":9`), 1) },
	} {
		changed := bytes.Join([][]byte{bytes.Join(all[:50], nil), change(bytes.Clone(all[50])), bytes.Join(all[51:], nil)}, nil)
		res, err := run(t, Options{}, file("j", changed))
		if err != nil || res.Different == 0 || len(res.Differences) == 0 || res.Differences[0].Line != 51 || len(res.Differences[0].Fields) == 0 {
			t.Errorf("%s: %v, %+v", name, err, res)
		}
		if len(res.Differences) > 5 {
			t.Errorf("%d differences kept", len(res.Differences))
		}
	}
}

// What a field that is not known said of the decisions, nobody can tell.
func TestAFieldOfAnotherVersionIsADifference(t *testing.T) {
	good := string(journal(t, 20, start))
	for _, c := range []struct{ name, old, new, field string }{
		{"decision", `"decision":{`, `"decision":{"mood":"calm",`, "mood"},
		{"observation", `{"observation":{`, `{"observation":{"weather":{"rain":true},`, "weather"},
		{"line", `{"observation":`, `{"by":"hand","observation":`, "by"},
		{"configuration", `"config":{`, `"config":{"zeal":9,`, "zeal"},
		{"header", `{"autotune_journal":1,`, `{"autotune_journal":1,"host":"a",`, "host"},
	} {
		res, err := run(t, Options{}, file("j", []byte(strings.Replace(good, c.old, c.new, 1))))
		if err != nil || res.Looks != 20 || res.Different != 1 || res.Differences[0].Line != 2 || res.Differences[0].Fields[0].Name != c.field {
			t.Errorf("%s: %v, %+v", c.name, err, res)
		}
	}
}

func TestPiecesOfARotatedJournalAreOneTuner(t *testing.T) {
	whole := journal(t, 90, start)
	all := lines(whole)
	header := string(all[0])
	first, second := bytes.Join(all[:40], nil), bytes.Join(all[40:], nil)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(first)
	_ = z.Close()
	for name, files := range map[string][]File{
		"without a header":            {file("a", first), file("b", second)},
		"with its header again":       {file("a", first), file("b", append([]byte(header), second...))},
		"in one file":                 {file("a", append(append(bytes.Clone(first), header...), second...))},
		"gzipped, as rotators do":     {file("a", zipped.Bytes()), file("b", second)},
		"with an empty piece":         {file("a", nil), file("b", first), file("c", second)},
		"with blank lines in between": {file("a", append(bytes.Clone(first), "\n\n"...)), file("b", second)},
	} {
		res, err := run(t, Options{}, files...)
		if err != nil || res.Tuners != 1 || res.Looks != 90 || res.Different != 0 {
			t.Errorf("%s: %v, %d tuners, %d looks, %d different", name, err, res.Tuners, res.Looks, res.Different)
		}
	}
}

// rotated cuts a journal into pieces as a tuner does that rotates by itself: each
// begins with the memory of that moment.
func rotated(t testing.TB, whole []byte, at ...int) (pieces [][]byte) {
	t.Helper()
	all := lines(whole)
	var h Header
	if err := json.Unmarshal(all[0], &h); err != nil {
		t.Fatal(err)
	}
	var state controller.State
	piece := bytes.Clone(all[0])
	for i, line := range all[1 : len(all)-1] {
		if len(at) > 0 && i == at[0] {
			h.State, at = &state, at[1:]
			header, err := json.Marshal(h)
			if err != nil {
				t.Fatal(err)
			}
			pieces, piece = append(pieces, piece), append(header, '\n')
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		state, _ = controller.Step(h.Config, state, e.Observation)
		piece = append(piece, line...)
	}
	return append(pieces, piece)
}

func TestAPieceWithTheMemoryInItsHeaderReplaysAlone(t *testing.T) {
	pieces := rotated(t, journal(t, 90, start), 7, 40, 41)
	named := func(of ...int) (files []File) {
		for _, i := range of {
			files = append(files, file(string(rune('a'+i)), pieces[i]))
		}
		return files
	}
	for _, c := range []struct {
		name  string
		files []File
		looks int64
	}{
		{"the first", named(0), 7},
		{"the second", named(1), 33},
		{"the last", named(3), 49},
		{"all", named(0, 1, 2, 3), 90},
		{"one missing in between", named(0, 1, 3), 89},
		{"the first missing", named(1, 2, 3), 83},
		{"the newest first", named(3, 2, 1, 0), 90},
	} {
		for name, o := range map[string]Options{"": {}, ", what if nothing": {WhatIf: func(*controller.Config) {}}} {
			res, err := run(t, o, c.files...)
			if err != nil || res.Tuners != 1 || res.Looks != c.looks || res.Different != 0 || res.Otherwise != 0 || res.Reasons != 0 {
				t.Errorf("%s%s: %v, %+v", c.name, name, err, res)
			}
		}
	}
	// Without its memory, a piece is that of another tuner.
	var h map[string]json.RawMessage
	header, rest, _ := bytes.Cut(pieces[3], []byte("\n"))
	if err := json.Unmarshal(header, &h); err != nil {
		t.Fatal(err)
	}
	delete(h, "state")
	bare, _ := json.Marshal(h)
	if res, err := run(t, Options{}, file("j", append(append(bare, '\n'), rest...))); err != nil || res.Different == 0 {
		t.Errorf("without the memory: %v, %+v", err, res)
	}
	// A memory that was changed is found even where no decision differs for it.
	wrong := bytes.Replace(pieces[2], []byte(`"SeenAt":`), []byte(`"SeenAt":1`), 1)
	if res, err := run(t, Options{}, append(named(0, 1), file("x", wrong))...); err != nil || res.Different == 0 || res.Differences[0].Fields[0].Name != "memory in the header" {
		t.Errorf("a changed memory: %v, %+v", err, res.Differences)
	}
}

func TestATunerThatStartsAgainBeginsAfresh(t *testing.T) {
	again := append(journal(t, 30, start), journal(t, 20, start.Add(time.Hour))...)
	res, err := run(t, Options{}, file("j", again))
	if err != nil || res.Tuners != 2 || res.Looks != 50 || res.Different != 0 {
		t.Errorf("%v: %+v", err, res)
	}
}

func TestALineThatACrashCutOffIsToleratedAndSaid(t *testing.T) {
	whole := journal(t, 30, start)
	cut := whole[:len(whole)-100]
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(whole)
	_ = z.Flush() // and never closed
	for name, c := range map[string]struct {
		content []byte
		looks   int64
		tuners  int
	}{
		"at the end":                {cut, 29, 1},
		"and another tuner follows": {append(bytes.Clone(cut), journal(t, 10, start.Add(time.Hour))...), 39, 2},
		"in a gzip":                 {zipped.Bytes(), 30, 1},
		"but its end of line":       {whole[:len(whole)-1], 30, 1},
	} {
		res, err := run(t, Options{}, file("j", c.content))
		said := len(res.Truncated) == 1 && strings.HasPrefix(res.Truncated[0], "j:")
		if want := name != "but its end of line"; err != nil || res.Looks != c.looks || res.Tuners != c.tuners || res.Different != 0 || said != want {
			t.Errorf("%s: %v, %+v", name, err, res)
		}
	}
}

func TestWhatIsNoJournalSaysWhere(t *testing.T) {
	good := string(journal(t, 3, start))
	second := string(lines([]byte(good))[1])
	for _, c := range []struct{ text, want string }{
		{"", "no decisions in it"},
		{strings.SplitAfter(good, "\n")[0], "no decisions in it"},
		{"hello\n", "j:1: the line is not of a journal"},
		{`{"a":1}` + "\n", "j:1: the line is not of a journal: it has no observation"},
		{second, "j:1: the journal does not begin with its header; if it was rotated, give the pieces before"},
		{`{"autotune_journal":2}` + "\n", "j:1: the journal is of version 2; this program reads version 1"},
		{`{"autotune_journal":1,"start":"never"}` + "\n", "j:1: the header of the journal cannot be read"},
		{good + "garbage\n" + good, "j:5: the line is not of a journal"},
		{strings.Repeat("x", maxLine+1), "longer than 1048576 bytes"},
		{"\x1f\x8bxx", "begins like gzip, but is not"},
	} {
		if _, err := run(t, Options{}, file("j", []byte(c.text))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v, want %q", c.text, err, c.want)
		}
	}
	if _, err := run(t, Options{}, Files(nil, filepath.Join(t.TempDir(), "none"))...); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestWhatIfShowsWhereAnotherConfigurationDecidesOtherwise(t *testing.T) {
	j := file("j", journal(t, 300, start))
	same, err := run(t, Options{WhatIf: func(*controller.Config) {}}, j)
	if err != nil || same.Otherwise != 0 || same.Reasons != 0 || same.Recorded != same.WhatIf {
		t.Errorf("the same configuration: %v, %+v", err, same)
	}
	var bad error
	lower, err := run(t, Options{WhatIf: func(c *controller.Config) { bad = Set(c, "ceiling", "6") }}, j)
	if err != nil || bad != nil || lower.Different != 0 || lower.Otherwise == 0 || len(lower.Others) == 0 {
		t.Fatalf("ceiling 6: %v, %v, %+v", err, bad, lower)
	}
	for _, d := range lower.Others {
		if d.Replayed.Limit > 6 {
			t.Errorf("limit %d above the ceiling", d.Replayed.Limit)
		}
	}
	for _, c := range []string{"floor=65", "budget=5", "floor=0"} {
		key, value, _ := strings.Cut(c, "=")
		if _, err := run(t, Options{WhatIf: func(c *controller.Config) { _ = Set(c, key, value) }}, j); err == nil || !strings.Contains(err.Error(), "cannot be") {
			t.Errorf("%s: %v", c, err)
		}
	}
}

func TestEveryKeyOfTheConfigurationCanBeSet(t *testing.T) {
	values := map[string]string{"fixed_size": "true", "guideline": "true", "objective": "latency", "wait_objective": "50ms"}
	if n := reflect.TypeFor[controller.Config]().NumField(); len(Keys()) != n-1 {
		t.Errorf("of %d fields the keys %v", n, Keys())
	}
	if err := Set(&controller.Config{}, "interval", "2s"); err == nil || !strings.Contains(err.Error(), "the looks were taken when they were") {
		t.Errorf("when the looks were taken: %v", err)
	}
	for _, k := range Keys() {
		value := values[k]
		if value == "" {
			value = "7"
		}
		var c, zero controller.Config
		if err := Set(&c, k, value); err != nil || c == zero || Get(c, k) != value {
			t.Errorf("%s=%s: %v, %+v reads %q", k, value, err, c, Get(c, k))
		}
		if err := Set(&c, k, "nonsense"); err == nil || !strings.Contains(err.Error(), `is "nonsense"; it may be`) {
			t.Errorf("%s=nonsense: %v", k, err)
		}
	}
	var unknown *UnknownKeyError
	if err := Set(&controller.Config{}, "cieling", "7"); !errors.As(err, &unknown) {
		t.Error(err)
	}
}

func FuzzReader(f *testing.F) {
	small := journal(f, 2, start)
	f.Add(small)
	f.Add(bytes.Join(rotated(f, journal(f, 12, start), 5), nil))
	f.Add(small[:len(small)-9])
	f.Add(append(bytes.Clone(small[:len(small)-9]), small...))
	f.Add([]byte(`{"autotune_journal":1}` + "\n" + `{"observation":{},"decision":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := run(t, Options{WhatIf: func(c *controller.Config) { c.Users = 7 }}, file("j", b))
		var at *trace.Error
		if err != nil && !errors.As(err, &at) && !strings.Contains(err.Error(), "no decisions") && !strings.Contains(err.Error(), "what if") {
			t.Fatalf("an error without a place: %v", err)
		}
	})
}
