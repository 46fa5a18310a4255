package simulations

import (
	"runtime/metrics"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
)

// heapWatch looks at the heap at every thousandth look of a tuner: often enough
// to see it grow, seldom enough not to weigh on the clock.
type heapWatch struct {
	plant.Tuner
	sample   []metrics.Sample
	before   uint64
	looks    int
	readings int
	most     float64 // bytes over before
}

const heapEvery = 1000

func newHeapWatch(t plant.Tuner) *heapWatch {
	return &heapWatch{Tuner: t, before: baseline(), sample: []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}}
}

// tuner is the one to run: a façade's remains one.
func (h *heapWatch) tuner() plant.Tuner {
	if f, ok := h.Tuner.(plant.Facade); ok {
		return facadeWatch{h, f}
	}
	return h
}

type facadeWatch struct {
	*heapWatch
	facade plant.Facade
}

// Calm passes on whether a queue is news.
func (w facadeWatch) Calm() bool { return w.facade.Calm() }

// Look passes the look on.
func (h *heapWatch) Look(o controller.Observation) (plant.Setting, time.Duration) {
	if h.looks++; h.looks%heapEvery == 0 {
		metrics.Read(h.sample)
		h.readings++
		h.most = max(h.most, float64(h.sample[0].Value.Uint64())-float64(h.before))
	}
	return h.Tuner.Look(o)
}
