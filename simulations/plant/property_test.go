package plant_test

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
	"pgregory.net/rapid"
)

// script is a tuner that does as it was told, and watches the pool.
type script struct {
	settings []plant.Setting
	soon     time.Duration
	k        int
	inUse    int // at the last look
	max      int
	broken   error
}

func (s *script) Start() plant.Setting { return s.settings[0] }

func (s *script) Look(o controller.Observation) (plant.Setting, time.Duration) {
	g := o.Gauges
	if g.InUse > max(g.Limit, s.inUse) && s.broken == nil {
		s.broken = fmt.Errorf("at %s: %d in use, %d at the look before, limit %d", o.At, g.InUse, s.inUse, g.Limit)
	}
	if g.Limit > max(g.Max, s.max) && s.broken == nil {
		s.broken = fmt.Errorf("at %s: limit %d, max %d", o.At, g.Limit, g.Max)
	}
	s.inUse, s.max = max(g.InUse, g.Limit), g.Max
	s.k = min(s.k+1, len(s.settings)-1)
	return s.settings[s.k], s.soon
}

// facade is such a tuner of autotune's own pool.
type facade struct{ *script }

func (facade) Calm() bool { return false }

func anyWorld(t *rapid.T) (plant.Config, []plant.Setting) {
	millis := func(name string, low, high int) time.Duration {
		return time.Duration(rapid.IntRange(low, high).Draw(t, name)) * ms
	}
	budget := rapid.IntRange(1, 40).Draw(t, "budget")
	cfg := plant.Config{
		Seed: rapid.Uint64().Draw(t, "seed"), Duration: 4 * time.Second, MaxQueued: 300,
		Arrivals: []plant.Arrivals{{Rate: float64(rapid.IntRange(1, 3000).Draw(t, "rate")), CV: 1.5}},
		Classes: []plant.Class{
			{Name: "read", Weight: 3, Stages: []plant.Stage{
				{Service: plant.Distribution{Mean: millis("cpu", 1, 4)}},
				{On: plant.IO, Service: plant.Distribution{Mean: millis("io", 0, 4)}}}},
			{Name: "write", Patience: millis("patience", 0, 200), Stages: []plant.Stage{
				{On: plant.IdleInTransaction, Service: plant.Distribution{Mean: millis("away", 1, 20)}},
				{Lock: "row", Rows: rapid.IntRange(1, 3).Draw(t, "rows"), Service: plant.Distribution{Mean: millis("locked", 0, 3)}},
				{On: plant.Client, Service: plant.Distribution{Mean: millis("client", 0, 3)}}}},
		},
		Closed: []plant.Closed{{Callers: rapid.IntRange(1, 60).Draw(t, "callers"), Think: plant.Distribution{Mean: millis("think", 1, 100)}}},
		Pool: plant.Pool{Budget: budget, AcquireTimeout: millis("timeout", 0, 300), MaxIdle: 500 * ms, MaxLifetime: time.Second, HealthCheck: 300 * ms,
			DrainTimeout: 200 * ms},
		Server: plant.Server{Cores: rapid.IntRange(1, 8).Draw(t, "cores"), Sigma: 0.02, IOChannels: rapid.IntRange(0, 3).Draw(t, "channels"),
			MaxConnections: rapid.IntRange(5, 60).Draw(t, "max_connections"), CliffN: rapid.IntRange(0, 20).Draw(t, "cliff"), CliffFactor: 0.5,
			Others: []plant.Others{{At: time.Second, Runnable: 2, Connections: 3}}},
		Interval: 100 * ms,
	}
	if rapid.Bool().Draw(t, "restart") {
		cfg.Server.Restarts = []plant.Restart{{At: millis("restart at", 0, 3000), Down: millis("down", 1, 3000)}}
	}
	settings := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) plant.Setting {
		high := rapid.IntRange(1, budget).Draw(t, "max")
		return plant.Setting{Max: high, Limit: rapid.IntRange(1, high).Draw(t, "limit"), Min: rapid.IntRange(0, high).Draw(t, "min")}
	}), 1, 20).Draw(t, "settings")
	return cfg, settings
}

