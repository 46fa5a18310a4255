package ingest

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/simulations/replay"
	"github.com/pgautotune/autotune/simulations/trace"
)

// pgbench runs the real one, which is part of Debian's postgresql-contrib, and
// returns its logs.
func pgbench(t *testing.T, dsn string, args ...string) []replay.File {
	t.Helper()
	program, err := exec.LookPath("pgbench")
	if err != nil {
		t.Skip("pgbench is not installed: on Debian it comes with the package postgresql-contrib")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("select pg_sleep(0.005);\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args = append([]string{"--no-vacuum", "--log", "--log-prefix=" + filepath.Join(dir, "log"), "--file=" + script}, args...)
	if out, err := exec.CommandContext(ctx, program, append(args, dsn)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "log.*"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("pgbench left no log: %v", err)
	}
	return replay.Files(nil, logs...)
}

func TestLogsOfTheRealPgbenchAreImported(t *testing.T) {
	dsn := pgtest.DSN(t)
	read := func(files []replay.File) (h trace.Header, events []trace.Event, intervals []trace.Interval) {
		t.Helper()
		var b strings.Builder
		if _, err := Import(files, Options{}, func(h trace.Header, columns ...string) (*trace.Writer, error) {
			return trace.NewWriter(&b, h, trace.Form{Columns: columns})
		}); err != nil {
			t.Fatal(err)
		}
		r, err := trace.NewReader(strings.NewReader(b.String()), "x")
		if err != nil {
			t.Fatal(err)
		}
		for {
			var e trace.Event
			var i trace.Interval
			if r.Header().Kind == trace.Events {
				err = r.Event(&e)
				events = append(events, e)
			} else {
				err = r.Interval(&i)
				intervals = append(intervals, i)
			}
			if err == io.EOF {
				return r.Header(), events[:max(0, len(events)-1)], intervals[:max(0, len(intervals)-1)]
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}

	// Two clients in turn: at no time may more than two be served, which stamps
	// taken for arrivals would break.
	h, events, _ := read(pgbench(t, dsn, "--client=2", "--jobs=2", "--transactions=40"))
	if len(events) != 80 || h.OpenLoop == nil || *h.OpenLoop || h.SampleRate != 0 {
		t.Fatalf("%d transactions of 80, %+v", len(events), h)
	}
	ends, instant := map[string]float64{}, 0
	for _, e := range events {
		if e.Service < 5 { // pgbench 15 logs a latency of 0 now and then
			instant++
		}
		if e.T < ends[e.Session]-1e-5 { // it rounds to µs
			t.Errorf("%s at %v s for %v ms, and its last ended at %v s", e.Session, e.T, e.Service, ends[e.Session])
		}
		ends[e.Session] = e.T + e.Service/1000
	}

	if instant > len(events)/4 {
		t.Errorf("%d of %d took no time", instant, len(events))
	}

	h, events, _ = read(pgbench(t, dsn, "--client=1", "--transactions=40", "--rate=400")) // twice what one can serve
	waited := 0
	for _, e := range events {
		if e.Wait > 5 {
			waited++
		}
	}
	if h.OpenLoop == nil || !*h.OpenLoop || h.SampleRate != 0 || waited < 10 || math.IsNaN(events[0].Wait) {
		t.Errorf("%d of %d waited, %+v", waited, len(events), h)
	}

	h, events, _ = read(pgbench(t, dsn, "--client=1", "--transactions=100", "--rate=1600", "--latency-limit=20"))
	skipped := 0
	for _, e := range events {
		if e.Status == "skipped" {
			skipped++
		}
	}
	if skipped == 0 || h.SampleRate != 0 {
		t.Errorf("%d of %d skipped, and a sample rate of %v", skipped, len(events), h.SampleRate)
	}

	h, events, _ = read(pgbench(t, dsn, "--client=4", "--jobs=2", "--transactions=400", "--sampling-rate=0.25"))
	if h.SampleRate < 0.18 || h.SampleRate > 0.32 {
		t.Errorf("%d of 1600, and a sample rate of %v", len(events), h.SampleRate)
	}

	_, _, intervals := read(pgbench(t, dsn, "--client=2", "--time=3", "--aggregate-interval=1"))
	n := 0.0
	for _, i := range intervals {
		n += i.Arrivals
		if i.Dur != 1 || i.Arrivals > 0 && i.ServiceMean < 3 {
			t.Errorf("%+v", i)
		}
	}
	if len(intervals) < 2 || n < 20 {
		t.Errorf("%d intervals, %v transactions", len(intervals), n)
	}
}

func TestNumbersThatAreMissingInPgbenchsLogAreASample(t *testing.T) {
	row := func(client, number int) string {
		return fmt.Sprintf("%d %d 500 0 1700000001 %06d\n", client, number, number)
	}
	rows := func(client int, numbers ...int) (text string) {
		for _, n := range numbers {
			text += row(client, n)
		}
		return text
	}
	for _, c := range []struct {
		name  string
		files []string
		want  float64
	}{
		{"all of them", []string{rows(0, 1, 2, 3) + rows(1, 1, 2)}, 0},
		{"the end of a log", []string{rows(0, 500, 501, 502)}, 0},
		{"two runs", []string{rows(0, 1, 2, 3, 1, 2, 3)}, 0},
		{"a quarter", []string{rows(0, 3, 7, 11) + rows(1, 1, 5, 9)}, 0.25},
		{"two samples, one after the other", []string{rows(0, 40, 240, 60, 160)}, 0.00667},
		{"a file for each thread", []string{rows(0, 1, 11), rows(1, 3, 33)}, 0.05},
		{"one line of each client", []string{rows(0, 17) + rows(1, 40)}, 0},
	} {
		text, res, err := imported(Options{}, c.files...)
		if said := strings.Count(strings.Join(res.Notes, "\n"), "sample_rate is"); err != nil || res.Header.SampleRate != c.want || (said == 1) != (c.want > 0) || strings.Contains(text, "sample_rate\":") != (c.want > 0) {
			t.Errorf("%s: %v, %v, %q", c.name, err, res.Header.SampleRate, res.Notes)
		}
	}
}
