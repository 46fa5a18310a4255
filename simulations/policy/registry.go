package policy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pgautotune/autotune/internal/spelling"
	"github.com/pgautotune/autotune/simulations/plant"
)

// entry is one policy of the table. A name that ends in -N is a family: N stands
// for a number of connections.
type entry struct {
	name   string
	line   string
	source string
	make   func(Env) (plant.Tuner, error)
	family func(e Env, n int) (plant.Tuner, error)
}

// table is every policy there is, in the order of reports.
var table = [...]entry{
	{name: "auto", make: newAuto,
		line:   "autotune's controller, as it runs in the live pool",
		source: "controller.Step of this repository"},
	{name: "auto-N", family: func(e Env, n int) (plant.Tuner, error) { e.Start = n; return newAuto(e) },
		line:   "autotune's controller, started at N connections",
		source: "controller.Step of this repository"},
	{name: "fixed-N", family: func(e Env, n int) (plant.Tuner, error) { return e.size(n, 0), nil },
		line:   "N connections, always",
		source: "what every pool does"},
	{name: "cores-2x+1", make: newCores,
		line:   "2 × cores of the database + 1",
		source: "PostgreSQL wiki, Number Of Database Connections; HikariCP wiki, About Pool Sizing"},
	{name: "guideline", make: newGuideline,
		line:   "50, 100 or 150 connections by the number of vectors, scaled by users",
		source: "the vector-count rule of thumb in sizing.Guideline of this repository"},
	{name: "vector", make: newVector,
		line:   "the vector profile untuned: the guideline, at least 100, a fifth kept open",
		source: "the vector profile of this repository"},
	{name: "batch", make: newBatch,
		line:   "W+2 connections for W workers, W kept open",
		source: "the batch profile of this repository"},
	{name: "pgx", make: newPgx,
		line:   "pgxpool's default: the greater of 4 and the callers' CPUs",
		source: "jackc/pgx v5, pgxpool.ParseConfig"},
	{name: "aimd", make: newAIMD,
		line:   "adds 1 while used, × 0.9 on an acquire timeout or above 5 s",
		source: "Netflix/concurrency-limits, AIMDLimit, commit 784c960d"},
	{name: "vegas", make: newVegas,
		line:   "keeps 3 to 6 requests queued in the database, by the shortest round trip",
		source: "Netflix/concurrency-limits, VegasLimit, commit 141214dc"},
	{name: "gradient2", make: newGradient2,
		line:   "follows long-term over present round trip, by windows of 1 s",
		source: "Netflix/concurrency-limits, Gradient2Limit in WindowedLimit, commits f2528def and 25a05f1f"},
	{name: "failsafe", make: newFailsafe,
		line:   "recent over baseline p90 of round trips, checked by correlation with throughput",
		source: "failsafe-go/failsafe-go v0.9.8, adaptivelimiter"},
	{name: "envoy", make: newEnvoy,
		line:   "round trip at 3 connections, measured each minute, over the present one",
		source: "envoyproxy/envoy, adaptive concurrency gradient controller, commit 054694f9"},
	{name: "arc", make: newARC,
		line:   "adds 1 while round trips stay, × 0.9 when they leave 2.5 deviations",
		source: "vectordotdev/vector, adaptive request concurrency, commit 05b56b79"},
	{name: "hill-climbing", make: newHillClimbing,
		line:   "waves the limit and follows the part of the wave that throughput shows",
		source: "dotnet/runtime, PortableThreadPool.HillClimbing, commit 04326b6d"},
	{name: "flexypool", make: newFlexypool,
		line:   "adds 1 when an acquire times out or waits 500 ms; never shrinks",
		source: "vladmihalcea/flexy-pool, IncrementPoolOnTimeoutConnectionAcquisitionStrategy, commit a5d54ba9"},
	{name: "busy-ratio", make: newBusyRatio,
		line:   "every 5 min: grows from 85 % in use up, shrinks below 30 %",
		source: "mhenrixon/pgbus, Streams::PoolAutoscaler, commit 36eeab63"},
}

// Names lists the policies that need no number, in the order of reports.
func Names() []string {
	var names []string
	for i := range table {
		if table[i].make != nil {
			names = append(names, table[i].name)
		}
	}
	return names
}

// Families lists the patterns of the policies that take a number of connections.
func Families() []string {
	var names []string
	for i := range table {
		if table[i].family != nil {
			names = append(names, table[i].name)
		}
	}
	return names
}

// New makes the policy of a name for one run. A number in the name that is above
// the ceiling is [ErrAboveCeiling].
func New(name string, e Env) (plant.Tuner, error) {
	p, n, err := find(name)
	if err != nil {
		return nil, err
	}
	if e, err = e.complete(); err != nil {
		return nil, err
	}
	if p.family == nil {
		t, err := p.make(e)
		if err != nil {
			return nil, fmt.Errorf("policy %s %w", name, err)
		}
		return t, nil
	}
	if n > e.Ceiling {
		return nil, fmt.Errorf("policy %s: %d connections are %w of %d", name, n, ErrAboveCeiling, e.Ceiling)
	}
	return p.family(e, n)
}

// Description is what a report says of a policy.
type Description struct {
	Name   string
	Line   string // what it does
	Source string // where its rule is published
}

// Describe returns the description of a policy that [New] would make.
func Describe(name string) (Description, error) {
	p, n, err := find(name)
	if err != nil {
		return Description{}, err
	}
	line := p.line
	if p.family != nil {
		line = strings.Replace(line, "N connections", fmt.Sprintf("%d connections", n), 1)
	}
	return Description{Name: name, Line: line, Source: p.source}, nil
}

// Size is the number of connections in a name, 0 where there is none.
func Size(name string) int {
	_, n, _ := find(name)
	return n
}

// find looks a name up, and the number in it.
func find(name string) (p *entry, n int, err error) {
	stem, number := cut(name)
	for i := range table {
		p := &table[i]
		if p.family == nil && p.name == name {
			return p, 0, nil
		}
		if p.family == nil || number == "" || p.name != stem {
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || strconv.Itoa(n) != number {
			return nil, 0, fmt.Errorf("policy %s: %s is not a number of connections from 1 up", name, number)
		}
		return p, n, nil
	}
	if near := nearest(name); near != "" {
		return nil, 0, fmt.Errorf("unknown policy %q: did you mean %s?", name, near)
	}
	return nil, 0, fmt.Errorf("unknown policy %q: use one of %s", name, strings.Join(append(Names(), Families()...), ", "))
}

// cut takes the number off the end of a name: fixed-32 is fixed-N and 32.
func cut(name string) (stem, number string) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 || strings.Trim(name[i+1:], "0123456789") != "" {
		return name, ""
	}
	return name[:i] + "-N", name[i+1:]
}

// nearest is the policy that differs from name by the fewest edits, with the
// number of name in it; "" when all are far from it.
func nearest(name string) string {
	stem, number := cut(strings.ToLower(name))
	names := make([]string, len(table))
	for i := range table {
		names[i] = table[i].name
	}
	best := spelling.Nearest(stem, names)
	if number != "" {
		best = strings.Replace(best, "-N", "-"+number, 1)
	}
	return best
}
