package simulations

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgautotune/autotune/simulations/policy"
	"github.com/pgautotune/autotune/simulations/scenario"
)

// Options say what to compare.
type Options struct {
	Scenarios []*scenario.Scenario
	Policies  []string // instead of each scenario's own; a name@N begins with N connections
	Seeds     int      // runs of each policy, with seeds 1 to Seeds; default 1
	Parallel  int      // runs at once; default the CPUs that Go may use

	// Series keeps a time series of each policy, of the first seed, for plots.
	Series bool

	// Progress is called, from one goroutine at a time, when a run has ended.
	// total grows while sizes are searched.
	Progress func(done, total int, doing string)
}

// errUnmeasured is that even the best fixed size has no goodput.
var errUnmeasured = errors.New("nothing was measured")

// Run runs the scenarios. It returns when all have ended, one has failed, or ctx
// ends. One in which there is nothing to compare is named in the result, and an error
// only if no other is left.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Seeds < 0 || o.Seeds > 10_000 {
		return nil, fmt.Errorf("%d seeds: use 1 to 10,000", o.Seeds)
	}
	if o.Seeds == 0 {
		o.Seeds = 1
	}
	if o.Parallel < 1 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	begun := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &runner{o: o, slots: make(chan struct{}, o.Parallel)}
	out := &Result{Schema: Schema, Seeds: o.Seeds, Scenarios: make([]ScenarioResult, len(o.Scenarios))}

	// A few scenarios at a time: enough to keep all cores busy where one of them
	// searches step by step, few enough to hold few series.
	var wait sync.WaitGroup
	gate := make(chan struct{}, o.Parallel+1)
	failed := make([]error, len(o.Scenarios))
	for i, s := range o.Scenarios {
		gate <- struct{}{}
		wait.Go(func() {
			defer func() { <-gate }()
			one, err := (&scenarioRun{runner: r, s: s, seeds: o.Seeds}).run(ctx)
			if err != nil {
				err = fmt.Errorf("scenario %s: %w", s.Name, err)
				if failed[i] = err; !errors.Is(err, errUnmeasured) {
					cancel(err) // the first one counts
				}
				return
			}
			out.Scenarios[i] = *one
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	measured := out.Scenarios[:0]
	for i, err := range failed {
		if err != nil {
			out.Unmeasured = append(out.Unmeasured, err.Error())
		} else {
			measured = append(measured, out.Scenarios[i])
		}
	}
	if len(measured) == 0 && len(failed) > 0 {
		return nil, failed[0]
	}
	out.Scenarios = measured
	out.Requests, out.ElapsedS = r.requests, time.Since(begun).Seconds()
	return out, nil
}

// runner shares the cores among runs.
type runner struct {
	o     Options
	slots chan struct{}

	mu          sync.Mutex
	done, total int
	requests    int64
}

// scenarioRun is one scenario with all policies and seeds.
type scenarioRun struct {
	*runner
	s     *scenario.Scenario
	seeds int
}

// job is one run.
type job struct {
	policy string
	start  int
	seed   uint64
	series bool
	into   *figures
}

// entrant is a policy and where it begins.
type entrant struct {
	policy string
	start  int
	named  bool // the start, with the policy's name
	runs   []figures
}

func (j *scenarioRun) run(ctx context.Context) (*ScenarioResult, error) {
	out := &ScenarioResult{Name: j.s.Name, Title: j.s.Title, Shows: j.s.Shows, HighLoad: j.s.HighLoad, Steady: j.s.Steady,
		Loop: string(j.s.Loop), DurationS: j.s.World.Duration.Seconds(), SLOMs: ms(j.s.World.SLO), Ceiling: j.s.Told.Ceiling}
	var err error
	if out.Trace, err = j.s.AboutTrace(1); err != nil {
		return nil, err
	}
	entrants, left, err := j.entrants()
	if err != nil {
		return nil, err
	}
	out.LeftOut = left
	fixed := &sizes{job: j, runs: make(map[int][]figures)}
	if out.BestFixed, err = fixed.search(ctx); err != nil {
		return nil, err
	}
	best := fixed.runs[out.BestFixed]
	if err := j.measured(best); err != nil {
		return nil, err
	}
	var jobs []job
	for i := range entrants {
		e := &entrants[i]
		if n, ok := strings.CutPrefix(e.policy, "fixed-"); ok {
			size, _ := strconv.Atoi(n) // the registry has checked it
			if err := fixed.try(ctx, []int{size}, j.seeds); err != nil {
				return nil, err
			}
			e.runs = fixed.runs[size]
			continue
		}
		e.runs = make([]figures, j.seeds)
		for seed := range e.runs {
			jobs = append(jobs, job{policy: e.policy, start: e.start, seed: uint64(seed + 1), into: &e.runs[seed]})
		}
	}
	if err := j.do(ctx, jobs); err != nil {
		return nil, err
	}
	out.Sizes = fixed.curve()
	reference := compare(fmt.Sprintf("fixed-%d", out.BestFixed), 0, best, best, j.length(best))
	out.Best = reference
	for _, e := range entrants {
		o := compare(e.policy, e.start, e.runs, best, j.length(best))
		o.StartNamed = e.named
		out.Outcomes = append(out.Outcomes, o)
	}
	if j.o.Series {
		return out, j.draw(ctx, out, entrants)
	}
	return out, nil
}

// measured says why there is nothing to compare: where even the best fixed size has
// no goodput, every policy would miss nothing of it.
func (j *scenarioRun) measured(best []figures) error {
	var arrivals int64
	for i := range best {
		if arrivals += best[i].arrivals; best[i].goodput > 0 {
			return nil
		}
	}
	if arrivals == 0 {
		return fmt.Errorf("%w: no request arrived after the warm-up of %s; shorten it (world.warmup), or take a trace that is longer", errUnmeasured, j.s.World.Warmup)
	}
	slo := j.s.World.SLO
	if slo == 0 {
		slo = time.Second // the plant's default
	}
	return fmt.Errorf("%w: of the %d requests after the warm-up of %s none was answered within the SLO of %s (world.slo) with any fixed size up to %d; give an SLO above what a request takes alone, or a load below the capacity", errUnmeasured, arrivals, j.s.World.Warmup, slo, j.s.Told.Ceiling)
}

// draw runs the first seed of each policy, and of the best fixed size, once more
// with a series of intervals as long as a picture wants them.
func (j *scenarioRun) draw(ctx context.Context, out *ScenarioResult, entrants []entrant) error {
	best := fmt.Sprintf("fixed-%d", out.BestFixed)
	seen := false
	for _, e := range entrants {
		out.Lines = append(out.Lines, Line{Name: label(e.policy, e.start), Best: e.policy == best})
		seen = seen || e.policy == best
	}
	if !seen {
		out.Lines = append(out.Lines, Line{Name: best, Best: true})
		entrants = append(slices.Clip(entrants), entrant{policy: best})
	}
	fine := *j.s
	fine.World.Series.Every = pictureStep(fine.World.Duration)
	coarser := &scenarioRun{runner: j.runner, s: &fine, seeds: j.seeds}
	into := make([]figures, len(entrants))
	var jobs []job
	for i, e := range entrants {
		jobs = append(jobs, job{policy: e.policy, start: e.start, seed: 1, series: true, into: &into[i]})
	}
	if err := coarser.do(ctx, jobs); err != nil {
		return err
	}
	for i := range into {
		out.Lines[i].Series, out.Lines[i].Moves = into[i].result.Series, into[i].result.Moves
	}
	return nil
}

// entrants are the policies that can take part, each with every start.
func (j *scenarioRun) entrants() (in []entrant, left []string, err error) {
	names := j.o.Policies
	if len(names) == 0 {
		names = j.s.Policies
	}
	for _, name := range names {
		if err := CheckPolicy(name); err != nil {
			return nil, nil, err
		}
		base, start, _ := splitStart(name)
		starts := []int{start}
		if start == 0 && learns(base) {
			starts = j.s.Starts
		}
		for _, n := range starts {
			// A size above the ceiling of this world has no part in it.
			if err := j.s.Admits(base, n); errors.Is(err, policy.ErrAboveCeiling) {
				left = append(left, err.Error())
				continue
			} else if err != nil {
				return nil, nil, err
			}
			in = append(in, entrant{policy: base, start: n, named: start != 0})
		}
	}
	return in, left, nil
}

// CheckPolicy says what is wrong with a policy's name, a start in it included.
func CheckPolicy(name string) error {
	base, _, err := splitStart(name)
	if err != nil {
		return err
	}
	_, err = policy.Describe(base)
	return err
}

// splitStart takes the start off a name: aimd@100 is aimd and 100.
func splitStart(name string) (base string, start int, err error) {
	base, at, ok := strings.Cut(name, "@")
	if !ok {
		return base, 0, nil
	}
	if n := policy.Size(base); n > 0 {
		return "", 0, fmt.Errorf("policy %s: %s begins with %d connections; leave out @%s", name, base, n, at)
	}
	if !learns(base) {
		return "", 0, fmt.Errorf("policy %s: %s is of its own size, wherever it would begin; leave out @%s", name, base, at)
	}
	if start, err = strconv.Atoi(at); err != nil || start < 1 {
		return "", 0, fmt.Errorf("policy %s: %s is no number of connections to begin with", name, at)
	}
	return base, start, nil
}

// learns tells whether a policy begins somewhere and goes elsewhere: rules that
// give one size have no start.
func learns(name string) bool {
	switch name {
	case "cores-2x+1", "guideline", "vector", "batch", "pgx":
		return false
	}
	return !strings.HasPrefix(name, "fixed-") && !strings.HasPrefix(name, "auto-")
}

func label(policy string, start int) string {
	if start == 0 {
		return policy
	}
	return fmt.Sprintf("%s@%d", policy, start)
}

// length is how long a run was, for those that never converged.
func (j *scenarioRun) length(best []figures) time.Duration {
	if d := j.s.World.Duration; d > 0 {
		return d
	}
	return time.Duration(len(best[0].seconds)) * best[0].every
}

// do runs jobs, as many at once as there are slots, and returns when all ended.
func (j *scenarioRun) do(ctx context.Context, jobs []job) error {
	j.mu.Lock()
	j.total += len(jobs)
	j.mu.Unlock()
	errs := make([]error, len(jobs))
	var wait sync.WaitGroup
	for i := range jobs {
		select {
		case j.slots <- struct{}{}:
		case <-ctx.Done():
			wait.Wait()
			return context.Cause(ctx)
		}
		wait.Go(func() {
			defer func() { <-j.slots }()
			errs[i] = j.one(jobs[i])
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (j *scenarioRun) one(w job) error {
	r, err := j.s.Run(w.policy, w.start, w.seed)
	if err != nil {
		return fmt.Errorf("%s with seed %d: %w", label(w.policy, w.start), w.seed, err)
	}
	*w.into = measure(r)
	if w.series {
		w.into.result = r
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done++
	j.requests += r.Requests
	if j.o.Progress != nil {
		j.o.Progress(j.done, j.total, fmt.Sprintf("%s, %s, seed %d", j.s.Name, label(w.policy, w.start), w.seed))
	}
	return nil
}
