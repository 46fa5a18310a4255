package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pgautotune/autotune/simulations/plant"
)

// world is an ordinary one: 8 cores, 2 CPUs of callers.
func world() Env {
	return Env{Cores: 8, ClientCPUs: 2, Vectors: 50_000, Users: 100, Workers: 12, Ceiling: 200, Seed: 1}
}

func open(t testing.TB, name string, e Env) plant.Tuner {
	t.Helper()
	p, err := New(name, e)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryPolicyOfTheIssueIsThere(t *testing.T) {
	want := []string{"auto", "cores-2x+1", "guideline", "vector", "batch", "pgx", "aimd", "vegas", "gradient2",
		"failsafe", "envoy", "arc", "hill-climbing", "flexypool", "busy-ratio"}
	if got := Names(); !slices.Equal(got, want) {
		t.Errorf("the policies are %v, want %v", got, want)
	}
	if got := Families(); !slices.Equal(got, []string{"auto-N", "fixed-N"}) {
		t.Errorf("the families are %v", got)
	}
	for _, name := range append(want, "auto-4", "auto-100", "fixed-32") {
		p := open(t, name, world())
		d, err := Describe(name)
		if err != nil || d.Name != name || d.Line == "" || d.Source == "" || strings.Contains(d.Line, "\n") {
			t.Errorf("%s is described as %+v, %v", name, d, err)
		}
		if s := p.Start(); s.Limit < 1 || s.Limit > s.Max || s.Max > 200 || s.Min < 0 || s.Min > s.Max {
			t.Errorf("%s starts with %+v", name, s)
		}
	}
	if d, _ := Describe("fixed-32"); d.Line != "32 connections, always" {
		t.Errorf("fixed-32 is described as %q", d.Line)
	}
}

func TestEachPolicyBeginsWhereItIsSaidTo(t *testing.T) {
	limiterAt := func(n int) plant.Setting { return plant.Setting{Limit: n, Max: 200} }
	size := func(n, keep int) plant.Setting { return plant.Setting{Limit: n, Max: n, Min: keep} }
	for _, tt := range []struct {
		name   string
		change func(*Env)
		want   plant.Setting
	}{
		{"auto", nil, size(4, 0)},
		{"auto", func(e *Env) { e.ClientCPUs = 16 }, size(16, 0)},
		{"auto", func(e *Env) { e.ClientCPUs = 0 }, size(4, 0)},
		{"auto", func(e *Env) { e.Start = 30 }, size(30, 0)},
		{"auto-100", func(e *Env) { e.Start = 30 }, size(100, 0)},
		{"auto", func(e *Env) { e.Ceiling = 3 }, size(3, 0)},
		{"fixed-32", nil, size(32, 0)},
		{"fixed-32", func(e *Env) { e.Start = 5 }, size(32, 0)},
		{"cores-2x+1", nil, size(17, 0)},
		{"cores-2x+1", func(e *Env) { e.Ceiling = 10 }, size(10, 0)},
		{"guideline", func(e *Env) { e.Vectors = 999 }, size(50, 0)},
		{"guideline", func(e *Env) { e.Vectors = -1 }, size(50, 0)},
		{"guideline", nil, size(100, 0)},
		{"guideline", func(e *Env) { e.Vectors = 1e6 }, size(150, 0)},
		{"guideline", func(e *Env) { e.Vectors, e.Users, e.Ceiling = 1e6, 200, 500 }, size(300, 0)},
		{"vector", func(e *Env) { e.Vectors = 999 }, size(100, 20)},
		{"vector", func(e *Env) { e.Vectors = 1e6 }, size(150, 30)},
		{"vector", func(e *Env) { e.Ceiling = 60 }, size(60, 20)},
		{"vector", func(e *Env) { e.Ceiling = 10 }, size(10, 10)},
		{"batch", nil, size(14, 12)},
		{"batch", func(e *Env) { e.Workers = 0 }, size(4, 2)},
		{"batch", func(e *Env) { e.Ceiling = 8 }, size(8, 8)},
		{"pgx", nil, size(4, 0)},
		{"pgx", func(e *Env) { e.ClientCPUs = 32 }, size(32, 0)},
		{"aimd", nil, limiterAt(20)},
		{"aimd", func(e *Env) { e.Start = 4 }, limiterAt(4)},
		{"vegas", nil, limiterAt(20)},
		{"gradient2", nil, limiterAt(20)},
		{"gradient2", func(e *Env) { e.Ceiling = 7 }, plant.Setting{Limit: 7, Max: 7}},
		{"failsafe", nil, limiterAt(20)},
		{"envoy", nil, limiterAt(3)},
		{"envoy", func(e *Env) { e.Start = 50 }, limiterAt(3)}, // it measures first
		{"arc", nil, limiterAt(1)},
		{"hill-climbing", nil, limiterAt(2)},
		{"flexypool", nil, limiterAt(4)},
		{"busy-ratio", nil, size(5, 0)},
	} {
		e := world()
		if tt.change != nil {
			tt.change(&e)
		}
		if got := open(t, tt.name, e).Start(); got != tt.want {
			t.Errorf("%s in %+v starts with %+v, want %+v", tt.name, e, got, tt.want)
		}
	}
}

func TestANameThatCannotBeIsRefusedWithWhatToTry(t *testing.T) {
	for name, want := range map[string]string{
		"agrdient2":                  "did you mean gradient2?",
		"Vegas":                      "did you mean vegas?",
		"fixd-32":                    "did you mean fixed-32?",
		"fixed":                      "did you mean fixed-N?",
		"fixed-":                     "did you mean fixed-N?",
		"fixed-N":                    "did you mean fixed-N?",
		"hillclimbing":               "did you mean hill-climbing?",
		"hikaricp9000":               "use one of auto, cores-2x+1",
		"":                           "use one of auto, cores-2x+1",
		"fixed-0":                    "0 is not a number of connections",
		"fixed-032":                  "032 is not a number of connections",
		"auto-0":                     "0 is not a number of connections",
		"fixed-99999999999999999999": "is not a number of connections",
	} {
		_, err := New(name, world())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("of %q it says %v, want %q", name, err, want)
		}
		if _, err := Describe(name); err == nil {
			t.Errorf("%q is described", name)
		}
	}
}

func TestAWorldThatCannotBeIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Env)
		want   string
	}{
		{"auto", func(e *Env) { e.Ceiling = 0 }, "ceiling is 0"},
		{"auto", func(e *Env) { e.Budget = 100 }, "below the ceiling"},
		{"auto", func(e *Env) { e.Start = 300 }, "above the ceiling of 200"},
		{"auto", func(e *Env) { e.Cores = -1 }, "cores is -1"},
		{"auto", func(e *Env) { e.Auto.Floor = 201 }, "above the ceiling of 200"},
		{"auto", func(e *Env) { e.Auto.Interval = -1 }, "interval is -1"},
		{"fixed-300", func(*Env) {}, "above the ceiling of 200"},
		{"auto-201", func(*Env) {}, "above the ceiling of 200"},
		{"cores-2x+1", func(e *Env) { e.Cores = 0 }, "policy cores-2x+1 needs the number of cores"},
		{"pgx", func(e *Env) { e.ClientCPUs = 0 }, "needs the number of CPUs"},
		{"batch", func(e *Env) { e.ClientCPUs, e.Workers = 0, 0 }, "needs the number of workers"},
	} {
		e := world()
		tt.change(&e)
		_, err := New(tt.name, e)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s in %+v: %v, want %q", tt.name, e, err, tt.want)
		}
		if above := strings.Contains(tt.want, "above"); errors.Is(err, ErrAboveCeiling) != above {
			t.Errorf("%s: is %v ErrAboveCeiling?", tt.name, err)
		}
	}
}
