package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/load"
	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestMain(m *testing.M) {
	pgtest.Main(m, pgtest.Options{Settings: map[string]string{"max_connections": "400"}})
}

func TestPlansTakeNoLongerThanPromised(t *testing.T) {
	for name, c := range map[string]struct {
		options Options
		most    time.Duration
	}{
		"quick": {Quick(), time.Minute},
		"full":  {Defaults(), 20 * time.Minute},
	} {
		p, err := NewPlan(c.options)
		if err != nil {
			t.Fatal(err)
		}
		if d := p.Duration(); d > c.most || d < c.most/2 {
			t.Errorf("the %s plan takes %v, promised are %v", name, d, c.most)
		}
	}
}

func TestDurationIsTheSumOfItsParts(t *testing.T) {
	o := Defaults()
	o.Workloads, o.Contenders = []string{"search"}, []string{"autotune-4", "fixed-10"}
	o.Rounds, o.Slice, o.Cold, o.Vectors = 5, 2*time.Second, 10*time.Second, 1000
	p, err := NewPlan(o)
	if err != nil {
		t.Fatal(err)
	}
	want := startTime + 1000*loadPerVector + restTime + primeTime +
		10*time.Second + 4*openConnection + // the tuned pool, cold
		5*2*(2*time.Second+turnover) + // ten slices
		5*10*openConnection // the fixed pool is opened for each
	if got := p.Duration(); got != want {
		t.Errorf("got %v, want %v", got, want)
	}

	p.options.Runs = 3
	if got, want := p.Duration(), startTime+3*(want-startTime); got != want {
		t.Errorf("three runs: got %v, want %v", got, want)
	}

	o.Workloads = []string{"shift"}
	if p, err = NewPlan(o); err != nil {
		t.Fatal(err)
	}
	want = startTime + 1000*loadPerVector + restTime + primeTime +
		4*o.Phase + 4*openConnection + turnover +
		fixedPasses*(4*o.Slice+10*openConnection+turnover)
	if got := p.Duration(); got != want {
		t.Errorf("shift: got %v, want %v", got, want)
	}
}

func TestEveryRoundHasEveryContenderOnceAndNobodyIsAlwaysFirst(t *testing.T) {
	for _, c := range []struct{ contenders, rounds int }{{1, 1}, {6, 2}, {13, 3}, {3, 10}, {7, 7}} {
		firsts := map[int]int{}
		for round := range c.rounds {
			got := order(c.contenders, round, c.rounds)
			firsts[got[0]]++
			slices.Sort(got)
			for i, v := range got {
				if v != i {
					t.Fatalf("%d contenders, round %d: %v", c.contenders, round, got)
				}
			}
		}
		if c.rounds > 1 && c.contenders > 1 && len(firsts) == 1 {
			t.Errorf("%d contenders, %d rounds: always the same one first", c.contenders, c.rounds)
		}
	}
}

func TestNamesOfTheSameSizeAreOneContender(t *testing.T) {
	all, err := chooseContenders([]string{"pgx", "fixed-7", "autotune-9", "fixed-7", "cores", "fixed-1"})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	notes := ""
	for _, c := range all {
		if seen[c.name] {
			t.Errorf("%s is there twice", c.name)
		}
		seen[c.name] = true
		notes += c.note + "|"
	}
	if !seen["autotune-9"] || !seen["fixed-7"] || !seen["fixed-1"] || all[0].name != "autotune-9" {
		t.Errorf("got %v", all)
	}
	if !strings.Contains(notes, "2 × cores + 1") || !strings.Contains(notes, "the default of pgx") {
		t.Errorf("what the sizes are known as is lost: %s", notes)
	}
}

func TestWrongNamesAreRefusedWithTheRightOnes(t *testing.T) {
	for name, change := range map[string]func(*Options){
		`"serach"; there are search`:     func(o *Options) { o.Workloads = []string{"serach"} },
		`"fixed-0"; there are autotune`:  func(o *Options) { o.Contenders = []string{"fixed-0"} },
		`"autotune-"; there are autotu`:  func(o *Options) { o.Contenders = []string{"autotune-"} },
		"nothing to compare with":        func(o *Options) { o.Contenders = []string{"autotune-4"} },
		"no workload named":              func(o *Options) { o.Workloads = nil },
		"outside its bounds of 1 to 100": func(o *Options) { o.Runs = 0 },
	} {
		o := Defaults()
		change(&o)
		if _, err := NewPlan(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want an error with %q, got %v", name, err)
		}
	}
}

func TestAnOpenWorkloadBringsTheClosedOneItDependsOn(t *testing.T) {
	ws, err := chooseWorkloads([]string{"holding-open"})
	if err != nil {
		t.Fatal(err)
	}
	if len(ws) != 2 || ws[0].name != "holding" || ws[1].name != "holding-open" {
		t.Errorf("got %v", ws)
	}
}

