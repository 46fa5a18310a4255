package autotune

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/pgtest"
)

// Warming queues at the limit. When its turn comes, the generation it warms may be
// retired and all its connections held by callers: it must not wait for one of them
// with a permit in its hand.
func TestWarmingARetiredGenerationKeepsNoPermit(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) {
		c.Pool.MaxConns, c.Start, c.Ceiling, c.Manual, c.SwapTimeout = 1, 1, 2, true, 2*time.Second
	})
	held, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	old := p.enter()
	warmed := make(chan struct{})
	go func() {
		defer close(warmed)
		defer old.leave()
		p.warm(t.Context(), nil, old, 2)
	}()
	for deadline := time.Now().Add(10 * time.Second); p.gate.state.Load() != queuedOne+1; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the warming does not queue behind the connection that is in use")
		}
	}
	if err := p.Resize(t.Context(), Size{Max: 2}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	second, err := p.Acquire(ctx)
	if err != nil {
		t.Fatalf("one of two connections is in use, and the second caller got %v", err)
	}
	second.Release()
	<-warmed
}
