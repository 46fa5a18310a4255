package policy

import (
	"math"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
)

const ms = time.Millisecond

// at opens a policy at a limit and returns it as what it is.
func at[T plant.Tuner](t testing.TB, name string, start int) T {
	t.Helper()
	e := world()
	e.Start = start
	return open(t, name, e).(T)
}

// served is a request that got its connection as the inFlight-th.
func served(service time.Duration, inFlight int) plant.Sample {
	return plant.Sample{Service: service, InFlight: inFlight}
}

// gaveUp is one that did not get one in time.
func gaveUp(wait time.Duration) plant.Sample {
	return plant.Sample{Wait: wait, GaveUp: true, Queued: 1}
}

func TestAIMDAddsOneAndTakesATenth(t *testing.T) {
	for _, tt := range []struct {
		start int
		r     plant.Sample
		want  int
	}{
		{20, served(ms, 10), 21},
		{20, served(ms, 9), 20}, // less than half in use
		{100, served(5*time.Second, 50), 101},
		{100, served(5*time.Second+1, 100), 90},
		{100, gaveUp(10 * time.Second), 90},
		{25, gaveUp(ms), 22}, // 22.5
		{21, gaveUp(ms), 18}, // 18.9
		{0, gaveUp(ms), 20},  // theirs begins at 20, and that is its least
		{4, served(ms, 1), 4},
		{200, served(ms, 200), 200},
	} {
		if got := at[*aimd](t, "aimd", tt.start).Completed(tt.r); got != tt.want {
			t.Errorf("from %d after %+v the limit is %d, want %d", tt.start, tt.r, got, tt.want)
		}
	}
}

func TestVegasFollowsItsQueue(t *testing.T) {
	v := at[*vegas](t, "vegas", 20)
	for i, step := range []struct {
		r    plant.Sample
		want int
	}{
		{served(10*ms, 20), 20},                  // the first is the shortest
		{served(10*ms, 10), 26},                  // q = 0: +6
		{served(10*ms, 26), 32},                  // q = 0: +6
		{served(10200*time.Microsecond, 32), 38}, // q = ⌈0.63⌉ = 1: +6
		{gaveUp(11 * ms), 37},
		{gaveUp(11 * ms), 36},
		{gaveUp(11 * ms), 35},
		{gaveUp(11 * ms), 34},
		{gaveUp(11 * ms), 33},
		{gaveUp(11 * ms), 32},
		{served(12*ms, 32), 32},                  // q = ⌈32/6⌉ = 6: stays
		{served(11*ms, 32), 32},                  // q = ⌈32/11⌉ = 3: stays
		{served(10500*time.Microsecond, 32), 33}, // q = ⌈1.52⌉ = 2: +1
		{served(20*ms, 33), 32},                  // q = 17: −1
		{served(20*ms, 15), 32},                  // less than half in use
		{served(9*ms, 32), 32},                   // a new shortest moves nothing
		{gaveUp(time.Second), 31},                // a drop: −1, whatever q
		{served(10*ms, 31), 31},                  // q = ⌈3.1⌉ = 4: stays
	} {
		if got := v.Completed(step.r); got != step.want {
			t.Fatalf("step %d, %+v: the limit is %d, want %d", i, step.r, got, step.want)
		}
	}
	v = at[*vegas](t, "vegas", 100) // λ = 2
	v.Completed(served(10*ms, 100))
	for i, step := range []struct {
		r    plant.Sample
		want int
	}{
		{served(10*ms, 100), 112},                  // +12
		{served(10200*time.Microsecond, 112), 114}, // q = ⌈2.2⌉ = 3: +2
		{served(20*ms, 114), 112},                  // −2
	} {
		if got := v.Completed(step.r); got != step.want {
			t.Fatalf("at λ = 2, step %d: the limit is %d, want %d", i, got, step.want)
		}
	}
}

