package ramp

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = time.Millisecond

// On a server whose cores all dials share, each takes as long as there are others. The
// ramp stays at the few that keep the cores busy.
func TestABusyServerIsSpared(t *testing.T) {
	const cores, alone = 2, 3 * ms
	r := New()
	for range 200 {
		r.Opened(alone * time.Duration(max(1, r.AtOnce()/cores)))
	}
	if n := r.AtOnce(); n < Least || n > 6*cores {
		t.Errorf("%d are opened at once on %d cores", n, cores)
	}
}

// Where each takes a round trip, however many there are, the number doubles in each.
func TestASlowNetworkIsFilled(t *testing.T) {
	r := New()
	rounds := 0
	for ; r.Reach(500) < 500; rounds++ {
		for range r.AtOnce() {
			r.Opened(80 * ms)
		}
	}
	if rounds > 6 {
		t.Errorf("it took %d round trips until 500 were let in", rounds)
	}
}

func TestAServerThatBecameSlowerForGoodIsKnown(t *testing.T) {
	r := New()
	r.Opened(10 * ms)
	for range 2000 {
		r.Opened(40 * ms)
	}
	if n := r.AtOnce(); n < 50 {
		t.Errorf("%d are opened at once, as if it were crowded", n)
	}
}

func TestAFailureLetsAllInUntilOneOpens(t *testing.T) {
	r := New()
	r.Failed()
	if n := r.Reach(1000); n != 1000 {
		t.Errorf("%d of 1000 are let in", n)
	}
	r.Opened(ms)
	if n := r.Reach(1000); n != 1+Least+1 {
		t.Errorf("%d are let in with one open", n)
	}
}

// Whatever happens, somebody is let in beside those who have a connection, and nobody
// beyond the limit.
func TestTheRampNeverShuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, open := New(), 0
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				r.Failed()
			case 1:
				r.Watch()
				r.Waited()
			case 2:
				if open > 0 {
					r.Lost()
					open--
				}
			default:
				r.Opened(time.Duration(rapid.Int64Range(-1, int64(time.Hour)).Draw(t, "took")))
				open++
			}
			limit := rapid.IntRange(1, 1000).Draw(t, "limit")
			if n := r.Reach(limit); n > limit || n < min(limit, open+Least) {
				t.Fatalf("%d of %d are let in with %d open", n, limit, open)
			}
		}
	})
}
