package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
	"github.com/pgautotune/autotune/simulations/policy"
	"github.com/pgautotune/autotune/simulations/trace"
)

// Scenario is one world to try policies in.
type Scenario struct {
	Name  string `yaml:"name"`  // lower-case words with dashes; the name of the file where it is left out
	Title string `yaml:"title"` // what it is, in a few words
	Shows string `yaml:"shows"` // what can be learned from it, and where its numbers come from

	// Loop says how requests follow one another: open callers come whether or not
	// earlier ones were served, closed ones ask again when they were. It must be
	// what the world does, because a closed loop hides an overload.
	Loop Loop `yaml:"loop"`
	// HighLoad says that 98 % of the capacity or more is asked for at some time.
	HighLoad bool `yaml:"high_load"`
	// Steady says that nothing changes after the start, so that a policy has no
	// reason to go on moving.
	Steady bool `yaml:"steady"`

	Starts   []int    `yaml:"starts"`   // sizes that policies begin with; default 4 and 100, those of them up to the ceiling, or else the ceiling
	Policies []string `yaml:"policies"` // who is compared by default; default auto
	Told     Told     `yaml:"told"`     // what policies are told
	Trace    *Trace   `yaml:"trace"`    // requests from a file, beside the world's closed loops

	World plant.Config `yaml:"world"` // callers, pool and server

	path string // of the file, for what it names relative to itself
}

// Loop is how requests follow one another.
type Loop string

// The loops.
const (
	Open   Loop = "open"
	Closed Loop = "closed"
	Mixed  Loop = "mixed" // both
)

// Told is what policies are told, as somebody would configure a pool. A zero
// number is unknown.
type Told struct {
	Ceiling    int `yaml:"ceiling"`     // most connections of a pool; default the pool's budget
	Floor      int `yaml:"floor"`       // least connections of autotune; default 1
	ClientCPUs int `yaml:"client_cpus"` // of the callers' machine; default 4
	Users      int `yaml:"users"`       // concurrent users, of the guideline; default 100
	Workers    int `yaml:"workers"`     // parallel workers, of the batch rule
}

// Trace is a trace to take the requests from, and what is done to it first.
type Trace struct {
	File         string  `yaml:"file"`          // relative to the scenario's file
	RateScale    float64 `yaml:"rate_scale"`    // arrival rates, times this; default 1
	FanOut       int     `yaml:"fan_out"`       // queries of one request, asked for at one instant; default 1
	TimeCompress float64 `yaml:"time_compress"` // times of arrival, divided by this; default 1
	Cores        float64 `yaml:"cores"`         // of the recorded database, to take its contention out of observed service times
}

// Plan is how the trace is adapted.
func (t *Trace) Plan(seed uint64) trace.Plan {
	return trace.Plan{RateScale: t.RateScale, FanOut: t.FanOut, TimeCompress: t.TimeCompress, Cores: t.Cores, Seed: seed}
}

// defaultStarts are where pools begin: pgxpool's least default, and a size that
// people take to be safe.
var defaultStarts = []int{4, 100}

// complete fills in what is left out and names what is wrong, all of it.
func (s *Scenario) complete() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Name == "" || strings.Trim(s.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		wrong("name is %q and must be lower-case letters, digits and dashes", s.Name)
	}
	if s.Title == "" {
		wrong("title is missing: say in a few words what the scenario is")
	}
	if s.World.Duration == 0 && s.Trace == nil {
		wrong("world.duration is missing: a scenario without a trace never ends by itself")
	}
	if s.World.Seed != 0 {
		wrong("world.seed is %d, and runs have the seeds 1 to --seeds: leave it out", s.World.Seed)
	}
	if budget := &s.World.Pool.Budget; *budget == 0 {
		*budget = 200 // the plant's default, which the ceiling follows
	}
	if s.World.SLO == 0 {
		s.World.SLO = time.Second // the plant's default too, which reports tell
	}
	if s.Told.Ceiling == 0 {
		s.Told.Ceiling = s.World.Pool.Budget
	}
	if s.Told.Ceiling < 1 || s.Told.Ceiling > s.World.Pool.Budget {
		wrong("told.ceiling is %d and must be 1 to world.pool.budget (%d)", s.Told.Ceiling, s.World.Pool.Budget)
	}
	if s.Told.ClientCPUs == 0 {
		s.Told.ClientCPUs = 4
	}
	if s.Told.Floor < 0 || s.Told.Floor > s.Told.Ceiling || s.Told.Users < 0 || s.Told.Workers < 0 || s.Told.ClientCPUs < 0 {
		wrong("told.floor, client_cpus, users and workers must be 0 or more, and the floor at most the ceiling")
	}
	if len(s.Starts) == 0 {
		s.Starts = slices.DeleteFunc(slices.Clone(defaultStarts), func(n int) bool { return n > s.Told.Ceiling })
	}
	if len(s.Starts) == 0 { // the ceiling is below all of them
		s.Starts = []int{max(1, s.Told.Ceiling)}
	}
	for _, n := range s.Starts {
		if n < 1 || n > s.Told.Ceiling {
			wrong("starts holds %d and may hold 1 to told.ceiling (%d)", n, s.Told.Ceiling)
		}
	}
	if len(s.Policies) == 0 {
		s.Policies = []string{"auto"}
	}
	for _, name := range s.Policies {
		if _, err := policy.Describe(name); err != nil {
			wrong("policies: %w", err)
		}
	}
	s.checkLoop(wrong)
	if s.Trace != nil {
		if s.Trace.File == "" {
			wrong("trace.file is missing: name the trace, or leave trace out")
		}
		if err := s.Trace.Plan(0).Validate(); err != nil {
			wrong("trace: %w", err)
		}
	}
	if err := s.World.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkLoop compares what the file expects with what the world does.
