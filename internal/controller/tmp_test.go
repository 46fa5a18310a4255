package controller_test

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

func TestTMQ(t *testing.T) {
	p := newPlant(pureSearch, 150, 100, 0.02, 1)
	var s controller.State
	log := func(o controller.Observation, d controller.Decision) {
		if d.Limit != o.Gauges.Limit {
			t.Logf("%.1f %s %d → %d  nat %v knee %+v", o.At.Seconds(), d.Reason, o.Gauges.Limit, d.Limit, d.Estimate.Natural, d.Estimate.Knee)
		}
	}
	for range 12 {
		p.callers = 150
		s = p.run(config(), s, 2500*time.Millisecond, log)
		p.callers = 0
		s = p.run(config(), s, 5*time.Second, log)
	}
}
