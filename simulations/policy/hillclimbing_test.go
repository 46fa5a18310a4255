package policy

import (
	"math"
	"math/cmplx"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
)

// climb lets it take n samples of 0.1 s of a pool whose throughput depends on the
// threads, and returns the counts it set.
func climb(h *hillClimbing, n int, throughput func(threads int) float64) (counts []int) {
	count := h.now.Limit
	for range n {
		count, _ = h.update(count, 0.1, int(math.Round(0.1*throughput(count))))
		counts = append(counts, count)
	}
	h.move(count)
	return counts
}

func TestHillClimbingWavesWithAPeriodOfFourSamples(t *testing.T) {
	h := at[*hillClimbing](t, "hill-climbing", 10)
	want := []int{10, 11, 11, 10, 10, 11, 11, 10}
	for i, got := range climb(h, 8, func(int) float64 { return 10_000 }) {
		if got != want[i] {
			t.Fatalf("the %d. count is %d, want %d", i+1, got, want[i])
		}
	}
}

func TestHillClimbingMovesByTheSquareOfWhatComesBack(t *testing.T) {
	for _, tt := range []struct {
		what       string
		throughput func(int) float64
		ratio      float64
	}{
		{"all of the wave", func(n int) float64 { return 10_000 * float64(n) }, 1 - 0.15},
		{"none of it", func(int) float64 { return 10_000 }, -0.15},
		{"the opposite", func(n int) float64 { return 10_000 * (21 - float64(n)) }, -1 - 0.15},
	} {
		h := at[*hillClimbing](t, "hill-climbing", 10)
		climb(h, 8, tt.throughput)
		if h.control != 10 {
			t.Fatalf("before two periods were seen it went to %v", h.control)
		}
		climb(h, 1, tt.throughput) // the 9th sees two periods: 8 samples
		move := math.Max(-1, tt.ratio)
		want := 10 + math.Copysign(move*move*4*0.1, move)
		if math.Abs(h.control-want) > 0.02 {
			t.Errorf("when %s comes back it goes from 10 to %v, want %v", tt.what, h.control, want)
		}
	}
}

func TestHillClimbingFindsTheKnee(t *testing.T) {
	for _, start := range []int{4, 60} {
		h := at[*hillClimbing](t, "hill-climbing", start)
		knee := func(n int) float64 { return 1000*math.Min(float64(n), 24) - 10*math.Max(0, float64(n)-24) }
		climb(h, 3000, knee)
		if h.control < 15 || h.control > 30 {
			t.Errorf("from %d it comes to %v after 5 minutes, want about 24", start, h.control)
		}
	}
}

func TestHillClimbingSamplesLongerWhatIsTooInaccurate(t *testing.T) {
	h := at[*hillClimbing](t, "hill-climbing", 10)
	h.update(10, 0.1, 100)
	count, wait := h.update(11, 0.1, 50) // 10 of 50 may be wrong: 20 %
	if count != 11 || wait != 10 || h.total != 1 {
		t.Errorf("it went to %d, samples again after %d ms and has %d samples", count, wait, h.total)
	}
	h.update(11, 0.3, 50) // 10 of 100: accurate enough, together
	if h.total != 2 || math.Abs(h.counts[1]-250) > 1e-9 {
		t.Errorf("it has %d samples, the last of %v/s, want 2 and 100 in 0.4 s", h.total, h.counts[1])
	}
}

func TestHillClimbingDoesNotGrowOnABusyMachine(t *testing.T) {
	for cpu, grows := range map[float64]bool{0.5: true, 0.96: false} {
		h := at[*hillClimbing](t, "hill-climbing", 10)
		h.Look(controller.Observation{Host: &controller.Host{CPU: cpu}})
		climb(h, 40, func(n int) float64 { return 10_000 * float64(n) })
		if got := h.control > 10; got != grows {
			t.Errorf("at %v of the CPU the control setting is %v", cpu, h.control)
		}
	}
}

