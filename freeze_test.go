package autotune

import (
	"testing"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/internal/sizing"
)

// A look begins, the operator freezes, and the look's decision comes too late.
func TestADecisionOnItsWayWhenThePoolIsFrozenMovesNothing(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) { c.Pool.MaxConns, c.Manual = 8, true })
	obs := Observation{Gauges: controller.Gauges{Limit: 8, Max: 8}}
	p.Freeze()
	p.tuner.act(t.Context(), obs, Decision{Action: controller.Shrink, Reason: sizing.PastKnee, Limit: 3, Max: 4, Swap: true})
	if s := p.Snapshot(); s.Limit != 8 || s.Size.Max != 8 || s.Swaps != 0 {
		t.Errorf("limit %d, max %d, %d swaps after a freeze; want 8, 8, 0", s.Limit, s.Size.Max, s.Swaps)
	}
	p.tuner.act(t.Context(), obs, Decision{Action: controller.Freeze, Reason: sizing.Operator, Limit: 5, Max: 8})
	if s := p.Snapshot(); s.Limit != 5 {
		t.Errorf("a limit that was only tried is %d after the freeze, want the 5 from before it", s.Limit)
	}
	p.Thaw()
	obs.Gauges.Limit = 5
	p.tuner.act(t.Context(), obs, Decision{Action: controller.Shrink, Reason: sizing.PastKnee, Limit: 3, Max: 8})
	if s := p.Snapshot(); s.Limit != 3 {
		t.Errorf("thawed, the limit is %d, want 3", s.Limit)
	}
}
