package policy

import (
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
)

// aimd is AIMDLimit of Netflix' concurrency-limits (as of commit
// 784c960d): a drop, or a round trip above the
// timeout, multiplies the limit by the backoff ratio; any other sample that used
// at least half of the limit adds 1. Defaults of its Builder: initial limit 20,
// min limit 20, backoff ratio 0.9, timeout 5 s.
type aimd struct {
	limiter
	least int
}

const (
	aimdStart   = 20
	aimdLeast   = 20
	aimdBackoff = 0.9
	aimdTimeout = 5 * time.Second
)

func newAIMD(e Env) (plant.Tuner, error) {
	return &aimd{limiter: e.limiter(aimdStart), least: e.least(aimdLeast)}, nil
}

// Completed is one sample.
func (a *aimd) Completed(r plant.Sample) int {
	s, n := a.see(r), a.now.Limit
	switch {
	case s.dropped || s.rtt > aimdTimeout:
		n = int(float64(n) * aimdBackoff)
	case 2*s.inFlight >= n:
		n++
	}
	return a.move(max(n, a.least))
}