func TestHillClimbingSamplesBetweenTenAndTwoHundredMilliseconds(t *testing.T) {
	h := at[*hillClimbing](t, "hill-climbing", 10)
	var clock, last time.Duration
	samples, longest := 0, time.Duration(0)
	for samples < 200 {
		clock += ms / 10
		h.Completed(plant.Sample{At: clock, Service: ms, InFlight: 1})
		if h.total == samples {
			continue
		}
		if gap := clock - last; samples > 0 && (gap < 10*ms || gap > 201*ms) {
			t.Fatalf("sample %d came %s after the one before", samples, gap)
		}
		longest = max(longest, clock-last)
		samples, last = h.total, clock
	}
	if longest < 180*ms {
		t.Errorf("none of 200 samples was longer than %s", longest)
	}
}

func TestGoertzelGivesTheFourierComponent(t *testing.T) {
	h := &hillClimbing{total: hillSamples}
	for i := range h.counts {
		x := float64(i)
		h.counts[i] = 100 + 7*math.Cos(2*math.Pi*x/4+0.3) + 3*math.Sin(2*math.Pi*x/8)
	}
	for period, want := range map[float64]float64{4: 3.5, 8: 1.5, 16: 0} { // half of the amplitude
		if got := cmplx.Abs(h.wave(&h.counts, hillSamples, period)); math.Abs(got-want) > 1e-9 {
			t.Errorf("the component of period %v is %v, want %v", period, got, want)
		}
	}
}

func TestHillClimbingTrustsASignalByItsNoise(t *testing.T) {
	h := &hillClimbing{total: hillSamples + 1, control: 10}
	for i := range h.counts {
		x := 2 * math.Pi * float64(i) / hillSamples
		h.counts[i] = 1000 + 100*math.Cos(8*x) + 60*math.Cos(9*x) // 8 waves of period 4, and noise next to them
		h.threads[i] = 10 + math.Cos(8*x)
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	ratio, confidence := h.analyse()
	near("the ratio", ratio, 0.85)   // both waves are a tenth of their mean
	near("the noise", h.noise, 0.03) // half of 60 in 1000
	near("the confidence", confidence, 0.05/0.03/3)
	near("the magnitude", float64(h.magnitude()), 2) // ⌊10 × 0.03 × 3 × 2 + ½⌋
	for i := range h.counts {
		h.counts[i] -= 60 * math.Cos(2*math.Pi*9*float64(i)/hillSamples)
	}
	_, confidence = h.analyse()
	near("the noise a sample later", h.noise, 0.99*0.03)
	near("the confidence a sample later", confidence, 0.05/(0.99*0.03)/3)
	h.control = 400
	near("the greatest magnitude", float64(h.magnitude()), 20)
}

func TestHillClimbingMovesByTwentyAtMost(t *testing.T) {
	h := at[*hillClimbing](t, "hill-climbing", 10)
	count := 10
	for range 9 {
		count, _ = h.update(count, 10, 10_000*count)
	}
	if math.Abs(h.control-30) > 1e-9 { // 0.85² × 4 × 10 s is 28.9
		t.Errorf("in one sample of 10 s it went from 10 to %v, want 30", h.control)
	}
}

func TestHillClimbingWaitsLongAtTheLeast(t *testing.T) {
	h := at[*hillClimbing](t, "hill-climbing", 2)
	count, longest := 2, 0
	for range 100 {
		var wait int
		count, wait = h.update(count, 0.1, 1000*(10-count))
		longest = max(longest, wait)
		if wait > 200 && count != 2 {
			t.Errorf("it stays for %d ms at %d", wait, count)
		}
	}
	// From 2 to 3 is a wave of 0.2 of the mean, 8,000 to 7,000 one of −0.067: the
	// ratio is −1/3 − 0.15, and 4.8 times 200 ms the longest.
	if longest < 800 || longest > 970 {
		t.Errorf("it stayed at its least for %d ms at most, want nearly 970", longest)
	}
}

func TestHillClimbingWaitsUntilNoMoreAreAtWorkThanShallBe(t *testing.T) {
	h := at[*hillClimbing](t, "hill-climbing", 10)
	h.Completed(plant.Sample{At: time.Second, InFlight: 11})
	if h.total != 0 {
		t.Error("it took a sample while 11 were at work of 10")
	}
	h.Completed(plant.Sample{At: time.Second, InFlight: 10})
	if h.total != 1 || h.counts[0] != 2 {
		t.Errorf("it took %d samples, the first of %v/s, want 1 and 2/s", h.total, h.counts[0])
	}
}
