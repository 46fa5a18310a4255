package plant_test

import (
	"math"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/simulations/plant"
)

const ms = time.Millisecond

func run(t testing.TB, cfg plant.Config, src plant.Source, tuner plant.Tuner) *plant.Result {
	t.Helper()
	r, err := plant.Run(cfg, src, tuner)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if effort < 1 {
		tolerance *= 1.5 / math.Sqrt(effort) // the error of a shorter run; its full length is just long enough
	}
	if math.Abs(got-want) > tolerance*want {
		t.Errorf("%s is %.6g, theory says %.6g: off by %.2f %%", what, got, want, 100*math.Abs(got-want)/want)
	}
}

// shorter is the length of a run with as much effort as there is.
func shorter(d time.Duration) time.Duration { return time.Duration(effort * float64(d)) }

// open is a world of Poisson arrivals and one stage of CPU.
func open(rate float64, requests int, server plant.Server, service plant.Distribution) plant.Config {
	seconds := effort * float64(requests) / rate
	return plant.Config{
		Seed: 1, Duration: time.Duration(seconds * float64(time.Second)), Warmup: time.Duration(seconds / 20 * float64(time.Second)),
		Arrivals: []plant.Arrivals{{Rate: rate}},
		Classes:  []plant.Class{{Stages: []plant.Stage{{Service: service}}}},
		Pool:     plant.Pool{Budget: 20_000}, Server: server, MaxQueued: 1_000_000, Series: plant.Series{Every: time.Hour},
	}
}

func TestOneConnectionIsAnMM1Queue(t *testing.T) {
	t.Parallel()
	r := run(t, open(700, 4_000_000, free(1), plant.Distribution{Mean: ms}), nil, fix(1))
	const s, rho = 1e-3, 0.7
	within(t, "mean wait", r.Wait.Mean.Seconds(), rho*s/(1-rho), 0.01)
	within(t, "mean response", r.Response.Mean.Seconds(), s/(1-rho), 0.01)
	within(t, "share that waits", float64(r.Waited)/float64(r.Completions), rho, 0.01)
	within(t, "p99 of the response", r.Response.P99.Seconds(), s/(1-rho)*math.Log(100), 0.01)
	within(t, "mean queue", r.MeanQueued, rho*rho/(1-rho), 0.01)
}

func TestAPoolWithinTheCoresIsAnMMCQueue(t *testing.T) {
	t.Parallel()
	for _, c := range []int{2, 8, 30} {
		if c > 8 && effort <= 1 {
			continue // few wait where there are many: 1 % takes 40 million requests
		}
		rho := 0.8
		a := rho * float64(c)
		r := run(t, open(a*1000, 10_000_000, free(c), plant.Distribution{Mean: ms}), nil, fix(c))
		wait := model.ErlangC(c, a)
		within(t, "share that waits", float64(r.Waited)/float64(r.Completions), wait, 0.01)
		within(t, "mean wait", r.Wait.Mean.Seconds(), wait*1e-3/(float64(c)-a), 0.01)
		within(t, "mean in use", r.MeanInUse, a, 0.01)
	}
}

func TestAPoolOfOneIsAnMG1QueueWhateverTheService(t *testing.T) {
	t.Parallel()
	for kind, cv2 := range map[plant.Kind]float64{plant.Deterministic: 0, plant.Gamma: 0.25, plant.Lognormal: 2.25, plant.Hyperexponential: 4} {
		d := plant.Distribution{Kind: kind, Mean: ms, CV: math.Sqrt(cv2)}
		r := run(t, open(600, 4_000_000, free(1), d), nil, fix(1))
		const s, rho = 1e-3, 0.6 // Pollaczek and Khinchine
		within(t, string(kind)+": mean wait", r.Wait.Mean.Seconds(), rho*s/(1-rho)*(1+cv2)/2, 0.01)
	}
}

