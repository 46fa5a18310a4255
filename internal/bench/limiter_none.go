//go:build !failsafe

package bench

import "github.com/pgautotune/autotune/internal/load"

// haveLimiter is false until go.sum has the sums of what failsafe-go needs.
const haveLimiter = false

type limiter struct{}

func newLimiter(int) *limiter { return &limiter{} }

func (*limiter) Limit() int { return 0 }

type permitted struct {
	load.Workload
	limiter *limiter
}
