package advice

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/pgstat"
)

// plant is a server with clients in a closed loop: they compute on its cores,
// sharing them, then wait outside for a while, holding their connection.
type plant struct {
	cores            int
	clients          int
	service, waiting float64 // mean seconds, exponential
	state            pgstat.State
	wait             string
}

// record looks at the plant ten times a second. What is sampled is drawn from the
// Markov chain itself, event by event.
func (p plant) record(seconds float64, seed uint64) []Sample {
	r := rand.New(rand.NewPCG(seed, 1))
	computing, now, done := p.clients, 0.0, 0.0
	var samples []Sample
	next := -20 * (p.service + p.waiting) // settle first
	now = next
	next = 0
	for next < seconds {
		finish := math.Min(float64(computing), float64(p.cores)) / p.service
		back := 0.0
		if p.waiting > 0 {
			back = float64(p.clients-computing) / p.waiting
		}
		step := r.ExpFloat64() / (finish + back)
		for now+step > next && next < seconds {
			samples = append(samples, sampleOf(next, done, group(p.state, p.wait, p.clients-computing), group(pgstat.Active, "", computing)))
			next += 0.1
		}
		now += step
		if r.Float64()*(finish+back) >= finish {
			computing++
			continue
		}
		done++
		if p.waiting > 0 {
			computing--
		}
	}
	return samples
}

func group(state pgstat.State, wait string, n int) pgstat.Group {
	return pgstat.Group{Database: "app", Role: "app", Application: "api", Kind: pgstat.ClientKind, State: state, Wait: wait, Backends: n}
}

func sampleOf(at, done float64, groups ...pgstat.Group) Sample {
	s := Sample{At: time.Duration(at * 1e9), Transactions: map[string]int64{"app": int64(done)}, Spent: 150 * time.Microsecond}
	for _, g := range groups {
		if g.Backends > 0 {
			s.Groups = append(s.Groups, g)
		}
	}
	return s
}

func recorded(samples []Sample, cores int) *Recording {
	r := &Recording{Samples: samples, Machine: Machine{Cores: cores}, Source: "a test"}
	r.Facts.Settings.MaxConnections = 5000
	r.Facts.Server.SeesAll = true
	r.Facts.Vectors.Rows = -1
	return r
}

// From whatever number of clients a closed loop is looked at, the range contains
// the knee and the max gives at least 95 % of the peak. Where a few clients hide
// the ratio, the range says so by being wide.
func TestTheRangeContainsTheKneeFromAnyConcurrency(t *testing.T) {
	for _, cores := range []int{1, 2, 4, 8, 16} {
		for _, ratio := range []float64{0.1, 0.5, 1, 3, 10} {
			for _, clients := range []int{2, 6, 20, 60, 150} {
				t.Run(fmt.Sprintf("%d cores, ratio %g, %d clients", cores, ratio, clients), func(t *testing.T) {
					t.Parallel()
					p := plant{cores: cores, clients: clients, service: 0.01, waiting: 0.01 * ratio, state: pgstat.IdleInTransaction}
					a := Advise(Question{}, recorded(p.record(30, uint64(1000*cores+clients)), cores))
					z, truth := a.Size, kneeAt(float64(cores), ratio)
					if !z.Known || z.Rule != ByKnee || truth < z.Lower || truth > z.Upper {
						t.Errorf("knee %d, said %d (%d–%d) by %s, ratio %g (%g–%g)", truth, z.Max, z.Lower, z.Upper, z.Rule, a.Supply.Ratio, a.Supply.RatioLow, a.Supply.RatioHigh)
					}
					m := model.ClosedMMC{Servers: cores, Service: p.service, Delay: p.waiting}
					x := m.Throughput(float64(z.Max)) / m.Throughput(10_000)
					// Two clients that compute a tenth of the time are seen computing
					// 60 times in 30 s: nobody knows the ratio closer than to a fourth.
					least := 0.95
					if clients < truth { // what is beyond those seen is computed
						least = 0.85
					}
					if x < least {
						t.Errorf("max %d gives %.2f of the peak, knee %d", z.Max, x, truth)
					}
				})
			}
		}
	}
}

