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

// maxAhead bounds how many intervals are read ahead for the first known service
// time: 45 hours of a row every 10 s, in 2 MB.
const maxAhead = 1 << 14

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

	ahead []Interval // read, and not yet given to advance
	// What an interval without a mean service time gets: the mean of the known ones
	// before it, weighted by their arrivals, and at the start the first known one.
	// NaN while none is known. In ms, deflated.
	filler     float64
	fillWeight float64 // arrivals
	looked     bool    // for the first known one

	unknownRate, holes float64 // seconds
	overlaps           float64 // seconds
	unknownCV          int
	intervals          int

	served, unknownService, filled int // intervals with arrivals
}

func newArrivals(read func(*Interval) error, scale float64, random *rand.Rand) *arrivals {
	return &arrivals{read: read, scale: scale, random: random, filler: math.NaN()}
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
		a.err = a.take(&a.following)
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

// skip goes on to the next interval, for what notes says.
func (a *arrivals) skip() error {
	if !a.begun {
		return a.begin()
	}
	return a.advance()
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
	if err := a.take(&a.following); err == io.EOF {
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
	if a.more && a.end > a.following.T { // intervals that overlap would count twice
		a.overlaps += a.end - a.following.T
		a.end = a.following.T
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
	a.learn()
	return nil
}

// take gives the next interval: one that was read ahead, else the next of the file.
func (a *arrivals) take(i *Interval) error {
	if len(a.ahead) == 0 {
		return a.read(i)
	}
	*i, a.ahead = a.ahead[0], a.ahead[1:]
	return nil
}

// learn keeps the filler while the present interval begins.
func (a *arrivals) learn() {
	arrived := a.now.Rate * (a.end - a.at)
	if mean := a.mean(); !math.IsNaN(mean) {
		a.looked = true
		if arrived > 0 {
			a.served++
			if a.fillWeight == 0 {
				a.filler = mean
			}
			a.fillWeight += arrived
			a.filler += (mean - a.filler) * arrived / a.fillWeight
		} else if math.IsNaN(a.filler) {
			a.filler = mean
		}
		return
	}
	if !(arrived > 0) {
		return
	}
	a.served++
	a.unknownService++
	if !a.looked {
		a.looked = true
		a.filler = a.firstKnown()
	}
	if !math.IsNaN(a.filler) {
		a.filled++
	}
}

// firstKnown looks ahead for a mean service time; NaN when there is none near.
// What it cannot read is an error again when it is its turn.
func (a *arrivals) firstKnown() float64 {
	if mean := a.meanOf(&a.following); a.more && !math.IsNaN(mean) {
		return mean
	}
	for a.more && len(a.ahead) < maxAhead {
		var i Interval
		if a.read(&i) != nil {
			break
		}
		a.ahead = append(a.ahead, i)
		if mean := a.meanOf(&i); !math.IsNaN(mean) {
			return mean
		}
	}
	return math.NaN()
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
	mean := a.mean()
	if math.IsNaN(mean) {
		mean = a.filler
	}
	if math.IsNaN(mean) {
		return mean
	}
	return mean * a.draw(a.now.ServiceCV)
}

// mean is the recorded mean service time of the present interval, deflated.
func (a *arrivals) mean() float64 { return a.meanOf(&a.now) }

func (a *arrivals) meanOf(i *Interval) float64 {
	if a.cores > 0 && i.Active > a.cores {
		return i.ServiceMean * a.cores / i.Active
	}
	return i.ServiceMean
}

func (a *arrivals) notes() (notes []string) {
	if a.unknownRate > 0 {
		notes = append(notes, fmt.Sprintf("The rate is unknown for %s of the trace: nobody arrives then.", seconds(a.unknownRate)))
	}
	if a.holes > 0 {
		notes = append(notes, fmt.Sprintf("Between its intervals the trace has gaps of %s in all: nobody arrives then.", seconds(a.holes)))
	}
	if a.overlaps > 0 {
		notes = append(notes, fmt.Sprintf("Its intervals overlap for %s in all: each counts only until the next one begins.", seconds(a.overlaps)))
	}
	if a.unknownCV > 0 {
		notes = append(notes, fmt.Sprintf("The variation of the gaps between arrivals is unknown in %d of %d intervals: Poisson arrivals there.", a.unknownCV, a.intervals))
	}
	if a.unknownService > 0 {
		note := fmt.Sprintf("The service time is unknown in %d of %d intervals with arrivals: ", a.unknownService, a.served)
		if a.filled == a.unknownService {
			note += "it is drawn there with the mean of the known intervals before, weighted by their arrivals, and of the first known one at the start."
		} else if a.filled == 0 {
			note += "no known one is near, and requests take there what the scenario says."
		} else {
			note += fmt.Sprintf("in %d of these with the mean of the known intervals before, weighted by their arrivals; in the others none was known yet, and requests take there what the scenario says.", a.filled)
		}
		notes = append(notes, note)
	}
	return notes
}
