package controller

import (
	"testing"

	"github.com/pgautotune/autotune/internal/model"
)

// What an objective gives for a smaller limit is the line in all that is judged by it.
func TestTrialsAreJudgedByWhatTheObjectiveGives(t *testing.T) {
	long := func(n int, x float64) Trial { // so long that no noise is left
		return Trial{N: n, Seconds: 1e5, Completions: 1e5 * x, Looks: 1e6, SumXX: 1e5 * x * x}
	}
	// Sixteen serve 2 % more than eight: too much for throughput, nothing for balanced.
	l := Learner{Trials: 3, Base: 16, Noise: Noise{Looks: 1e9}}
	l.Measured[0], l.Measured[1], l.Measured[2] = long(8, 9800), long(16, 10000), long(32, 9700)
	for o, lower := range map[model.Objective]int{model.Balanced: 8, model.Throughput: 16} {
		if k := l.interval(o, 1, 1); k.Lower != lower {
			t.Errorf("objective %v: the interval begins at %d, not %d", o, k.Lower, lower)
		}
		if worse := l.decided(o, &l.Measured[0]); worse != (lower == 16) {
			t.Errorf("objective %v: eight are clearly worse: %t", o, worse)
		}
	}
	// One of 0.5 % less is at the line of throughput, and far from that of balanced.
	l.Measured[0] = long(8, 9950)
	l.Measured[0].Seconds, l.Measured[0].Completions = 1, 9950
	l.Measured[0].SumXX = 0
	for o, again := range map[model.Objective]bool{model.Balanced: false, model.Throughput: true} {
		if n := l.duel(o, 0, 1); (n != 0) != again {
			t.Errorf("objective %v: measured again: %d", o, n)
		}
	}
}
