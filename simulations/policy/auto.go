package policy

import (
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/sizing"
	"github.com/pgautotune/autotune/simulations/plant"
)

// Auto is autotune's own controller. Nothing of it is written again here: it
// holds the configuration and the state, calls [controller.Step] at each look, and
// does with the decision what the live tuner does.
type Auto struct {
	cfg      controller.Config
	state    controller.State
	start    plant.Setting
	decision controller.Decision
}

// autoStart is the size that auto begins with where nobody says and the callers'
// CPUs are unknown: pgxpool's least default.
const autoStart = 4

func newAuto(e Env) (plant.Tuner, error) {
	cfg := e.Auto
	cfg.Ceiling, cfg.Budget, cfg.Users = e.Ceiling, e.Budget, e.Users
	if cfg.Floor == 0 {
		cfg.Floor = 1
	}
	if cfg.Users == 0 {
		cfg.Users = sizing.GuidelineUsers
	}
	if cfg.Interval == 0 {
		cfg.Interval = time.Second
	}
	n := max(e.begin(max(autoStart, e.ClientCPUs)), cfg.Floor)
	return &Auto{cfg: cfg, start: plant.Setting{Limit: n, Max: n, Min: min(cfg.FloorMin, n)}}, nil
}

// Start is the pool as pgxpool would open it: a max, and the profile's min if any.
func (a *Auto) Start() plant.Setting { return a.start }

// Look makes one step and applies it as the live tuner does: a decision that
// freezes moves nothing. What it takes to get to another max, the plant knows.
func (a *Auto) Look(o controller.Observation) (plant.Setting, time.Duration) {
	a.state, a.decision = controller.Step(a.cfg, a.state, o)
	d, next := &a.decision, a.cfg.Interval
	if d.Next > 0 {
		next = min(next, d.Next)
	}
	now := plant.Setting{Limit: o.Gauges.Limit, Max: o.Gauges.Max, Min: o.Gauges.Min}
	if d.Action != controller.Freeze {
		now = plant.Setting{Limit: min(d.Limit, d.Max), Max: d.Max, Min: d.Min}
	}
	return now, next
}

// Calm tells whether the knee is known. The live pool asks for a look, at most
// every 100 ms, when a caller has to queue, unless the tuner is calm; a plant that
// does the same asks here.
func (a *Auto) Calm() bool { return a.state.Learn.Known }

// Decision is the one of the last look, for reports.
func (a *Auto) Decision() controller.Decision { return a.decision }

// Config is what the controller was told, for journals.
func (a *Auto) Config() controller.Config { return a.cfg }
