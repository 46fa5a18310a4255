package trace

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func read(t testing.TB, text string) ([]Event, error) {
	t.Helper()
	r, err := NewReader(strings.NewReader(text), "x.csv")
	if err != nil {
		return nil, err
	}
	var all []Event
	for {
		var e Event
		if err := r.Event(&e); err == io.EOF {
			return all, nil
		} else if err != nil {
			return all, err
		}
		all = append(all, e)
	}
}

func event(t float64, change func(*Event)) Event {
	e := UnknownEvent()
	e.T = t
	if change != nil {
		change(&e)
	}
	return e
}

// same compares rows in which NaN equals NaN.
func same(a, b any) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }

const eventsHeader = `#autotune-trace {"version":1,"kind":"events"}` + "\n"

func TestTheSameRowsAreReadFromCSVAndJSONLinesPlainAndGzipped(t *testing.T) {
	want := []Event{
		event(0, nil),
		event(0.5, func(e *Event) { e.Service, e.Class, e.Pool = 2.25, "a,b \"c\"", "p" }),
		event(7, func(e *Event) { e.Status = "ok" }),
	}
	csv := eventsHeader + "future,t_s,service_ms,class,pool,status\nx,0,,,,\n,0.5,2.25,\"a,b \"\"c\"\"\",p,\r\n\ny,7,,,,ok"
	json := eventsHeader + `{"t_s":0,"future":[1,{"a":2}]}` + "\n" + `{"t_s":0.5,"service_ms":2.25,"class":"a,b \"c\"","pool":"p","cost":null}` + "\n" + `{"t_s":7,"status":"ok"}`
	for name, text := range map[string]string{"CSV": csv, "JSON lines": json, "with a byte order mark": "\ufeff" + csv} {
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
		for _, form := range []string{text, zipped.String()} {
			got, err := read(t, form)
			if err != nil || !same(got, want) {
				t.Errorf("%s: %v\n got %+v\nwant %+v", name, err, got, want)
			}
		}
	}
}

func TestEveryHeaderKeyIsReadAndWritten(t *testing.T) {
	no := false
	want := Header{Version: 1, Kind: Intervals, T0: "noon", QuantumS: 0.25, ServiceKind: Observed, OpenLoop: &no,
		SampleRate: 0.1, PoolMax: 10, Source: "s", Licence: "MIT", Note: "n"}
	var b bytes.Buffer
	w, err := NewWriter(&b, want, Form{})
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"version", "kind", "t0", "quantum_s", "service_kind", "open_loop", "sample_rate", "pool_max_per_pool", "source", "licence", "note"} {
		if !strings.Contains(b.String(), `"`+key+`":`) {
			t.Errorf("%s is not in %s", key, b.String())
		}
	}
	r, err := NewReader(&b, "x")
	if err != nil || !reflect.DeepEqual(r.Header(), want) {
		t.Errorf("%v: %+v", err, r.Header())
	}
}

func TestAnErrorSaysFileLineAndReason(t *testing.T) {
	rows := eventsHeader + "t_s,service_ms,class\n0,1,a\n"
	for _, c := range []struct{ text, want string }{
		{"", "x.csv: the file is empty"},
		{"t_s,a\n1,2\n", "x.csv:1: this is not a trace: its first line does not begin with \"#autotune-trace\"; autotune record --from converts"},
		{"#autotune-trace {", "x.csv:1: the header is not a JSON object"},
		{`#autotune-trace {"version":2,"kind":"events"}`, "x.csv:1: the header says version 2"},
		{`#autotune-trace {"version":1,"kind":"even"}`, `x.csv:1: the header says kind "even"`},
		{`#autotune-trace {"version":1,"kind":"events","service_kind":"x"}`, `service_kind "x"`},
		{`#autotune-trace {"version":1,"kind":"events","quantum_s":-1}`, `quantum_s -1`},
		{`#autotune-trace {"version":1,"kind":"events","sample_rate":7}`, `sample_rate 7`},
		{`#autotune-trace {"version":1,"kind":"events","pool_max_per_pool":-7}`, `pool_max_per_pool -7`},
		{`#autotune-trace {"version":1,"kind":"capacity"}` + "\nt_s\n1\n", "x.csv:2: this is a trace of kind capacity; events are needed here"},
		{eventsHeader + "service_ms\n1\n", "x.csv:2: there is no column t_s"},
		{eventsHeader + "t_s,a,a\n", `x.csv:2: the column "a" is there twice`},
		{eventsHeader + "t_s" + strings.Repeat(",", 2) + "\n", `the column "" is there twice`},
		{rows + "x,1,a\n", `x.csv:4: t_s is "x", which is not a finite number`},
		{rows + "1,NaN,a\n", `service_ms is "NaN"`},
		{rows + "1,1e999,a\n", `service_ms is "1e999"`},
		{rows + "1, ,a\n", `service_ms is blank`},
		{rows + ",1,a\n", `x.csv:4: t_s is empty`},
		{rows + "1,-1,a\n", `service_ms is -1; it cannot be negative`},
		{rows + "5,1,a\n4,1,a\n", "x.csv:5: t_s is 4, before the 5 of the row above"},
		{rows + "1,1\n", "x.csv:4: the row has 2 fields, and there are 3 columns"},
		{rows + "1,1,a,b\n", "x.csv:4: the row has more fields than the 3 columns"},
		{rows + "1,1,\"a\n", "x.csv:4: a quote is not closed"},
		{rows + "1,1," + strings.Repeat("a", MaxLine), "x.csv:4: the line is longer than 65536 bytes"},
		{eventsHeader + `{"t_s":0}` + "\n{\n", "x.csv:3: the line is not a JSON object"},
		{eventsHeader + `{"t_s":"0"}` + "\n", `x.csv:2: t_s is "\"0\"", which is not a finite number`},
		{eventsHeader + `{"t_s":0,"class":1}` + "\n", `x.csv:2: class is "1", which is not a text`},
	} {
		_, err := read(t, c.text)
		var at *Error
		if err == nil || !errors.As(err, &at) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("of %.90q:\n got %v\nwant %v", c.text, err, c.want)
		}
	}
}

