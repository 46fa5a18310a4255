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

// 150 callers meet a cold pool of 100 on a server that takes 70 ms to open each of its
// connections. Those that do not help are not opened first, only to be closed again.
func TestAPoolThatStaysColdIsLearnedFromWhatIsOpen(t *testing.T) {
	for _, c := range []struct {
		name  string
		curve curve
		loses float64 // of the peak at most
		most  float64 // connections opened
	}{
		{"pure search", pureSearch, 0.1, 35},
		{"holding search", holdingSearch, 0.15, 80},
	} {
		wrong, opened := 0, 0.0
		const seeds = 20
		for seed := range uint64(seeds) {
			p := newPlant(c.curve, 150, 100, 0.03, seed)
			p.pace = 70 * time.Millisecond
			p.run(config(), controller.State{}, 20*time.Second, nil)
			opened = max(opened, p.conns)
			best := 0.0
			for n := 1.0; n <= 150; n++ {
				best = max(best, c.curve(n))
			}
			if c.curve(float64(p.limit)) < (1-c.loses)*best {
				t.Logf("%s, seed %d: it ends at %d", c.name, seed, p.limit)
				wrong++
			}
		}
		if wrong > 2 || opened > c.most {
			t.Errorf("%s: %d of %d times it ended where too much is lost; %.0f connections were opened at most, want %.0f", c.name, wrong, seeds, opened, c.most)
		}
		t.Logf("%s: %.0f connections at most", c.name, opened)
	}
}

// From 4 to 8 connections throughput does not rise, behind that it does once more, because
// the callers share the cores with the server. What the backends do says that the cores have
// room: there it is worth a look.
func TestAPlateauIsNoPeakWhereTheCoresHaveRoom(t *testing.T) {
	scan := table(map[int]float64{1: 2600, 2: 4400, 4: 5096, 8: 5075, 16: 5378, 32: 5904, 64: 5662, 100: 5350, 150: 5100})
	ended := func(computing func(n int) int) (good int) {
		for seed := range uint64(20) {
			p := newPlant(scan, 150, 4, 0.02, seed)
			p.server.Cores = 2
			p.run(config(), controller.State{}, 20*time.Second, func(_ controller.Observation, d controller.Decision) {
				n := min(d.Limit, p.callers)
				p.server.Ours = controller.Backends{OnCPU: computing(n), Idle: n - computing(n)}
			})
			if scan(float64(p.limit)) > 0.94*5904 {
				good++
			}
		}
		return good
	}
	if n := ended(func(n int) int { return min(n, 2) }); n < 15 {
		t.Errorf("%d of 20 found the second rise", n)
	}
	if n := ended(func(n int) int { return n }); n > 5 {
		t.Errorf("%d of 20 looked far above busy cores", n)
	}
}
