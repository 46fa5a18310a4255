package trace

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/distuv"
)

// maxRate bounds a recorded rate, per second: a file that says more is wrong, and
// would never end.
const maxRate = 1e8

// arrivals draws requests from intervals: a renewal process whose clock runs with
// the recorded rate. The next arrival is when the integral of the rate has grown
// by a gap, and gaps have mean 1 and the recorded coefficient of variation. So the
// rate is followed over time, and within it requests come as bursty as they did.
type arrivals struct {
	read   func(*Interval) error
	scale  float64
	cores  float64 // divides service times by active / cores; 0 does not
	random *rand.Rand

	now       Interval // the present one
	end       float64  // of the present one
	following Interval
	more      bool    // following is one
	begun     bool    // now is one
	at        float64 // the process's time
	gap       float64 // what is left of the gap, in arrivals
	err       error

	unknownRate, holes float64 // seconds
	unknownCV          int
	intervals          int
}

func newArrivals(r *Reader, scale float64, random *rand.Rand) *arrivals {
	return &arrivals{read: r.Interval, scale: scale, random: random}
}

func (a *arrivals) next(e *Event) error {
	if !a.begun {
		if err := a.begin(); err != nil {
			return err
		}
	}
	for {
		rate := a.now.Rate * a.scale
		if rate > 0 {
			if t := a.at + a.gap/rate; t < a.end {
				a.at = t
				a.gap = a.draw(a.now.IaCV)
				*e = UnknownEvent()
				e.T = t
				e.Service = a.service()
				return nil
			}
			a.gap -= (a.end - a.at) * rate
			a.gap = max(0, a.gap)
		}
		if err := a.advance(); err != nil {
			return err
		}
	}
}

// begin reads the first interval. The first gap is a part of one, because nobody
// arrived at second 0 on purpose.
func (a *arrivals) begin() error {
	if a.err == nil {
		a.err = a.read(&a.following)
	}
	if a.err != nil {
		return a.err
	}
	a.begun, a.more = true, true
	if err := a.advance(); err != nil {
		return err
	}
	a.gap = a.random.Float64() * a.draw(a.now.IaCV)
	return nil
}

// advance goes on to the next interval.
func (a *arrivals) advance() error {
	if !a.more {
		if a.err == nil {
			a.err = io.EOF
		}
		return a.err
	}
	last := a.now.Dur
	began := a.intervals > 0
	a.now = a.following
	if err := a.read(&a.following); err == io.EOF {
		a.more = false
	} else if err != nil {
		a.err, a.more = err, false
	}
	if math.IsNaN(a.now.Dur) { // until the next one; the last as long as the one before
		a.now.Dur = last
		if a.more {
			a.now.Dur = a.following.T - a.now.T
		}
		if math.IsNaN(a.now.Rate) && a.now.Dur > 0 {
			a.now.Rate = a.now.Arrivals / a.now.Dur
		}
		if math.IsNaN(a.now.Dur) {
			a.now.Dur = 0 // one row alone, of no length
		}
	}
	if began && a.now.T > a.end {
		a.holes += a.now.T - a.end
	}
	a.intervals++
	a.at = max(a.now.T, a.end)
	a.end = a.now.T + a.now.Dur
	if a.more {
		a.end = min(a.end, a.following.T) // intervals that overlap would count twice
	}
	a.end = max(a.end, a.at)
	if a.now.Rate*a.scale > maxRate {
		a.err, a.more = fmt.Errorf("the rate at %v s is %v per second; %v is the most that can be drawn", a.now.T, a.now.Rate*a.scale, float64(maxRate)), false
		return a.err
	}
	if math.IsNaN(a.now.Rate) {
		a.unknownRate += a.end - a.at
	}
	if math.IsNaN(a.now.IaCV) {
		a.unknownCV++
	}
	return nil
}

// draw is a gap of mean 1 and the given coefficient of variation.
func (a *arrivals) draw(cv float64) float64 {
	switch {
	case math.IsNaN(cv) || cv == 1:
		return a.random.ExpFloat64()
	case cv < 0.01:
		return 1 // a metronome
	}
	shape := 1 / (cv * cv)
	return distuv.Gamma{Alpha: shape, Beta: shape, Src: a.random}.Rand()
}

// service is a service time of the present interval, in ms; NaN when unknown.
func (a *arrivals) service() float64 {
	mean := a.now.ServiceMean
	if math.IsNaN(mean) {
		return mean
	}
	if a.cores > 0 && a.now.Active > a.cores {
		mean *= a.cores / a.now.Active
	}
	return mean * a.draw(a.now.ServiceCV)
}

func (a *arrivals) notes() (notes []string) {
	if a.unknownRate > 0 {
		notes = append(notes, fmt.Sprintf("The rate is unknown for %s of the trace: nobody arrives then.", seconds(a.unknownRate)))
	}
	if a.holes > 0 {
		notes = append(notes, fmt.Sprintf("Between its intervals the trace has gaps of %s in all: nobody arrives then.", seconds(a.holes)))
	}
	if a.unknownCV > 0 {
		notes = append(notes, fmt.Sprintf("The variation of the gaps between arrivals is unknown in %d of %d intervals: Poisson arrivals there.", a.unknownCV, a.intervals))
	}
	return notes
}
