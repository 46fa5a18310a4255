package policy

import (
	"math"
	"time"

	"github.com/influxdata/tdigest"

	"github.com/pgautotune/autotune/simulations/plant"
)

// failsafe is the adaptive limiter of failsafe-go (v0.9.8, adaptivelimiter). The
// library reads the wall clock in every permit and takes no other, so it cannot be
// driven by virtual time outside of testing/synctest; it is written again here,
// and a test drives both through the same thousands of requests and finds the same
// limits.
//
// At the end of a window the p90 of its round trips, smoothed by a median of 5 and
// an average of 5, over an average of 10 of the same gives a gradient and with it
// a queue q = ⌈L (1 − gradient)⌉. With λ = max(1, ⌊log10 L⌋) the limit goes down
// by λ when q > 6λ, or when the limiter is full and more in flight goes with less
// throughput, or with longer round trips without more throughput; it goes up by λ
// when q < 3λ. It never exceeds 5 times the most that was in flight in the window.
// Defaults: limits 1 to 200 from 20, windows of 1 to 30 s and at least 50 samples,
// correlation over 50 windows, 10 of warm-up.
type failsafe struct {
	limiter
	limit float64

	// The window being gathered.
	digest   *tdigest.TDigest
	samples  int
	shortest time.Duration
	most     int // in flight
	next     time.Duration

	median   median5
	recent   average
	baseline average

	throughputs, roundTrips correlation
}

const (
	failsafeStart    = 20
	failsafeFactor   = 5 // maxLimitFactor
	failsafeQuantile = 0.9
	failsafeSamples  = 50
	failsafeWindow   = time.Second
	failsafeLongest  = 30 * time.Second
	failsafeSmoothed = 5  // recent windows
	failsafeBaseline = 10 // baseline windows
)

func newFailsafe(e Env) (plant.Tuner, error) {
	f := &failsafe{
		limiter:  e.limiter(failsafeStart),
		digest:   tdigest.NewWithCompression(100),
		recent:   newAverage(failsafeSmoothed),
		baseline: newAverage(failsafeBaseline),
	}
	f.limit = float64(f.now.Limit)
	return f, nil
}

// Completed records one round trip. Who gave up waiting never had a permit and is
// not recorded.
func (f *failsafe) Completed(r plant.Sample) int {
	if r.GaveUp {
		return f.now.Limit
	}
	return f.record(r.At, max(r.Service, 1), r.InFlight, f.full(r))
}

// record is one round trip that ended at the time at, with inFlight permits taken
// when it began, and all of them taken or not when it ended.
func (f *failsafe) record(at, rtt time.Duration, inFlight int, full bool) int {
	if f.samples == 0 {
		f.shortest, f.most = rtt, inFlight
	}
	f.shortest, f.most = min(f.shortest, rtt), max(f.most, inFlight)
	f.samples++
	f.digest.Add(float64(rtt), 1)
	if at > f.next && f.samples >= failsafeSamples {
		smooth := f.recent.add(f.median.add(f.digest.Quantile(failsafeQuantile)))
		f.update(smooth, full)
		f.next = at + min(max(2*f.shortest, failsafeWindow), failsafeLongest)
		f.digest.Reset()
		f.samples = 0
	}
	return f.now.Limit
}

// update is the rule, of one window's smoothed round trip in ns.
func (f *failsafe) update(rtt float64, full bool) {
	gradient := f.baseline.add(rtt) / rtt
	queue := int(math.Ceil(f.limit * (1 - gradient)))
	n := float64(f.most)
	throughput := n / (rtt / 1e9)
	throughputCorr, throughputCV := f.throughputs.add(n, throughput)
	rttCorr, _ := f.roundTrips.add(n, rtt)

	step := failsafeStep(int(f.limit))
	next := f.limit + float64(step*failsafeDirection(queue, step, full, throughputCorr, throughputCV, rttCorr))
	if most := failsafeFactor * n; next > most {
		next = most
		if f.limit > most {
			next = f.limit - float64(step) // gradually
		}
	}
	f.limit = min(max(next, 1), float64(f.end))
	f.move(int(f.limit))
}

// failsafeDirection is 1 to grow, −1 to shrink, 0 to stay.
func failsafeDirection(queue, step int, full bool, throughputCorr, throughputCV, rttCorr float64) int {
	switch {
	case queue > 6*step,
		full && throughputCorr < 0,
		full && throughputCorr < 0.3 && rttCorr > 0.5,
		full && throughputCV < 0.2 && rttCorr > 0.5:
		return -1
	case queue < 3*step:
		return 1
	}
	return 0
}

// failsafeStep is ⌊log10 n⌋, at least 1.
func failsafeStep(n int) int {
	switch {
	case n < 100:
		return 1
	case n < 1000:
		return 2
	}
	return int(math.Log10(float64(n)))
}
