package policy

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
)

// arc is the adaptive request concurrency of Vector (vectordotdev/vector, as of
// commit 05b56b79, src/sinks/util/adaptive_concurrency). Once in each mean round
// trip it compares the mean of the round trips since with their exponential past:
// if the limit was reached, nobody pushed back and the mean is no longer than the
// past, the limit grows by 1; if somebody pushed back or the mean is beyond the
// past by 2.5 deviations, it is multiplied by 0.9. Defaults: initial concurrency
// 1, decrease ratio 0.9, EWMA alpha 0.4, deviation scale 2.5.
type arc struct {
	limiter
	mean, variance float64 // of past round trips, s
	known          bool    // there is a past
	next           time.Duration

	// Since the last update.
	current float64 // mean round trip, s
	samples int
	reached bool
	pushed  bool
}

const (
	arcStart    = 1
	arcDecrease = 0.9
	arcAlpha    = 0.4
	arcScale    = 2.5
)

func newARC(e Env) (plant.Tuner, error) { return &arc{limiter: e.limiter(arcStart)}, nil }

// Completed is one response. Who gave up waiting is a timeout to Vector: back
// pressure without a round trip.
func (a *arc) Completed(r plant.Sample) int {
	a.reached = a.reached || a.full(r)
	if r.GaveUp {
		a.pushed = true
	} else {
		a.samples++
		a.current += (max(r.Service, 1).Seconds() - a.current) / float64(a.samples)
	}
	switch {
	case !a.known:
		if a.samples > 0 {
			a.remember()
			a.next = r.At + seconds(a.current)
		}
	case r.At >= a.next:
		a.manage()
		if a.samples > 0 {
			a.remember()
		}
		a.next = r.At + seconds(a.mean)
		a.current, a.samples, a.reached, a.pushed = 0, 0, false, false
	}
	return a.now.Limit
}

func (a *arc) manage() {
	n := a.now.Limit
	switch {
	case n < a.end && a.reached && !a.pushed && a.samples > 0 && a.current <= a.mean:
		a.move(n + 1)
	case n > 1 && (a.pushed || a.current >= a.mean+arcScale*math.Sqrt(a.variance)):
		a.move(int(float64(n) * arcDecrease))
	}
}

// remember adds the current mean to the past: exponential mean and variance.
func (a *arc) remember() {
	if !a.known {
		a.known, a.mean = true, a.current
		return
	}
	off := a.current - a.mean
	step := arcAlpha * off
	a.mean += step
	a.variance = (1 - arcAlpha) * (a.variance + off*step)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