func TestProcessorSharingKnowsOnlyTheMeanOfTheService(t *testing.T) {
	t.Parallel()
	for _, kind := range []plant.Kind{plant.Deterministic, plant.Exponential, plant.Lognormal, plant.Hyperexponential} {
		d := plant.Distribution{Kind: kind, Mean: ms}
		if kind == plant.Lognormal || kind == plant.Hyperexponential {
			d.CV = 2
		}
		r := run(t, open(700, 3_000_000, free(1), d), nil, fix(10_000))
		within(t, string(kind)+": mean response", r.Response.Mean.Seconds(), 1e-3/(1-0.7), 0.01)
		within(t, string(kind)+": mean runnable", r.MeanRunnable, 0.7/(1-0.7), 0.01)
		within(t, string(kind)+": work", r.Work, 0.7, 0.01)
	}
}

// The machine repairman: n callers that think, one processor. Mean value analysis
// is exact for it.
func TestAClosedLoopFollowsMeanValueAnalysis(t *testing.T) {
	t.Parallel()
	const think, s = 20e-3, 2e-3
	for _, n := range []int{1, 5, 11, 30} {
		var x, q, response float64
		for k := 1; k <= n; k++ {
			response = s * (1 + q)
			x = float64(k) / (think + response)
			q = x * response
		}
		for _, kind := range []plant.Kind{plant.Exponential, plant.Deterministic} { // sharing is insensitive
			r := run(t, plant.Config{
				Seed: 3, Duration: shorter(3000 * time.Second), Warmup: shorter(100 * time.Second),
				Closed:  []plant.Closed{{Callers: n, Think: plant.Distribution{Mean: 20 * ms}}},
				Classes: []plant.Class{{Stages: []plant.Stage{{Service: plant.Distribution{Kind: kind, Mean: 2 * ms}}}}},
				Server:  free(1), Series: plant.Series{Every: time.Hour},
			}, nil, fix(n))
			within(t, string(kind)+": throughput", r.Throughput, x, 0.01)
			within(t, string(kind)+": response", r.Response.Mean.Seconds(), response, 0.01)
			within(t, string(kind)+": runnable", r.MeanRunnable, q, 0.01)
		}
	}
}

func TestSaturatedThroughputIsTheCapacityLaw(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]plant.Server{
		"beyond": {Cores: 4, Sigma: 0.01, Kappa: 0.0002},
		"usl":    {Cores: 4, Law: plant.USL, Sigma: 0.02, Kappa: 0.001},
		"curve":  {Cores: 2, Curve: []plant.Point{{N: 1, X: 1913}, {N: 2, X: 4098}, {N: 8, X: 3113}, {N: 150, X: 1691}}},
	} {
		for _, n := range []int{1, 2, 4, 8, 64, 150} {
			s := free(4)
			s.Cores, s.Law, s.Sigma, s.Kappa, s.Curve = server.Cores, server.Law, server.Sigma, server.Kappa, server.Curve
			x := float64(n)
			var want float64
			switch name {
			case "beyond":
				busy := math.Min(x, 4)
				want = 500 * busy / (1 + 0.01*(x-busy) + 0.0002*(x-busy)*x)
			case "usl":
				want = 500 * x / (1 + 0.02*(x-1) + 0.001*x*(x-1))
			default:
				switch n {
				case 1, 2, 8, 150:
					want = map[int]float64{1: 1913, 2: 4098, 8: 3113, 150: 1691}[n]
				default:
					continue
				}
			}
			r := run(t, plant.Config{
				// Who came before the end of the warmup is not counted: few may queue then.
				Seed: 5, Duration: max(20*time.Second, shorter(200*time.Second)), Warmup: time.Second,
				Closed:  []plant.Closed{{Callers: n + 10}},
				Classes: []plant.Class{{Stages: []plant.Stage{{Service: plant.Distribution{Mean: 2 * ms, Kind: plant.Gamma, CV: 0.5}}}}},
				Server:  s,
			}, nil, fix(n))
			within(t, name+": throughput", r.Throughput, want, 0.01)
		}
	}
}
