package controller_test

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

// Held searches on two cores: from 24 connections on, what is let in beyond them only
// waits for a core. On a machine that is not quiet, a doubling may seem to gain even so,
// and opens as many connections again.
func TestWhereTheCoresAreAlwaysBusyNothingAboveIsTried(t *testing.T) {
	held := func(n float64) float64 { return min(n, 24) * 85 }
	for seed := range uint64(20) {
		p := newPlant(held, 150, 4, 0.1, seed)
		p.server.Cores = 2
		most := 0
		p.run(config(), controller.State{}, 20*time.Second, func(_ controller.Observation, d controller.Decision) {
			n := min(d.Limit, p.callers)
			computing := max(n/24, n-24)
			p.server.Ours = controller.Backends{OnCPU: computing, IdleInTransaction: n - computing}
			most = max(most, d.Limit)
		})
		if most > 60 { // the prior is half as much again as 36
			t.Errorf("seed %d: %d connections were tried where 24 keep both cores busy", seed, most)
		}
	}
}

// Connections take 0.7 s to open, in which the server gives half of what it could.
func TestNothingIsCountedWhileConnectionsAreOpened(t *testing.T) {
	wrong := 0
	for seed := range uint64(20) {
		p := newPlant(nil, 150, 4, 0.03, seed)
		p.dial = 700 * time.Millisecond
		p.curve = func(n float64) float64 {
			if p.dialling() > 0 {
				return 0.5 * holdingSearch(n)
			}
			return holdingSearch(n)
		}
		p.run(config(), controller.State{}, 20*time.Second, nil)
		if holdingSearch(float64(p.limit)) < 0.9*2286 {
			t.Logf("seed %d: it ends at %d", seed, p.limit)
			wrong++
		}
	}
	if wrong > 2 {
		t.Errorf("%d of 20 times it ended where a tenth is lost", wrong)
	}
}
