//go:build unix

package plant_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
)

// BenchmarkRun is 2,000 requests a second on four cores, as a service would send
// them: Poisson, service of 1.4 ms, 70 % load. Requests per second of CPU time
// are what a core of its own would do; the wall clock counts the neighbours too.
func BenchmarkRun(b *testing.B) {
	service := plant.Distribution{Kind: plant.Lognormal, Mean: 1400 * time.Microsecond, CV: 1}
	cfg := plant.Config{
		Seed: 1, Arrivals: []plant.Arrivals{{Rate: 2000}},
		Classes: []plant.Class{{Stages: []plant.Stage{{Service: service}}}},
		Server:  plant.Server{Cores: 4, Sigma: 0.01},
	}
	for _, c := range []struct {
		name  string
		tuner func() plant.Tuner
	}{
		{"fixed", func() plant.Tuner { return fix(20) }},
		{"auto", func() plant.Tuner { return tuned(20) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := cfg
			w.Duration = time.Duration(b.N) * time.Second / 2000
			b.ReportAllocs()
			began := cpuTime(b)
			r := run(b, w, nil, c.tuner())
			spent := cpuTime(b) - began
			b.ReportMetric(float64(r.Requests)/b.Elapsed().Seconds(), "requests/s")
			b.ReportMetric(float64(r.Requests)/max(spent.Seconds(), 1e-9), "requests/cpu-s")
		})
	}
}

// BenchmarkDay is a day of 100 requests a second.
func BenchmarkDay(b *testing.B) {
	for range b.N {
		began := cpuTime(b)
		run(b, plant.Config{Seed: 1, Duration: 24 * time.Hour, Arrivals: []plant.Arrivals{{Rate: 100}}}, nil, tuned(4))
		b.ReportMetric((cpuTime(b) - began).Seconds(), "cpu-s/day")
	}
}

// cpuTime is the CPU time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
