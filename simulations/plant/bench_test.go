package plant_test

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
)

// BenchmarkRun is 2,000 requests a second on four cores, as a service would send
// them: Poisson, lognormal service of 1.4 ms, 70 % load.
func BenchmarkRun(b *testing.B) {
	cfg := plant.Config{
		Seed: 1, Arrivals: []plant.Arrivals{{Rate: 2000}},
		Classes: []plant.Class{{Stages: []plant.Stage{{Service: plant.Distribution{Kind: plant.Lognormal, Mean: 1400 * time.Microsecond, CV: 1}}}}},
		Server:  plant.Server{Cores: 4, Sigma: 0.01},
	}
	for name, tuner := range map[string]func() plant.Tuner{
		"fixed": func() plant.Tuner { return fix(20) },
		"auto":  func() plant.Tuner { return tuned(20) },
	} {
		b.Run(name, func(b *testing.B) {
			c := cfg
			c.Duration = time.Duration(b.N) * time.Second / 2000
			b.ReportAllocs()
			r := run(b, c, nil, tuner())
			b.ReportMetric(float64(r.Requests)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}
