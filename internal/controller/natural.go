package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// A load that goes up and down shows the capacity curve by itself: see
// [model.Occupancy]. Where it has shown that connections beyond some number serve
// less, the limit goes there, whether callers queue or not, and nothing has to be
// tried. Where it has not, bursts raise the limit one doubling at a time, each of
// which is looked at before the next.

// burstLeft is how many connections must have come back out of the levels that the
// last doubling opened before there is another: 10 % standard error.
const burstLeft = 100

// plateauRaise times the smallest number in use that serves as much as any is as far
// as bursts raise the limit: beyond, more connections would only share the same work.
const plateauRaise = 4

// natural moves the limit to the knee that the pool's ups and downs show, if it is
// outside of what they cannot tell from it.
func (s *State) natural(o Observation, est model.Estimate, low, high int, d *Decision) {
	k := est.Knee
	if s.Learn.Episode || !est.Natural {
		return
	}
	n := min(max(k.N, low), high)
	limit := o.Gauges.Limit
	// Nothing is lost by the smaller limit in a queue without end, unless callers do not wait
	// for each other, and the share that the objective gives away would end it.
	endless := s.Learn.saturatedFor(s.At) >= varyingAfter && limit > k.N &&
		(!s.Learn.open() || s.Occupancy.Given(k.N) >= s.Occupancy.Given(limit))
	if limit >= k.Lower && limit <= k.Upper && !endless && !s.luck(k) || n == limit || s.NaturalAt > 0 && o.At-s.NaturalAt < naturalGap {
		return
	}
	s.NaturalAt, s.NaturalUpper = o.At, max(n, k.Upper)
	s.NaturalTo, s.NaturalSeen = n, s.Occupancy.Behind(k.N)
	l := &s.Learn
	l.Base = limit
	d.Limit, d.Reason = n, l.came(n)
	l.Knee, l.PeakX, l.BestX = k, est.PeakThroughput, est.KneeThroughput
	l.rest(o.At, 0)
	l.BaseCount = s.NaturalSeen
	l.VerifyUp = !k.Identified // the first limit to be tried is above, unless what is below was not seen
}

// luck tells whether the limit is where the ups and downs put it when there was a quarter
// of the evidence that there is now, which leads to a clearly smaller one.
func (s *State) luck(k model.Knee) bool {
	return s.Limit == s.NaturalTo && 2*s.Limit >= 3*k.N && s.Occupancy.Behind(k.N) >= 4*s.NaturalSeen
}

// judge compares the knee that the ups and downs showed last with where an episode ends.
func (s *State) judge(limit int) {
	switch {
	case s.NaturalUpper == 0:
		return
	case limit > s.NaturalUpper:
		s.NaturalEvery = doubled(s.NaturalEvery, verifyFirst, crowdMost)
	default:
		s.NaturalEvery = 0
	}
	s.NaturalUpper = 0
}

// contradict is judge where a trial beside the limit in force led to another: that the
// two were compared says more than the moments at which the load itself was there.
func (s *State) contradict(cfg Config, at time.Duration, limit int) {
	if k, _, _, _ := s.Occupancy.Knee(cfg.Objective, 0); k.Identified && (limit < k.Lower || limit > k.Upper) {
		s.NaturalEvery = doubled(s.NaturalEvery, verifyFirst, crowdMost)
		s.NaturalAt, s.NaturalUpper = at, 0
	}
}

// follow raises the limit for demand that comes in bursts, too short to learn
// from: as far as the Erlang formula and the peak ask for, in doublings, while
// nothing shows that the last one was one too many.
func (s *State) follow(w window, est model.Estimate, o Observation, high int, d *Decision) {
	if w.waited < 0.05 || w.saturated > 0.8 || est.Natural {
		return
	}
	if o.Gauges.Connecting > 0 || o.Gauges.InUse+o.Gauges.Idle < d.Limit {
		return // what is allowed already is not open yet
	}
	if s.Learn.Known || s.Learn.Doubted {
		if !s.otherQueries(w) {
			s.LongHolds = 0
			return
		}
		if s.LongHolds++; s.LongHolds < longHolds {
			return
		}
	}
	if s.RaisedAt > 0 && o.At-s.RaisedAt < raiseEvery && s.mostCompute() {
		return // a queue that stays is learned from; raised too fast, it moves into the server and is not seen
	}
	opened := d.Limit - d.Limit/4
	if d.Limit == s.RaisedTo {
		opened = s.RaisedFrom + 1
	}
	if s.Occupancy.LeftAt(opened) < burstLeft {
		return // what the last raise opened was hardly used yet
	}
	if est.Plateau > 0 && est.Varied >= opened && plateauRaise*est.Plateau <= d.Limit {
		return // a quarter of the limit already served as much
	}
	if s.Server.Cores > 0 && d.Limit >= farBeyond*est.Prior && (s.onlyCompute() || !s.gained(opened)) {
		return // more would only share the same cores
	}
	want := min(max(est.Wanted, o.Gauges.Peak), 2*d.Limit, high, s.Learn.notWorse(o.At))
	if want == high && want > d.Limit || 2*want >= 3*d.Limit {
		s.RaisedFrom, s.RaisedTo, s.RaisedAt = d.Limit, want, o.At
		d.Limit, d.Reason = want, sizing.DemandRose
	}
}