// rowOf is a contender with rounds of these throughputs and p99s.
func rowOf(name string, k kind, throughput, p99 []float64) Row {
	r := Row{Name: name, Kind: string(k)}
	for i, x := range throughput {
		r.Rounds = append(r.Rounds, Round{Throughput: x, P99Ms: p99[i]})
	}
	r.summarise()
	return r
}

func TestRegretIsOfAllRoundsTogether(t *testing.T) {
	// The second round had half the machine: that must not count as regret.
	rows := []Row{
		rowOf("autotune-4", tuned, []float64{950, 490, 990}, []float64{12, 30, 11}),
		rowOf("fixed-2", fixed, []float64{500, 250, 500}, []float64{5, 5, 5}),
		rowOf("fixed-8", fixed, []float64{1000, 500, 1000}, []float64{10, 20, 10}),
	}
	compare(rows, false)
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: got %g, want %g", what, got, want)
		}
	}
	if !rows[2].Best || rows[0].Best || rows[1].Best {
		t.Error("fixed-8 is the best fixed size")
	}
	near("regret", rows[0].Regret.Mean, 1-2430.0/2500)
	near("median regret", rows[0].Regret.Median, 0.02) // of 0.05, 0.02, 0.01
	near("least regret", rows[0].Regret.Min, 0.01)
	near("most regret", rows[0].Regret.Max, 0.05)
	near("p99 ratio", rows[0].P99Ratio, 1.2) // of 1.2, 1.5, 1.1
	near("regret of half", rows[1].Regret.Mean, 0.5)
	near("regret of the best", rows[2].Regret.Mean, 0)
	near("scatter", scatter(rows), 0.5)
	// x − 0.972 b is −22, 4, 18; Student's t for two degrees of freedom is 4.303.
	near("margin of the regret", *rows[0].RegretMargin, 4.302652729911275*math.Sqrt((22*22+4*4+18*18)/2.0/3)/(2500.0/3))
}

// Ten sizes that serve alike, on a machine where each slice is luck: who serves the same
// must have no regret, though one of the ten has always had more luck than others.
func TestLuckDoesNotChooseTheBestFixedSize(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const trials, rounds = 400, 5
	sum, naive, within := 0.0, 0.0, 0
	for range trials {
		var rows []Row
		for i := range 11 {
			var x, p99 []float64
			for range rounds {
				x, p99 = append(x, 1000+150*rng.NormFloat64()), append(p99, 10)
			}
			k := fixed
			if i == 0 {
				k = tuned
			}
			rows = append(rows, rowOf(fmt.Sprint(i), k, x, p99))
		}
		compare(rows, false)
		r := rows[0].Regret.Mean
		sum += r
		naive += 1 - rows[0].Throughput.Mean/rows[bestFixed(rows, false)].Throughput.Mean
		if math.Abs(r) <= *rows[0].RegretMargin {
			within++
		}
	}
	if mean := sum / trials; math.Abs(mean) > 0.015 {
		t.Errorf("mean regret of who serves the same as all others: %.3f", mean)
	}
	if mean := naive / trials; mean < 0.05 {
		t.Errorf("against the luckiest size it would be %.3f: then this test shows nothing", mean)
	}
	if share := float64(within) / trials; share < 0.90 || share > 0.99 {
		t.Errorf("0 was within the margin in %.0f %% of the cases, it says in 95", 100*share)
	}
}

func TestUnderOpenArrivalsTheBestIsTheOneWithTheLeastP99OfThoseThatKeepUp(t *testing.T) {
	rows := []Row{
		rowOf("fixed-1", fixed, []float64{300}, []float64{1}), // does not keep up
		rowOf("fixed-8", fixed, []float64{990}, []float64{7}),
		rowOf("fixed-100", fixed, []float64{1000}, []float64{20}),
	}
	if best := bestFixed(rows, true); best != 1 {
		t.Errorf("open: got %d", best)
	}
	if best := bestFixed(rows, false); best != 2 {
		t.Errorf("closed: got %d", best)
	}
}

func TestDifferentNumbersOfRoundsAreComparedWithTheMean(t *testing.T) {
	got := ratios([]float64{90}, []float64{80, 100, 120})
	if len(got) != 1 || got[0] != 0.9 {
		t.Errorf("got %v", got)
	}
	if got := ratios([]float64{1, 2}, []float64{0, 4}); len(got) != 1 || got[0] != 0.5 {
		t.Errorf("a round of 0: got %v", got)
	}
}

