package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune/simulations"
)

// tiny is a scenario of a second or two of work.
const tiny = `title: Tiny
world:
  duration: 20s
  warmup: 5s
  slo: 100ms
  arrivals: [{rate: 100}]
  classes: [{name: q, stages: [{on: cpu, service: {mean: 5ms}}]}]
told: {ceiling: 16}
`

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSimulateWritesEveryFormOfAResult(t *testing.T) {
	file := writeFile(t, "tiny.yaml", tiny)
	base := []string{"simulate", "--scenario", file, "--policy", "auto@4,fixed-2"}
	for form, want := range map[string]string{
		"text": "best fixed size", "json": `"schema": "autotune.simulate/v1"`, "html": "<svg", "markdown": "| tiny |",
	} {
		got := call(t, nil, append(base, "--output", form)...)
		if got.code != exitDone || !strings.Contains(got.stdout, want) {
			t.Errorf("%s: exit %d, stderr %q, without %q:\n%.300s", form, got.code, got.stderr, want, got.stdout)
		}
	}
	to := filepath.Join(t.TempDir(), "result.json")
	if got := call(t, nil, append(base, "--output", "json", "-o", to)...); got.code != exitDone || got.stdout != "" {
		t.Fatalf("-o: exit %d, stdout %q, stderr %q", got.code, got.stdout, got.stderr)
	}
	text, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	r := decode[simulations.Result](t, string(text))
	if len(r.Scenarios) != 1 || r.Scenarios[0].Name != "tiny" || len(r.Scenarios[0].Outcomes) != 2 {
		t.Errorf("read back %+v", r)
	}
	direct := call(t, nil, base...)
	if got := call(t, nil, "simulate", "--from", to); got.code != exitDone || got.stdout != direct.stdout {
		t.Errorf("--from: exit %d, stderr %q\n%s\ninstead of\n%s", got.code, got.stderr, got.stdout, direct.stdout)
	}
}

func TestSimulateListsAndShowsTheLibrary(t *testing.T) {
	list := call(t, nil, "simulate", "--list")
	if lines := strings.Count(list.stdout, "\n"); list.code != exitDone || lines < 22 {
		t.Errorf("exit %d, %d scenarios", list.code, lines)
	}
	show := call(t, nil, "simulate", "--show", "steady-70")
	if show.code != exitDone {
		t.Fatalf("exit %d: %s", show.code, show.stderr)
	}
	file := writeFile(t, "mine.yaml", show.stdout) // what is shown can be begun with
	if got := call(t, nil, "simulate", "--scenario", file, "--policy", "fixed-4", "--duration", "20s"); got.code != exitDone || !strings.Contains(got.stdout, "mine: ") {
		t.Errorf("exit %d, stderr %q\n%s", got.code, got.stderr, got.stdout)
	}
}

func TestSimulateTakesItsRequestsFromATrace(t *testing.T) {
	var text strings.Builder
	text.WriteString("#autotune-trace {\"version\":1,\"kind\":\"events\",\"service_kind\":\"base\"}\nt_s,service_ms\n")
	for i := range 400 {
		fmt.Fprintf(&text, "%.2f,4\n", float64(i)*0.05)
	}
	file := writeFile(t, "day.csv", text.String())
	got := call(t, nil, "simulate", "--trace", file, "--policy", "fixed-4", "--fan-out", "2", "--time-compress", "2", "--rate-scale", "0.5", "--output", "json")
	if got.code != exitDone {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	r := decode[simulations.Result](t, got.stdout)
	s := r.Scenarios[0]
	if all := strings.Join(s.Trace, " "); !strings.Contains(all, "Fan-out 2") || !strings.Contains(all, "compressed 2") || !strings.Contains(all, "times 0.5") {
		t.Errorf("the report says of the trace: %q", all)
	}
	// 400 requests in 20 s: half of them, twice, in 10 s.
	if x := s.Outcomes[0].Throughput; x < 30 || x > 50 {
		t.Errorf("%.1f requests a second instead of about 40", x)
	}
}

func TestSimulateSaysWhatIsWrong(t *testing.T) {
	file := writeFile(t, "broken.yaml", strings.Replace(tiny, "told", "tolt", 1))
	other := writeFile(t, "other.json", `{"schema": "autotune.bench/v1"}`)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "no scenario named"},
		{[]string{"--scenario", "steady-7"}, exitUsage, "did you mean steady-70?"},
		{[]string{"--scenario", file}, exitUsage, `unknown key "tolt": did you mean told?`},
		{[]string{"--scenario", "steady-70", "--policy", "vega"}, exitUsage, "did you mean vegas?"},
		{[]string{"--scenario", "steady-70", "--seeds", "0"}, exitUsage, "0 seeds"},
		{[]string{"--scenario", "steady-70", "--fan-out", "2"}, exitUsage, "adapt a trace, and none is named"},
		{[]string{"--trace", "/nowhere", "--policy", "auto"}, exitFailed, "/nowhere"},
		{[]string{"--from", other}, exitFailed, "another document"},
		{[]string{"--show", "nothing"}, exitUsage, "--list"},
		{[]string{"--speed", "--millions", "0"}, exitUsage, "0 million"},
		{[]string{"--scenario", "steady-70", "--policy", "fixed-9@50"}, exitUsage, "begins with 9 connections; leave out @50"},
		{[]string{"--list", "--output", "json"}, exitUsage, "--output says nothing about --list"},
		{[]string{"--from", other, "--scenario", "steady-70"}, exitUsage, "--scenario says nothing about --from"},
		{[]string{"--speed", "--output", "html"}, exitUsage, "--speed has no form html"},
		{[]string{"--scenario", "steady-70", "--millions", "3"}, exitUsage, "--millions is about --speed"},
		{[]string{"--scenario", "steady-70", "--picture", "x.svg", "-o", "y"}, exitUsage, "written to its own file"},
	} {
		got := call(t, nil, append([]string{"simulate"}, c.args...)...)
		if got.code != c.code || !strings.Contains(got.stderr, c.want) || got.stdout != "" {
			t.Errorf("%q: exit %d, stdout %q, stderr %q; want %d, %q", c.args, got.code, got.stdout, got.stderr, c.code, c.want)
		}
	}
}

