package plant_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
)

func to[T any](v T) *T { return &v }

// Each of these worlds once stopped the clock, or let it run backwards.
func TestTimePassesInEveryWorld(t *testing.T) {
	busy := []plant.Closed{{Callers: 20}} // without a pause
	for name, cfg := range map[string]plant.Config{
		"a server that nearly stands still": {Closed: busy, Server: plant.Server{Drift: []plant.Drift{{At: time.Second, Factor: to(1e-12)}, {At: 3 * time.Second, Factor: to(1.0)}}}},
		"a cliff that a drift brings":       {Closed: busy, Server: plant.Server{Drift: []plant.Drift{{At: time.Second, CliffN: to(2), CliffFactor: to(1e-15)}}}},
		"callers who are turned away":       {Closed: busy, MaxQueued: 3},
		"callers without patience":          {Closed: busy, Pool: plant.Pool{AcquireTimeout: 1}},
		"a server that is away, at no distance": {Closed: busy, Pool: plant.Pool{ConnectRetry: -1},
			Server: plant.Server{ConnectLatency: -1, Restarts: []plant.Restart{{At: time.Second, Down: time.Second}}}},
	} {
		cfg.Duration = 5 * time.Second
		ended := make(chan error, 1)
		go func() {
			r, err := plant.Run(cfg, nil, fix(4))
			if err == nil && r.Response.Max > 5*time.Second {
				t.Errorf("%s: a response took %s of 5 s", name, r.Response.Max)
			}
			ended <- err
		}()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute): // it takes 0.1 s
			t.Fatalf("%s: the run does not end", name)
		}
	}
}

