package controller

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// scattered is a trial of looks of 100 ms: Poisson counts around a rate that itself
// varies by the given share over one second.
func scattered(rng *rand.Rand, rate, machine, seconds float64) Trial {
	t := Trial{N: 8}
	const look = 100 * time.Millisecond
	for range int(seconds / look.Seconds()) {
		mean := rate * look.Seconds() * (1 + machine/math.Sqrt(look.Seconds())*rng.NormFloat64())
		n := int64(0)
		for left := mean; ; n++ { // arrivals of a Poisson process within mean
			if left -= rng.ExpFloat64(); left < 0 {
				break
			}
		}
		w := window{}
		w.Elapsed, w.Completions = look, n
		service := 8 / rate // exponential, by Little's law
		w.ServiceTime = time.Duration(float64(n) * service * float64(time.Second))
		w.ServiceTimeSq = float64(n) * 2 * service * service
		t.add(w)
	}
	return t
}

// The noise of the machine is told from that of counting, which depends on how much
// was completed and says nothing about another limit.
func TestNoiseIsWhatCountingDoesNotExplain(t *testing.T) {
	for _, c := range []struct {
		name          string
		rate, machine float64
		trials        int
		least, atMost float64 // of what is believed to be the machine's
	}{
		{"ten completions a second in Poisson counts", 10, 0, 10, 0.02, 0.09},
		{"thousands on a quiet machine", 3000, 0.002, 10, 0, 0.02},
		{"thousands on a noisy one", 3000, 0.1, 10, 0.07, 0.13},
	} {
		rng := rand.New(rand.NewPCG(3, 5))
		var n Noise
		for range c.trials {
			n.learn(scattered(rng, c.rate, c.machine, 3))
		}
		if got := n.perSecond(); got < c.least || got > c.atMost {
			t.Errorf("%s: noise of %.3f in a second, want %.3f to %.3f", c.name, got, c.least, c.atMost)
		}
	}
}

// A start among few completions does not make what follows slow to be known.
func TestATrialOfManyCompletionsIsKnownSoonAfterOneOfFew(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	var fresh, after Learner
	after.Noise.learn(scattered(rng, 9, 0, 6))
	trial := scattered(rng, 200, 0, 1)
	if a, b := fresh.error(&trial), after.error(&trial); b > 1.2*a {
		t.Errorf("standard error %.3f after a trial of 9/s, %.3f without it", b, a)
	}
}
