package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// A limit far above all demand costs nothing until the server slows down or a crowd
// comes. Then everybody is let in at once, past any knee, and the queue that would show
// it stands inside of the server, where it takes the capacity to serve itself. So while
// nothing is known of the knee, and those in use do nothing but compute, the limit
// follows the demand, with so much room that the bursts of the last minutes fit half as
// large again. A larger one raises it as any limit, see [State.follow].
//
// Where they wait as well, for storage or for their callers, a burst needs many times
// the connections that it keeps a core busy with, and the first of them would queue for
// nothing; unless the ups and downs have shown that a few serve as much as twice as many.
// The size stays for much longer: an idle connection costs little, opening it
// again more.

const (
	spareAfter   = time.Minute // that it must have been far above
	spareTimes   = 2           // the demand that is exceeded 1 % of the time
	sparePeaks   = 1.5         // the highest demand of late, half as much after historyHalfLife
	spareLeast   = 16          // no crowd of so few is worth preventing
	spareCores   = 4           // times the cores, where they are known
	spareCompute = 0.8         // of those at work
)

// Spare is what was seen while the limit has been far above the demand.
type Spare struct {
	Since     time.Duration // 0: it is not
	Computing float64       // backends, summed over looks at the server
	Working   float64       // those that compute and those that wait
	Peak      float64       // callers at once at most, in use and queued, decaying; not only since then
}

// spare lowers a limit that has been half as much again as is enough for spareAfter, or a
// quarter of it where the ups and downs show a plateau.
func (s *State) spare(o Observation, w window, est model.Estimate, low int, d *Decision) {
	p := &s.Spare
	keep := math.Exp2(-w.Elapsed.Seconds() / historyHalfLife.Seconds())
	p.Peak = math.Max(p.Peak*keep, float64(max(o.Gauges.Peak, o.Gauges.InUse)))
	enough, plateau := s.roomy(est, low)
	if 2*d.Limit < 3*enough || w.saturated > 0 || s.Learn.Known || s.Learn.Doubted || s.Learn.Episode {
		*p = Spare{Peak: p.Peak}
		return
	}
	if p.Since == 0 {
		p.Since = o.At
	}
	b := s.Server.Ours
	p.Computing += float64(b.OnCPU + b.LWLock)
	p.Working += float64(b.Total() - b.Idle)
	after := spareAfter
	if plateau {
		after /= 4
	}
	if o.At-p.Since < after || !plateau && p.Computing < spareCompute*p.Working || p.Working == 0 {
		return
	}
	d.Limit, d.Reason = enough, sizing.DemandFell
	*p = Spare{Peak: p.Peak}
}

// roomy is the limit that leaves room for the demand, and tells whether the ups and downs
// show a plateau. Beyond plateauRaise times its beginning no burst raises the limit: where
// backends compute, it need be no higher, and where they wait as well, no lower.
func (s *State) roomy(est model.Estimate, low int) (limit int, plateau bool) {
	room := math.Max(spareTimes*est.DemandUpper, sparePeaks*s.Spare.Peak)
	least := max(low, spareLeast, spareCores*s.Server.Cores)
	limit = max(least, int(math.Ceil(math.Min(room, math.MaxInt32))))
	if est.Plateau == 0 || est.Varied < 2*est.Plateau || s.waitsForLocks() {
		return limit, false
	}
	all := max(least, plateauRaise*est.Plateau)
	if s.mostCompute() {
		return min(limit, all), true
	}
	return max(limit, all), true
}
