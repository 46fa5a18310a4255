package autotune_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// Callers that queue make the controller learn: what it changed has to add up,
// from the size the pool started with to the one it has.
func TestChangesAddUpToWhatThePoolIs(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 8, live)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 24)
	for range cap(done) {
		go func() {
			for ctx.Err() == nil {
				_, _ = p.Exec(ctx, "select pg_sleep(0.002)")
			}
			done <- struct{}{}
		}()
	}
	defer func() {
		cancel()
		for range cap(done) {
			<-done
		}
	}()

	var all []autotune.Change
	eventually(t, func() string {
		after := int64(0)
		if len(all) > 0 {
			after = all[len(all)-1].N
		}
		all = append(all, p.Changes(after)...)
		if points := p.Curve(); len(points) < 2 || len(all) < 4 {
			return fmt.Sprintf("%d changes, curve %+v", len(all), points)
		}
		return ""
	})
	if first := all[0]; first.N != 1 || first.Observation.Gauges.Limit != 8 {
		t.Errorf("the first change is %+v", first)
	}
	for i := 1; i < len(all); i++ {
		before, now := all[i-1], all[i]
		if now.N != before.N+1 || now.At.Before(before.At) {
			t.Errorf("change %d at %s follows %d at %s", now.N, now.At, before.N, before.At)
		}
		if now.Observation.Gauges.Limit != before.Decision.Limit {
			t.Errorf("change %d is from a limit of %d, the one before went to %d", now.N, now.Observation.Gauges.Limit, before.Decision.Limit)
		}
	}
	for _, point := range p.Curve() {
		if point.Throughput <= 0 || point.Seconds <= 0 || point.Error <= 0 {
			t.Errorf("a limit of %d gave %+v", point.Limit, point)
		}
		if !slices.ContainsFunc(all, func(c autotune.Change) bool { return c.Decision.Limit == point.Limit }) && point.Limit != 8 {
			t.Errorf("%d was measured, and no decision went there", point.Limit)
		}
	}
	if got := p.Changes(all[len(all)-1].N + 1000); len(got) != 0 {
		t.Errorf("changes of the future: %+v", got)
	}
}

func TestSettingsAreWhole(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 3)
	s := p.Settings()
	if s.Ceiling != 3 || s.Budget != 3 || s.Interval <= 0 || s.Profile != autotune.ProfileAuto || s.Pool.MaxConns != 3 {
		t.Errorf("got %+v", s)
	}
	s.Pool.MaxConns = 100
	if p.Config().MaxConns != 3 || p.Settings().Pool.MaxConns != 3 {
		t.Error("a change of the copy reached the pool")
	}
}
