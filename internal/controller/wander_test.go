package controller_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/sizing"
)

// TestAMachineThatWandersIsNotTakenForAnotherLoad runs beside other tenants:
// throughput at any limit wanders by 5 % within seconds, on top of 5 % of noise
// from one second to the next. Where it wanders by 40 % changes are believed in, but
// those that led to the same limit less and less; each is a few trials, which take turns.
func TestAMachineThatWandersIsNotTakenForAnotherLoad(t *testing.T) {
	const seeds, minutes = 20, 3
	for _, c := range []struct {
		name  string
		curve curve
		peak  float64
	}{{"pure search", pureSearch, 4098}, {"search in a held transaction", holdingSearch, 2286}} {
		for _, start := range []int{4, 100} {
			for _, much := range []struct{ drift, lost, moves, changes float64 }{{0.05, 0.05, 2, 0.2}, {0.4, 0.09, math.Inf(1), 1.5}} {
				t.Run(fmt.Sprintf("%s from %d, %.0f %%", c.name, start, 100*much.drift), func(t *testing.T) {
					lost, moves, changes, turns := 0.0, 0, 0, false
					count := func(o controller.Observation, d controller.Decision) {
						if d.Reason == sizing.CapacityChanged {
							changes++
						}
						if turns = turns || d.Turn; d.Turn && (d.Reason != sizing.Learning || d.Limit == o.Gauges.Limit) {
							t.Fatalf("a turn that is %s, from %d to %d", d.Reason, o.Gauges.Limit, d.Limit)
						}
					}
					for seed := range uint64(seeds) {
						p := newPlant(c.curve, 150, start, 0.05, seed)
						p.drift = much.drift
						s := p.run(config(), controller.State{}, 20*time.Second, nil)
						before := p.moves
						for range minutes * 6 {
							s = p.run(config(), s, 10*time.Second, count)
							lost += 1 - c.curve(float64(p.limit))/c.peak
						}
						moves += p.moves - before
					}
					if much.drift > 0.1 && !turns {
						t.Error("no trial took turns")
					}
					if lost /= seeds * minutes * 6; lost > much.lost {
						t.Errorf("%.1f %% of the peak are lost on average, want at most %.0f %%", 100*lost, 100*much.lost)
					}
					if perMinute := float64(moves) / seeds / minutes; perMinute > much.moves {
						t.Errorf("%.1f moves a minute, want at most %.0f", perMinute, much.moves)
					}
					if perMinute := float64(changes) / seeds / minutes; perMinute > much.changes {
						t.Errorf("%.1f changes of the capacity are seen a minute, want at most %.1f", perMinute, much.changes)
					}
				})
			}
		}
	}
}