// The run itself compares Little's law, the count of requests and the work; here
// it meets worlds and tuners without sense.
func TestWhateverATunerDoesNothingIsLostAndTheBudgetHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg, settings := anyWorld(t)
		soon, ours := time.Duration(rapid.IntRange(0, 500).Draw(t, "soon"))*ms, rapid.Bool().Draw(t, "facade")
		play := func() (*script, *plant.Result, error) {
			s := &script{settings: settings, soon: soon}
			var tuner plant.Tuner = s
			if ours {
				tuner = facade{s}
			}
			r, err := plant.Run(cfg, nil, tuner)
			return s, r, err
		}
		s, r, err := play()
		if err != nil {
			t.Fatal(err)
		}
		if s.broken != nil {
			t.Fatal(s.broken)
		}
		if r.MaxBackends > cfg.Pool.Budget {
			t.Fatalf("%d backends, budget %d", r.MaxBackends, cfg.Pool.Budget)
		}
		if r.Arrivals != r.Completions+r.Canceled+r.Failed+r.Unfinished || r.Unfinished < 0 {
			t.Fatalf("arrivals do not add up: %+v", r)
		}
		var arrivals, completed int64
		for _, i := range r.Series {
			arrivals, completed = arrivals+i.Arrivals, completed+i.Completed
		}
		if arrivals != r.Arrivals || completed != r.Completions {
			t.Fatalf("the series has %d arrivals and %d completions, the result %d and %d", arrivals, completed, r.Arrivals, r.Completions)
		}
		_, again, err := play()
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("the same seed gave another result: %v", err)
		}
	})
}

func TestEachContenderMeetsTheSameRequests(t *testing.T) {
	cfg := plant.Config{Seed: 9, Duration: 100 * time.Second, Arrivals: []plant.Arrivals{{Rate: 500}}, Server: free(1000), Pool: plant.Pool{Budget: 1000}}
	a, b := run(t, cfg, nil, fix(1000)), run(t, cfg, nil, fix(900))
	if a.Requests != b.Requests || a.Service != b.Service {
		t.Errorf("two sizes that never bind met different requests: %+v and %+v", a.Service, b.Service)
	}
	cfg.Seed = 10
	if c := run(t, cfg, nil, fix(1000)); c.Requests == a.Requests && c.Service == a.Service {
		t.Error("another seed met the same requests")
	}
}

// given is a source of requests with known demands.
type given struct {
	requests []plant.Request
	next     int
}

func (g *given) Next(r *plant.Request) bool {
	if g.next == len(g.requests) {
		return false
	}
	*r = g.requests[g.next]
	g.next++
	return true
}

// The waits of a queue in order of arrival with c servers obey the recurrence of
// Kiefer and Wolfowitz: a caller begins when it has come and the first of the c
// servers is free.
func TestAPoolAgreesWithTheRecurrenceOfAQueueToTheNanosecond(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []int{1, 2, 10} {
		requests := make([]plant.Request, 20_000)
		ends := make(instants, c)
		var at, wait, longest, service time.Duration
		for i := range requests {
			at += time.Duration(rng.ExpFloat64() * 1e6)
			d := time.Duration(rng.ExpFloat64()*0.9e6*float64(c)) + 1
			requests[i] = plant.Request{At: at, Demand: d}
			begin := max(at, ends[0])
			ends[0] = begin + d
			heap.Fix(&ends, 0)
			wait, longest, service = wait+begin-at, max(longest, begin-at), service+d
		}
		n := time.Duration(len(requests))
		for _, on := range []plant.Resource{plant.IO, plant.CPU} {
			cfg := plant.Config{Classes: []plant.Class{{Stages: []plant.Stage{{On: on, Service: plant.Distribution{Mean: ms}}}}}, Server: free(c)}
			r := run(t, cfg, &given{requests: requests}, fix(c))
			if int(r.Completions) != len(requests) {
				t.Fatalf("%d of %d completed", r.Completions, len(requests))
			}
			for what, pair := range map[string][2]time.Duration{"mean wait": {r.Wait.Mean, wait / n}, "longest wait": {r.Wait.Max, longest}, "mean service": {r.Service.Mean, service / n}} {
				if gap := pair[0] - pair[1]; gap > slack(on) || gap < -slack(on) {
					t.Errorf("%d servers of %s: %s is %s, the recurrence says %s", c, on, what, pair[0], pair[1])
				}
			}
		}
	}
}

// slack: IO is timed in whole nanoseconds; the CPU's virtual time is rounded at
// each event, which adds up within a busy period.
func slack(on plant.Resource) time.Duration {
	if on == plant.CPU {
		return time.Microsecond
	}
	return time.Nanosecond
}

type instants []time.Duration

func (h instants) Len() int           { return len(h) }
func (h instants) Less(i, j int) bool { return h[i] < h[j] }
func (h instants) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *instants) Push(any)          {}
func (h *instants) Pop() any          { return nil }