func TestWhatAWorldSaysAndCannotDoIsAnError(t *testing.T) {
	class := func(s ...plant.Stage) []plant.Class { return []plant.Class{{Name: "a", Stages: s}} }
	took := plant.Distribution{Mean: ms}
	come := []plant.Arrivals{{Rate: 1}}
	for _, c := range []struct {
		want string // "" is fine
		cfg  plant.Config
	}{
		{"drift[0].cliff_n is 8, and the cliff_factor is 0", plant.Config{Server: plant.Server{Drift: []plant.Drift{{CliffN: to(8)}}}}},
		{"drift[1].cliff_n is 8, and the cliff_factor is 5", plant.Config{Server: plant.Server{CliffFactor: 5, Drift: []plant.Drift{{}, {CliffN: to(8)}}}}},
		{"", plant.Config{Server: plant.Server{Drift: []plant.Drift{{CliffFactor: to(0.5)}, {CliffN: to(8)}, {CliffN: to(0)}}}}},
		{"classes[0] takes no time", plant.Config{Classes: class(plant.Stage{}, plant.Stage{On: plant.IO})}},
		{"", plant.Config{Classes: class(plant.Stage{}, plant.Stage{On: plant.IO, Service: took})}},
		{"neither a rate nor a profile", plant.Config{Arrivals: []plant.Arrivals{{CV: 2}}}},
		{"", plant.Config{Arrivals: []plant.Arrivals{{Profile: []plant.Step{{Rate: 1}}}}}},
		{"service.cv is 3, and the kind is exponential (the default", plant.Config{Classes: class(plant.Stage{Service: plant.Distribution{Mean: ms, CV: 3}})}},
		{"service.cv is 1, and the kind is deterministic", plant.Config{Classes: class(plant.Stage{Service: plant.Distribution{Mean: ms, CV: 1, Kind: plant.Deterministic}})}},
		{"", plant.Config{Classes: class(plant.Stage{Service: plant.Distribution{Mean: ms, CV: 1}})}},
		{"flash[0] lasts no time", plant.Config{Arrivals: []plant.Arrivals{{Rate: 1, Flash: []plant.Flash{{At: time.Second, Factor: 2}}}}}},
		{"drift[0] is a ramp, and the next drift has no factor", plant.Config{Server: plant.Server{Drift: []plant.Drift{{Ramp: true}, {At: time.Second, Cores: to(2)}}}}},
		{"drift[0] is a ramp, and the next drift has no factor", plant.Config{Server: plant.Server{Drift: []plant.Drift{{Ramp: true}}}}},
		{"classes[1].stages[0].rows is 5, and another class has 1 rows of the lock l", plant.Config{Classes: []plant.Class{
			{Name: "a", Stages: []plant.Stage{{Service: took, Lock: "l"}}}, {Name: "b", Stages: []plant.Stage{{Service: took, Lock: "l", Rows: 5}}}}}},
		{"", plant.Config{Classes: []plant.Class{
			{Name: "a", Stages: []plant.Stage{{Service: took, Lock: "l"}}}, {Name: "b", Stages: []plant.Stage{{Service: took, Lock: "k", Rows: 5}}}}}},
	} {
		if c.cfg.Arrivals == nil {
			c.cfg.Arrivals = come
		}
		err := c.cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestARampWithoutAFactorBeginsAtThePresentOne(t *testing.T) {
	at := func(from *float64) *plant.Result {
		return run(t, plant.Config{Seed: 1, Duration: 20 * time.Second, Arrivals: []plant.Arrivals{{Rate: 2000}}, Server: plant.Server{Drift: []plant.Drift{
			{At: time.Second, Factor: to(0.8)}, {At: 5 * time.Second, Factor: from, Ramp: true}, {At: 15 * time.Second, Factor: to(0.4)}}}}, nil, fix(4))
	}
	left, said, other := at(nil), at(to(0.8)), at(to(0.41))
	if !reflect.DeepEqual(left, said) {
		t.Errorf("left out, the response is %s; with the present factor %s", left.Response.Mean, said.Response.Mean)
	}
	if reflect.DeepEqual(said, other) {
		t.Error("the factor of a ramp does not matter")
	}
}

// A run of a trace ends when all are served; what is behind the last arrival is the
// pool's own time.
func TestRatesOfARunWithoutADurationAreOverTheArrivals(t *testing.T) {
	requests := func() *given {
		var all []plant.Request
		for i := range 101 {
			all = append(all, plant.Request{At: time.Duration(i) * 100 * ms, Demand: time.Second})
		}
		return &given{requests: all}
	}
	cfg := plant.Config{SLO: time.Hour, Warmup: 2 * time.Second, Server: free(64)}
	for _, size := range []int{64, 2} {
		r := run(t, cfg, requests(), fix(size))
		if r.Span != 10*time.Second || r.Throughput != 81.0/8 || r.Goodput != 81.0/8 {
			t.Errorf("%d connections: %.3f requests a second over %s; 81 came in the 8 s after the warm-up, and all were served by %s", size, r.Throughput, r.Span, r.Elapsed)
		}
	}
}

// taken lowers its limit from 10 connections to 4, and notes what others have.
type taken struct{ first, before, after int }

func (k *taken) Start() plant.Setting { return plant.Setting{Limit: 10, Max: 10} }
func (k *taken) Look(o controller.Observation) (plant.Setting, time.Duration) {
	s := k.Start()
	switch {
	case o.At >= 10*time.Second:
		s.Limit = 4
		k.after = o.Server.Others
	case o.Server != nil:
		if k.first == 0 {
			k.first = o.Server.Others
		}
		k.before = o.Server.Others
	}
	return s, 0
}

func TestOthersGetWhatThePoolHasNotOpened(t *testing.T) {
	k := &taken{}
	r := run(t, plant.Config{Seed: 1, Duration: 20 * time.Second, Closed: []plant.Closed{{Callers: 20}}, Pool: plant.Pool{MaxIdle: time.Second, HealthCheck: time.Second}, Server: plant.Server{
		MaxConnections: 20, Others: []plant.Others{{At: 5 * time.Second, Connections: 50}}}}, nil, k)
	if k.before != 6 || k.after != 12 { // of 20, three are reserved and one is the tuner's
		t.Errorf("others have %d connections beside 10 of the pool, want 6, and %d beside 4, want 12", k.before, k.after)
	}
	if r.Failed > 0 {
		t.Errorf("%d requests failed of a pool that had its connections before", r.Failed)
	}
}

// counting notes the arrivals that its looks have seen.
type counting struct {
	fixed
	seen []int64
}

func (c *counting) Look(o controller.Observation) (plant.Setting, time.Duration) {
	c.seen = append(c.seen, o.Counters.Arrivals)
	return c.fixed.Look(o)
}

// A caller who waits for his connection to be opened has come, as in the live counters.
func TestCallersWhoWaitForADialHaveArrived(t *testing.T) {
	c := &counting{fixed: fix(10)}
	requests := make([]plant.Request, 10)
	for i := range requests {
		requests[i] = plant.Request{At: 100 * ms, Demand: 10 * ms}
	}
	run(t, plant.Config{Duration: 4 * time.Second, Server: plant.Server{ConnectLatency: 1500 * ms}}, &given{requests: requests}, c)
	if want := []int64{0, 10, 10, 10}; !reflect.DeepEqual(c.seen, want) {
		t.Errorf("looks have seen %v arrivals, want %v", c.seen, want)
	}
}

// Where all are merged, the n-th interval begins n lengths after the first.
func TestIntervalsOfASeriesAreEquallyLong(t *testing.T) {
	for seconds := 16; seconds < 70; seconds++ {
		r := run(t, plant.Config{Duration: time.Duration(seconds) * time.Second, Arrivals: []plant.Arrivals{{Rate: 50}}, Series: plant.Series{Points: 16}}, nil, fix(4))
		last := len(r.Series) - 1
		for i, x := range r.Series {
			if x.Length != r.Series[0].Length && (i < last || x.Length > r.Series[0].Length) || i < last && x.At != time.Duration(i+1)*x.Length || i == last && x.At != r.Elapsed {
				t.Errorf("%d s: interval %d of %d is %s long and ends at %s, the first is %s", seconds, i, last+1, x.Length, x.At, r.Series[0].Length)
			}
		}
		if last >= 16 || last < 7 {
			t.Errorf("%d s: %d intervals", seconds, last+1)
		}
	}
}

// Who comes seldom or never is not looked for beyond the end of the run.
func TestARunWithoutCallersEnds(t *testing.T) {
	for name, come := range map[string]plant.Arrivals{
		"nobody, again and again": {Profile: []plant.Step{{Rate: 0}, {At: 10 * time.Second, Rate: 0}}, Repeat: true},
		"one in 3,000 years":      {Rate: 1e-11},
	} {
		if r := run(t, plant.Config{Seed: 1, Duration: 20 * time.Second, Arrivals: []plant.Arrivals{come}}, nil, fix(4)); r.Arrivals != 0 {
			t.Errorf("%s: %d arrivals", name, r.Arrivals)
		}
	}
}
