package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
)

// small is a scenario that has what one must have.
const small = `title: Small # comments are welcome
world:
  duration: 10s
  arrivals: [{rate: 100}]
`

func TestAScenarioIsReadWithItsDefaults(t *testing.T) {
	s, err := Read(strings.NewReader(small), "some/07-my-world.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "my-world" || s.Loop != Open || s.World.Duration != 10*time.Second || s.World.Arrivals[0].Rate != 100 {
		t.Errorf("read %+v", s)
	}
	if len(s.Starts) != 2 || s.Told.Ceiling != 200 || len(s.Policies) != 1 || s.Told.ClientCPUs != 4 {
		t.Errorf("defaults: starts %v, ceiling %d, policies %v, CPUs %d", s.Starts, s.Told.Ceiling, s.Policies, s.Told.ClientCPUs)
	}
}

func TestAMistakeInAScenarioIsNamedWithItsPlace(t *testing.T) {
	for _, c := range []struct{ about, text, want string }{
		{"an unknown key", small + "  sever: {cores: 2}\n", `f.yaml:5:3: unknown key "sever": did you mean server?`},
		{"an unknown key inside", small + "  server:\n    corse: 2\n", `f.yaml:6:5: unknown key "corse": did you mean cores?`},
		{"a key of another place", small + "  callers: 4\n", `f.yaml:5:3: the key "callers" does not belong here: docs`},
		{"a word of another language", small + "frobnicate: 1\n", `f.yaml:5:1: unknown key "frobnicate": docs`},
		{"a text instead of a number", strings.Replace(small, "100", "many", 1), `f.yaml:4:21: "many" is no number`},
		{"a duration without unit", strings.Replace(small, "10s", "10x", 1), "f.yaml"},
		{"a key twice", small + "title: Again\n", "f.yaml:5:1: "},
		{"broken YAML", "title: [\n", "f.yaml:1:"},
		{"nothing", "", "f.yaml: empty"},
		{"comments only", "# nothing\n", "f.yaml: "},
		{"two documents", small + "---\n" + small, "more than one document"},
		{"no title", strings.Replace(small, "title", "name", 1), "title is missing"},
		{"no duration", strings.Replace(small, "duration: 10s", "slo: 1s", 1), "world.duration is missing"},
		{"no callers", "title: x\nworld: {duration: 10s}\n", "nobody calls"},
		{"another loop than it says", small + "loop: closed\n", "loop is closed, but the world's callers are open"},
		{"a start above the ceiling", small + "starts: [300]\n", "starts holds 300"},
		{"an unknown policy", small + "policies: [vega]\n", "did you mean vegas?"},
		{"a trace and arrivals", small + "trace: {file: x}\n", "requests come from one of them"},
		{"a bound of the world", small + "  warmup: 20s\n", "warmup is 20s and must be shorter"},
		{"half a core", small + "  server: {cores: 0.5}\n", `f.yaml:5:19: "0.5" is no whole number`},
		{"half a core in a list", small + "  server:\n    drift:\n      - {at: 1s, cores: 2.5}\n", `f.yaml:7:25: "2.5" is no whole number`},
		{"half a core by an alias", small + "  slo: 1s\nhigh_load: false\n" + "told: {users: &x 1.5, workers: *x}\n", `f.yaml:7:18: "1.5" is no whole number`},
		{"half a core in powers", small + "  server: {cores: 5e-1}\n", `f.yaml:5:19: "5e-1" is no whole number`},
		{"starts with fractions", small + "starts: [4, 8.5]\n", `f.yaml:5:13: "8.5" is no whole number`},
		{"a seed, which --seeds gives", small + "  seed: 7\n", "world.seed is 7, and runs have the seeds 1 to --seeds"},
		{"an endless file", strings.Repeat("#", maxFile+1), "longer than"},
	} {
		_, err := Read(strings.NewReader(c.text), "f.yaml")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\n  want %q", c.about, err, c.want)
		}
	}
}

func TestNumbersWithoutAFractionAreWholeHoweverWritten(t *testing.T) {
	s, err := Read(strings.NewReader(small+"  server: {cores: 8.0, max_connections: 1e3, sigma: 0.5}\n"), "f.yaml")
	if err != nil || s.World.Server.Cores != 8 || s.World.Server.MaxConnections != 1000 || s.World.Server.Sigma != 0.5 {
		t.Errorf("%v, %+v", err, s)
	}
}

