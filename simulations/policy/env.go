package policy

import (
	"errors"
	"fmt"

	"github.com/pgautotune/autotune/internal/controller"
)

// Env is what a policy is told of the world it is put into, as somebody who
// configures a pool by hand would know it. A zero number is unknown.
type Env struct {
	Cores      int     // of the database
	ClientCPUs int     // of the machine or container of the callers
	Vectors    float64 // rows with a vector; negative when unknown
	Users      int     // concurrent users; 0 is the guideline's 100
	Workers    int     // parallel workers of a batch job

	// Start is the limit to begin with; 0 lets each policy begin as its
	// authors have it. Fixed sizes ignore it.
	Start int
	// Ceiling is the most connections a policy may ask for, at least 1.
	Ceiling int
	// Budget is the most server connections of all generations; 0 is Ceiling.
	Budget int

	Seed uint64

	// Auto is what autotune's controller is told beyond that: its objective, its
	// interval (0 is a second), its floor (0 is 1), a profile's walls. Its
	// ceiling, budget and users are those above.
	Auto controller.Config
}

// ErrAboveCeiling says that a size named in a policy, such as the 100 of
// fixed-100, is above the ceiling of the world it is put into. Who runs many
// worlds leaves that policy out of this one.
var ErrAboveCeiling = errors.New("above the ceiling")

// complete fills in what is left out and finds what cannot be.
func (e Env) complete() (Env, error) {
	if e.Ceiling < 1 {
		return e, fmt.Errorf("policy: the ceiling is %d connections and must be at least 1", e.Ceiling)
	}
	for _, v := range []struct {
		name string
		n    int
	}{{"cores", e.Cores}, {"client CPUs", e.ClientCPUs}, {"users", e.Users}, {"workers", e.Workers}, {"start", e.Start}, {"budget", e.Budget}, {"floor", e.Auto.Floor}, {"interval", int(e.Auto.Interval)}} {
		if v.n < 0 {
			return e, fmt.Errorf("policy: %s is %d: use 0 for unknown", v.name, v.n)
		}
	}
	if e.Budget == 0 {
		e.Budget = e.Ceiling
	}
	if e.Budget < e.Ceiling {
		return e, fmt.Errorf("policy: the budget of %d server connections is below the ceiling of %d: the pool could never reach its ceiling", e.Budget, e.Ceiling)
	}
	if e.Start > e.Ceiling {
		return e, fmt.Errorf("policy: a start of %d connections is %w of %d", e.Start, ErrAboveCeiling, e.Ceiling)
	}
	if e.Auto.Floor > e.Ceiling {
		return e, fmt.Errorf("policy: a floor of %d connections is %w of %d", e.Auto.Floor, ErrAboveCeiling, e.Ceiling)
	}
	return e, nil
}

// clip moves a size into 1 to the ceiling.
func (e Env) clip(n int) int { return min(max(n, 1), e.Ceiling) }

// least is the smallest limit: 1 where somebody chose the start, and would not keep
// a default made for request threads, or else what the authors have.
func (e Env) least(theirs int) int {
	if e.Start > 0 {
		return 1
	}
	return e.clip(theirs)
}

// begin is the limit to begin with: Start, or else what the authors have.
func (e Env) begin(theirs int) int {
	if e.Start > 0 {
		theirs = e.Start
	}
	return e.clip(theirs)
}