func TestWhatLoadsAskFor(t *testing.T) {
	closed := func(clients int, s, w float64) []Sample {
		return plant{cores: 4, clients: clients, service: s, waiting: w, state: pgstat.IdleInTransaction}.record(30, 7)
	}
	steady := func(groups ...pgstat.Group) (all []Sample) {
		for i := range 300 {
			all = append(all, sampleOf(float64(i)/10, float64(i), groups...))
		}
		return all
	}
	bursts := func() (all []Sample) {
		for i := range 300 {
			n := 1
			if i%100 < 5 {
				n = 40
			}
			all = append(all, sampleOf(float64(i)/10, float64(i), group(pgstat.Active, "", n), group(pgstat.Idle, "", 60-n)))
		}
		return all
	}
	for _, c := range []struct {
		name     string
		samples  []Sample
		cores    int
		rule     Rule
		low, top int // of max
		finding  string
	}{
		{"CPU-bound, far too many", closed(100, 0.01, 0), 4, ByKnee, 4, 5, "saturated"},
		{"held for ten times the computing", closed(60, 0.001, 0.01), 4, ByKnee, 44, 60, "idle_in_transaction"},
		{"the same from few", closed(6, 0.001, 0.01), 4, ByKnee, 38, 70, "idle_in_transaction"},
		{"mostly idle", steady(group(pgstat.Active, "", 2), group(pgstat.Idle, "", 58)), 4, ByDemand, 3, 5, "unused"},
		{"bursts the cores cannot serve at once", bursts(), 4, ByKnee, 4, 6, "unused"},
		{"bursts on a larger server", bursts(), 64, ByDemand, 40, 54, ""},
		{"a hot row", steady(group(pgstat.Active, "Lock:transactionid", 36), group(pgstat.Active, "IO:WALSync", 1), group(pgstat.IdleInTransaction, "", 2), group(pgstat.Active, "", 1)), 4, ByLocks, 4, 16, "locks"},
		{"cores unknown, all in use", steady(group(pgstat.Active, "", 20)), 0, ByDemand, 20, 20, ""},
		{"cores unknown, room left", steady(group(pgstat.Active, "", 3), group(pgstat.Idle, "", 9)), 0, ByDemand, 4, 6, ""},
		{"nobody", steady(), 4, ByNothing, 0, 0, ""},
		{"connected and idle", steady(group(pgstat.Idle, "", 9)), 4, ByNothing, 0, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := Advise(Question{}, recorded(c.samples, c.cores))
			if a.Size.Rule != c.rule || a.Size.Max < c.low || a.Size.Max > c.top || a.Size.Known != (c.rule != ByNothing) {
				t.Errorf("max %d (%d–%d) by %s, want %d–%d by %s: %q", a.Size.Max, a.Size.Lower, a.Size.Upper, a.Size.Rule, c.low, c.top, c.rule, a.Size.Why)
			}
			if z := a.Size; z.Lower > z.Max || z.Max > z.Upper || z.Min > z.Max || z.MinLower > z.Min || z.Min > z.MinUpper || z.MinUpper > z.Upper {
				t.Errorf("out of order: %+v", a.Size)
			}
			if has := slices.ContainsFunc(a.Findings, func(f Finding) bool { return f.Kind == c.finding }); !has && c.finding != "" {
				t.Errorf("no finding %q in %+v", c.finding, a.Findings)
			}
		})
	}
}

// A busy machine is the server's doing only where its backends compute or read.
func TestABusyMachineWithIdleBackendsIsNotASaturatedServer(t *testing.T) {
	for _, c := range []struct {
		name     string
		cpu      float64
		groups   []pgstat.Group
		finding  string
		evidence string
	}{
		{"callers here turn around all the time", 0.97, []pgstat.Group{every10(group(pgstat.Active, "", 1)), here(group(pgstat.Turning, "", 6))}, "foreign", "97 % busy, and backends account for 0.6 of its 2 cores"},
		{"another process", 0.97, []pgstat.Group{group(pgstat.IdleInTransaction, "", 6), every10(group(pgstat.Active, "", 1))}, "foreign", "account for 0.6 of its 2 cores"},
		{"backends compute", 0.97, []pgstat.Group{group(pgstat.Active, "", 9)}, "saturated", "2.0 of them with the server's work and its callers', with 9.0 backends that compute or want to."},
		{"backends read from the kernel's cache", 0.97, []pgstat.Group{every10(group(pgstat.Active, "", 1)), group(pgstat.Active, "IO:DataFileRead", 9)}, "saturated", "with 0.6 backends that compute or want to and 9.0 that read."},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []Sample
			for i := range 300 {
				var now []pgstat.Group
				for _, g := range c.groups {
					if g.Application == "every10" { // 6 of 10 looks
						if g.Application = "api"; i%10 >= 6 {
							continue
						}
					}
					now = append(now, g)
				}
				s := sampleOf(float64(i)/10, float64(i*100), now...)
				s.CPU = &c.cpu
				all = append(all, s)
			}
			a := Advise(Question{}, recorded(all, 2))
			var kinds []string
			for _, f := range a.Findings {
				if f.Kind == "foreign" || f.Kind == "saturated" {
					kinds = append(kinds, f.Kind)
					if !strings.Contains(f.Evidence, c.evidence) {
						t.Errorf("%s: %s", f.Kind, f.Evidence)
					}
				}
			}
			if !slices.Equal(kinds, []string{c.finding}) {
				t.Errorf("found %q, want %q; %+v", kinds, c.finding, a.Supply)
			}
		})
	}
}

