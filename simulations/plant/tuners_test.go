package plant_test

import (
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
)

// fixed is the pool of n connections that never changes.
type fixed struct{ s plant.Setting }

func fix(n int) fixed { return fixed{plant.Setting{Limit: n, Max: n}} }

func (f fixed) Start() plant.Setting { return f.s }
func (f fixed) Look(controller.Observation) (plant.Setting, time.Duration) {
	return f.s, 0
}

// auto is the controller itself.
type auto struct {
	cfg   controller.Config
	start int
	state controller.State
}

func tuned(start int) *auto {
	return &auto{start: start, cfg: controller.Config{Floor: 1, Ceiling: 200, Budget: 200, Users: 100, Interval: time.Second}}
}

func (a *auto) Start() plant.Setting { return plant.Setting{Limit: a.start, Max: a.start} }
func (a *auto) Calm() bool           { return a.state.Learn.Known }
func (a *auto) Look(o controller.Observation) (plant.Setting, time.Duration) {
	var d controller.Decision
	a.state, d = controller.Step(a.cfg, a.state, o)
	return plant.Setting{Limit: d.Limit, Max: d.Max, Min: d.Min}, d.Next
}

// free is a server without any cost but that of the queries.
func free(cores int) plant.Server {
	return plant.Server{Cores: cores, ConnectLatency: -1, ConnectCPU: -1, ColdCPU: -1, CloseLatency: -1, MaxConnections: 1_000_000}
}
