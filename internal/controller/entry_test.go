package controller_test

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

// 64 cores whose backends are in each other's way beyond 128 of them: what is in use when
// the limit is doubled takes ten seconds and more to come back.
var ruinous = table(map[int]float64{16: 55, 32: 110, 64: 215, 128: 400, 160: 120, 200: 30, 256: 12})

// A limit that ruins the throughput is left as soon as that is plain, not when what was in
// use before it has come back.
func TestALimitThatRuinsTheThroughputIsLeft(t *testing.T) {
	for seed := range uint64(10) {
		p := newPlant(ruinous, 600, 64, 0.03, seed)
		worst, since, at := time.Duration(0), time.Duration(0), 0
		p.run(config(), controller.State{}, 60*time.Second, func(o controller.Observation, d controller.Decision) {
			if o.Gauges.Limit != at {
				since, at = o.At, o.Gauges.Limit
			}
			if at > 190 { // from below
				worst = max(worst, o.At-since)
			}
		})
		if worst == 0 || worst > 4500*time.Millisecond {
			t.Errorf("seed %d: a limit above 190 was tried for %s, want three seconds or four", seed, worst)
		}
		if p.limit < 100 || p.limit > 140 {
			t.Errorf("seed %d: it rests at %d, want about 128", seed, p.limit)
		}
	}
}