func TestATruncatedGzipSaysSoAndLosesNoRowBeforeIt(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b, Header{Version: 1, Kind: Events}, Form{Columns: []string{"t_s"}, Gzip: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		e := event(float64(i), nil)
		if err := w.Event(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	flushed := b.Len()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := read(t, b.String()[:flushed])
	if len(got) != 1000 || err == nil || !strings.Contains(err.Error(), "x.csv:1003: the gzip stream ends early: the file is truncated") {
		t.Errorf("%d rows, %v", len(got), err)
	}
	if _, err := read(t, "\x1f\x8bnonsense"); err == nil || !strings.Contains(err.Error(), "it begins like gzip, but is not") {
		t.Error(err)
	}
	damaged := bytes.Clone(b.Bytes())
	damaged[len(damaged)-6] ^= 0xff
	if _, err := read(t, string(damaged)); err == nil || !strings.Contains(err.Error(), "the gzip stream is damaged") {
		t.Error(err)
	}
}

func TestAReaderStaysAtItsFirstError(t *testing.T) {
	r, err := NewReader(strings.NewReader(eventsHeader+"t_s\n1\nx\n2\n"), "x.csv")
	if err != nil {
		t.Fatal(err)
	}
	var e Event
	if err := r.Event(&e); err != nil {
		t.Fatal(err)
	}
	first := r.Event(&e)
	if second := r.Event(&e); first == nil || second != first {
		t.Errorf("%v, then %v", first, second)
	}
}

func TestIntervalsGiveTheRateFromArrivalsAndTheOtherKindsRead(t *testing.T) {
	r, err := NewReader(strings.NewReader(`#autotune-trace {"version":1,"kind":"intervals"}`+"\nt_s,dur_s,arrivals\n0,10,25\n10,,\n"), "x")
	if err != nil {
		t.Fatal(err)
	}
	var i Interval
	if err := r.Interval(&i); err != nil || i.Rate != 2.5 {
		t.Errorf("%v: %+v", err, i)
	}
	if err := r.Interval(&i); err != nil || !math.IsNaN(i.Rate) {
		t.Errorf("%v: %+v", err, i)
	}
	r, err = NewReader(strings.NewReader(`#autotune-trace {"version":1,"kind":"capacity"}`+"\n"+`{"t_s":3,"capacity_factor":0.5,"cliff_n":64}`), "x")
	if err != nil {
		t.Fatal(err)
	}
	c, want := Capacity{}, UnknownCapacity()
	want.T, want.Factor, want.CliffN = 3, 0.5, 64
	if err := r.Capacity(&c); err != nil || !same(c, want) {
		t.Errorf("%v: %+v", err, c)
	}
}

func TestWhatIsWrittenReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Float64Range(0, 1e300), rapid.Just(math.NaN()), rapid.Map(rapid.IntRange(0, 1e9), func(i int) float64 { return float64(i) / 1000 }))
		text := rapid.StringMatching(`[ -~é]{0,12}`)
		form := Form{JSON: rapid.Bool().Draw(t, "json"), Gzip: rapid.Bool().Draw(t, "gzip")}
		var b bytes.Buffer
		w, err := NewWriter(&b, Header{Version: 1, Kind: Events}, form)
		if err != nil {
			t.Fatal(err)
		}
		var want []Event
		at := 0.0
		for range rapid.IntRange(0, 20).Draw(t, "rows") {
			at += rapid.Float64Range(0, 1e6).Draw(t, "gap")
			e := UnknownEvent()
			e.T, e.Service, e.Cost, e.Weight = at, number.Draw(t, "service"), number.Draw(t, "cost"), number.Draw(t, "weight")
			e.Class, e.Session = text.Draw(t, "class"), text.Draw(t, "session")
			if err := w.Event(&e); err != nil {
				t.Fatal(err)
			}
			want = append(want, e)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := NewReader(&b, "x")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range want {
			var got Event
			if err := r.Event(&got); err != nil || !same(got, e) {
				t.Fatalf("%v:\n got %+v\nwant %+v", err, got, e)
			}
		}
		if err := r.Event(&Event{}); err != io.EOF {
			t.Fatal(err)
		}
	})
}

