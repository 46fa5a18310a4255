package model

import (
	"math"
	"time"
)

// Time constants of the two arrival rates: an exponential average forgets 63 %
// of the past within one. Ten seconds follow a burst within a few looks; a
// minute is the pace at which a size may move.
const (
	demandFast = 10 * time.Second
	demandSlow = time.Minute
)

// Window is what happened at the pool between two looks: the differences of its
// cumulative counters, plus two gauges.
type Window struct {
	Elapsed time.Duration `json:"elapsed"`

	Arrivals    int64 `json:"arrivals"`
	Completions int64 `json:"completions"`
	Canceled    int64 `json:"canceled"`
	Waited      int64 `json:"waited"`

	WaitTime      time.Duration `json:"wait_time"`      // summed over granted and canceled acquires
	ServiceTime   time.Duration `json:"service_time"`   // summed over completions
	InUseTime     time.Duration `json:"in_use_time"`    // integral of in use over the window
	SaturatedTime time.Duration `json:"saturated_time"` // time with at least one caller queued

	ServiceTimeSq float64 `json:"service_time_sq"` // sum over completions of (seconds held)²

	Peak  int `json:"peak"`  // highest in use + queued
	Limit int `json:"limit"` // most connections in use at once
}

// Rates is what [Demand] believes. Everything is 0 until it is known.
type Rates struct {
	Arrival     float64       `json:"arrival"`      // arrival rate λ, per second, over the last seconds
	ArrivalSlow float64       `json:"arrival_slow"` // the same over the last minutes
	Throughput  float64       `json:"throughput"`   // completions per second
	Service     time.Duration `json:"service"`      // mean service time S
	ServiceCV2  float64       `json:"service_cv2"`  // squared coefficient of variation of S: 0 constant, 1 exponential
	OfferedLoad float64       `json:"offered_load"` // a = λS, erlangs, with the fast λ
	InUse       float64       `json:"in_use"`       // mean connections in use
	Queued      float64       `json:"queued"`       // mean callers queued
	// Concurrency is the true demand of the last window in connections: in use,
	// plus queued, plus what the callers that gave up would have held. It is
	// never clipped at the limit.
	Concurrency float64 `json:"concurrency"`
	// Dispersion is the index of dispersion of counts: the variance of the
	// arrivals per window over their mean. 1 for Poisson arrivals, above for
	// bursts, below for a metronome. It stands in for ca² of [ErlangCServersForWait].
	Dispersion float64 `json:"dispersion"`
}

// ArrivalAtLeast is what surely came, per second: the arrival rate less two standard
// errors. The average of a Poisson process over a time constant τ has the variance λ/2τ,
// and of bursts the dispersion times as much.
func (r *Rates) ArrivalAtLeast() float64 {
	return math.Max(0, r.Arrival-2*math.Sqrt(r.Arrival*math.Max(r.Dispersion, 1)/(2*demandFast.Seconds())))
}

// Seen says what became of a window that was given to [Demand.Observe].
type Seen uint8

// The closed set of outcomes of [Demand.Observe].
const (
	// Counted: the window moved the belief.
	Counted Seen = iota
	// Ignored: the window was empty or absurd (no time passed, NaN); nothing changed.
	Ignored
	// Reset: a counter fell, so the pool was replaced in between; the window
	// was dropped and the belief from before stands.
	Reset
)

// Demand turns windows into [Rates]. It is a plain value; the zero value knows
// nothing and is ready to use. Not safe for concurrent use.
//
// Rates are exponential averages whose time constant is in seconds, not in
// looks, so an irregular ticker does not bend them. Means of the service time
// are ratios of decayed sums, so that a window with few completions weighs
// little.
type Demand struct {
	Windows int64 `json:"windows"` // counted so far
	Current Rates `json:"current"`

	// Decayed sums over completions, time constant demandSlow.
	Completions float64 `json:"completions"`
	ServiceSum  float64 `json:"service_sum"` // s
	ServiceSq   float64 `json:"service_sq"`  // s²

	// Weight is 1 − the share of the averages that is still the zero they
	// started from; dividing by it removes the start-up bias.
	WeightFast float64 `json:"weight_fast"`
	WeightSlow float64 `json:"weight_slow"`

	// Averages before that division.
	RawArrival     float64 `json:"raw_arrival"`
	RawArrivalSlow float64 `json:"raw_arrival_slow"`
	RawThroughput  float64 `json:"raw_throughput"`
	RawInUse       float64 `json:"raw_in_use"`
	RawQueued      float64 `json:"raw_queued"`

	// Decayed sum of squared surprises, each over its expectation, and its weight.
	Surprise       float64 `json:"surprise"`
	SurpriseWeight float64 `json:"surprise_weight"`
}

