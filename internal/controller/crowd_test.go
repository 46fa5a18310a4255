package controller_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/sizing"
)

func TestACrowdedServerIsRelievedAlthoughNobodyQueues(t *testing.T) {
	for name, cores := range map[string]int{"cores known": 2, "cores unknown": 0} {
		p := newPlant(pureSearch, 64, 100, 0.02, 1)
		p.server.Cores = cores
		p.server.Ours.OnCPU = 60
		p.run(config(), controller.State{}, 20*time.Second, nil)
		if got := pureSearch(float64(p.limit)); got < 0.92*4098 {
			t.Errorf("%s: limit %d serves %.0f/s, want at least 92 %% of 4098/s", name, p.limit, got)
		}
	}
}

// A server with more cores than callers gets its limit back, and is asked ever more
// seldom.
func TestACrowdThatIsServedBestByAllItsConnectionsKeepsThem(t *testing.T) {
	p := newPlant(func(n float64) float64 { return 50 * n }, 64, 100, 0.02, 1)
	p.server.Ours.OnCPU = 64
	var below, all time.Duration
	var attempts []time.Duration
	last := controller.Decision{}
	p.run(config(), controller.State{}, time.Hour, func(o controller.Observation, d controller.Decision) {
		all += o.At - last.At
		if last.Limit > 0 && last.Limit < 64 {
			below += o.At - last.At
		}
		if d.Reason == sizing.Learning && last.Reason != sizing.Learning {
			attempts = append(attempts, o.At)
		}
		last = d
	})
	if p.limit != 100 {
		t.Errorf("after an hour the limit is %d, want the 100 it had", p.limit)
	}
	if len(attempts) < 3 || len(attempts) > 8 {
		t.Errorf("a queue was made at %v, want from three to eight times in an hour", attempts)
	}
	if share := below.Seconds() / all.Seconds(); share > 0.005 {
		t.Errorf("%.2f %% of the time below what is in use, want at most 0.5 %%", 100*share)
	}
}

func TestNoQueueIsMadeWhereItCouldOnlyHarm(t *testing.T) {
	holding := newPlant(holdingSearch, 64, 100, 0.02, 1)
	holding.server.Ours.OnCPU, holding.server.Ours.IdleInTransaction = 10, 54
	few := newPlant(pureSearch, 3, 100, 0.02, 1) // comes down once for want of demand, see spare
	few.server.Ours.OnCPU = 3
	varying := newPlant(func(n float64) float64 { return 50 * n }, 64, 100, 0.02, 1)
	varying.server.Ours.OnCPU = 64
	enough := newPlant(func(n float64) float64 { return 50 * n }, 64, 100, 0.02, 1)
	enough.server.Cores, enough.server.Ours.OnCPU = 64, 64
	for name, p := range map[string]*plant{"callers hold their connections": holding, "three callers": few, "chance arrivals": varying, "cores enough": enough} {
		s := controller.State{}
		for i := range 300 {
			if name == "chance arrivals" {
				p.callers = 40 + (i*37)%49 // from 40 to 88
			}
			s = p.run(config(), s, time.Second, nil)
		}
		if p.moves > 0 && !(p == few && p.moves == 1 && p.limit == 16) {
			t.Errorf("%s: the limit was moved %d times, to %d at last", name, p.moves, p.limit)
		}
	}
}

// Callers who pause make ups and downs, all of them beyond the knee when the limit is
// above them all: less is served at the highest, and the way down begins where most was.
func TestUpsAndDownsBeyondTheKneeLeadDown(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 3))
		p := newPlant(func(n float64) float64 { return 210 * min(n/8, 1) / (1 + 0.05*max(0, n-8)) }, 30, 100, 0.02, seed)
		s := controller.State{}
		for p.at < 5*time.Minute {
			p.callers = 15 + rng.IntN(16)
			s = p.run(config(), s, 200*time.Millisecond, nil)
		}
		if p.limit < 6 || p.limit > 12 {
			t.Errorf("seed %d: eight of up to thirty callers are served best, and the limit is %d", seed, p.limit)
		}
	}
}

// A queue is made of what had none: the smaller limit has to be proved, or bad luck of
// what was counted leaves some of a few callers waiting for nothing.
func TestBadLuckLeavesNoCallerOutside(t *testing.T) {
	for seed := range uint64(20) {
		p := newPlant(func(n float64) float64 { return 20 * n }, 5, 100, 0.1, seed)
		p.server.Ours.OnCPU = 5
		p.run(config(), controller.State{}, 10*time.Minute, nil)
		if p.limit < 5 {
			t.Errorf("seed %d: each of five callers adds as much, and the limit is %d", seed, p.limit)
		}
	}
}
