package controller

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Of five connections in use, two wait. Where the ups and downs have shown
// that four serve as much as twelve, the limit of 100 comes down; where they have not,
// a burst may need them all.
func TestALimitFarAboveDemandComesDownWhereItDoesNoHarm(t *testing.T) {
	for _, c := range []struct {
		name                       string
		computing, waiting         int
		plateau, varied, peak, end int
	}{
		{"all compute", 5, 0, 0, 0, 8, 16},
		{"some wait, nothing shown", 3, 2, 0, 0, 8, 100},
		{"some wait, a plateau from 4 to 12", 3, 2, 4, 12, 8, 16},
		{"some wait, a plateau from 9 to 20", 3, 2, 9, 20, 8, 36},
		{"some wait, a rise up to 8 of 12", 3, 2, 8, 12, 8, 100},
		{"some wait, a plateau, and bursts of 40", 3, 2, 4, 60, 40, 60},
		{"all compute, bursts of 40", 5, 0, 0, 0, 40, 60},
		{"all compute, a plateau, and bursts of 60", 5, 0, 4, 60, 60, 16},
		{"some wait, a plateau that would hardly lower it", 3, 2, 17, 40, 8, 100},
	} {
		var s State
		d := Decision{Limit: 100, Reason: sizing.Steady}
		for at := time.Second; at < 2*time.Minute; at += time.Second {
			s.see(Observation{Server: &Server{Ours: Backends{OnCPU: c.computing, IdleInTransaction: c.waiting}}})
			var w window
			w.Elapsed = time.Second
			o := Observation{At: at, Gauges: Gauges{Limit: d.Limit, InUse: 5, Peak: c.peak}}
			s.spare(o, w, model.Estimate{DemandUpper: 5, Plateau: c.plateau, Varied: c.varied}, 1, &d)
		}
		if d.Limit != c.end {
			t.Errorf("%s: the limit ends at %d, want %d", c.name, d.Limit, c.end)
		}
	}
}
