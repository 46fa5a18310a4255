package simulations

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
	"github.com/pgautotune/autotune/simulations/policy"
)

// speedWorld is what the simulator's speed is measured with: a service of 70 %
// load whose best size is about the number of cores.
func speedWorld() plant.Config {
	return plant.Config{
		Seed: 1, Arrivals: []plant.Arrivals{{Rate: 560}},
		Classes: []plant.Class{{Stages: []plant.Stage{{Service: plant.Distribution{Kind: plant.Lognormal, Mean: 5 * time.Millisecond}}}}},
		Server:  plant.Server{Cores: 4, Sigma: 0.005},
	}
}

// speedRate is the arrival rate of that world.
const speedRate = 560

// Speed is one run of the simulator against the clock.
type Speed struct {
	Policy   string  `json:"policy"`
	Requests int64   `json:"requests"`
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"cpu_s"`                   // of this process, its garbage collector included; below 0: unknown
	Rate     float64 `json:"requests_per_cpu_second"` // on one core; of the wall clock where the CPU time is unknown
	MemoryMB float64 `json:"memory_mb"`               // the most that the Go heap held at the looks, of the run alone
	Checked  int     `json:"heap_readings"`
}

// day is a day of 100 requests a second.
const day = 8_640_000

// MeasureSpeed runs 1, 10 and 100 million requests with a fixed size and with
// autotune, and a day of 100 requests a second. tell is called after each.
func MeasureSpeed(ctx context.Context, most int64, tell func(Speed)) error {
	for _, name := range []string{"fixed-9", "auto"} {
		for n := int64(1_000_000); n <= most; n *= 10 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			s, err := measureSpeed(name, speedWorld(), time.Duration(float64(n)/speedRate*float64(time.Second)))
			if err != nil {
				return err
			}
			tell(s)
		}
	}
	world := speedWorld()
	world.Arrivals[0].Rate = 100
	s, err := measureSpeed("auto", world, day/100*time.Second)
	if err != nil {
		return err
	}
	s.Policy = "auto, a day of 100/s"
	tell(s)
	return nil
}

func measureSpeed(name string, world plant.Config, length time.Duration) (Speed, error) {
	tuner, err := policy.New(name, policy.Env{Cores: 4, Ceiling: 200, Seed: 1})
	if err != nil {
		return Speed{}, err
	}
	world.Duration = length
	watch := newHeapWatch(tuner)
	cpu, _ := ownCPU()
	begun := time.Now()
	r, err := plant.Run(world, nil, watch.tuner())
	if err != nil {
		return Speed{}, err
	}
	// On a machine with other work the wall clock measures that work.
	took, used, cost := time.Since(begun).Seconds(), -1.0, time.Since(begun).Seconds()
	if after, ok := ownCPU(); ok {
		used = (after - cpu).Seconds()
		cost = used
	}
	return Speed{Policy: name, Requests: r.Requests, Seconds: took, CPU: used, Rate: float64(r.Requests) / cost, MemoryMB: watch.most / (1 << 20), Checked: watch.readings}, nil
}

// WriteSpeed writes a line of the table; first with its head.
func WriteSpeed(out io.Writer, s Speed, first bool) error {
	if first {
		fmt.Fprintf(out, "%-22s %11s %9s %7s %15s %8s\n", "policy", "requests", "seconds", "CPU s", "requests/CPU s", "heap MB")
	}
	_, err := fmt.Fprintf(out, "%-22s %11d %9.2f %7.2f %15.0f %8.1f\n", s.Policy, s.Requests, s.Seconds, s.CPU, s.Rate, s.MemoryMB)
	return err
}

// baseline is the heap after a collection, so that a run before leaves nothing in
// the figures.
func baseline() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
