package survey

import (
	"bytes"
	"compress/gzip"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/advice"
	"github.com/pgautotune/autotune/internal/pgstat"
)

func someRecording() *advice.Recording {
	cpu := 0.25
	r := &advice.Recording{Database: "app", Machine: advice.Machine{Shared: true, Cores: 2}, Source: "saved samples"}
	r.Facts.Settings.MaxConnections = 100
	r.Facts.Server.Version = "17.5"
	for i := range 3 {
		r.Samples = append(r.Samples, advice.Sample{At: time.Duration(i) * time.Second, CPU: &cpu, Spent: time.Millisecond,
			Transactions: map[string]int64{"app": int64(i)},
			Groups:       []pgstat.Group{{Database: "app", Role: "r", Application: "x", Kind: pgstat.ClientKind, State: pgstat.Active, Wait: "IO:DataFileRead", Backends: 2, Here: true, Oldest: 5, Ages: 7}}})
	}
	return r
}

func saved(t *testing.T, r *advice.Recording) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Samples {
		if err := w.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestSavedSamplesComeBackAsTheyWere(t *testing.T) {
	want := someRecording()
	plain := saved(t, want)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(plain)
	_ = z.Close()
	for _, data := range [][]byte{plain, zipped.Bytes()} {
		got, err := Read(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestDamagedRecordingsSayWhere(t *testing.T) {
	header, _, _ := strings.Cut(string(saved(t, someRecording())), "\n")
	const trace = `#autotune-trace {"version":1,"kind":"intervals"}`
	for _, c := range []struct{ name, text, wrong string }{
		{"empty", "", "empty"},
		{"something else", "hello", "line 1"},
		{"not a sample", header + "\n{}\n[1]", "line 3"},
		{"time goes back", header + "\n{\"at_ns\":5}\n{\"at_ns\":4}", "line 3: the time goes back"},
		{"absurd", header + "\n{\"groups\":[{\"backends\":-1}]}", "line 2: -1 backends"},
		{"cut off", header + "\n{\"at_ns\":5", "line 2"},
		{"gzip that is none", "\x1f\x8bxxxxxxxxxx", "gzip"},
		{"a trace of events", `#autotune-trace {"version":1,"kind":"events"}`, `kind "events"`},
		{"a newer trace", `#autotune-trace {"version":2,"kind":"intervals"}`, "version 2"},
		{"no time", trace + "\nactive,idle\n1,2", "line 2"},
		{"not a number", trace + "\nt_s,active\n1,many", `line 3: active is "many"`},
		{"a step back", `#autotune-trace {"version":1,"kind":"intervals","quantum_s":-5}` + "\nt_s,active\n1,2", "line 1: quantum_s is -5"},
		{"more than there can be", trace + "\nt_s,dur_s,active,rate_rps\n1,1e9,2,1e9", "line 3"},
		{"negative", trace + "\nt_s,active\n1,-4", "line 3: active is -4"},
	} {
		if _, err := Read(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestATraceOfIntervalsIsARecording(t *testing.T) {
	csv := "#autotune-trace {\"version\":1,\"kind\":\"intervals\",\"quantum_s\":1,\"cores\":4}\nt_s,active,waiting,idle,rate_rps,what,cpu_util\n"
	jsonl := "#autotune-trace {\"version\":1,\"kind\":\"intervals\",\"quantum_s\":1,\"cores\":4}\n"
	for i := range 100 {
		csv += strings.Join([]string{strconv.Itoa(i), "3.5", "1.5", "7", "120", "x", ""}, ",") + "\n"
		jsonl += `{"t_s":` + strconv.Itoa(i) + `,"active":3.5,"waiting":1.5,"idle":7,"rate_rps":120,"what":"x"}` + "\n"
	}
	for name, text := range map[string]string{"csv": csv, "json": jsonl} {
		rec, err := Read(strings.NewReader(text))
		if err != nil {
			t.Fatal(name, err)
		}
		a := advice.Advise(advice.Question{}, rec)
		if len(rec.Samples) != 100 || a.Demand.Mean < 3.4 || a.Demand.Mean > 3.6 || a.Seen.PerS == nil || *a.Seen.PerS < 119 || *a.Seen.PerS > 121 {
			t.Errorf("%s: %+v, %v/s", name, a.Demand, a.Seen.PerS)
		}
		if a.Supply.Cores != 4 || !a.Size.Known || len(a.Unseen) == 0 {
			t.Errorf("%s: %+v %+v", name, a.Supply, a.Size)
		}
	}
}

// What came in an interval came in all of it, however long the next one is.
func TestIntervalsMayDifferInLength(t *testing.T) {
	rec, err := Read(strings.NewReader("#autotune-trace {\"version\":1,\"kind\":\"intervals\",\"cores\":4}\nt_s,dur_s,active,throughput_rps\n" +
		"0,10,2,100\n10,1,2,100\n11,1,2,100\n12,30,2,100\n42,1,2,100\n"))
	if err != nil {
		t.Fatal(err)
	}
	if a := advice.Advise(advice.Question{}, rec); a.Seen.PerS == nil || math.Abs(*a.Seen.PerS-100) > 1 {
		t.Errorf("100/s all the time is told as %v", a.Seen.PerS)
	}
}

// An empty value is unknown, and not nobody.
func TestIntervalsThatDoNotSayWhoWasActiveAreLeftOut(t *testing.T) {
	csv := "#autotune-trace {\"version\":1,\"kind\":\"intervals\",\"quantum_s\":1,\"cores\":4}\nt_s,active,idle\n"
	for i := range 100 {
		csv += strconv.Itoa(i) + []string{",4,2\n", ",,\n"}[i%2]
	}
	rec, err := Read(strings.NewReader(csv))
	if err != nil {
		t.Fatal(err)
	}
	if a := advice.Advise(advice.Question{}, rec); a.Demand.Median != 4 || len(rec.Samples) != 50 || !strings.Contains(strings.Join(rec.Unseen, " "), "in 50 of 100 intervals") {
		t.Errorf("%+v %q", a.Demand, rec.Unseen)
	}
}

// A trace that knows nothing of backends says so, and not that there is nothing in it.
func TestATraceWithoutActivityKeepsItsRows(t *testing.T) {
	csv := "#autotune-trace {\"version\":1,\"kind\":\"intervals\",\"quantum_s\":1,\"cores\":4}\nt_s,rate_rps\n"
	for i := range 100 {
		csv += strconv.Itoa(i) + ",50\n"
	}
	rec, err := Read(strings.NewReader(csv))
	if err != nil {
		t.Fatal(err)
	}
	if a := advice.Advise(advice.Question{}, rec); len(rec.Samples) != 100 || a.Seen.Seconds < 99 || !strings.Contains(strings.Join(rec.Unseen, " "), "no column active") {
		t.Errorf("%+v %q", a.Seen, rec.Unseen)
	}
}

// What the role that recorded could not see is unknown, and not nobody.
func TestATraceOfHiddenBackendsSaysSo(t *testing.T) {
	csv := "#autotune-trace {\"version\":1,\"kind\":\"intervals\",\"quantum_s\":10}\nt_s,rate_rps,active,idle,hidden\n"
	for i := range 30 {
		csv += strconv.Itoa(10*i) + ",50,,,12\n"
	}
	rec, err := Read(strings.NewReader(csv))
	if err != nil {
		t.Fatal(err)
	}
	a := advice.Advise(advice.Question{}, rec)
	if why := strings.Join(a.Size.Why, " "); a.Size.Known || a.Today.Open != 12 || !strings.Contains(why, "12 connections hide what they do") {
		t.Errorf("%+v %+v", a.Size, a.Today)
	}
	if a.Seen.PerS == nil || math.Abs(*a.Seen.PerS-50) > 1 || a.Seen.Service != nil {
		t.Errorf("throughput %v, service time %v", a.Seen.PerS, a.Seen.Service)
	}
	if unseen := strings.Join(rec.Unseen, " "); !strings.Contains(unseen, "active is empty in every interval, because the role") {
		t.Error(unseen)
	}
}

// Means of intervals say neither that a service in use for moments is idle, nor how
// high its bursts were.
func TestMeansOfIntervalsAreNotTakenForLooks(t *testing.T) {
	csv := "#autotune-trace {\"version\":1,\"kind\":\"intervals\",\"cores\":8}\nt_s,dur_s,rate_rps,active,idle\n"
	for i := range 5 {
		csv += strconv.Itoa(10*i) + ",10,1039,0.07,26\n"
	}
	rec, err := Read(strings.NewReader(csv))
	if err != nil {
		t.Fatal(err)
	}
	a := advice.Advise(advice.Question{}, rec)
	why := strings.Join(a.Size.Why, " ")
	if !a.Size.Known || a.Size.Confidence != advice.Low || !strings.Contains(why, "on average of 10 s") || !strings.Contains(why, "averaged away") || strings.Contains(why, "never more") {
		t.Errorf("%+v", a.Size)
	}
	if unseen := strings.Join(a.Unseen, " "); !strings.Contains(unseen, "Bursts shorter than 10 s") {
		t.Error(unseen)
	}
}

func FuzzReadNeverPanicsAndItsAdviceIsSane(f *testing.F) {
	f.Add([]byte(`#autotune-trace {"version":1,"kind":"intervals"}` + "\nt_s,dur_s,active,waiting,idle\n0,1,2,1,3\n1,1,2,,3\n"))
	f.Add([]byte(`{"schema":"autotune.samples/v1"}` + "\n" + `{"at_ns":1,"groups":[{"kind":"client","state":"active","backends":3}],"cpu":0.5}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		if a := advice.Advise(advice.Question{}, rec); a.Size.Known && (a.Size.Max < 1 || a.Size.Min > a.Size.Max) {
			t.Errorf("%+v", a.Size)
		}
	})
}
