package controller_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Two kinds of queries of which one limit serves as many: searches, whose knee is 2, and
// searches held for their caller, whose knee is 64. What the backends do tells them apart.
var (
	computing = table(map[int]float64{1: 2600, 2: 5100, 4: 5200, 8: 4900, 16: 4300, 32: 3600, 64: 2700, 100: 2500, 150: 2300})
	waiting   = table(map[int]float64{1: 90, 2: 180, 4: 360, 8: 700, 16: 1400, 32: 2300, 64: 2700, 100: 2690, 150: 2600})
)

func TestAnotherKindOfWorkIsSeenAtTheSameThroughput(t *testing.T) {
	census := func(p *plant, held bool) {
		n := min(p.limit, p.callers)
		p.server.Ours = controller.Backends{OnCPU: n}
		if held {
			p.server.Ours = controller.Backends{OnCPU: n / 20, IdleInTransaction: n - n/20}
		}
	}
	for _, start := range []int{4, 100} {
		t.Run(fmt.Sprint("from ", start), func(t *testing.T) {
			for seed := range uint64(10) {
				p := newPlant(waiting, 150, start, 0.04, seed)
				p.server.Cores = 2
				s, held := controller.State{}, true
				phase := func(d time.Duration) {
					for until := p.at + d; p.at < until; {
						census(p, held)
						s = p.run(config(), s, 100*time.Millisecond, nil)
					}
				}
				phase(30 * time.Second)
				for shift := range 4 {
					before := p.limit
					if held = !held; held {
						p.curve = waiting
					} else {
						p.curve = computing
					}
					phase(12 * time.Second)
					want := 0.85 * 5200.0
					if held {
						want = 0.85 * 2700
					}
					if x := p.curve(float64(p.limit)); x < want {
						t.Errorf("seed %d, %d: from %d the limit went to %d, which serves %.0f/s of %.0f", seed, shift, before, p.limit, x, want/0.85)
					}
				}
				// And once it is known, it is left alone.
				before := p.moves
				phase(2 * time.Minute)
				if moves := p.moves - before; moves > 4 {
					t.Errorf("seed %d: %d moves in two minutes of one kind", seed, moves)
				}
			}
		})
	}
}

// On a machine whose speed wanders, throughput far off has to last before it is believed;
// but not where the backends do something else at the same time.
func TestAChangeThatTheBackendsExplainNeedsNoPatience(t *testing.T) {
	rising := table(map[int]float64{1: 600, 2: 1150, 4: 2100, 8: 3400, 16: 4800, 32: 5900, 64: 5600, 100: 5000, 150: 4200})
	held := table(map[int]float64{1: 88, 2: 176, 4: 346, 8: 700, 16: 1400, 32: 2700, 64: 3664, 100: 3560, 150: 3500})
	late, learned := 0, 0
	for seed := range uint64(20) {
		p := newPlant(rising, 150, 32, 0.04, seed)
		p.server.Cores, p.drift = 2, 0.15
		s, waits := controller.State{}, false
		phase := func(d time.Duration, seen func(controller.Observation, controller.Decision)) {
			for until := p.at + d; p.at < until; {
				n := min(p.limit, p.callers)
				p.server.Ours = controller.Backends{OnCPU: min(n, 3), Idle: n - min(n, 3)} // the callers share the cores
				if waits {
					p.server.Ours = controller.Backends{OnCPU: n / 20, IdleInTransaction: n - n/20}
				}
				s = p.run(config(), s, 100*time.Millisecond, seen)
			}
		}
		phase(40*time.Second, nil)
		if p.limit < 20 || p.limit > 50 || !s.Learn.Known {
			continue // it is another limit's change
		}
		learned++
		p.curve, waits = held, true
		changed, noticed := p.at, time.Duration(0)
		phase(4*time.Second, func(o controller.Observation, d controller.Decision) {
			if noticed == 0 && d.Reason == sizing.CapacityChanged {
				noticed = o.At - changed
			}
		})
		if noticed == 0 || noticed > time.Second {
			late++
			t.Logf("seed %d: the change was noticed after %s", seed, noticed)
		}
	}
	if learned < 10 || 3*late > learned {
		t.Errorf("%d of %d changes were noticed later than after a second", late, learned)
	}
}
