package controller_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/model"
)

type openWorld struct {
	lambda func(t float64) float64
	cap    func(t float64, k int) float64 // completions per second
	slo    float64
	cores  int
	dur    float64
}

type openResult struct {
	good, p99 float64
	moves     int
	swaps     int
	conv      float64
	lastLimit int
	limits    map[int]float64
	reasons   string
}

type req struct{ arr, start float64 }

func runOpen(w openWorld, fixed, start int, seed uint64, trace bool) openResult {
	rng := rand.New(rand.NewPCG(seed, 7))
	cfg := config()
	var s controller.State
	limit, max_ := start, start
	if fixed > 0 {
		limit, max_ = fixed, fixed
	}
	var c controller.Counters
	var queue []req
	var in []req
	t, nextLook := 0.0, 0.0
	var waitTime, svcTime, inUse, sat, sq float64
	peak := 0
	good, total := 0, 0
	var resp []float64
	res := openResult{limits: map[int]float64{}}
	lastChange := 0.0
	for t < w.dur {
		k := len(in)
		mu := w.cap(t, k)
		lam := w.lambda(t)
		dt := rng.ExpFloat64() / (lam + mu)
		look := false
		if t+dt >= nextLook {
			dt = nextLook - t
			look = true
		}
		t += dt
		inUse += dt * float64(k)
		waitTime += dt * float64(len(queue))
		svcTime += dt * float64(k)
		if len(queue) > 0 {
			sat += dt
		}
		res.limits[limit] += dt
		if k > 0 {
			c.Levels[model.LevelOf(k)].Time += time.Duration(dt * 1e9)
		}
		if look {
			c.InUseTime = time.Duration(inUse * 1e9)
			c.WaitTime = time.Duration(waitTime * 1e9)
			c.SaturatedTime = time.Duration(sat * 1e9)
			c.ServiceTime = time.Duration(svcTime * 1e9)
			c.ServiceTimeSq = sq
			nextLook = t + 1
			if fixed == 0 {
				on := min(len(in), 1000)
				o := controller.Observation{At: time.Duration(t * 1e9), Counters: c, Gauges: controller.Gauges{Limit: limit, Max: max_, InUse: len(in), Idle: max(0, max_-len(in)), Queued: len(queue), Budget: 200, Peak: peak},
					Server: &controller.Server{MaxConnections: 500, Reserved: 3, Cores: w.cores, Ours: controller.Backends{OnCPU: on}}}
				var d controller.Decision
				s, d = controller.Step(cfg, s, o)
				if d.Limit != limit {
					res.moves++
					lastChange = t
					if trace {
						fmt.Printf("%.1f %s %d → %d (in %d q %d) sat %.2f\n", t, d.Reason, limit, d.Limit, len(in), len(queue), d.Estimate.Saturated)
					}
				}
				if d.Swap {
					res.swaps++
				}
				limit, max_ = d.Limit, d.Max
				if d.Next > 0 {
					nextLook = t + d.Next.Seconds()
				}
			}
			peak = len(in) + len(queue)
		} else if rng.Float64()*(lam+mu) < lam {
			c.Arrivals++
			queue = append(queue, req{arr: t})
			if len(in) >= limit {
				c.Waited++
			}
		} else if k > 0 {
			i := rng.IntN(k)
			r := in[i]
			in[i] = in[k-1]
			in = in[:k-1]
			c.Completions++
			c.Levels[model.LevelOf(k)].Left++
			sq += (t - r.start) * (t - r.start)
			total++
			resp = append(resp, t-r.arr)
			if t-r.arr <= w.slo {
				good++
			}
		}
		for len(in) < limit && len(queue) > 0 {
			r := queue[0]
			queue = queue[1:]
			r.start = t
			in = append(in, r)
		}
		peak = max(peak, len(in)+len(queue))
	}
	_ = lastChange
	sort.Float64s(resp)
	res.good = float64(good) / (float64(total) + float64(len(queue)+len(in)))
	res.p99 = resp[int(0.99*float64(len(resp)))]
	res.lastLimit = limit
	return res
}

func TestTMPOpen(t *testing.T) {
	usl := func(cores float64, svc, drop float64) func(t float64, k int) float64 {
		return func(_ float64, k int) float64 {
			n := float64(k)
			if n == 0 {
				return 0
			}
			x := math.Min(n, cores) / svc
			over := math.Max(0, n-cores)
			return x / (1 + drop*over)
		}
	}
	worlds := map[string]openWorld{}
	capac := usl(4, 0.02, 0.01) // 200/s at 4; at 100: 200/1.96=102
	constant := func(l float64) func(float64) float64 { return func(float64) float64 { return l } }
	worlds["steady70"] = openWorld{constant(140), capac, 0.25, 4, 600}
	worlds["steady90"] = openWorld{constant(180), capac, 0.5, 4, 600}
	worlds["steady98"] = openWorld{constant(196), capac, 1, 4, 600}
	worlds["overload115"] = openWorld{constant(230), capac, 1, 4, 300}
	worlds["drop79"] = openWorld{constant(140), func(t float64, k int) float64 {
		if t > 300 {
			return 0.88 * capac(t, k)
		}
		return capac(t, k)
	}, 0.25, 4, 600}
	worlds["diurnal"] = openWorld{func(t float64) float64 { return 110 + 75*math.Sin(t/600*4*math.Pi) }, capac, 0.5, 4, 600}
	worlds["flash"] = openWorld{func(t float64) float64 {
		if math.Mod(t, 100) > 95 {
			return 600
		}
		return 80
	}, capac, 1, 4, 600}
	// waits: 10 ms on cpu+ 50 ms wait: capacity rises to n=4+..
	wait := func(_ float64, k int) float64 {
		n := float64(k)
		x := math.Min(n/0.03, 400)
		return x / (1 + 0.002*math.Max(0, n-14))
	}
	worlds["waiting80"] = openWorld{constant(320), wait, 0.25, 4, 600}
	names := []string{}
	for n := range worlds {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, name := range names {
		w := worlds[name]
		best, bestN, bestP := 0.0, 0, 0.0
		for _, n := range []int{1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 100} {
			g, p := 0.0, 0.0
			for seed := range uint64(3) {
				r := runOpen(w, n, n, seed, false)
				g += r.good / 3
				p += r.p99 / 3
			}
			if g > best {
				best, bestN, bestP = g, n, p
			}
		}
		line := fmt.Sprintf("%-12s best %3d good %.4f p99 %.3f", name, bestN, best, bestP)
		for _, start := range []int{4, 20, 100} {
			g, p, mv := 0.0, 0.0, 0
			worst := 1.0
			last := []int{}
			for seed := range uint64(5) {
				r := runOpen(w, 0, start, seed, false)
				g += r.good / 5
				p += r.p99 / 5
				mv += r.moves
				worst = min(worst, r.good)
				last = append(last, r.lastLimit)
			}
			line += fmt.Sprintf(" | %d: good %.4f (%.3f) p99 %.3f mv/min %.1f %v", start, g, worst, p, float64(mv)/5/w.dur*60, last)
		}
		t.Log(line)
	}
}
