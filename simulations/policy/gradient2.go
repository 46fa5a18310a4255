package policy

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
)

// gradient2 is Gradient2Limit of Netflix' concurrency-limits (as of commit f2528def) behind its
// WindowedLimit, as its documentation has it ("re-calculates the limit every
// sampling window"): an exponential average of the windows' mean round trips, times
// the tolerance, over that of this window gives a gradient within [0.5, 1], and
//
//	limit = 0.8 limit + 0.2 (gradient × limit + 4)
//
// Defaults: Gradient2Limit initial limit 20, min limit 20, smoothing 0.2, queue
// size 4, tolerance 1.5, long window 600 windows with 10 of warm-up; WindowedLimit windows of
// 1 s and at least 10 samples, round trips below 100 µs not counted. A window's
// drops are recorded but Gradient2Limit does not look at them; the time waited by
// who gave up counts as a round trip.
type gradient2 struct {
	limiter
	limit float64
	least float64

	// The window being gathered.
	until   time.Duration
	sum     time.Duration
	samples int
	most    int // in flight

	long  float64 // ns
	warm  float64 // sum of the first windows
	count int     // windows of warm-up seen
}

const (
	gradient2Start     = 20
	gradient2Least     = 20
	gradient2Smoothing = 0.2
	gradient2Queue     = 4
	gradient2Tolerance = 1.5
	gradient2Long      = 600
	gradient2WarmUp    = 10

	netflixWindow     = time.Second
	netflixSamples    = 10
	netflixLeastRound = 100 * time.Microsecond
)

func newGradient2(e Env) (plant.Tuner, error) {
	g := &gradient2{limiter: e.limiter(gradient2Start), least: float64(e.least(gradient2Least))}
	g.limit = float64(g.now.Limit)
	return g, nil
}

// Completed gathers one sample, and moves the limit at the end of a window.
func (g *gradient2) Completed(r plant.Sample) int {
	s := g.see(r)
	if s.rtt < netflixLeastRound {
		return g.now.Limit
	}
	g.sum += s.rtt
	g.samples++
	g.most = max(g.most, s.inFlight)
	if r.At <= g.until {
		return g.now.Limit
	}
	g.until = r.At + netflixWindow
	if g.samples >= netflixSamples {
		g.update(float64(g.sum/time.Duration(g.samples)), g.most)
	}
	g.sum, g.samples, g.most = 0, 0, 0
	return g.now.Limit
}

// update is Gradient2Limit's rule, of one window's mean round trip in ns and the
// most that was in flight in it.
func (g *gradient2) update(short float64, inFlight int) {
	if g.count < gradient2WarmUp {
		g.count++
		g.warm += short
		g.long = g.warm / float64(g.count)
	} else {
		const factor = 2.0 / (gradient2Long + 1)
		g.long = g.long*(1-factor) + short*factor
	}
	long := g.long
	if long/short > 2 {
		g.long *= 0.95 // back from a time of load: forget it faster
	}
	if float64(inFlight) < g.limit/2 {
		return
	}
	gradient := math.Max(0.5, math.Min(1, gradient2Tolerance*long/short))
	next := g.limit*(1-gradient2Smoothing) + (g.limit*gradient+gradient2Queue)*gradient2Smoothing
	g.limit = math.Max(g.least, math.Min(float64(g.end), next))
	g.move(int(g.limit))
}
