package bench

import (
	"fmt"
	"slices"
	"time"
)

// Schema is the name of the JSON document's form.
const Schema = "autotune.bench/v1"

// Result is the JSON document. Fields are added to it and never change meaning.
type Result struct {
	Schema  string    `json:"schema"`
	Started time.Time `json:"started"`
	Quick   bool      `json:"quick"` // few vectors, short slices: coarse
	Seed    uint64    `json:"seed"`

	Settings Settings `json:"settings"`
	Server   Server   `json:"server"`

	PlannedSeconds float64 `json:"planned_s"`
	ElapsedSeconds float64 `json:"elapsed_s"`

	Notes    []string `json:"notes"`    // how to read the figures
	Warnings []string `json:"warnings"` // why not to trust some

	Workloads []WorkloadResult   `json:"workloads"`      // the medians, if there are several runs
	Runs      [][]WorkloadResult `json:"runs,omitempty"` // each of several runs
}

// Settings are those that the figures depend on.
type Settings struct {
	Clients          int     `json:"clients"`
	Rounds           int     `json:"rounds"`
	SliceSeconds     float64 `json:"slice_s"`
	UncountedSeconds float64 `json:"uncounted_s"` // at the beginning of each slice
	ColdSeconds      float64 `json:"cold_s"`      // most that a tuned pool runs alone first; a limiter a third of it
	SettledSeconds   float64 `json:"settled_s"`   // how long a limit must stay put to be converged
	PhaseSeconds     float64 `json:"phase_s"`     // of the shift
	Phases           int     `json:"phases"`
	OpenShare        float64 `json:"open_share"`
	Vectors          int     `json:"vectors"`
	Dimensions       int     `json:"dimensions"`
	HoldMs           float64 `json:"hold_ms"`
	Runs             int     `json:"runs"`
}

// Server is what was measured on.
type Server struct {
	Version        string `json:"version"`
	Pgvector       string `json:"pgvector"`
	Throwaway      bool   `json:"throwaway"`
	MaxConnections string `json:"max_connections"`
	SharedBuffers  string `json:"shared_buffers"`
	Fsync          string `json:"fsync"`
	Cores          int    `json:"cores"` // of the machine that the generator runs on; a throwaway server's too
}

// WorkloadResult is one workload with all contenders.
type WorkloadResult struct {
	Name  string  `json:"name"`
	About string  `json:"about"`
	Shape string  `json:"shape"`              // how requests follow one another
	Rate  float64 `json:"rate_rps,omitempty"` // of open arrivals

	BestFixed    string   `json:"best_fixed"`
	GeneratorCPU float64  `json:"generator_cpu"`     // share of the machine that this process used, 0–1
	MachineCPU   float64  `json:"machine_cpu"`       // busy share of the machine, 0–1; below 0: unknown
	OthersCPU    float64  `json:"others_cpu"`        // busy share of the machine while the benchmark rested, 0–1; below 0: unknown
	Skipped      []string `json:"skipped,omitempty"` // sizes too small to serve the arrivals

	Contenders []Row `json:"contenders"`
}

// Row is one contender in one workload.
type Row struct {
	Name string `json:"name"`
	Kind string `json:"kind"`           // autotune, fixed, failsafe-go
	Size int    `json:"size"`           // connections: of the pool, or where it starts
	Note string `json:"note,omitempty"` // what else this size is known as
	Best bool   `json:"best,omitempty"` // the fixed size that the others are compared with

	Throughput Spread  `json:"throughput_rps"`
	P50Ms      float64 `json:"p50_ms"` // response time, median of the rounds
	P99Ms      float64 `json:"p99_ms"`

	// Relative to the fixed size that was the best in the other rounds.
	Regret       Spread   `json:"regret"`           // share of its throughput that is missing; the mean is of all rounds together
	RegretMargin *float64 `json:"regret_margin_95"` // the mean is within so much of that of more rounds, in 95 of 100 cases; null: too few rounds to tell
	P99Ratio     float64  `json:"p99_ratio"`        // median of the rounds

	// For contenders that learn.
	Converged     bool       `json:"converged"`                  // did the limit come to rest in time
	ConvergedIn   *float64   `json:"converged_s"`                // from cold, or the slowest after a shift; null: not in time
	ConvergedEach []*float64 `json:"converged_each_s,omitempty"` // for each phase of the shift

	Limit            int      `json:"limit"`                    // at the end
	Changes          int      `json:"limit_changes"`            // after the cold phase
	ChangesPerMinute float64  `json:"limit_changes_per_minute"` // of the time since then, in which others had their turns too
	Swaps            int64    `json:"swaps"`                    // after the cold phase
	Backends         int      `json:"backends"`                 // most connections held
	Trace            []Moment `json:"limit_trace,omitempty"`

	Failed    int64 `json:"failed"`    // requests
	Abandoned int64 `json:"abandoned"` // requests cut off, because a backlog did not end

	Rounds []Round `json:"rounds"`
}

// Round is what was measured in one slice.
type Round struct {
	Throughput float64 `json:"throughput_rps"`
	P50Ms      float64 `json:"p50_ms"`
	P99Ms      float64 `json:"p99_ms"`
	Completed  int64   `json:"completed"`
}

func (r *Row) series() (throughput, p99 []float64) {
	for _, round := range r.Rounds {
		throughput, p99 = append(throughput, round.Throughput), append(p99, round.P99Ms)
	}
	return throughput, p99
}

func (r *Row) add(m measured) {
	r.Rounds = append(r.Rounds, Round{m.throughput, milliseconds(m.p50), milliseconds(m.p99), m.completed})
	r.Failed += m.failed
	r.Abandoned += m.abandoned
}

