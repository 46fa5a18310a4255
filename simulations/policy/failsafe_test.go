package policy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/pgautotune/autotune/simulations/plant"
)

// The library reads the wall clock. Inside a synctest bubble that clock is
// virtual, so that both can be put through the same requests at the same times.
func TestFailsafeIsTheLibrary(t *testing.T) {
	for _, start := range []int{4, 20, 100} {
		for knee, seed := range map[int]uint64{3: 1, 8: 2, 25: 3} {
			t.Run(fmt.Sprintf("knee %d from %d", knee, start), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { compareFailsafe(t, start, knee, seed) })
			})
		}
	}
}

// running is a request under way.
type running struct {
	permit   adaptivelimiter.Permit
	since    time.Time
	until    time.Time
	inFlight int
}

// compareFailsafe lets callers, more and fewer by turns, run requests that become
// longer beyond a knee, and compares the limits after each.
func compareFailsafe(t *testing.T, start, knee int, seed uint64) {
	const length, shift = 40 * time.Second, 5 * time.Second // of the run, and until another number of callers
	e := world()
	e.Start = start
	ours := open(t, "failsafe", e).(*failsafe)
	theirs := adaptivelimiter.NewBuilder[any]().WithLimits(1, uint(e.Ceiling), uint(start)).Build()
	rng := rand.New(rand.NewPCG(seed, 0))
	begin := time.Now()
	var at []running
	moves, callers, until := 0, 0, time.Duration(0)
	for n := 1; time.Since(begin) < length; n++ {
		if time.Since(begin) >= until {
			callers, until = 1+rng.IntN(3*knee), until+shift
		}
		for len(at) < callers {
			permit, ok := theirs.TryAcquirePermit()
			if !ok {
				break
			}
			inFlight := theirs.Inflight()
			mean := 50 * ms * time.Duration(max(knee, inFlight)) / time.Duration(knee)
			service := time.Duration((0.5 + rng.ExpFloat64()/2) * float64(mean))
			at = append(at, running{permit, time.Now(), time.Now().Add(service), inFlight})
		}
		first := 0
		for i := range at {
			if at[i].until.Before(at[first].until) {
				first = i
			}
		}
		r := at[first]
		at[first] = at[len(at)-1]
		at = at[:len(at)-1]
		time.Sleep(time.Until(r.until)) // virtual: it is then, and nothing waits

		before := theirs.Limit()
		full := theirs.Inflight() >= before
		r.permit.Record()
		got := ours.record(time.Since(begin), time.Since(r.since), r.inFlight, full)
		if want := theirs.Limit(); got != want {
			t.Fatalf("after %d requests the limit is %d, the library's %d", n, got, want)
		}
		if theirs.Limit() != before {
			moves++
		}
	}
	if moves < 10 {
		t.Errorf("the library moved its limit %d times: this compares little", moves)
	}
}

func TestFailsafeHearsNothingOfWhoGaveUp(t *testing.T) {
	f := at[*failsafe](t, "failsafe", 20)
	for range 1000 {
		f.Completed(gaveUp(time.Second))
	}
	if f.samples != 0 || f.now.Limit != 20 {
		t.Errorf("it counted %d and is at %d", f.samples, f.now.Limit)
	}
}

func TestFailsafeTakesAQueueOrTheLastConnectionForFull(t *testing.T) {
	f := at[*failsafe](t, "failsafe", 20)
	for _, tt := range []struct {
		r    plant.Sample
		want bool
	}{
		{plant.Sample{InFlight: 19}, false},
		{plant.Sample{InFlight: 20}, true},
		{plant.Sample{InFlight: 3, Queued: 1}, true},
	} {
		if got := f.full(tt.r); got != tt.want {
			t.Errorf("%+v: full is %v", tt.r, got)
		}
	}
}

func TestFailsafeDecides(t *testing.T) {
	const step = 1
	for _, tt := range []struct {
		what         string
		queue        int
		full         bool
		tc, tcv, rtt float64
		want         int
	}{
		{"a long queue", 7, false, 0, 0, 0, -1},
		{"a queue in between", 6, false, 0, 0, 0, 0},
		{"a queue in between", 3, false, 0, 0, 0, 0},
		{"a short queue", 2, false, 0, 0, 0, 1},
		{"more in flight, less throughput", 0, true, -0.1, 1, 0, -1},
		{"the same, with room left", 0, false, -0.1, 1, 0, 1},
		{"more in flight, longer round trips, no more throughput", 0, true, 0.2, 1, 0.6, -1},
		{"more throughput with them", 0, true, 0.4, 1, 0.6, 1},
		{"throughput that hardly varies", 0, true, 0.4, 0.1, 0.6, -1},
	} {
		if got := failsafeDirection(tt.queue, step, tt.full, tt.tc, tt.tcv, tt.rtt); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.what, got, tt.want)
		}
	}
}

func TestACorrelationNeedsBothToVaryByAPercent(t *testing.T) {
	for _, tt := range []struct {
		x, y float64 // how much they vary to either side of 100
		want float64
	}{
		{10, 10, 1}, {10, -10, -1}, {0.9, 10, 0}, {10, 0.9, 0}, {1.1, 10, 1},
	} {
		var c correlation
		var got float64
		for i := range 200 { // four times round the window of 50
			side := float64(1 - 2*(i%2))
			got, _ = c.add(100+side*tt.x, 100+side*tt.y)
			if i < failsafeWarmUp-1 && got != 0 {
				t.Fatalf("after %d values it is already %v", i+1, got)
			}
		}
		if math.Abs(got-tt.want) > 1e-6 {
			t.Errorf("±%v and ±%v correlate by %v, want %v", tt.x, tt.y, got, tt.want)
		}
	}
}