// What other processes do to the cores is no reason for another size of the pool.
func TestABusyMachineAroundAnIdleServerLeavesItToDemand(t *testing.T) {
	cpu := 1.0
	for _, cores := range []int{2, 16} {
		all := steadily(group(pgstat.Idle, "", 14))
		for i := range all {
			if all[i].CPU = &cpu; i%10 == 0 {
				all[i].Groups = []pgstat.Group{group(pgstat.Active, "", 1), group(pgstat.Idle, "", 13)}
			}
		}
		a := Advise(Question{}, recorded(all, cores))
		why := strings.Join(a.Size.Why, " ")
		if z := a.Size; z.Rule != ByDemand || z.Saturated || z.Max != 2 || z.Lower != 1 || z.Upper < 4 || z.Upper > 8 || a.Experiment != "" || !strings.Contains(why, "Other processes keep the cores busy") {
			t.Errorf("%d cores: %+v, experiment %q", cores, z, a.Experiment)
		}
	}
}

// every10 marks a group that is there at 6 of 10 looks.
func every10(g pgstat.Group) pgstat.Group { g.Application = "every10"; return g }

// here is a group of callers on the server's machine, which turn around.
func here(g pgstat.Group) pgstat.Group { g.Here = true; return g }

func TestAKneeThatTheObservationSawIsMeasured(t *testing.T) {
	// The pool is resized while it is watched: 30 s at each size.
	var all []Sample
	at, done := 0.0, 0.0
	for i, n := range []int{1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64} {
		p := plant{cores: 8, clients: n, service: 0.01, state: pgstat.IdleInTransaction, waiting: 0.005}
		part := p.record(30, uint64(i))
		for _, s := range part {
			s.At += time.Duration(at * 1e9)
			s.Transactions = map[string]int64{"app": s.Transactions["app"] + int64(done)}
			all = append(all, s)
		}
		at += 30
		done = float64(all[len(all)-1].Transactions["app"])
	}
	// Nobody told the cores.
	a := Advise(Question{}, recorded(all, 0))
	truth := kneeAt(8, 0.5)
	if a.Size.Rule != ByMeasured || truth < a.Size.Lower || truth > a.Size.Upper {
		t.Errorf("knee %d, said %d (%d–%d) by %s; %s", truth, a.Size.Max, a.Size.Lower, a.Size.Upper, a.Size.Rule, a.Supply.Measured)
	}
}

func TestWallsInstancesAndBatch(t *testing.T) {
	p := plant{cores: 4, clients: 60, service: 0.001, waiting: 0.01, state: pgstat.IdleInTransaction}
	r := recorded(p.record(30, 7), 4)
	r.Facts.Settings.MaxConnections, r.Facts.Settings.SuperuserReservedConnections = 40, 3
	a := Advise(Question{Instances: 5, Workers: 90}, r)
	if z := a.Size; z.Max != 37 || z.Bound != "server" || z.MaxEach != 7 || z.MaxEach*5 > 37 {
		t.Errorf("%+v", z)
	}
	if b := a.Batch; b.Max != 92 || b.Min != 90 || len(b.Differs) == 0 || !strings.Contains(b.Differs[0], "37 connections") {
		t.Errorf("%+v", b)
	}
}

func TestTwoApplicationsShareTheCores(t *testing.T) {
	var all []Sample
	for i := range 300 {
		search, hold := group(pgstat.Active, "", 20), group(pgstat.IdleInTransaction, "", 18)
		hold.Application = "hold"
		busy := hold
		busy.State, busy.Backends = pgstat.Active, 2
		all = append(all, sampleOf(float64(i)/10, float64(i), search, hold, busy))
	}
	a := Advise(Question{}, recorded(all, 4))
	most := map[string]int{}
	for _, x := range a.Applications {
		most[x.Application] = x.Max
	}
	// The searches need their share of the cores, the others mostly wait.
	if most["api"] < 3 || most["api"] > 8 || most["hold"] < 18 || most["hold"] > 26 {
		t.Errorf("%+v", a.Applications)
	}
	only := Advise(Question{Filter: Filter{Application: "hold"}}, recorded(all, 4))
	if only.Size.Max != most["hold"] {
		t.Errorf("alone %d, in the table %d", only.Size.Max, most["hold"])
	}
}