func (s *Scenario) checkLoop(wrong func(format string, args ...any)) {
	open, closed := len(s.World.Arrivals) > 0 || s.Trace != nil, len(s.World.Closed) > 0
	is := Open
	switch {
	case open && closed:
		is = Mixed
	case closed:
		is = Closed
	case !open:
		wrong("nobody calls: give world.arrivals, world.closed or a trace")
		return
	}
	switch {
	case s.Loop == "":
		s.Loop = is
	case s.Loop != Open && s.Loop != Closed && s.Loop != Mixed:
		wrong("loop is %q and must be open, closed or mixed", s.Loop)
	case s.Loop != is:
		wrong("loop is %s, but the world's callers are %s", s.Loop, is)
	}
	if s.Trace != nil && len(s.World.Arrivals) > 0 {
		wrong("world.arrivals and trace are both given: requests come from one of them")
	}
}

// Run simulates the scenario once, sized by a policy. Runs of the same seed meet
// the same requests, whatever the policy.
func (s *Scenario) Run(name string, start int, seed uint64) (*plant.Result, error) {
	tuner, err := policy.New(name, s.env(start, seed))
	if err != nil {
		return nil, err
	}
	world := s.World
	world.Seed = seed
	if s.Trace == nil {
		return plant.Run(world, nil, tuner)
	}
	src, err := s.openTrace(seed)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return plant.Run(world, src, tuner)
}

// env is what policies are told.
func (s *Scenario) env(start int, seed uint64) policy.Env {
	cores := s.World.Server.Cores
	if cores == 0 {
		cores = 4 // the plant's default
	}
	vectors := s.World.Telemetry.Vectors
	if s.World.Telemetry.Off {
		vectors = -1
	}
	interval := s.World.Interval
	if interval == 0 {
		interval = time.Second
	}
	return policy.Env{Cores: cores, ClientCPUs: s.Told.ClientCPUs, Vectors: vectors, Users: s.Told.Users, Workers: s.Told.Workers,
		Start: start, Ceiling: s.Told.Ceiling, Budget: s.World.Pool.Budget, Seed: seed,
		Auto: controller.Config{Floor: max(1, s.Told.Floor), Interval: interval}}
}

// Admits tells whether a policy can take part: nil, or why not.
func (s *Scenario) Admits(name string, start int) error {
	_, err := policy.New(name, s.env(start, 1))
	return err
}

// Validate names what is wrong with a scenario that was changed after it was read.
func (s *Scenario) Validate() error { return s.complete() }

// UseTrace makes the scenario take its requests from a trace instead of its
// arrivals. The file is relative to the working directory.
func (s *Scenario) UseTrace(t Trace) {
	s.Trace, s.path = &t, ""
	s.World.Arrivals, s.Loop = nil, ""
}

// Plain is a scenario for a trace: an ordinary database of four cores, and
// requests of 5 ms where the trace does not say how long they took.
func Plain(name string) *Scenario {
	clean := strings.Trim(strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789", r) {
			return r
		}
		return '-'
	}, strings.ToLower(name)), "-")
	if clean == "" {
		clean = "trace"
	}
	return &Scenario{Name: clean, Title: "Requests of a trace, four cores", Shows: "What was recorded.",
		World: plant.Config{
			SLO:     50 * time.Millisecond, // ten times the mean of what is drawn
			Classes: []plant.Class{{Name: "request", Stages: []plant.Stage{{Service: plant.Distribution{Kind: plant.Lognormal, Mean: 5 * time.Millisecond}}}}},
			Server:  plant.Server{Cores: 4, Sigma: 0.005},
		}}
}