func TestMedianOfRuns(t *testing.T) {
	run := func(x float64, converged *float64) []WorkloadResult {
		r := rowOf("autotune-4", tuned, []float64{x, x, x}, []float64{1, 1, 1})
		r.ConvergedIn, r.Converged = converged, converged != nil
		return []WorkloadResult{{Name: "search", Contenders: []Row{r, rowOf("fixed-4", fixed, []float64{100, 100, 100}, []float64{1, 1, 1})}}}
	}
	two, four := 2.0, 4.0
	got := medianOfRuns([][]WorkloadResult{run(10, nil), run(30, &two), run(20, &four)})[0]
	if got.BestFixed != "fixed-4" {
		t.Errorf("best: %q", got.BestFixed)
	}
	r := got.Contenders[0]
	if r.Throughput != (Spread{20, 20, 10, 30}) {
		t.Errorf("throughput: %v", r.Throughput)
	}
	if !r.Converged || *r.ConvergedIn != 4 { // of 2, 4 and never
		t.Errorf("converged: %v", r.ConvergedIn)
	}
	got = medianOfRuns([][]WorkloadResult{run(10, nil), run(30, &two), run(20, nil)})[0]
	if got.Contenders[0].Converged {
		t.Error("two of three runs did not converge")
	}
}

func TestTheMixIsSevenTwoOne(t *testing.T) {
	counts := map[string]int{}
	m := &mix{}
	for i := range m {
		m[i] = named{[]string{"search", "search", "search", "search", "search", "search", "search", "holding", "holding", "insert"}[i], counts}
	}
	const n = 10_000
	for i := range uint64(n) {
		_ = m.Do(t.Context(), nil, i)
	}
	for name, share := range map[string]float64{"search": 0.7, "holding": 0.2, "insert": 0.1} {
		if got := float64(counts[name]) / n; math.Abs(got-share) > 0.01 {
			t.Errorf("%s: %.3f of the requests, want %.1f", name, got, share)
		}
	}
}

// named counts how often it was asked.
type named struct {
	name   string
	counts map[string]int
}

func (w named) Do(context.Context, load.Pool, uint64) error { w.counts[w.name]++; return nil }

// A watch is told the time, so that what it concludes can be told by the instant.
func TestALimitIsSettledWhenItStaysPutAndIsNotBeingMovedToLearn(t *testing.T) {
	start := time.Unix(0, 0)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	limit, learning := 4, false
	w := newWatch(func() (int, int, bool) { return limit, 2 * limit, learning }, start, start)
	for _, c := range []struct {
		name     string
		at       float64
		limit    int
		learning bool
		took     float64
		settled  bool
	}{
		{"the first look", 0.1, 4, false, 0, false},
		{"learning begins", 0.5, 8, true, 0.5, false},
		{"a long trial is no rest", 4.0, 8, true, 0.5, false},
		{"the knee", 4.5, 6, false, 4.5, false},
		{"not for long enough", 6.4, 6, false, 4.5, false},
		{"long enough", 6.5, 6, false, 4.5, true},
	} {
		limit, learning = c.limit, c.learning
		w.look(at(c.at))
		took, ok := w.settled(at(c.at), 2*time.Second)
		if took.Seconds() != c.took || ok != c.settled {
			t.Errorf("%s: took %v, settled %t", c.name, took, ok)
		}
	}
	limit = 5
	w.begin(at(10)) // it moved while nobody looked
	if took, ok := w.settled(at(12), 2*time.Second); took != 0 || !ok || w.changes != 3 || w.heldMost != 16 {
		t.Errorf("a new stretch: took %v, settled %t, %d changes, held %d", took, ok, w.changes, w.heldMost)
	}
	if want := []Moment{{0, 4}, {0.5, 8}, {4.5, 6}, {10, 5}}; !slices.Equal(w.trace, want) {
		t.Errorf("trace %v, want %v", w.trace, want)
	}
}

// The document's fields are a promise: a name that disappears breaks scripts.
func TestTheDocumentKeepsItsFields(t *testing.T) {
	seconds := 1.5
	r := &Result{Schema: Schema, Notes: []string{"n"}, Warnings: []string{}, Runs: [][]WorkloadResult{{}},
		Workloads: []WorkloadResult{{Rate: 1, Skipped: []string{"s"}, Contenders: []Row{{
			Note: "n", Best: true, ConvergedIn: &seconds, ConvergedEach: []*float64{nil}, Trace: []Moment{{1, 2}}, Rounds: []Round{{}}}}}}}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var document any
	if err := json.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	var got []string
	collect("", document, &got)
	slices.Sort(got)
	want, err := os.ReadFile(filepath.Join("testdata", "fields.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(want)) {
		if !slices.Contains(got, name) {
			t.Errorf("the field %s is gone", name)
		}
	}
	for _, name := range got {
		if !slices.Contains(strings.Fields(string(want)), name) {
			t.Errorf("the field %s is new: add it to testdata/fields.txt", name)
		}
	}
}

// collect gathers the paths of all fields.
func collect(path string, v any, into *[]string) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			*into = append(*into, path+"."+name)
			collect(path+"."+name, inner, into)
		}
	case []any:
		for _, inner := range v {
			collect(path, inner, into)
		}
	}
}
