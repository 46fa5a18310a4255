package controller_test

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

func TestAPoolWithRoomClimbsWithoutASwap(t *testing.T) {
	for _, room := range []int{0, 200} {
		p := newPlant(holdingSearch, 150, 4, 0.02, 1)
		p.room = room
		p.run(config(), controller.State{}, 30*time.Second, func(o controller.Observation, d controller.Decision) {
			switch {
			case d.Limit > d.Max:
				t.Fatalf("room %d: at %s limit %d is above max %d", room, o.At, d.Limit, d.Max)
			case room > 0 && d.Max > max(d.Limit, o.Gauges.Max):
				t.Fatalf("room %d: at %s max goes to %d for a limit of %d; more is there when it is needed", room, o.At, d.Max, d.Limit)
			}
		})
		if p.max < 16 {
			t.Fatalf("room %d: max is %d after 30 s; the test proves nothing", room, p.max)
		}
		if swapped := p.swaps > 0; swapped != (room == 0) {
			t.Errorf("room %d: %d swaps", room, p.swaps)
		}
	}
}

// Ten callers that never stop need ten warm connections; the pool began with none. There
// is no hurry, because what is open closes after half an hour.
func TestAnotherMinIsWorthASwapAfterTenMinutes(t *testing.T) {
	p := newPlant(func(n float64) float64 { return 100 * n }, 10, 20, 0.02, 1)
	p.room = 200
	var at []time.Duration
	p.run(config(), controller.State{}, 40*time.Minute, func(o controller.Observation, d controller.Decision) {
		if d.Swap {
			at = append(at, o.At)
			if d.Min < 5 {
				t.Errorf("at %s it swaps to min %d", o.At, d.Min)
			}
		}
	})
	if len(at) != 1 || at[0] < 10*time.Minute || at[0] > 20*time.Minute {
		t.Errorf("it swapped at %v, want once, after ten minutes", at)
	}
}
