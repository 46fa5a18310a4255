package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// A bench of a few seconds on the real server, with everything that is written of it.
func TestBenchOnARealServer(t *testing.T) {
	dsn := pgtest.DSN(t)
	o := Defaults()
	o.DSN, o.JournalDir = dsn, filepath.Join(t.TempDir(), "journals")
	o.Workloads, o.Contenders = []string{"search-open", "shift"}, []string{"autotune-2", "fixed-1", "fixed-4", "failsafe"}
	o.Rounds, o.Slice, o.Uncounted, o.Cold, o.Settled, o.Phase, o.Phases = 2, 300*time.Millisecond, 60*time.Millisecond, time.Second, 500*time.Millisecond, time.Second, 2
	o.Calm = 300 * time.Millisecond // other packages' tests keep the machine busy all the while
	o.Clients, o.Vectors, o.Dimensions = 12, 300, 8
	told := 0
	last := 0.0
	o.Progress = func(done float64, doing string) {
		told++
		if done < last || done > 1 || doing == "" {
			t.Errorf("progress went from %g to %g, %q", last, done, doing)
		}
		last = done
	}
	var opened, closing []string
	o.Opened = func(name string, pool *autotune.Pool) func() {
		opened = append(opened, name)
		return func() {
			if pool.Snapshot().Limit == 0 {
				t.Errorf("%s is closed before it is told", name)
			}
			closing = append(closing, name)
		}
	}
	p, err := NewPlan(o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if told == 0 {
		t.Error("no progress was told")
	}
	// The open loop runs the closed one first, for its rate.
	if want := "search.autotune-2 search-open.autotune-2 shift.autotune-2"; strings.Join(opened, " ") != want || !slices.Equal(opened, closing) {
		t.Errorf("told of %q, and of the end of %q, want %s", opened, closing, want)
	}
	checkResult(t, r)
	checkText(t, r)
	checkPlots(t, r)
	checkJournals(t, o.JournalDir)

	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var schemas int
	if err := conn.QueryRow(t.Context(), "select count(*) from pg_namespace where nspname like 'autotune_bench%'").Scan(&schemas); err != nil || schemas != 0 {
		t.Errorf("%d schemas were left behind (%v)", schemas, err)
	}
}

func TestACutOffBenchGivesWhatIsDone(t *testing.T) {
	o := Defaults()
	o.DSN = pgtest.DSN(t)
	o.Workloads, o.Contenders = []string{"search", "update"}, []string{"fixed-1", "fixed-2"}
	o.Rounds, o.Slice, o.Uncounted, o.Calm = 2, 200*time.Millisecond, 40*time.Millisecond, 300*time.Millisecond
	o.Clients, o.Vectors, o.Dimensions = 4, 200, 8
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	o.Progress = func(_ float64, doing string) {
		if strings.HasPrefix(doing, "update: round 2") {
			interrupt()
		}
	}
	p, err := NewPlan(o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Run(ctx)
	if !errors.Is(err, context.Canceled) || r == nil {
		t.Fatalf("%v, with a result: %t", err, r != nil)
	}
	if len(r.Workloads) != 1 || r.Workloads[0].Name != "search" || r.Workloads[0].BestFixed == "" || !slices.Contains(r.Warnings, "cut off after 1 of 2 workloads") {
		t.Errorf("%+v, %q", r.Workloads, r.Warnings)
	}
	var text bytes.Buffer
	if err := WriteText(&text, r); err != nil || !strings.Contains(text.String(), "cut off after 1 of 2 workloads") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

func checkResult(t *testing.T, r *Result) {
	t.Helper()
	var names []string
	for _, w := range r.Workloads {
		names = append(names, w.Name)
		if w.BestFixed == "" || w.GeneratorCPU <= 0 || w.GeneratorCPU > 1 {
			t.Errorf("%s: best %q, generator's CPU %g", w.Name, w.BestFixed, w.GeneratorCPU)
		}
		for _, row := range w.Contenders {
			if row.Failed > 0 {
				t.Errorf("%s, %s: %d requests failed: %v", w.Name, row.Name, row.Failed, r.Warnings)
			}
			// A tuned pool that still opens its connections beside other programs may
			// answer nothing within a slice of an open loop; but all of it in the end.
			opening := w.Rate > 0 && row.Kind == string(tuned)
			if row.Abandoned > 0 || row.Throughput.Mean <= 0 && !opening || row.P50Ms <= 0 || row.P99Ms < row.P50Ms || row.Backends < 1 || row.Limit < 1 {
				t.Errorf("%s: %+v", w.Name, row)
			}
			if row.Kind == string(fixed) && row.Backends != row.Size {
				t.Errorf("%s, %s held %d connections", w.Name, row.Name, row.Backends)
			}
			if (row.Kind == string(fixed)) != (row.Trace == nil) {
				t.Errorf("%s, %s: a trace of %d", w.Name, row.Name, len(row.Trace))
			}
			if w.Name == "shift" && row.Kind == string(tuned) && len(row.ConvergedEach) != r.Settings.Phases {
				t.Errorf("shift: times of %d phases", len(row.ConvergedEach))
			}
		}
	}
	if got := strings.Join(names, " "); got != "search search-open shift" {
		t.Errorf("workloads: %s", got)
	}
	open := r.Workloads[1]
	for _, row := range open.Contenders {
		// Beside other programs less may be served, never more than arrives.
		if x := row.Throughput.Mean; x < 0.1*open.Rate && row.Kind != string(tuned) || x > 1.5*open.Rate {
			t.Errorf("%s served %.0f/s of arrivals of %.0f/s", row.Name, x, open.Rate)
		}
	}
}

func checkText(t *testing.T, r *Result) {
	t.Helper()
	var out bytes.Buffer
	if err := WriteText(&out, r); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > textWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, w := range r.Workloads {
		if !strings.Contains(out.String(), "\n"+w.Name+": ") || !strings.Contains(out.String(), "\n"+w.BestFixed+" * ") {
			t.Errorf("%s or its best fixed size %s is missing in\n%s", w.Name, w.BestFixed, out.String())
		}
	}
	t.Log("\n" + out.String())
}

func checkPlots(t *testing.T, r *Result) {
	t.Helper()
	dir := t.TempDir()
	if err := WritePlots(dir, r); err != nil {
		t.Fatal(err)
	}
	for _, w := range r.Workloads {
		file, err := os.Open(filepath.Join(dir, w.Name+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for d := xml.NewDecoder(file); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", w.Name, err)
			}
			if chars, ok := token.(xml.CharData); ok {
				text += string(chars) + "\n"
			}
		}
		file.Close()
		for _, want := range []string{w.Name + ": throughput", "connections", "requests per second", "autotune-2", "best fixed: "} {
			if !strings.Contains(text, want) {
				t.Errorf("the plot of %s lacks %q", w.Name, want)
			}
		}
	}
}

func checkJournals(t *testing.T, dir string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "search.autotune-2.run1.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	header, _, _ := bytes.Cut(data, []byte("\n"))
	var h struct {
		Version int `json:"autotune_journal"`
	}
	if err := json.Unmarshal(header, &h); err != nil || h.Version == 0 || bytes.Count(data, []byte("\n")) < 3 {
		t.Errorf("the journal begins with %s (%v)", header, err)
	}
}
