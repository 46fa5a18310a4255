package plant

import (
	"math"
	"math/rand/v2"
)

// wanderSteps is in how many steps a wander's memory passes: the speed stands still for
// so long that a step is 0.5 of its standard deviation.
const wanderSteps = 8

// wandering is the speed of a server whose neighbours come and go: the exponential of a
// sum of Ornstein-Uhlenbeck processes, each of which is moved on exactly by
// x ← ρx + √(1−ρ²)·σ·z. Its mean is 1.
type wandering struct {
	draws *rand.Rand
	step  int64 // ns
	parts []wanderPart
	bias  float64 // half the variance of the sum
}

type wanderPart struct{ x, keep, fresh float64 }

func newWandering(c []Wander, seed uint64) wandering {
	w := wandering{draws: stream(seed, streamWander)}
	for _, p := range c {
		if step := int64(p.Memory) / wanderSteps; w.step == 0 || step < w.step {
			w.step = step
		}
	}
	for _, p := range c {
		deviation := math.Sqrt(math.Log1p(p.CV * p.CV)) // of the logarithm
		keep := math.Exp(-float64(w.step) / float64(p.Memory))
		w.parts = append(w.parts, wanderPart{x: deviation * w.draws.NormFloat64(), keep: keep, fresh: deviation * math.Sqrt(1-keep*keep)})
		w.bias += deviation * deviation / 2
	}
	return w
}

// next is the speed of the next step.
func (w *wandering) next() float64 {
	sum := -w.bias
	for i := range w.parts {
		p := &w.parts[i]
		p.x = p.keep*p.x + p.fresh*w.draws.NormFloat64()
		sum += p.x
	}
	return math.Exp(sum)
}

// wander gives the server the speed of the next step.
func (p *plant) wander() {
	p.cpu.advance(p.now)
	p.cpu.law.speed = p.wandering.next()
	p.cpu.update()
	p.timers.set(timerWander, p.now+p.wandering.step)
}
