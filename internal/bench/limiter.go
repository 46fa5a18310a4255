package bench

import (
	"context"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"

	"github.com/pgautotune/autotune/internal/load"
)

// limiter is failsafe-go's adaptive limiter, used as its authors mean it for
// callers that shall wait rather than be refused: AcquirePermit blocks. The
// limits are 1 to the pool's size, 20 to start with; all else is the default: p90
// of windows of 1 s, a baseline of 10 windows.
type limiter struct {
	adaptivelimiter.AdaptiveLimiter[any]
}

func newLimiter(most int) *limiter {
	return &limiter{adaptivelimiter.NewBuilder[any]().WithLimits(1, uint(most), uint(min(limiterStart, most))).Build()}
}

// permitted is a workload whose requests need a permit of the limiter.
type permitted struct {
	load.Workload
	limiter *limiter
}

// Do waits for a permit and makes the n-th request.
func (w *permitted) Do(ctx context.Context, p load.Pool, n uint64) error {
	permit, err := w.limiter.AcquirePermit(ctx)
	if err != nil {
		return err
	}
	if err := w.Workload.Do(ctx, p, n); err != nil {
		permit.Drop() // it ended early: its duration tells nothing
		return err
	}
	permit.Record()
	return nil
}
