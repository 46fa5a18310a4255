package controller_test

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

// contendedRows is a curve like that of updates of a few contended rows: 150 callers
// at once give a third of the peak.
var contendedRows = table(map[int]float64{1: 10000, 2: 18000, 4: 27000, 8: 30000, 16: 31000, 32: 30000, 64: 25000, 100: 19000, 150: 11000})

// A crowd that comes for a second now and then is served at the knee that was learned
// of it, whatever stalls on the way. Letting more of them in makes each hold longer,
// which is no sign of other queries that need more.
func TestBurstsOfALoadThatIsKnownAreServedAtItsKnee(t *testing.T) {
	for _, start := range []int{4, 100} {
		for seed := range uint64(10) {
			p := newPlant(contendedRows, 150, start, 0.05, seed)
			s := p.run(config(), controller.State{}, 20*time.Second, nil)
			most := 0
			for burst := range 20 {
				p.callers = 150
				s = p.run(config(), s, 1200*time.Millisecond, nil)
				if burst%3 == 0 { // the machine stalls as the burst ends
					p.curve = func(n float64) float64 { return 0.3 * contendedRows(n) }
				}
				s = p.run(config(), s, 100*time.Millisecond, nil)
				p.advance(90 * time.Millisecond)
				p.curve, p.callers = contendedRows, 0
				p.advance(110 * time.Millisecond)
				s = p.run(config(), s, 10*time.Second, nil)
				most = max(most, p.limit)
			}
			if gives := contendedRows(float64(most)); gives < 0.8*31000 {
				t.Errorf("from %d, seed %d: the limit went to %d, which gives %.0f/s of 31,000", start, seed, most, gives)
			}
		}
	}
}

// Callers may go away in the middle of a trial of a limit that is far too low, or far too
// high. It was not shown to serve anybody, and those who come next do not get it.
func TestALimitIsNotKeptBecauseNobodyAsksAnyMore(t *testing.T) {
	for name, c := range map[string]struct {
		curve curve
		start int
		gives float64
	}{
		"holding from 100": {holdingSearch, 100, 2026}, "holding from 4": {holdingSearch, 4, 340},
		"searches from 100": {pureSearch, 100, 2801}, "searches from 4": {pureSearch, 4, 4084},
	} {
		for tenths := range 60 {
			p := newPlant(c.curve, 150, c.start, 0.02, uint64(tenths))
			s := p.run(config(), controller.State{}, time.Duration(tenths+1)*100*time.Millisecond, nil)
			p.callers = 0
			p.run(config(), s, 10*time.Second, nil)
			if gives := c.curve(float64(p.limit)); gives < 0.9*c.gives {
				t.Errorf("%s: callers went after %d tenths of a second, and the limit stays at %d, which gives %.0f/s; it was %d before, which gives %.0f", name, tenths+1, p.limit, gives, c.start, c.gives)
			}
		}
	}
}
