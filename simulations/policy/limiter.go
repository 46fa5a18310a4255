package policy

import (
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
)

// limiter is what the limiters of concurrency have in common: a limit that
// samples move, over a pool that stays as it is.
type limiter struct {
	start plant.Setting
	now   plant.Setting // its Limit moves
	end   int           // the ceiling
}

// limiter begins with Start or else what the authors have.
func (e Env) limiter(theirs int) limiter {
	s := plant.Setting{Limit: e.begin(theirs), Max: e.Ceiling} // nothing underneath is in its way
	return limiter{start: s, now: s, end: e.Ceiling}
}

// Start is the setting to begin with.
func (l *limiter) Start() plant.Setting { return l.start }

// Look changes nothing: samples do.
func (l *limiter) Look(controller.Observation) (plant.Setting, time.Duration) { return l.now, 0 }

// move sets the limit, within 1 and the ceiling, and returns it.
func (l *limiter) move(n int) int {
	l.now.Limit = min(max(n, 1), l.end)
	return l.now.Limit
}

// sample is one round trip as a limiter sees it.
type sample struct {
	rtt      time.Duration // at least 1 ns
	inFlight int
	dropped  bool
}

// see translates a finished request (see the package's comment).
func (l *limiter) see(r plant.Sample) sample {
	if r.GaveUp {
		return sample{rtt: max(r.Wait, 1), inFlight: l.now.Limit, dropped: true}
	}
	return sample{rtt: max(r.Service, 1), inFlight: r.InFlight}
}

// full tells whether the limit was in the way of somebody when r finished.
func (l *limiter) full(r plant.Sample) bool { return r.Queued > 0 || r.InFlight >= l.now.Limit }