func TestNoSampleMakesNonsense(t *testing.T) {
	waits := []string{"", "IO:DataFileRead", "Lock:tuple", "LWLock:WALWrite", "LWLock:lock_manager", "Client:ClientWrite", "x", ":"}
	rapid.Check(t, func(t *rapid.T) {
		var samples []Sample
		for i := range rapid.IntRange(0, 40).Draw(t, "samples") {
			s := sampleOf(float64(i)*rapid.Float64Range(0, 10).Draw(t, "gap"), rapid.Float64Range(0, 1e6).Draw(t, "done"))
			for range rapid.IntRange(0, 5).Draw(t, "groups") {
				g := group(rapid.SampledFrom([]pgstat.State{pgstat.Active, pgstat.Idle, pgstat.IdleInTransaction, pgstat.Turning, pgstat.HiddenState, "?"}).Draw(t, "state"),
					rapid.SampledFrom(waits).Draw(t, "wait"), rapid.IntRange(0, 100_000).Draw(t, "n"))
				g.Kind = rapid.SampledFrom([]pgstat.Kind{pgstat.ClientKind, pgstat.WorkerKind, pgstat.ServerKind, pgstat.HiddenKind}).Draw(t, "kind")
				s.Groups = append(s.Groups, g)
			}
			if cpu := rapid.Float64Range(-1, 2).Draw(t, "cpu"); cpu > 0 {
				s.CPU = &cpu
			}
			samples = append(samples, s)
		}
		q := Question{Instances: rapid.IntRange(0, 50).Draw(t, "instances"), Workers: rapid.IntRange(0, 50).Draw(t, "workers")}
		a := Advise(q, recorded(samples, rapid.IntRange(0, 64).Draw(t, "cores")))
		z := a.Size
		if z.Known && (z.Max < 1 || z.Max > 5000 || z.Min < 1 || z.Min > z.Max || z.Lower < 1 || z.Lower > z.Upper || z.MaxEach < 1) {
			t.Fatalf("%+v", z)
		}
		if text := fmt.Sprintf("%+v", a); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Fatal(text)
		}
	})
}

// Callers on the server's own machine queue for the same cores: their connections
// look idle, which has to raise neither the waiting nor the size.
func TestLateLocalCallersAreNotWaiting(t *testing.T) {
	cpu := 1.0
	record := func(here bool) *Recording {
		var all []Sample
		for i := range 300 {
			s := sampleOf(float64(i)/10, float64(i*200), group(pgstat.Active, "", 3), group(pgstat.IdleInTransaction, "", 64), group(pgstat.Turning, "", 14), group(pgstat.Idle, "", 18))
			for j := range s.Groups {
				s.Groups[j].Here, s.Groups[j].Oldest = here, 200*time.Millisecond
			}
			s.CPU = &cpu
			all = append(all, s)
		}
		return recorded(all, 2)
	}
	near, far := Advise(Question{}, record(true)), Advise(Question{}, record(false))
	if near.Size.Max > 50 || near.Size.Max < 32 {
		t.Errorf("on the same machine: max %d (%d–%d)", near.Size.Max, near.Size.Lower, near.Size.Upper)
	}
	// From elsewhere the turnaround is a delay like the rest.
	if far.Size.Max < 78 {
		t.Errorf("elsewhere: max %d (%d–%d)", far.Size.Max, far.Size.Lower, far.Size.Upper)
	}
}

func TestForeignLoadOnTheMachineIsSaid(t *testing.T) {
	cpu := 1.0
	var all []Sample
	for i := range 300 {
		s := sampleOf(float64(i)/10, float64(i*20), group(pgstat.Active, "", i%2), group(pgstat.IdleInTransaction, "", 4-i%2))
		s.CPU = &cpu
		all = append(all, s)
	}
	noisy := Advise(Question{}, recorded(all, 4))
	for i := range all {
		all[i].CPU = nil
	}
	quiet := Advise(Question{}, recorded(all, 4))
	has := func(a *Advice) bool {
		return slices.ContainsFunc(a.Findings, func(f Finding) bool { return f.Kind == "foreign" })
	}
	if !has(noisy) || has(quiet) || noisy.Size.Upper < quiet.Size.Upper*3/2 {
		t.Errorf("%+v\n%+v", noisy.Size, quiet.Size)
	}
}

