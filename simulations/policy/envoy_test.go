package policy

import (
	"math"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
	"pgregory.net/rapid"
)

// requests sends n that end at the time end and held their connection for service.
func (v *envoy) requests(n int, end, service time.Duration) (limit int) {
	for range n {
		limit = v.Completed(plant.Sample{At: end, Service: service, InFlight: 1})
	}
	return limit
}

func TestEnvoyFollowsItsGradient(t *testing.T) {
	v := at[*envoy](t, "envoy", 0)
	if got := v.requests(49, 20*ms, 10*ms); got != 3 || v.minRTT != 0 {
		t.Fatalf("after 49 requests the limit is %d and the minRTT %d", got, v.minRTT)
	}
	// The 90th percentile of 50 in the bin [10 ms, 11 ms) is 10.9 ms.
	if got := v.requests(1, 50*ms, 10*ms); got != 3 || v.minRTT != 10_900 {
		t.Fatalf("after 50 requests the limit is %d, want 3, and the minRTT %d, want 10,900", got, v.minRTT)
	}
	clock := 50 * ms
	for i, step := range []struct {
		service time.Duration
		want    int
	}{
		{10 * ms, 5},  // 1.25×3 = 3.75, + √ = 5.69
		{10 * ms, 8},  // 6.25 + 2.5
		{10 * ms, 13}, // 10 + 3.16
		{40 * ms, 9},  // gradient 13,625/40,900, held at ½: 6.5 + 2.55
		{1 * ms, 22},  // held at 2: 18 + 4.24
		{0, 22},       // no request, no change
	} {
		if step.service > 0 {
			v.requests(10, clock+50*ms, step.service)
		}
		clock += envoyWindow
		o := controller.Observation{At: clock}
		got, next := v.Look(o)
		if got.Limit != step.want || next != envoyWindow {
			t.Fatalf("window %d: the limit is %d, want %d; it looks again after %s", i, got.Limit, step.want, next)
		}
	}
}

func TestEnvoyMeasuresTheMinRTTEachMinuteAtThreeConnections(t *testing.T) {
	v := at[*envoy](t, "envoy", 40)
	if got := v.requests(50, 50*ms, 10*ms); got != 40 {
		t.Fatalf("after the first minRTT window the limit is %d, want the 40 it was started with", got)
	}
	if early, late := 50*ms+envoyProbe, 50*ms+envoyProbe+envoyProbe/10; v.probeAt < early || v.probeAt >= late {
		t.Errorf("the next minRTT window is at %s, want %s to %s", v.probeAt, early, late)
	}
	begin := v.probeAt
	v.requests(30, begin-1, ms) // of the window before: thrown away
	s, _ := v.Look(controller.Observation{At: begin})
	if s.Limit != 3 {
		t.Fatalf("in the minRTT window the limit is %d, want 3", s.Limit)
	}
	if got := v.requests(500, begin+10*ms, 11*ms); got != 3 {
		t.Errorf("requests begun before the window ended it at %d", got)
	}
	if _, next := v.Look(controller.Observation{At: begin + time.Second}); next != 0 || v.now.Limit != 3 {
		t.Errorf("waiting for requests it is at %d and looks again after %s", v.now.Limit, next)
	}
	if got := v.requests(49, begin+2*time.Second, 20*ms); got != 3 {
		t.Errorf("after 49 requests the window has ended at %d", got)
	}
	if got := v.requests(1, begin+2*time.Second, 20*ms); got != 40 || v.minRTT != 20_900 {
		t.Errorf("after the window the limit is %d, want 40, and the minRTT %d µs, want 20,900", got, v.minRTT)
	}
}

func TestEnvoyMeasuresAgainAfterFiveWindowsAtTheLeast(t *testing.T) {
	v := at[*envoy](t, "envoy", 3)
	v.requests(50, 50*ms, 10*ms)
	for n := 1; ; n++ {
		v.requests(10, time.Duration(n)*envoyWindow, 40*ms) // gradient ½: 1.5 + 1.22, and 3 is the least
		if v.deferred > 0 {
			if n != 6 { // the sample of window n+1 lets the timer of window n fire
				t.Errorf("it measured again at the sample of window %d, want 6", n)
			}
			return
		}
		if n > 6 {
			t.Fatalf("after %d windows at %d it has not measured again", n, v.now.Limit)
		}
	}
}

func TestEnvoyHearsNothingOfWhoGaveUp(t *testing.T) {
	v := at[*envoy](t, "envoy", 0)
	for range 100 {
		v.Completed(gaveUp(time.Second))
	}
	if v.samples.count != 0 || v.now.Limit != 3 {
		t.Errorf("it counted %d and is at %d", v.samples.count, v.now.Limit)
	}
}

func TestBinsAreOfTwoSignificantDigits(t *testing.T) {
	for _, tt := range []struct {
		us         int64
		low, width float64
	}{
		{0, 0, 0}, {-3, 0, 0}, {1, 1, 0.1}, {9, 9, 0.1}, {10, 10, 1}, {99, 99, 1}, {100, 100, 10},
		{1234, 1200, 100}, {99_999, 99_000, 1000}, {math.MaxInt64, 9.9e9, 1e8},
	} {
		low, width := edge(bin(tt.us))
		if math.Abs(low-tt.low) > 1e-9*tt.low || math.Abs(width-tt.width) > 1e-9*tt.width {
			t.Errorf("%d is in the bin from %v, %v wide; want %v and %v", tt.us, low, width, tt.low, tt.width)
		}
	}
}

func TestAQuantileIsWithinTheBinOfTheRightValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, 1e9), 1, 200).Draw(t, "values")
		q := rapid.Float64Range(0.01, 1).Draw(t, "q")
		var l logLinear
		for _, v := range values {
			l.add(v)
		}
		got := l.quantile(q)
		below, upTo := 0, 0 // values surely below, values possibly at or below
		for _, v := range values {
			low, width := edge(bin(v))
			if low+width <= got && low < got {
				below++
			}
			if low <= got {
				upTo++
			}
		}
		want := q * float64(len(values))
		if float64(below) > want+1e-6 || float64(upTo) < want-1e-6 {
			t.Fatalf("the %v-quantile of %v is %v: %d lie below, %d may", q, values, got, below, upTo)
		}
	})
}
