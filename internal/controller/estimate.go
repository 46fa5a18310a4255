package controller

import (
	"math"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// What the controller believes at a look: what callers demand, what the server does, and
// what the pool's ups and downs show of its capacity.

// estimateDemand adds a window to what is known of the demand.
func (s *State) estimateDemand(w window, o Observation) {
	if s.Demand.Observe(w.Window) != model.Counted {
		return
	}
	// The mean of a window hides its burst, the peak overrates it: both count,
	// the mean for the window's length, the peak for a tenth of it.
	dt := w.Elapsed.Seconds()
	r := s.Demand.Rates()
	s.History.Add(o.At, r.Concurrency, 0.9*dt)
	s.History.Add(o.At, math.Max(r.Concurrency, float64(o.Gauges.Peak)), 0.1*dt)
}

// see remembers the server and notices when it is out of sight.
func (s *State) see(o Observation) {
	if o.Server != nil {
		s.Server, s.SeenAt, s.Blind = saneServer(*o.Server), o.At, false
		b := s.Server.Ours
		s.Censuses++
		weight := math.Max(censusWeight, 1/float64(s.Censuses))
		s.Computing += weight * (float64(b.OnCPU+b.LWLock) - s.Computing)
		s.Running += weight * (float64(b.OnCPU) - s.Running)
		s.Waiting += weight * (float64(b.IO+b.OtherWait+b.IdleInTransaction) - s.Waiting)
		weight = math.Max(lockWeight, 1/float64(s.Censuses))
		s.Locked += weight * (float64(b.Lock) - s.Locked)
		s.Working += weight * (float64(b.Total()-b.Idle) - s.Working)
		return
	}
	s.Blind = true
}

// censusWeight of one look: a census counts an instant, and three or four of them tell
// the mix. Learning, there is a new one at every second look or third, so that what was
// before half a second counts little; at rest, one at each look.
const censusWeight = 0.3

// Where more than lockedMost of those at work wait for locks, over half a minute of
// looks, the ups and downs show how long locks are held, and no fall of the capacity.
const (
	lockedMost = 0.1
	lockWeight = 0.03
)

func (s *State) estimate(cfg Config, w window, usable bool) model.Estimate {
	e := model.Estimate{Rates: s.Demand.Rates(), PeakThroughput: s.Learn.PeakX, KneeThroughput: s.Learn.BestX}
	if s.Learn.Known || s.Learn.Episode || s.Learn.Doubted { // else it was another load's, or before a hand moved
		e.Knee = s.Learn.Knee
	}
	s.estimateLevels(cfg, &e)
	e.DemandLower, e.DemandTarget, e.DemandUpper = s.History.Quantile(0.5), s.History.Quantile(0.95), s.History.Quantile(0.99)
	if a := e.OfferedLoad; a > 0 && cfg.WaitObjective > 0 {
		v := (e.Dispersion + e.ServiceCV2) / 2 // Allen and Cunneen
		e.Wanted = model.ErlangCServersForWait(a, e.Service, 0.99, cfg.WaitObjective, v)
	} else if a > 0 {
		e.Wanted = model.ErlangCServers(a, 0.05)
	}
	if usable {
		e.Saturated = w.saturated
	}
	e.Crowded = s.Server.Cores > 0 && s.Computing >= 2*float64(s.Server.Cores)
	e.Running = float64(s.Server.Ours.OnCPU)
	e.Prior = sizing.Prior(s.Server.Cores, s.Computing, s.Waiting)
	return e
}

// estimateLevels adds what the pool's ups and downs show: see [model.Occupancy].
func (s *State) estimateLevels(cfg Config, e *model.Estimate) {
	k, peak, best, least := s.Occupancy.Knee(cfg.Objective, e.ArrivalAtLeast())
	k = s.believed(k)
	if k.Identified || k.Missing == model.MissingAbove {
		e.Varied, e.Least, e.Plateau, e.VariedPeak = model.LevelTop(int(math.Round(k.SeenMax))), least, k.N, peak
	}
	e.Above = k.Missing == model.MissingSpan || k.Missing == model.MissingBelow
	if s.At-s.NaturalAt < s.NaturalEvery { // they have misled
		return
	}
	if k, best, ok := s.naturalKnee(cfg.Objective, k, best, e.Varied); ok {
		e.Knee, e.PeakThroughput, e.KneeThroughput, e.Natural = k, peak, best, true
	}
}

// believed is the knee of the ups and downs, less what else explains it: locks, which are
// why the level is high and little comes back; levels out of date, of a single moment, or
// of two kinds of requests.
func (s *State) believed(k model.Knee) model.Knee {
	if s.Learn.saturatedFor(s.At) >= staleAfter || s.Occupancy.Observed() < occupancyLeast.Seconds() || s.Holds.cv2() > mixedMost {
		return model.Knee{}
	}
	if k.Identified && s.waitsForLocks() {
		k.Identified, k.Missing = false, model.MissingAbove
	}
	return k
}

// naturalKnee is the knee that the limit may go to without a trial, and its throughput.
func (s *State) naturalKnee(o model.Objective, k model.Knee, best float64, varied int) (model.Knee, float64, bool) {
	tooLow := k.Identified && s.Limit < k.Lower && s.At-s.NaturalAt >= naturalGap // more ask than that serves
	switch {
	case s.Learn.saturatedFor(s.At) >= varyingAfter && !tooLow:
		return s.smallerKnee(o, k, best, varied)
	case k.Identified:
		return k, best, true
	case k.Missing == model.MissingBelow:
		return k, best, s.Limit > k.Upper
	case k.Missing == model.MissingAbove && s.luck(k): // else more connections do no harm on a plateau
		n, _ := s.Occupancy.Plateau(o)
		return k, best, n > 0 && n <= k.N && o != model.Latency
	}
	return k, best, false
}

// smallerKnee is naturalKnee while callers queue without end: then nothing is lost by a
// smaller limit, if it is on the plateau.
func (s *State) smallerKnee(o model.Objective, k model.Knee, best float64, varied int) (model.Knee, float64, bool) {
	if varied < s.Limit || k.N >= s.Limit || s.Learn.Episode {
		return k, best, false
	}
	if o == model.Latency {
		return k, best, true
	}
	if s.Learn.open() { // what it gives may be what would end the queue
		o = model.Throughput
	}
	k.N, best = s.Occupancy.Plateau(o)
	return k, best, k.N > 0 && k.N < s.Limit
}

// waitsForLocks tells whether enough backends do to explain the levels.
func (s *State) waitsForLocks() bool { return s.Locked > lockedMost*s.Working }

func (s *State) vectors() float64 {
	if !s.Server.Vectors.Installed {
		return 0
	}
	return s.Server.Vectors.Rows
}