func TestParallelWorkersTakeTheirCores(t *testing.T) {
	var all []Sample
	for i := range 300 {
		workers := group(pgstat.Active, "", 12)
		workers.Kind = pgstat.WorkerKind
		all = append(all, sampleOf(float64(i)/10, float64(i), group(pgstat.Active, "", 6), workers))
	}
	// Each query computes on three cores, so that four queries fill twelve.
	if z := Advise(Question{}, recorded(all, 12)).Size; z.Max < 4 || z.Max > 5 {
		t.Errorf("max %d (%d–%d)", z.Max, z.Lower, z.Upper)
	}
}

// A server that hides most of what its clients do has not been seen.
func TestHiddenClientsAreNotTakenForIdle(t *testing.T) {
	hidden := func(n int) pgstat.Group {
		return pgstat.Group{Database: "app", Role: "rw", Kind: pgstat.HiddenKind, State: "hidden", Backends: n}
	}
	for _, c := range []struct {
		seen, hidden int
		known        bool
	}{{2, 90, false}, {10, 4, true}, {10, 0, true}} {
		var all []Sample
		for i := range 300 {
			all = append(all, sampleOf(float64(i)/10, 0, group(pgstat.Active, "", c.seen), group(pgstat.Idle, "", 5), hidden(c.hidden)))
		}
		r := recorded(all, 16)
		z := Advise(Question{}, r).Size
		if z.Known != c.known {
			t.Errorf("%d seen, %d hidden: %+v", c.seen, c.hidden, z)
		}
		if z.Known && c.hidden > 0 && (z.Upper < z.Max+c.hidden || z.Confidence != Low) {
			t.Errorf("%d hidden: %+v", c.hidden, z)
		}
	}
}

// A CONNECTION LIMIT binds who it counts, and nobody else.
func TestConnectionLimitsBindThoseTheyCount(t *testing.T) {
	var all []Sample
	for i := range 300 {
		api := group(pgstat.Active, "", 8)
		api.Application, api.Role, api.Database = "api", "svc", "app"
		etl := group(pgstat.Active, "", 40)
		etl.Application, etl.Role, etl.Database = "etl", "svc", "app"
		other := group(pgstat.Active, "", 5)
		other.Application, other.Role, other.Database = "crm", "crm", "crm"
		all = append(all, sampleOf(float64(i)/10, 0, api, etl, other))
	}
	r := recorded(all, 64)
	r.Facts.Settings.MaxConnections = 500
	r.Facts.Server.Limits = []pgstat.ConnectionLimit{{OfDatabase: true, Name: "app", Max: 50}, {Name: "monitor", Max: 2}, {Name: "crm", Max: 7}}
	for _, c := range []struct {
		filter  Filter
		ceiling int
	}{
		{Filter{}, 500},
		{Filter{Application: "crm"}, 7},
		{Filter{Application: "api"}, 10},
		{Filter{Database: "app"}, 50},
		{Filter{Application: "not started"}, 500 - 53},
		{Filter{Role: "crm", Application: "not started"}, 2},
	} {
		if z := Advise(Question{Filter: c.filter}, r).Size; z.Ceiling != c.ceiling {
			t.Errorf("%+v: ceiling %d by %s, want %d", c.filter, z.Ceiling, z.CeilingBy, c.ceiling)
		}
	}
}

// Callers beside the server that think between statements are not computing.
func TestACalmMachineIsNotASaturatedServer(t *testing.T) {
	cpu := 0.25
	var all []Sample
	for i := range 300 {
		turning := here(group(pgstat.Turning, "", 16))
		active := here(group(pgstat.Active, "", 1))
		s := sampleOf(float64(i)/10, float64(i*100), turning, active)
		s.CPU = &cpu
		all = append(all, s)
	}
	a := Advise(Question{}, recorded(all, 4))
	if a.Size.Saturated || a.Supply.Busy > 1.5 {
		t.Errorf("%+v\n%+v", a.Size, a.Supply)
	}
}

// What is to be tried never exceeds what can be had.
func TestAnExperimentStaysWithinTheWalls(t *testing.T) {
	var all []Sample
	for i := range 300 {
		all = append(all, sampleOf(float64(i)/10, float64(i*100), group(pgstat.Active, "", 40)))
	}
	r := recorded(all, 0)
	r.Facts.Settings.MaxConnections, r.Facts.Settings.SuperuserReservedConnections = 100, 3
	for instances, want := range map[int]string{1: "Or set the pool to 20, 40, 80, 97 for", 4: "Or set the pool of each instance to 5, 10, 20, 24 for"} {
		if a := Advise(Question{Instances: instances}, r); !strings.Contains(a.Experiment, want) {
			t.Errorf("%d instances: %q", instances, a.Experiment)
		}
	}
}
