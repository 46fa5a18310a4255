package controller

import (
	"slices"
	"testing"
)

// learner is one with trials at the given limits, each of one second.
func learner(episode, verify bool, trials ...Trial) *Learner {
	l := &Learner{Episode: episode, Verify: verify, Trials: len(trials)}
	copy(l.Measured[:], trials)
	return l
}

func TestACurveIsWhatTheLastEpisodeAndTheTrialsSinceSaw(t *testing.T) {
	trial := func(n int, x float64) Trial { return Trial{N: n, Seconds: 1, Completions: x, Looks: 2} }
	known := []Point{{Limit: 2, Throughput: 200}, {Limit: 4, Throughput: 390}, {Limit: 8, Throughput: 380}}
	for _, c := range []struct {
		name          string
		before, after *Learner
		want          map[int]float64
	}{
		{"at rest nothing changes", learner(false, false), learner(false, false, trial(4, 1)), map[int]float64{2: 200, 4: 390, 8: 380}},
		{"an episode that begins forgets", learner(false, false), learner(true, false), map[int]float64{}},
		{"an episode adds", learner(true, false), learner(true, false, trial(4, 400), trial(8, 500)), map[int]float64{4: 400, 8: 500}},
		{"its last trial counts", learner(true, false, trial(4, 400)), learner(false, false, trial(4, 400), trial(8, 500)), map[int]float64{4: 400, 8: 500}},
		{"another limit, tried between episodes", learner(true, true, trial(4, 410)), learner(false, false, trial(4, 410), trial(6, 420)), map[int]float64{2: 200, 4: 410, 6: 420, 8: 380}},
	} {
		t.Run(c.name, func(t *testing.T) {
			given := slices.Clone(known)
			got := Curve(given, c.before, c.after)
			if len(got) != len(c.want) || !slices.IsSortedFunc(got, func(a, b Point) int { return a.Limit - b.Limit }) {
				t.Fatalf("got %+v", got)
			}
			for _, p := range got {
				if x, ok := c.want[p.Limit]; !ok || x != p.Throughput {
					t.Errorf("throughput %g at %d, want %g", p.Throughput, p.Limit, x)
				}
			}
			if !slices.Equal(given, known) {
				t.Error("the curve known before was changed in place")
			}
		})
	}
}