func TestAWriterRefusesWhatAReaderWould(t *testing.T) {
	w, err := NewWriter(io.Discard, Header{Version: 1, Kind: Events}, Form{})
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]Event{
		"negative": event(-1, nil),
		"infinite": event(0, func(e *Event) { e.Service = math.Inf(1) }),
		"too long": event(0, func(e *Event) { e.Class = strings.Repeat("x", MaxLine) }),
	} {
		if err := w.Event(&e); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if err := w.Interval(&Interval{}); err == nil {
		t.Error("an interval among events was written")
	}
	if _, err := NewWriter(io.Discard, Header{Version: 1, Kind: Events}, Form{Columns: []string{"t_s", "clas"}}); err == nil {
		t.Error("an unknown column was taken")
	}
	if w.Rows() != 0 {
		t.Errorf("%d rows", w.Rows())
	}
}

func TestAFileIsNamedByItsFormAndNeverReplaced(t *testing.T) {
	for name, want := range map[string]string{"a.csv": "#autotune-trace", "a.csv.gz": "\x1f\x8b", "a.jsonl": "#autotune-trace", "a.jsonl.gz": "\x1f\x8b"} {
		path := filepath.Join(t.TempDir(), name)
		w, err := Create(path, Header{Version: 1, Kind: Events}, "t_s")
		if err != nil {
			t.Fatal(err)
		}
		e := event(1, nil)
		if err := errors.Join(w.Event(&e), w.Close()); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(path); !strings.HasPrefix(string(b), want) {
			t.Errorf("%s begins %.20q", name, b)
		}
		if _, err := Create(path, Header{Version: 1, Kind: Events}); !errors.Is(err, os.ErrExist) {
			t.Errorf("a file that was there: %v", err)
		}
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Event(&e); err != nil || e.T != 1 || r.Close() != nil {
			t.Errorf("%s: %v, %+v", name, err, e)
		}
	}
}

func TestNumbersAreThoseOfTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringMatching(`-?[0-9]{1,18}(\.[0-9]{0,18})?`),
			rapid.StringMatching(`-?[0-9.eE+-]{0,8}`),
			rapid.Map(rapid.Float64(), func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }),
		).Draw(t, "text")
		sameAsLibrary(t, []byte(text))
	})
}

func sameAsLibrary(t interface{ Fatalf(string, ...any) }, b []byte) {
	got, ok := parseNumber(b)
	want, err := strconv.ParseFloat(string(b), 64)
	if strings.ContainsAny(strings.ToLower(string(b)), "xpinf_") {
		if ok {
			t.Fatalf("%q was taken for %v", b, got)
		}
		return
	}
	if ok != (err == nil) || ok && math.Float64bits(got) != math.Float64bits(want) {
		t.Fatalf("%q: %v %v instead of %v %v", b, got, ok, want, err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(eventsHeader + "t_s,service_ms,class\n0,1,a\n1,,\"b,\"\"c\"\n"))
	f.Add([]byte(eventsHeader + `{"t_s":1,"class":"x"}`))
	f.Add([]byte(`#autotune-trace {"version":1,"kind":"intervals"}` + "\nt_s,arrivals,dur_s\n0,1,2\n"))
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b), "x")
		last := -1.0
		for err == nil {
			var (
				e Event
				i Interval
				c Capacity
			)
			switch r.Header().Kind {
			case Events:
				err = r.Event(&e)
			case Intervals:
				err = r.Interval(&i)
			default:
				err = r.Capacity(&c)
			}
			if err == nil {
				now := e.T + i.T + c.T // two of them are 0
				if !(now >= last) || e.Service < 0 || math.IsInf(e.Service, 0) {
					t.Fatalf("%v after %v, service time %v", now, last, e.Service)
				}
				last = now
			}
		}
		var at *Error
		if err != io.EOF && !errors.As(err, &at) {
			t.Fatalf("an error without a place: %v", err)
		}
	})
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"0", "-0", "1.5", ".5", "5.", "-", ".", "1e5", "123456789012345678", "0x1", "nan", "1_0", "+1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { sameAsLibrary(t, b) })
}

func BenchmarkReadEvents(b *testing.B) {
	var text bytes.Buffer
	text.WriteString(eventsHeader + "t_s,service_ms,wait_ms,class,pool\n")
	const rows = 200_000
	for i := range rows {
		fmt.Fprintf(&text, "%.6f,%.3f,%d,q%d,stream%d\n", float64(i)*0.001234, float64(i%5000)/7, i%300, i%22, i%20)
	}
	b.ReportAllocs()
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(text.Bytes()), "x")
		if err != nil {
			b.Fatal(err)
		}
		var e Event
		n := 0
		for ; r.Event(&e) == nil; n++ {
		}
		if n != rows {
			b.Fatal(r.err)
		}
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}
