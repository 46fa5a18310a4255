package bench

import (
	"time"
)

// Plan is what will be run, and how long it takes at most.
type Plan struct {
	options    Options
	workloads  []workload
	contenders []contender
}

// The times of what is not a slice, as measured on two cores.
const (
	startTime      = 3 * time.Second        // start a server and connect
	loadPerVector  = 400 * time.Microsecond // copy and index, 128 dimensions
	openConnection = 8 * time.Millisecond   // dial one, run its first statements, and end its backend
	turnover       = 350 * time.Millisecond // end a slice, close the pool, see the machine at rest
	primeTime      = time.Second            // touch the data before a workload's first slice
	restTime       = 500 * time.Millisecond // look at the machine before a workload
	fixedPasses    = 2                      // of the shift: before and after those that learn
)

// NewPlan checks the options. An error is the caller's to mend.
func NewPlan(o Options) (*Plan, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	p := &Plan{options: o}
	var err error
	if p.workloads, err = chooseWorkloads(o.Workloads); err != nil {
		return nil, err
	}
	p.contenders, err = chooseContenders(o.Contenders)
	return p, err
}

// Duration is how long the plan takes with all cold phases used up: more than it
// usually does, though a busy machine can make it longer.
func (p *Plan) Duration() time.Duration {
	d := startTime + p.loading()
	for _, w := range p.workloads {
		d += p.workloadTime(w)
	}
	return startTime + time.Duration(p.options.Runs)*(d-startTime)
}

func (p *Plan) loading() time.Duration {
	sets := 1 // that the readers share
	for _, w := range p.workloads {
		if w.writes {
			sets++
		}
	}
	return time.Duration(sets*p.options.Vectors) * loadPerVector
}

func (p *Plan) workloadTime(w workload) time.Duration {
	if w.shift {
		return restTime + primeTime + p.shiftTime()
	}
	d := restTime + primeTime
	for _, c := range p.contenders {
		if c.learns() {
			d += p.options.cold(c) + openingTime(c)
		}
		d += time.Duration(p.options.Rounds) * (p.options.Slice + turnover)
		if c.kind != tuned { // whose connections stay open
			d += time.Duration(p.options.Rounds) * openingTime(c)
		}
	}
	return d
}

func (p *Plan) shiftTime() (d time.Duration) {
	for _, c := range p.contenders {
		if c.learns() {
			d += time.Duration(p.options.Phases)*p.options.Phase + openingTime(c) + turnover
		} else {
			d += fixedPasses * (time.Duration(p.options.Phases)*p.options.Slice + openingTime(c) + turnover)
		}
	}
	return d
}

// cold is the longest that a contender that learns runs alone first. The limiter's
// limit hardly ever stays put, so that to wait for that is mostly in vain.
func (o *Options) cold(c contender) time.Duration {
	if c.kind == tuned {
		return o.Cold
	}
	return o.Cold / 3
}

func openingTime(c contender) time.Duration { return time.Duration(c.size) * openConnection }

// order is the order of the contenders in a round: it rotates, so that nobody
// always follows the same one, and nobody is always first. By the last round it
// has gone once around.
func order(contenders, round, rounds int) []int {
	shift := round * contenders / max(1, rounds)
	if rounds > contenders {
		shift = round
	}
	indices := make([]int, contenders)
	for i := range indices {
		indices[i] = (i + shift) % contenders
	}
	if round%2 == 1 { // and every second one backwards: else each follows the same one always
		for i, j := 0, len(indices)-1; i < j; i, j = i+1, j-1 {
			indices[i], indices[j] = indices[j], indices[i]
		}
	}
	return indices
}