// A link stays one, and a device gets what is written to it.
func TestAResultGoesWhereItIsSent(t *testing.T) {
	scenario := writeFile(t, "tiny.yaml", tiny)
	folder := t.TempDir()
	file, link := filepath.Join(folder, "result.txt"), filepath.Join(folder, "latest")
	if err := errors.Join(os.WriteFile(file, []byte("old"), 0o600), os.Symlink(file, link)); err != nil {
		t.Skip(err)
	}
	to := func(where string) {
		t.Helper()
		if got := call(t, nil, "simulate", "--scenario", scenario, "--policy", "fixed-2", "-o", where); got.code != exitDone || got.stdout != "" {
			t.Errorf("%s: exit %d, %s%s", where, got.code, got.stdout, got.stderr)
		}
	}
	to(link)
	text, err := os.ReadFile(file)
	if info, e := os.Lstat(link); errors.Join(err, e) != nil || info.Mode().IsRegular() || !strings.Contains(string(text), "best fixed size") {
		t.Errorf("%v, %v: the link is a file, or the file is old: %.40q", err, e, text)
	}
	if _, err := os.Stat(os.DevNull); err == nil {
		to(os.DevNull)
		if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
			t.Errorf("%v: %s is a file now", err, os.DevNull)
		}
	}
}

func TestAReportNamesTheSLOAndTheStarts(t *testing.T) {
	file := writeFile(t, "tiny.yaml", strings.Replace(tiny, "  slo: 100ms\n", "", 1))
	got := call(t, nil, "simulate", "--scenario", file+",steady-70", "--duration", "20s", "--policy", "auto@3,auto@10")
	if got.code != exitDone || !strings.Contains(got.stdout, "SLO 1000 ms") || !strings.Contains(got.stdout, "auto@10") || strings.Contains(got.stdout, "auto@100") {
		t.Errorf("exit %d, %s\n%s", got.code, got.stderr, got.stdout)
	}
}

func TestSimulateNamesTheCommandThatReproducesAResult(t *testing.T) {
	for want, f := range map[string]simulateFlags{
		"autotune simulate --table --seeds 3":                                                                              {table: true, seeds: 3},
		"autotune simulate --scenario a,b --policy auto,fixed-4 --seeds 1":                                                 {scenarios: []string{"a", "b"}, policies: []string{"auto", "fixed-4"}, seeds: 1},
		"autotune simulate --table --scenario steady-70 --seeds 2 --duration 10m0s":                                        {table: true, scenarios: []string{"steady-70"}, seeds: 2, duration: 10 * time.Minute},
		"autotune simulate --seeds 1 --trace 'my week.gz' --rate-scale 0.5 --fan-out 2 --time-compress 24 --trace-cores 8": {seeds: 1, trace: "my week.gz", rateScale: 0.5, fanOut: 2, timeCompress: 24, cores: 8},
	} {
		if f.table && f.scenarios == nil {
			f.scenarios = []string{"all"} // as options does
		}
		if got := f.commandLine(simulations.Options{Policies: f.policies, Seeds: f.seeds}); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
