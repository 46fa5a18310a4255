package simulations

import "github.com/pgautotune/autotune/simulations/plant"

// Schema is the name of the JSON document's form.
const Schema = "autotune.simulate/v1"

// Result is the JSON document. Fields are added to it and never change meaning.
type Result struct {
	Schema   string  `json:"schema"`
	Command  string  `json:"command,omitempty"` // that reproduces it
	Seeds    int     `json:"seeds"`
	Requests int64   `json:"requests"`  // simulated, the search of sizes included
	ElapsedS float64 `json:"elapsed_s"` // of the machine's time

	Scenarios []ScenarioResult `json:"scenarios"`

	// Unmeasured are the scenarios in which there was nothing to compare, and why.
	Unmeasured []string `json:"unmeasured,omitempty"`
}

// ScenarioResult is one scenario with all that took part in it.
type ScenarioResult struct {
	Name      string   `json:"name"`
	Title     string   `json:"title"`
	Shows     string   `json:"shows"`
	Loop      string   `json:"loop"` // open, closed or mixed
	HighLoad  bool     `json:"high_load"`
	Steady    bool     `json:"steady"`
	DurationS float64  `json:"duration_s"` // 0: as long as the trace
	SLOMs     float64  `json:"slo_ms"`
	Ceiling   int      `json:"ceiling"`
	Trace     []string `json:"trace,omitempty"`    // what was done to it
	LeftOut   []string `json:"left_out,omitempty"` // policies that could not take part, and why

	BestFixed int     `json:"best_fixed"` // connections, in hindsight
	Best      Outcome `json:"best"`
	Sizes     []Size  `json:"sizes"` // every fixed size that was tried

	Outcomes []Outcome `json:"outcomes"`
	Lines    []Line    `json:"lines,omitempty"` // of the first seed
}

// Line is a policy over time.
type Line struct {
	Name   string           `json:"name"`
	Best   bool             `json:"best,omitempty"` // the best fixed size
	Series []plant.Interval `json:"series"`
	Moves  []plant.Move     `json:"moves"`
}

// Bars of what is asked of autotune: what it must not exceed in any scenario.
const (
	BarRegret         = 0.02 // 0.05 where the load is high
	BarRegretHighLoad = 0.05
	BarP99            = 1.3
	BarConverged      = 60.0 // s
	BarChanges        = 2.0  // a minute, in steady scenarios
	BarSwaps          = 1.0  // in ten minutes, in steady scenarios
)

// barRegret is the bar of regret in the scenario.
func (s *ScenarioResult) barRegret() float64 {
	if s.HighLoad {
		return BarRegretHighLoad
	}
	return BarRegret
}

// Misses says which bars an outcome of the scenario misses.
func (s *ScenarioResult) Misses(o *Outcome) (missed []string) {
	if o.Regret > s.barRegret() {
		missed = append(missed, "regret")
	}
	if o.P99Ratio > BarP99 {
		missed = append(missed, "p99")
	}
	if !o.Converged || o.ConvergedS > BarConverged {
		missed = append(missed, "convergence")
	}
	if s.Steady && o.ChangesPerMinute > BarChanges {
		missed = append(missed, "changes")
	}
	if s.Steady && o.SwapsPer10 > BarSwaps {
		missed = append(missed, "swaps")
	}
	return missed
}