// summarise makes the medians of the rounds.
func (r *Row) summarise() {
	throughput, p99 := r.series()
	var p50 []float64
	for _, round := range r.Rounds {
		p50 = append(p50, round.P50Ms)
	}
	r.Throughput, r.P50Ms, r.P99Ms = spread(throughput), median(p50), median(p99)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Failed is the number of requests that failed, of all contenders and runs.
func (r *Result) Failed() (n int64) {
	runs := r.Runs
	if len(runs) == 0 {
		runs = [][]WorkloadResult{r.Workloads}
	}
	for _, run := range runs {
		for _, w := range run {
			for _, row := range w.Contenders {
				n += row.Failed
			}
		}
	}
	return n
}

// medianOfRuns makes one result of several runs: each figure is the median of
// the runs' own, least and most are those of all. Traces are the first run's.
func medianOfRuns(runs [][]WorkloadResult) []WorkloadResult {
	if len(runs) == 1 {
		return runs[0]
	}
	var out []WorkloadResult
	for i := range runs[0] {
		w := runs[0][i]
		w.Contenders = nil
		pick := func(f func(*WorkloadResult) float64) float64 {
			var v []float64
			for _, run := range runs {
				v = append(v, f(&run[i]))
			}
			return median(v)
		}
		w.GeneratorCPU = pick(func(w *WorkloadResult) float64 { return w.GeneratorCPU })
		w.MachineCPU = pick(func(w *WorkloadResult) float64 { return w.MachineCPU })
		w.OthersCPU = pick(func(w *WorkloadResult) float64 { return w.OthersCPU })
		w.Rate = pick(func(w *WorkloadResult) float64 { return w.Rate })
		for _, row := range runs[0][i].Contenders {
			var same []Row
			for _, run := range runs {
				if j := slices.IndexFunc(run[i].Contenders, func(o Row) bool { return o.Name == row.Name }); j >= 0 {
					same = append(same, run[i].Contenders[j])
				}
			}
			w.Contenders = append(w.Contenders, medianRow(same))
		}
		w.BestFixed = ""
		if best := bestFixed(w.Contenders, w.Rate > 0); best >= 0 {
			w.BestFixed = w.Contenders[best].Name
			for j := range w.Contenders {
				w.Contenders[j].Best = j == best
			}
		}
		out = append(out, w)
	}
	return out
}

func medianRow(rows []Row) Row {
	out := rows[0]
	out.Rounds = nil
	pick := func(f func(*Row) float64) float64 {
		var v []float64
		for i := range rows {
			v = append(v, f(&rows[i]))
		}
		return median(v)
	}
	combine := func(f func(*Row) Spread) Spread {
		s := f(&rows[0])
		for i := range rows {
			s.Min, s.Max = min(s.Min, f(&rows[i]).Min), max(s.Max, f(&rows[i]).Max)
		}
		s.Median = pick(func(r *Row) float64 { return f(r).Median })
		s.Mean = pick(func(r *Row) float64 { return f(r).Mean })
		return s
	}
	out.Throughput = combine(func(r *Row) Spread { return r.Throughput })
	out.Regret = combine(func(r *Row) Spread { return r.Regret })
	var regrets []float64
	for _, r := range rows {
		regrets = append(regrets, r.Regret.Mean)
	}
	out.RegretMargin = margin95(regrets)
	out.P50Ms = pick(func(r *Row) float64 { return r.P50Ms })
	out.P99Ms = pick(func(r *Row) float64 { return r.P99Ms })
	out.P99Ratio = pick(func(r *Row) float64 { return r.P99Ratio })
	out.Limit = int(pick(func(r *Row) float64 { return float64(r.Limit) }))
	out.Changes = int(pick(func(r *Row) float64 { return float64(r.Changes) }))
	out.ChangesPerMinute = pick(func(r *Row) float64 { return r.ChangesPerMinute })
	out.Swaps = int64(pick(func(r *Row) float64 { return float64(r.Swaps) }))
	out.Failed, out.Abandoned = 0, 0
	var took []float64
	for _, r := range rows {
		out.Backends = max(out.Backends, r.Backends)
		out.Failed += r.Failed
		out.Abandoned += r.Abandoned
		out.Rounds = append(out.Rounds, r.Rounds...)
		if r.ConvergedIn != nil {
			took = append(took, *r.ConvergedIn)
		}
	}
	// Not in time is longer than any time: the median exists if most converged.
	out.Converged, out.ConvergedIn = 2*len(took) > len(rows), nil
	if out.Converged {
		slices.Sort(took)
		m := took[len(rows)/2]
		out.ConvergedIn = &m
	}
	return out
}

func (o *Options) settings() Settings {
	return Settings{
		Clients: o.Clients, Rounds: o.Rounds, SliceSeconds: o.Slice.Seconds(), UncountedSeconds: o.Uncounted.Seconds(),
		ColdSeconds: o.Cold.Seconds(), SettledSeconds: o.Settled.Seconds(), PhaseSeconds: o.Phase.Seconds(), Phases: o.Phases,
		OpenShare: o.OpenShare, Vectors: o.Vectors, Dimensions: o.Dimensions, HoldMs: milliseconds(hold), Runs: o.Runs,
	}
}

func (w *workload) shape(o *Options, rate float64) string {
	switch {
	case w.shift:
		return fmt.Sprintf("%d clients, closed loop, %d phases", o.Clients, o.Phases)
	case w.openOf != "":
		return fmt.Sprintf("Poisson arrivals of %.0f/s, %.0f %% of the best fixed size in the closed loop", rate, 100*o.OpenShare)
	}
	return fmt.Sprintf("%d clients, closed loop", o.Clients)
}