// Rates returns the current belief.
func (d *Demand) Rates() Rates { return d.Current }

// Observe takes one window into account and says whether it counted. It never
// panics and never lets NaN, infinity or a negative counter into the belief.
func (d *Demand) Observe(w Window) Seen {
	switch {
	case w.fell():
		return Reset
	case w.Elapsed <= 0 || !finite(w.ServiceTimeSq):
		return Ignored
	}
	dt := w.Elapsed.Seconds()
	d.observeDispersion(w.Arrivals, dt)
	d.observeService(w, dt)
	d.observeRates(w, dt)
	d.Windows++
	return Counted
}

// fell reports a counter that went backward.
func (w Window) fell() bool {
	return w.Arrivals < 0 || w.Completions < 0 || w.Canceled < 0 || w.Waited < 0 ||
		w.WaitTime < 0 || w.ServiceTime < 0 || w.InUseTime < 0 || w.SaturatedTime < 0 ||
		w.ServiceTimeSq < 0
}

// observeDispersion compares the arrivals with what the slow rate, as it was
// before this window, led to expect.
func (d *Demand) observeDispersion(arrivals int64, dt float64) {
	if d.WeightSlow <= 0 {
		return
	}
	expected := d.Current.ArrivalSlow * dt
	keep := math.Exp(-dt / demandSlow.Seconds())
	d.Surprise *= keep
	d.SurpriseWeight *= keep
	if expected <= 0 {
		return
	}
	miss := float64(arrivals) - expected
	// The expectation is itself an average over about 2τ/dt windows (fewer at
	// the start), whose variance adds to that of the count.
	own := (1 - keep) / (1 + keep) / d.WeightSlow
	d.Surprise += (1 - keep) * miss * miss / (expected * (1 + own))
	d.SurpriseWeight += 1 - keep
	d.Current.Dispersion = d.Surprise / d.SurpriseWeight
}

func (d *Demand) observeService(w Window, dt float64) {
	keep := math.Exp(-dt / demandSlow.Seconds())
	count, sum, squares := float64(w.Completions), w.ServiceTime.Seconds(), w.ServiceTimeSq
	if w.Completions == 0 {
		sum, squares = 0, 0 // nothing given back, so nothing was held to its end
	} else {
		// Whatever the single times were, their squares add up to no less than
		// sum²/count and no more than sum²: a corrupt counter stays harmless.
		squares = math.Max(sum*sum/count, math.Min(squares, sum*sum))
	}
	d.Completions = d.Completions*keep + count
	d.ServiceSum = d.ServiceSum*keep + sum
	d.ServiceSq = d.ServiceSq*keep + squares
	// Below a thousandth of one completion the sums are dust; the last mean stands.
	if d.Completions < 1e-3 {
		return
	}
	mean := d.ServiceSum / d.Completions
	d.Current.Service = seconds(mean)
	if mean > 0 {
		d.Current.ServiceCV2 = math.Max(0, d.ServiceSq/d.Completions/(mean*mean)-1)
	}
}

func (d *Demand) observeRates(w Window, dt float64) {
	fast := -math.Expm1(-dt / demandFast.Seconds())
	slow := -math.Expm1(-dt / demandSlow.Seconds())
	d.WeightFast += fast * (1 - d.WeightFast)
	d.WeightSlow += slow * (1 - d.WeightSlow)

	inUse, queued := w.InUseTime.Seconds()/dt, w.WaitTime.Seconds()/dt
	d.RawArrival += fast * (float64(w.Arrivals)/dt - d.RawArrival)
	d.RawThroughput += fast * (float64(w.Completions)/dt - d.RawThroughput)
	d.RawInUse += fast * (inUse - d.RawInUse)
	d.RawQueued += fast * (queued - d.RawQueued)
	d.RawArrivalSlow += slow * (float64(w.Arrivals)/dt - d.RawArrivalSlow)

	r := &d.Current
	r.Arrival = d.RawArrival / d.WeightFast
	r.ArrivalSlow = d.RawArrivalSlow / d.WeightSlow
	r.Throughput = d.RawThroughput / d.WeightFast
	r.InUse = d.RawInUse / d.WeightFast
	r.Queued = d.RawQueued / d.WeightFast
	r.OfferedLoad = r.Arrival * r.Service.Seconds()
	r.Concurrency = inUse + queued + float64(w.Canceled)*r.Service.Seconds()/dt
}

// seconds converts to a Duration, saturating instead of wrapping.
func seconds(s float64) time.Duration {
	if ns := s * float64(time.Second); ns < math.MaxInt64 {
		return time.Duration(ns)
	}
	return math.MaxInt64
}
