package policy

import (
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
)

// flexypool is the IncrementPoolOnTimeoutConnectionAcquisitionStrategy of
// FlexyPool (vladmihalcea/flexy-pool, as of commit a5d54ba9): a caller that got no
// connection in time, or got one after more than timeoutMillis, adds one to the
// pool, up to maxOvergrowPoolSize, unless another did since it began to wait. The
// pool never shrinks. The factory has no default of its own for either; the
// timeout of 500 ms is the default of spring-boot-data-source-decorator, and the
// most is the ceiling.
//
// FlexyPool resizes the pool in place, as HikariCP and others let it, which is the
// limit here. Two things differ: it looks when the connection is got, this when it
// is given back; and it lets the caller that timed out try once more, which is up
// to the simulated caller.
type flexypool struct {
	limiter
	grown time.Duration // when the pool last grew
}

const flexypoolTimeout = 500 * time.Millisecond

func newFlexypool(e Env) (plant.Tuner, error) {
	return &flexypool{limiter: e.limiter(max(autoStart, e.ClientCPUs)), grown: -1}, nil
}

// Completed is one acquire.
func (f *flexypool) Completed(r plant.Sample) int {
	slow := r.Wait.Truncate(time.Millisecond) > flexypoolTimeout
	asked := r.At - r.Service - r.Wait
	if (r.GaveUp || slow) && f.grown <= asked {
		if f.now.Limit < f.end {
			f.grown = r.At
		}
		f.move(f.now.Limit + 1)
	}
	return f.now.Limit
}
