package plant_test

import (
	"math"
	"testing"
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
)

// A saturated server completes as much as its speed allows, so its completions show how
// the speed wanders.
func TestTheSpeedWandersAsItIsTold(t *testing.T) {
	const memory, every, cv = 500 * time.Millisecond, 10 * time.Millisecond, 0.2
	server := free(4)
	server.Wander = []plant.Wander{{CV: cv, Memory: memory}}
	r, err := plant.Run(plant.Config{
		Duration: 10 * time.Minute, Closed: []plant.Closed{{Callers: 4}}, Server: server,
		Classes: []plant.Class{{Stages: []plant.Stage{{Service: plant.Distribution{Kind: plant.Deterministic, Mean: time.Millisecond}}}}},
		Series:  plant.Series{Every: every, Points: 100_000},
	}, nil, fix(4))
	if err != nil {
		t.Fatal(err)
	}
	var sum, squares, together float64 // together: with what it was a memory before
	const before = int(memory / every)
	speed := func(i int) float64 { return float64(r.Series[i].Completed)/(4000*every.Seconds()) - 1 }
	n := float64(len(r.Series) - before)
	for i := before; i < len(r.Series); i++ {
		sum += speed(i)
		squares += speed(i) * speed(i)
		together += speed(i) * speed(i-before)
	}
	if mean := sum / n; math.Abs(mean) > 0.02 { // 0.2·√(2·0.5 s/600 s) is 0.8 %
		t.Errorf("the mean speed is %.3f of what it is without, want 1", 1+mean)
	}
	if got := math.Sqrt(squares / n); math.Abs(got-cv) > 0.02 {
		t.Errorf("the speed has a standard deviation of %.3f, want %g", got, cv)
	}
	if got := together / squares; math.Abs(got-1/math.E) > 0.06 {
		t.Errorf("after its memory the speed resembles what it was by %.3f, want 1/e", got)
	}
}