func TestVegasTakesAnyRoundTripForTheShortestNowAndThen(t *testing.T) {
	v := at[*vegas](t, "vegas", 20)
	v.Completed(served(10*ms, 1))
	for n := 2; ; n++ {
		v.Completed(served(50*ms, 1)) // too few in use to move the limit
		if v.shortest == 50*ms {
			if n < 300 || n > 600 { // 30 × 20 × [0.5, 1)
				t.Errorf("it was forgotten after %d samples, want 300 to 600", n)
			}
			return
		}
		if n > 600 {
			t.Fatalf("after %d samples the shortest round trip is still %s", n, v.shortest)
		}
	}
}

func TestGradient2FollowsItsFormula(t *testing.T) {
	g := at[*gradient2](t, "gradient2", 20)
	for i, step := range []struct {
		rtt      float64 // ms
		inFlight int
		want     float64
	}{
		{100, 20, 20.8},  // 0.8×20 + 0.2×(20+4)
		{100, 20, 21.6},  // + 0.8 again
		{100, 10, 21.6},  // less than half in use
		{200, 21, 22.13}, // long 500/4 = 125, gradient 0.9375: 0.8×21.6 + 0.2×(20.25+4)
	} {
		g.update(step.rtt*1e6, step.inFlight)
		if math.Abs(g.limit-step.want) > 1e-9 || g.now.Limit != int(step.want) {
			t.Fatalf("window %d: the limit is %v (%d), want %v", i, g.limit, g.now.Limit, step.want)
		}
	}
	for start, want := range map[int]float64{20: 18.8, 0: 20} { // theirs begins at 20, and that is its least
		g = at[*gradient2](t, "gradient2", start)
		for range 4 {
			g.update(100e6, 1)
		}
		g.update(1e12, 20) // gradient is held at 0.5: 0.8×20 + 0.2×(10+4) = 18.8
		if math.Abs(g.limit-want) > 1e-9 {
			t.Errorf("begun at %d, after a stall the limit is %v, want %v", start, g.limit, want)
		}
	}
	g = at[*gradient2](t, "gradient2", 60)
	for range 10 {
		g.update(100e6, 1)
	}
	g.update(40e6, 1) // long = 100 + 2/601 × (40 − 100), more than twice as long: × 0.95
	if want := (100 - 2.0/601*60) * 0.95e6; math.Abs(g.long-want) > 1 {
		t.Errorf("the long-term round trip is %v ns, want %v", g.long, want)
	}
}

func TestGradient2LooksAtWindowsOfASecondWithTenSamples(t *testing.T) {
	g := at[*gradient2](t, "gradient2", 20)
	clock := time.Duration(0)
	send := func(n int, step time.Duration, service time.Duration) int {
		for range n {
			clock += step
			r := served(service, 20)
			r.At = clock
			g.Completed(r)
		}
		return g.count
	}
	if got := send(1, ms, 10*ms); got != 0 {
		t.Errorf("the very first sample made %d windows, want none: it is alone", got)
	}
	if got := send(9, 50*ms, 10*ms); got != 0 {
		t.Errorf("450 ms made %d windows", got)
	}
	if got := send(1, 550*ms, 10*ms); got != 0 {
		t.Errorf("a window ended before its second was over")
	}
	if got := send(1, 1, 10*ms); got != 1 {
		t.Errorf("a second with 10 samples made %d windows, want 1", got)
	}
	if got := send(9, 120*ms, 10*ms); got != 1 {
		t.Errorf("a second with 9 samples made %d windows more", got-1)
	}
	if got := send(100, 100*ms, 99*time.Microsecond); got != 1 {
		t.Errorf("round trips below 100 µs made %d windows more", got-1)
	}
}

