package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// A limit far above all demand costs nothing until the server slows down or a crowd
// comes. Then everybody is let in at once, past any knee, and the queue that shows it
// stands inside of the server, where it takes the capacity to serve itself. So while
// nothing is known of the knee the limit follows the demand, with so much room that the
// bursts of the last minutes fit twice; a larger one raises it, see [State.follow].
// The size stays for much longer: an idle connection costs little, opening it again more.

const (
	spareAfter = time.Minute // that it must have been far above
	spareTimes = 2           // the demand that is exceeded 1 % of the time
	sparePeaks = 1.5         // the highest of late
)

// spare lowers a limit that has been twice what leaves enough room for spareAfter.
func (s *State) spare(o Observation, w window, est model.Estimate, low int, d *Decision) {
	keep := math.Exp2(-w.Elapsed.Seconds() / historyHalfLife.Seconds())
	s.PeakMost = math.Max(s.PeakMost*keep, float64(max(o.Gauges.Peak, o.Gauges.InUse)))
	enough := max(low, int(math.Ceil(math.Max(spareTimes*est.DemandUpper, sparePeaks*s.PeakMost))))
	if 2*d.Limit < 3*enough || w.saturated > 0 || s.Learn.Known || s.Learn.Doubted || s.Learn.Episode {
		s.SpareSince = 0
		return
	}
	if s.SpareSince == 0 {
		s.SpareSince = o.At
	}
	if o.At-s.SpareSince >= spareAfter {
		d.Limit, d.Reason = enough, sizing.DemandFell
		s.SpareSince = 0
	}
}
