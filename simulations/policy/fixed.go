package policy

import (
	"errors"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/sizing"
	"github.com/pgautotune/autotune/simulations/plant"
)

// fixed is a pool as everybody has one: a size chosen once.
type fixed plant.Setting

// Start is the size.
func (f fixed) Start() plant.Setting { return plant.Setting(f) }

// Look keeps it.
func (f fixed) Look(controller.Observation) (plant.Setting, time.Duration) {
	return plant.Setting(f), 0
}

// size is a pool of at most n connections of which keep are kept open. Formulas
// know nothing of ceilings; whoever sets one keeps them under it.
func (e Env) size(n, keep int) plant.Tuner {
	n = e.clip(n)
	return fixed{Limit: n, Max: n, Min: min(keep, n)}
}

// What a formula needs and was not told.
var (
	errNoCores   = errors.New("needs the number of cores of the database, which is unknown")
	errNoClient  = errors.New("needs the number of CPUs of the callers' machine, which is unknown")
	errNoWorkers = errors.New("needs the number of workers, or of CPUs of the callers' machine, and both are unknown")
)

// newCores is the formula of the PostgreSQL wiki ("Number Of Database
// Connections") and of HikariCP's wiki ("About Pool Sizing"): connections =
// cores × 2 + effective spindles. One spindle is counted, as both advise for a
// database on one disk or SSD; the cores are the database's.
func newCores(e Env) (plant.Tuner, error) {
	if e.Cores == 0 {
		return nil, errNoCores
	}
	return e.size(2*e.Cores+1, 0), nil
}

// newGuideline is the vector-count rule of thumb: see [sizing.Guideline].
func newGuideline(e Env) (plant.Tuner, error) {
	return e.size(sizing.Guideline(e.Vectors, e.Users), 0), nil
}

// The vector profile's walls: least max, least min, and min as a share of max.
const (
	vectorMax      = 100
	vectorMin      = 20
	vectorMinShare = 5
)

// newVector is what the vector profile starts with when nothing tunes it: the
// guideline, at least 100, a fifth of it kept open.
func newVector(e Env) (plant.Tuner, error) {
	n := e.clip(max(vectorMax, sizing.Guideline(e.Vectors, e.Users)))
	return e.size(n, max(vectorMin, n/vectorMinShare)), nil
}

// newBatch is the batch profile: W+2 connections for W workers, W kept open. W is
// the CPUs of the callers' machine where nobody says.
func newBatch(e Env) (plant.Tuner, error) {
	w := e.Workers
	if w == 0 {
		w = e.ClientCPUs
	}
	if w == 0 {
		return nil, errNoWorkers
	}
	return e.size(w+2, w), nil
}

// newPgx is what pgxpool takes where nobody says (pgx v5, pgxpool.ParseConfig):
// the greater of 4 and runtime.NumCPU, the callers' CPUs and not the database's.
func newPgx(e Env) (plant.Tuner, error) {
	if e.ClientCPUs == 0 {
		return nil, errNoClient
	}
	return e.size(max(4, e.ClientCPUs), 0), nil
}