func TestAScenarioIsFoundByNameAndByPath(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(file, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{"steady-70": "steady-70", file: "mine"} {
		if found, err := Find(what); err != nil || len(found) != 1 || found[0].Name != want {
			t.Errorf("%s: found %v, %v", what, found, err)
		}
	}
	for what, want := range map[string]string{"steady-7": "did you mean steady-70?", "xyz": "--list", "./nowhere.yaml": "cannot be read"} {
		if _, err := Find(what); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
}

func TestATraceReplacesTheArrivals(t *testing.T) {
	dir := t.TempDir()
	text := "#autotune-trace {\"version\":1,\"kind\":\"events\",\"service_kind\":\"base\"}\nt_s,service_ms,class\n0.5,4,a\n1,6,b\n2,8,a\n"
	if err := os.WriteFile(filepath.Join(dir, "t.trace"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	yaml := "title: Traced\ntrace: {file: t.trace, fan_out: 2}\nworld:\n  duration: 5s\n"
	s, err := Read(strings.NewReader(yaml), filepath.Join(dir, "s.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Run("fixed-4", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	// Six requests of 36 ms in all, and the first statement of each connection.
	if r.Completions != 6 || r.Service.Mean < 6*time.Millisecond || r.Service.Mean > 8*time.Millisecond {
		t.Errorf("%d completions of %v", r.Completions, r.Service.Mean)
	}
	if about, err := s.AboutTrace(1); err != nil || !strings.Contains(strings.Join(about, " "), "Fan-out 2") {
		t.Errorf("the report says %q, %v", about, err)
	}
	s.Trace.File = "missing"
	if _, err := s.Run("fixed-4", 0, 1); err == nil {
		t.Error("a trace that is missing is no error")
	}
}

// tracing is the source of a trace in a world of two classes, of which the last has
// no name.
func tracing(t *testing.T, rows string) *source {
	t.Helper()
	file := filepath.Join(t.TempDir(), "t.trace")
	if err := os.WriteFile(file, []byte("#autotune-trace {\"version\":1,\"kind\":\"events\"}\n"+rows), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Scenario{World: plant.Config{Classes: []plant.Class{{Name: "a"}, {}}}, Trace: &Trace{File: file}}
	src, err := s.openTrace(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(src.Close)
	return src
}

func TestWhatATraceKnowsIsTakenAndWhatItDoesNotIsDrawn(t *testing.T) {
	src := tracing(t, "t_s,service_ms,deadline_ms,class\n0,4,5,a\n0,0,0,a\n0,1e-7,,a\n0,,,a\n0,,,b\n0,,,\n0,1e300,,a\n")
	for i, want := range []plant.Request{
		{Class: 0, Demand: 4 * time.Millisecond, Patience: 5 * time.Millisecond},
		{Class: 0, Demand: 1, Patience: 1}, // 0 would be unknown
		{Class: 0, Demand: 1},
		{Class: 0},
		{Class: -1},
		{Class: -1}, // not the class without a name
		{Class: 0, Demand: time.Duration(longest)},
	} {
		if got := (plant.Request{}); !src.Next(&got) || got != want {
			t.Errorf("row %d: %+v, want %+v", i+1, got, want)
		}
	}
}

func TestATraceOfDatesIsRefused(t *testing.T) {
	src := tracing(t, "t_s\n1700000000\n")
	if src.Next(&plant.Request{}) || src.Err() == nil || !strings.Contains(src.Err().Error(), "t_s is 1.7e+09: seconds since 1970") || !strings.Contains(src.Err().Error(), "record --from") {
		t.Errorf("%v", src.Err())
	}
}

func FuzzRead(f *testing.F) {
	f.Add(small)
	f.Add("title: x\nworld: {duration: 10s, classes: [{stages: [{on: cpu, service: {mean: 1ms}}]}]}")
	f.Add("world: *a\n")
	f.Add("? [a, b]\n: !!binary x")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Read(strings.NewReader(text), "f.yaml")
		if err == nil && s.Validate() != nil {
			t.Errorf("read, but not valid: %v", s.Validate())
		}
	})
}
