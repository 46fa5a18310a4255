package simulations

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pgautotune/autotune/simulations/plant"
	"github.com/pgautotune/autotune/simulations/scenario"
)

// world is 90 % load of four cores for a while: long enough that one core too few
// shows.
const world = `title: Four cores
told: {ceiling: 64}
world:
  duration: 30s
  warmup: 5s
  slo: 100ms
  arrivals: [{rate: 720}]
  classes: [{name: q, stages: [{on: cpu, service: {kind: lognormal, mean: 5ms}}]}]
  server: {cores: 4, sigma: 0.02}
`

func read(t *testing.T, text string) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Read(strings.NewReader(text), "four-cores.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func simulate(t *testing.T, o Options) *Result {
	t.Helper()
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheResultIsTheSameOnAnyNumberOfCores(t *testing.T) {
	o := Options{Policies: []string{"auto", "fixed-9", "vegas@4"}, Seeds: 2}
	var texts []string
	for _, parallel := range []int{1, 4} {
		o.Scenarios, o.Parallel = []*scenario.Scenario{read(t, world), read(t, strings.Replace(world, "720", "300", 1))}, parallel
		r := simulate(t, o)
		r.ElapsedS = 0
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if texts[0] != texts[1] {
		t.Errorf("one core:\n%s\nfour:\n%s", texts[0], texts[1])
	}
}

func TestTheBestFixedSizeIsNoWorseThanAnyOther(t *testing.T) {
	s := read(t, world)
	r := simulate(t, Options{Scenarios: []*scenario.Scenario{s}, Policies: []string{"fixed-3", "fixed-64"}, Seeds: 2})
	got := &r.Scenarios[0]
	top := 0.0 // exhaustively: each size from 1 on
	for n := 1; n <= 16; n++ {
		good := 0.0
		for seed := uint64(1); seed <= 2; seed++ {
			one, err := s.Run(fmt.Sprintf("fixed-%d", n), 0, seed)
			if err != nil {
				t.Fatal(err)
			}
			good += one.Goodput / 2
		}
		top = max(top, good)
	}
	if got.Best.Goodput < (1-2*indifference)*top {
		t.Errorf("best fixed %d has %.2f, an exhaustive search %.2f", got.BestFixed, got.Best.Goodput, top)
	}
	if got.BestFixed < 4 || got.BestFixed > 8 {
		t.Errorf("best fixed size is %d on four cores", got.BestFixed)
	}
	for _, o := range got.Outcomes { // 3 of 4 cores, and collapse
		if o.Regret < 0.5 || o.Converged {
			t.Errorf("%s: regret %.2f, converged %t", o.Policy, o.Regret, o.Converged)
		}
	}
	if got.Best.Regret != 0 || got.Best.P99Ratio != 1 || !got.Best.Converged || got.Best.ConvergedS != 0 {
		t.Errorf("the best against itself: %+v", got.Best)
	}
}

func TestConvergenceIsTheFirstTimeFromWhichWindowsAreAsGood(t *testing.T) {
	run := func(rates ...int64) figures { // each for 10 s
		f := figures{every: time.Second}
		for _, r := range rates {
			for range 10 {
				f.seconds = append(f.seconds, r)
			}
		}
		return f
	}
	flat := func(n int, r int64) (all []int64) {
		for range n {
			all = append(all, r)
		}
		return all
	}
	best := run(flat(30, 100)...)
	for _, c := range []struct {
		about string
		rates []int64
		want  time.Duration
		ok    bool
	}{
		{"as good from the start", flat(30, 100), 0, true},
		{"4 % worse all the time", flat(30, 96), 0, true},
		{"6 % worse all the time", flat(30, 94), 0, false},
		{"bad for 40 s", append(flat(4, 10), flat(26, 100)...), 40 * time.Second, true},
		{"one bad window later", append(append(flat(5, 100), 10), flat(24, 100)...), 0, true},
		{"two bad windows later", append(append(flat(5, 100), 10, 10), flat(23, 100)...), 70 * time.Second, true},
		{"good too late to tell", append(flat(25, 10), flat(5, 100)...), 0, false},
	} {
		f := run(c.rates...)
		if got, ok := f.converged(&best); ok != c.ok || got != c.want {
			t.Errorf("%s: %v, %t; want %v, %t", c.about, got, ok, c.want, c.ok)
		}
	}
	long := figures{every: 4 * time.Second} // of a run that lasted longer, until all were served
	for range 90 {
		long.seconds = append(long.seconds, 400)
	}
	late := run(append(flat(4, 10), flat(26, 100)...)...)
	if got, ok := late.converged(&long); !ok || got != 48*time.Second { // windows of 12 s
		t.Errorf("against longer intervals: %v, %t", got, ok)
	}
	if got, ok := long.converged(&best); !ok || got != 0 {
		t.Errorf("against shorter intervals: %v, %t", got, ok)
	}
	slow := run(flat(30, 2)...) // 200 requests are 100 s
	if _, _, length := slow.windows(&slow); length != 100*time.Second {
		t.Errorf("windows of 2 requests a second last %v", length)
	}
}

func TestRegretIsOfTheSumAndTheWorstSeedIsNamed(t *testing.T) {
	best := []figures{{goodput: 100, p99: 10 * time.Millisecond}, {goodput: 100, p99: 10 * time.Millisecond}}
	runs := []figures{{goodput: 99, p99: 10 * time.Millisecond}, {goodput: 91, p99: 30 * time.Millisecond}}
	o := compare("x", 4, runs, best, time.Minute)
	if math.Abs(o.Regret-0.05) > 1e-12 || math.Abs(o.RegretMax-0.09) > 1e-12 || o.WorstSeed != 2 || o.P99Ratio != 2 {
		t.Errorf("%+v", o)
	}
}

func TestAPolicyAboveTheCeilingIsLeftOutAndNamed(t *testing.T) {
	r := simulate(t, Options{Scenarios: []*scenario.Scenario{read(t, world)}, Policies: []string{"fixed-100", "fixed-4"}})
	s := r.Scenarios[0]
	if len(s.LeftOut) != 1 || !strings.Contains(s.LeftOut[0], "fixed-100") || len(s.Outcomes) != 1 {
		t.Errorf("left out %q, outcomes %+v", s.LeftOut, s.Outcomes)
	}
}

// One scenario without anything to compare does not cost the results of the others.
func TestAScenarioInWhichNothingIsGoodIsNamedAndTheOthersStay(t *testing.T) {
	never := read(t, strings.Replace(world, "slo: 100ms", "slo: 1us", 1))
	never.Name = "never"
	r := simulate(t, Options{Scenarios: []*scenario.Scenario{never, read(t, world)}, Policies: []string{"fixed-4"}})
	if len(r.Scenarios) != 1 || r.Scenarios[0].BestFixed == 0 || len(r.Unmeasured) != 1 || !strings.Contains(r.Unmeasured[0], "scenario never: nothing was measured") {
		t.Errorf("%d scenarios, unmeasured %q", len(r.Scenarios), r.Unmeasured)
	}
	var page bytes.Buffer
	if err := WriteHTML(&page, r); err != nil || !strings.Contains(page.String(), "Left out: scenario never") {
		t.Errorf("the page does not say so: %v", err)
	}
	if _, err := Run(context.Background(), Options{Scenarios: []*scenario.Scenario{never}, Policies: []string{"fixed-4"}}); !errors.Is(err, errUnmeasured) {
		t.Errorf("of the only one: %v", err)
	}
}

func TestBelowAllStartsAPolicyBeginsAtTheCeiling(t *testing.T) {
	for ceiling, want := range map[string][]int{"3": {3}, "64": {4}} {
		s := read(t, strings.NewReplacer("64", ceiling, "720", "300").Replace(world))
		var starts []int
		for _, o := range simulate(t, Options{Scenarios: []*scenario.Scenario{s}, Policies: []string{"vegas"}}).Scenarios[0].Outcomes {
			starts = append(starts, o.Start)
		}
		if !slices.Equal(starts, want) {
			t.Errorf("with a ceiling of %s vegas began at %v, want %v", ceiling, starts, want)
		}
	}
}

func TestNothingMeasuredIsNoPerfectScore(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short.csv")
	if err := os.WriteFile(short, []byte("#autotune-trace {\"version\":1,\"kind\":\"events\"}\nt_s\n1\n2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	traced := read(t, world)
	traced.UseTrace(scenario.Trace{File: short})
	for want, s := range map[string]*scenario.Scenario{
		"no request arrived after the warm-up of 5s": traced,
		"none was answered within the SLO of 1µs":    read(t, strings.Replace(world, "slo: 100ms", "slo: 1us", 1)),
	} {
		if _, err := Run(context.Background(), Options{Scenarios: []*scenario.Scenario{s}, Policies: []string{"pgx"}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestMistakesAndTheEndOfTheContextEndARun(t *testing.T) {
	s := []*scenario.Scenario{read(t, world)}
	for policy, want := range map[string]string{"vega": "did you mean vegas?", "auto@x": "no number", "auto@0": "no number",
		"pgx@7": "pgx is of its own size, wherever it would begin; leave out @7", "guideline@3": "leave out @3", "auto-4@9": "leave out @9"} {
		if _, err := Run(context.Background(), Options{Scenarios: s, Policies: []string{policy}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", policy, err, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, Options{Scenarios: s}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestReportsAreCompleteAndNeedNothingElse(t *testing.T) {
	hostile := read(t, strings.Replace(world, "Four cores", `"<script>alert(1)</script> & more"`, 1))
	r := simulate(t, Options{Scenarios: []*scenario.Scenario{hostile, read(t, strings.Replace(world, "720", "300", 1))}, Policies: []string{"auto", "fixed-9"}, Series: true})
	r.Command = "autotune simulate"
	var page, text, md, picture bytes.Buffer
	for name, err := range map[string]error{"html": WriteHTML(&page, r), "text": WriteText(&text, r), "markdown": WriteMarkdown(&md, r), "picture": WritePicture(&picture, r)} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, line := range strings.Split(text.String(), "\n") {
		if utf8.RuneCountInString(line) > 80 {
			t.Errorf("longer than 80: %s", line)
		}
	}
	for name, s := range map[string]string{"page": page.String(), "picture": picture.String()} {
		for _, bad := range []string{"<script", "src=", "@import", "url(", "NaN", "Inf"} {
			if strings.Contains(s, bad) {
				t.Errorf("the %s contains %q", name, bad)
			}
		}
		if n := strings.Count(s, "<svg"); n < 1 {
			t.Errorf("the %s has no picture", name)
		}
		if open, closed := strings.Count(s, "<g"), strings.Count(s, "</g>"); open != closed {
			t.Errorf("the %s opens %d groups and closes %d", name, open, closed)
		}
	}
	// Three pictures of each scenario, and the bars of all.
	if n := strings.Count(page.String(), "<svg"); n != 2*3+1 {
		t.Errorf("%d pictures in the page", n)
	}
	for _, p := range palette { // no mark is left undeclared
		if strings.Contains(page.String(), "var(--"+p.name+")") && !strings.Contains(page.String(), "--"+p.name+":") {
			t.Errorf("colour %s is used and not declared", p.name)
		}
	}
	if !strings.Contains(md.String(), "| four-cores |") || !strings.Contains(md.String(), "controller.Step") {
		t.Errorf("the table lacks scenarios or sources:\n%s", md.String())
	}
}

// A result may come from a file, and somebody may have cut it.
func TestALineWithoutPointsIsNotDrawn(t *testing.T) {
	r := simulate(t, Options{Scenarios: []*scenario.Scenario{read(t, world)}, Policies: []string{"fixed-4", "fixed-9"}, Series: true})
	s := &r.Scenarios[0]
	whole := slices.Clone(s.Lines)
	for name, cut := range map[string]func(){
		"the first":  func() { s.Lines[0].Series = nil },
		"the second": func() { s.Lines[1].Series = s.Lines[1].Series[:1] },
		"all":        func() { s.Lines = []Line{{Name: "fixed-4"}} },
		"no sizes":   func() { s.Sizes = nil },
	} {
		s.Lines = slices.Clone(whole)
		cut()
		var page, picture bytes.Buffer
		if err := WriteHTML(&page, r); err != nil {
			t.Errorf("%s: the page: %v", name, err)
		}
		if err := WritePicture(&picture, r); (err != nil) != (name == "all") {
			t.Errorf("%s: the picture: %v", name, err)
		}
	}
}

func TestWhereAPolicyBeginsIsMergedUnlessItWasNamed(t *testing.T) {
	names := func(r *Result) (names []string) {
		for _, w := range r.Worst() {
			names = append(names, w.Policy)
		}
		return names
	}
	// The scenarios' own starts, of which 60 is the one from too many of a small world.
	theirs := &Result{Scenarios: []ScenarioResult{
		{Outcomes: []Outcome{{Policy: "aimd", Start: 4}, {Policy: "aimd", Start: 100}}},
		{Outcomes: []Outcome{{Policy: "aimd", Start: 4}, {Policy: "aimd", Start: 60}}}}}
	if got := names(theirs); !slices.Equal(got, []string{"aimd@4", "aimd@100"}) {
		t.Errorf("of the scenarios: %v", got)
	}
	big := func(text string) *scenario.Scenario { return read(t, strings.Replace(text, "64", "128", 1)) }
	mine := simulate(t, Options{Scenarios: []*scenario.Scenario{big(world), big(strings.Replace(world, "720", "300", 1))}, Policies: []string{"aimd@60", "aimd@100"}})
	if got := names(mine); !slices.Equal(got, []string{"aimd@60", "aimd@100"}) {
		t.Errorf("named: %v", got)
	}
	for _, o := range simulate(t, Options{Scenarios: []*scenario.Scenario{big(world)}, Policies: []string{"aimd"}}).Scenarios[0].Outcomes {
		if o.StartNamed {
			t.Errorf("%s@%d counts as named", o.Policy, o.Start)
		}
	}
}

func TestTheDashedLineIsTheBarOfTheScenario(t *testing.T) {
	for high, want := range map[string]string{"": "dashed: 2 %", "high_load: true\n": "dashed: 5 %"} {
		r := simulate(t, Options{Scenarios: []*scenario.Scenario{read(t, high+world)}, Policies: []string{"fixed-4"}})
		var page bytes.Buffer
		if err := WriteHTML(&page, r); err != nil || strings.Count(page.String(), "dashed: ") != 1 || !strings.Contains(page.String(), want) {
			t.Errorf("%q: %v, without %q", high, err, want)
		}
	}
}

func TestNumbersHaveNoExponent(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 0.000001: "0.000001", 0.0012345: "0.00123", 1.5: "1.5", 99.96: "100", 1234567: "1234567"} {
		if got := significant(x); got != want {
			t.Errorf("%g: %q instead of %q", x, got, want)
		}
	}
	r := &Result{Seeds: 1, Scenarios: []ScenarioResult{{SLOMs: 1_200_000}}}
	var text, page bytes.Buffer
	if err := errors.Join(WriteText(&text, r), WriteHTML(&page, r)); err != nil || !strings.Contains(text.String(), "SLO 1200000 ms") || !strings.Contains(page.String(), "SLO 1200000 ms") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

// The method is read where it is, and in docs.
func TestTheLinksOfTheMethodLeadSomewhere(t *testing.T) {
	var md bytes.Buffer
	if err := WriteMarkdown(&md, &Result{}); err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^):]+)\)`)
	for folder, text := range map[string]string{".": method, "../docs": md.String()} {
		found := link.FindAllStringSubmatch(text, -1)
		for _, to := range found {
			if _, err := os.Stat(filepath.Join(folder, to[1])); err != nil {
				t.Errorf("in %s: %v", folder, err)
			}
		}
		if len(found) == 0 {
			t.Errorf("no links in %s", folder)
		}
	}
}

func TestMemoryOfARunDoesNotGrowWithItsLength(t *testing.T) {
	var at []float64
	for _, n := range []int64{100_000, 1_000_000} {
		s, err := measureSpeed("auto", speedWorld(), time.Duration(float64(n)/speedRate*float64(time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		if s.Requests < n*9/10 {
			t.Errorf("%d requests instead of %d", s.Requests, n)
		}
		at = append(at, s.MemoryMB)
	}
	if at[1] > at[0]+16 {
		t.Errorf("%.1f MB after ten times the %.1f MB", at[1], at[0])
	}
}

func TestLengthsReadAsMinutesAndSeconds(t *testing.T) {
	for seconds, want := range map[float64]string{10: "10 s", 0.25: "0.25 s", 60: "1 min", 90: "1 min 30 s", 600: "10 min", 100.1: "1 min 40.1 s", 59.9999: "1 min"} {
		if got := duration(seconds); got != want {
			t.Errorf("%g: %q instead of %q", seconds, got, want)
		}
	}
}

// When transactions that wait for their callers follow a rush of searches, the queue is
// older than the change. Its mean over both once looked like a load that was known, and
// the first seconds there were taken for the truth about it: 30 s, and 12,000 in the queue.
func TestAQueueOlderThanTheChangeDoesNotHideIt(t *testing.T) {
	const change = 8 * time.Minute
	found, err := scenario.Find("one-machine")
	if err != nil {
		t.Fatal(err)
	}
	for _, seed := range []uint64{1, 3} {
		r, err := found[0].Run("auto", 4, seed)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(r.Moves, func(m plant.Move) bool { return m.At > change && m.Limit >= 20 })
		if i < 0 || r.Moves[i].At > change+10*time.Second {
			t.Errorf("seed %d: the transactions want 25 connections from %v on: %v", seed, change, r.Moves)
		}
	}
}
