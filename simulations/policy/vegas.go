package policy

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
)

// vegas is VegasLimit of Netflix' concurrency-limits (as of commit 141214dc), the default of its
// limiters, which feed it each sample. Of the limit L, the round trip and the
// shortest one seen it makes a queue q = ⌈L (1 − shortest/rtt)⌉ and moves L by
// λ = max(1, ⌊log10 L⌋): up by 6λ while q ≤ λ, up by λ while q < 3λ, down by λ
// when q > 6λ or on a drop. Samples that used less than half of the limit move
// nothing. Every 30 × jitter × L samples, jitter drawn from [0.5, 1), the sample
// at hand replaces the shortest, whatever the load (its well-known drift).
// Defaults: initial limit 20, smoothing 1.
type vegas struct {
	limiter
	limit    float64
	shortest time.Duration // 0: none yet
	probe    int           // samples since the last one
	jitter   float64
	rng      *rand.Rand
}

const (
	vegasStart      = 20
	vegasMultiplier = 30
)

func newVegas(e Env) (plant.Tuner, error) {
	v := &vegas{limiter: e.limiter(vegasStart), rng: rand.New(rand.NewPCG(e.Seed, 0x7665676173))}
	v.limit = float64(v.now.Limit)
	v.drawJitter()
	return v, nil
}

func (v *vegas) drawJitter() { v.jitter = 0.5 + 0.5*v.rng.Float64() }

// Completed is one sample.
func (v *vegas) Completed(r plant.Sample) int {
	s := v.see(r)
	v.probe++
	if v.jitter*vegasMultiplier*v.limit <= float64(v.probe) {
		v.drawJitter()
		v.probe, v.shortest = 0, s.rtt
		return v.now.Limit
	}
	if v.shortest == 0 || s.rtt < v.shortest {
		v.shortest = s.rtt
		return v.now.Limit
	}
	v.limit = min(max(v.next(s), 1), float64(v.end))
	return v.move(int(v.limit))
}

func (v *vegas) next(s sample) float64 {
	step := log10Floor(int(v.limit))
	if s.dropped {
		return v.limit - float64(step)
	}
	if 2*float64(s.inFlight) < v.limit {
		return v.limit // the callers, not the limit, decide what is in use
	}
	queue := int(math.Ceil(v.limit * (1 - float64(v.shortest)/float64(s.rtt))))
	switch {
	case queue <= step:
		return v.limit + float64(6*step)
	case queue < 3*step:
		return v.limit + float64(step)
	case queue > 6*step:
		return v.limit - float64(step)
	}
	return v.limit
}

// log10Floor is concurrency-limits' Log10RootFunction: ⌊log10 n⌋, at least 1, and
// from 1,000 on the square root.
func log10Floor(n int) int {
	switch {
	case n < 100:
		return 1
	case n < 1000:
		return 2
	}
	return int(math.Sqrt(float64(n)))
}
