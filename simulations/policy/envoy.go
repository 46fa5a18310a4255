package policy

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
)

// envoy is the gradient controller of Envoy's adaptive concurrency filter
// (envoyproxy/envoy, extensions/filters/http/adaptive_concurrency, as of commit
// 054694f9; API v3). At intervals it sets the limit to 3 until 50 requests have
// told the round trip without load (minRTT), then gives the limit back; in
// between, every window moves it by the percentile of the window's round trips:
//
//	gradient = min(2, max(½, 1.25 minRTT / rtt))
//	limit    = gradient × limit + √(gradient × limit)
//
// Five windows in a row at the least limit ask for a new minRTT at once. Defaults
// of the API: request count 50, least concurrency 3 (also the start), buffer 25 %.
// It has none for the intervals; those, the percentile and the jitter are its
// documentation's example: windows of 0.1 s, minRTT every 60 s with 10 % of
// jitter, p90.
//
// Its timers fire at the first sample or look after they are due, and it asks for
// looks when they are.
type envoy struct {
	limiter
	least int
	rng   *rand.Rand

	minRTT   int64 // µs
	samples  logLinear
	deferred int           // the limit to give back after the minRTT window; 0: not in one
	epoch    time.Duration // requests begun before it do not count
	probeAt  time.Duration // next minRTT window
	windowAt time.Duration // next end of a sample window; never while in a minRTT window
	atLeast  int           // windows in a row at the least limit
}

const (
	envoyWindow     = 100 * time.Millisecond
	envoyProbe      = 60 * time.Second
	envoyJitter     = 0.10
	envoyPercentile = 0.90
	envoyRequests   = 50
	envoyLeast      = 3
	envoyBuffer     = 0.25
	envoyImpatience = 5

	never = time.Duration(math.MaxInt64)
)

func newEnvoy(e Env) (plant.Tuner, error) {
	v := &envoy{limiter: e.limiter(envoyLeast), least: e.clip(envoyLeast), rng: rand.New(rand.NewPCG(e.Seed, 0x656e766f79))}
	v.enter(0)
	v.windowAt = envoyWindow
	v.start.Limit = v.now.Limit // it begins with a minRTT window
	return v, nil
}

// Look lets the timers fire that are due, and asks for a look at the next.
func (v *envoy) Look(o controller.Observation) (plant.Setting, time.Duration) {
	v.fire(o.At)
	next := min(v.probeAt, v.windowAt)
	if next == never {
		return v.now, 0
	}
	return v.now, next - o.At
}

// Completed records one round trip. Who gave up waiting was never forwarded.
func (v *envoy) Completed(r plant.Sample) int {
	v.fire(r.At)
	if r.GaveUp || r.At-r.Service < v.epoch {
		return v.now.Limit
	}
	v.samples.add(r.Service.Microseconds())
	if v.deferred > 0 && v.samples.count >= envoyRequests {
		v.minRTT = v.take()
		v.set(v.deferred)
		v.deferred = 0
		v.probeAt = r.At + envoyProbe + v.jitter()
		v.windowAt = r.At + envoyWindow
	}
	return v.now.Limit
}

// jitter is up to a tenth of the interval, in whole ms.
func (v *envoy) jitter() time.Duration {
	span := int64(math.Ceil(float64(envoyProbe.Milliseconds()) * envoyJitter))
	return time.Duration(v.rng.Int64N(span)) * time.Millisecond
}

// fire runs the timers that are due at the time now, in order.
func (v *envoy) fire(now time.Duration) {
	for {
		due := min(v.probeAt, v.windowAt)
		if due > now {
			return
		}
		if due == v.probeAt {
			v.enter(due)
			continue
		}
		if v.deferred > 0 {
			v.windowAt = never // until the minRTT is known
			continue
		}
		v.windowAt = due + envoyWindow
		if v.samples.count > 0 {
			v.set(v.limitOf(v.take()))
			if v.atLeast >= envoyImpatience {
				v.probeAt = due
			}
		}
	}
}

// enter begins a minRTT window.
func (v *envoy) enter(at time.Duration) {
	v.probeAt = never
	if v.deferred > 0 {
		return
	}
	v.deferred = v.now.Limit
	v.set(v.least)
	v.samples.clear()
	v.epoch = at
}

// take returns the percentile of the window in whole µs and ends the window.
func (v *envoy) take() int64 {
	rtt := int64(v.samples.quantile(envoyPercentile))
	v.samples.clear()
	return max(rtt, 1)
}

// limitOf is the rule, of a window's round trip in µs.
func (v *envoy) limitOf(rtt int64) int {
	buffered := float64(v.minRTT) + float64(v.minRTT)*envoyBuffer
	gradient := math.Max(0.5, math.Min(2, buffered/float64(rtt)))
	limit := float64(v.now.Limit) * gradient
	return max(v.least, min(int(limit+math.Sqrt(limit)), v.end))
}

// set moves the limit and counts how often it stayed at the least.
func (v *envoy) set(n int) {
	old := v.now.Limit
	v.move(n)
	if v.deferred == 0 && old == v.least && n == v.least {
		v.atLeast++
	} else {
		v.atLeast = 0
	}
}