func TestARCGrowsWhileRoundTripsStay(t *testing.T) {
	a := at[*arc](t, "arc", 0)
	done := func(at, service time.Duration, inFlight, queued int) plant.Sample {
		return plant.Sample{At: at, Service: service, InFlight: inFlight, Queued: queued}
	}
	for i, step := range []struct {
		r    plant.Sample
		want int
	}{
		{done(10*ms, 10*ms, 1, 0), 1}, // the first is the past
		{done(15*ms, 10*ms, 1, 0), 1}, // not yet a round trip later
		{done(20*ms, 10*ms, 1, 0), 2}, // limit reached, no longer: +1
		{done(30*ms, 9*ms, 1, 0), 2},  // shorter, but the limit was not reached
		{done(40*ms, 9*ms, 1, 3), 3},  // somebody queued, so it was: +1
		{done(50*ms, 20*ms, 3, 0), 2}, // past 9.4 … ± 0.5 ms: × 0.9 is 2.7
		{gaveUp(30 * time.Second), 2}, // at 0: no time has passed
		{done(90*ms, 5*ms, 2, 9), 1},  // somebody gave up: × 0.9 is 1.8
		{done(190*ms, 5*ms, 1, 9), 2}, // +1
	} {
		if got := a.Completed(step.r); got != step.want {
			t.Fatalf("step %d, %+v: the limit is %d, want %d (%+v)", i, step.r, got, step.want, a)
		}
	}
}

func TestARCKeepsAnExponentialMeanAndVariance(t *testing.T) {
	// Vector's own example has alpha 0.5; with 0.4: 2, 2, 1 gives a mean of
	// 2 − 0.4 and a variance of 0.6 × 0.4 × 1².
	a := arc{}
	for _, v := range []float64{2, 2, 1} {
		a.current = v
		a.remember()
	}
	if math.Abs(a.mean-1.6) > 1e-12 || math.Abs(a.variance-0.24) > 1e-12 {
		t.Errorf("mean %v and variance %v, want 1.6 and 0.24", a.mean, a.variance)
	}
}

func TestFlexyPoolGrowsByOneForEachTimeoutInARow(t *testing.T) {
	f := at[*flexypool](t, "flexypool", 4)
	for i, step := range []struct {
		at, wait, service time.Duration
		gaveUp            bool
		want              int
	}{
		{2000 * ms, 500 * ms, 10 * ms, false, 4}, // not more than 500
		{2000 * ms, 501 * ms, 10 * ms, false, 5},
		{2100 * ms, 600 * ms, 10 * ms, false, 5}, // asked before it grew
		{2700 * ms, 600 * ms, 10 * ms, false, 6},
		{3800 * ms, 1000 * ms, 0, true, 7},
		{9000 * ms, 1 * ms, 900 * ms, false, 7}, // never shrinks
	} {
		got := f.Completed(plant.Sample{At: step.at, Wait: step.wait, Service: step.service, GaveUp: step.gaveUp})
		if got != step.want {
			t.Fatalf("step %d: the limit is %d, want %d", i, got, step.want)
		}
	}
	f = at[*flexypool](t, "flexypool", 200)
	if got := f.Completed(gaveUp(time.Second)); got != 200 {
		t.Errorf("at the ceiling it went to %d", got)
	}
}

func TestALimiterSeesTheServiceTimeAndATimeoutAsADropAtTheLimit(t *testing.T) {
	l := world().limiter(20)
	for _, tt := range []struct {
		r    plant.Sample
		want sample
	}{
		{plant.Sample{Wait: time.Second, Service: ms, InFlight: 7, Queued: 3}, sample{ms, 7, false}},
		{plant.Sample{Wait: time.Second, GaveUp: true}, sample{time.Second, 20, true}},
		{plant.Sample{InFlight: 7}, sample{1, 7, false}}, // no round trip takes no time
		{plant.Sample{GaveUp: true}, sample{1, 20, true}},
	} {
		if got := l.see(tt.r); got != tt.want {
			t.Errorf("%+v is seen as %+v, want %+v", tt.r, got, tt.want)
		}
	}
}

func TestAFixedSizeStays(t *testing.T) {
	p := open(t, "fixed-32", world())
	o := controller.Observation{At: time.Hour}
	o.Gauges.Queued = 1000
	if got, next := p.Look(o); got != p.Start() || next != 0 {
		t.Errorf("it went to %+v and looks again after %s", got, next)
	}
}