// gained tells whether levels from opened up give clearly more than those half as high. A
// census says what the backends do at an instant, once a second; a burst is over by then.
func (s *State) gained(opened int) bool {
	return s.Occupancy.RateAt(opened, math.MaxInt) > raiseGains*s.Occupancy.RateAt(opened/2, opened)
}

// raiseGains is what a doubling has to give for another one: twice as much where
// connections wait, as much where they share cores, by two standard errors of burstLeft.
const raiseGains = 1.2

// raiseEvery is how long the raises for bursts are apart where backends compute: several
// times what an episode needs to begin.
const raiseEvery = 2 * time.Second

// onlyCompute tells whether the cores of the server are known, and nearly all of the
// backends at work compute: see spare.go for those that wait.
func (s *State) onlyCompute() bool { return s.Server.Cores > 0 && s.mostCompute() }

// mostCompute is the same where the cores may be unknown.
func (s *State) mostCompute() bool {
	return s.Computing >= 1 && s.Computing >= spareCompute*(s.Computing+s.Waiting)
}

// longHolds is how many windows with waiting callers it takes in a row to believe in
// other queries: one is a stall of the machine.
const longHolds = 2

// otherQueries tells whether connections are held for much longer than when the
// knee was learned, and not because more of them are in use now: beyond the knee the
// same throughput takes more of each.
func (s *State) otherQueries(w window) bool {
	if w.Completions == 0 || s.Learn.BestX <= 0 {
		return true
	}
	n := max(s.Learn.Knee.N, min(w.Limit, w.Peak))
	then := float64(n) / s.Learn.BestX // Little: S = n/X
	now := w.ServiceTime.Seconds() / float64(w.Completions)
	return now > 1.5*then*(1+3/math.Sqrt(float64(w.Completions))) // a few completions say little
}

// mixedMost is the squared coefficient of variation of the time held above which the
// ups and downs are no curve: where some requests take a thousand times as long as the
// rest and come together, high levels are theirs, and little comes back out of those
// whatever the server could do. Hyperexponential service of searches has about 20.
const mixedMost = 50

// holdsTogether is how long what is given back counts as one event.
const holdsTogether = 5 * time.Second

// Holds adds up how long connections were held, and forgets as the ups and downs are
// forgotten.
type Holds struct {
	N, Sum, Sq float64
	Event      float64 // of Sq, what came back since EventAt
	EventAt    time.Duration
	Largest    float64 // of Sq, what the largest event had: a stall, or one report, says nothing of the load
}

func (h *Holds) add(at time.Duration, w window) {
	keep := math.Exp2(-w.Elapsed.Seconds() / occupancyHalfLife.Seconds())
	h.N = h.N*keep + float64(w.Completions)
	h.Sum = h.Sum*keep + w.ServiceTime.Seconds()
	h.Sq = h.Sq*keep + w.ServiceTimeSq
	h.Event, h.Largest = h.Event*keep, h.Largest*keep
	if at-h.EventAt >= holdsTogether {
		h.Event, h.EventAt = 0, at
	}
	h.Event += w.ServiceTimeSq
	h.Largest = math.Max(h.Largest, h.Event)
}

func (h *Holds) cv2() float64 {
	if h.Sum <= 0 || h.N <= 0 {
		return 0
	}
	return math.Max(0, (h.Sq-h.Largest)*h.N/(h.Sum*h.Sum)-1)
}
