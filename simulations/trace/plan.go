package trace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Bounds of a [Plan]: beyond them the result says nothing about the trace.
const (
	maxScale  = 1e4
	maxFanOut = 1000
)

// Plan says what to do to a trace before it is simulated. The zero value does only
// what has to be done. The same plan and trace give the same requests, always.
type Plan struct {
	RateScale    float64 // arrival rates, times this; 0 is 1
	FanOut       int     // queries of one request, asked for at one instant; 0 is 1
	TimeCompress float64 // times of arrival, divided by this; 0 is 1
	// Cores of the database that was recorded, to take its contention out of
	// observed service times; 0 leaves them.
	Cores float64
	Seed  uint64 // of everything that is drawn
}

// Validate tells what is wrong with a plan.
func (p Plan) Validate() error {
	for _, c := range []struct {
		name  string
		value float64
		most  float64
	}{{"rate scale", p.RateScale, maxScale}, {"fan-out", float64(p.FanOut), maxFanOut}, {"time compression", p.TimeCompress, math.MaxInt32}, {"cores", p.Cores, math.MaxInt32}} {
		if !(c.value >= 0 && c.value <= c.most) {
			return fmt.Errorf("the %s is %v; it may be above 0, up to %v", c.name, c.value, c.most)
		}
	}
	return nil
}

func (p Plan) rate() float64     { return orOne(p.RateScale) }
func (p Plan) fanOut() int       { return max(1, p.FanOut) }
func (p Plan) compress() float64 { return orOne(p.TimeCompress) }

func orOne(v float64) float64 {
	if v == 0 {
		return 1
	}
	return v
}

// Describe says in sentences what the plan does to a trace with this header, and
// what the header says that a reader of the result has to know.
func (p Plan) Describe(h Header) (sentences []string) {
	say := func(format string, args ...any) { sentences = append(sentences, fmt.Sprintf(format, args...)) }
	if h.Kind == Intervals {
		say("Arrivals are drawn (seed %d) as a renewal process with gamma distributed gaps, modulated with the recorded rate and coefficient of variation; where the latter is unknown, as Poisson arrivals. Service times are drawn from a gamma distribution with the recorded mean and variation, exponential where the variation is unknown.", p.Seed)
	}
	if h.Kind == Events && h.QuantumS > 0 {
		say("Times were recorded to %v: requests are spread at random (seed %d) within it.", seconds(h.QuantumS), p.Seed)
	}
	switch r := p.rate(); {
	case r == 1:
	case h.Kind == Intervals:
		say("Arrival rates are times %v; the variation of the gaps is as recorded.", r)
	case r < 1:
		say("Arrival rates are times %v: each request is kept with that probability (seed %d), which takes some of the bursts' sharpness along.", r, p.Seed)
	default:
		say("Arrival rates are times %v: each request becomes as many (drawn with seed %d when that is not whole), the copies at random times before the next recorded arrival, so that bursts longer than a gap stay as high against the mean as they were.", r, p.Seed)
	}
	if n := p.fanOut(); n > 1 {
		say("Fan-out %d: each request becomes %d queries that ask for their connections at one instant.", n, n)
	}
	if c := p.compress(); c != 1 {
		say("Time is compressed %v times: arrival rates are %v times as high, a recorded day passes in %v; service times are as they were.", c, c, seconds(86400/c))
	}
	if h.SampleRate > 0 && h.SampleRate < 1 {
		say("The trace holds a sample of %v of all requests; a rate scale of %v makes up for it.", h.SampleRate, 1/h.SampleRate)
	}
	if h.OpenLoop != nil && !*h.OpenLoop {
		say("The recorded callers waited for an answer before they asked again (a closed loop): a slow pool made them ask less, and a replay at the recorded times does not.")
	}
	switch {
	case p.Cores > 0 && h.ServiceKind != Base:
		say("Observed service times are divided by connections in use / %v cores where more were in use than cores, as processor sharing would have stretched them; in use is as recorded, else counted from the trace, its weights and its sample rate included.", p.Cores)
	case h.ServiceKind == Observed:
		say("Service times are as observed and hold the contention of the recorded run: what more or fewer connections would have changed of them is not known. Naming the recorded database's cores takes it out.")
	case h.ServiceKind == "":
		say("Whether service times are of an empty or of the busy database, the trace does not say.")
	}
	return sentences
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Microsecond).String()
}

// Stream is the requests of a trace, in order of time.
type Stream struct {
	next  source
	notes func() []string
	skip  func() error // goes on by an interval, drawing nothing; nil for events
}

// source gives the next request, or io.EOF.
type source func(e *Event) error

// Stream makes the requests of a trace. It reads from r as it goes.
func (p Plan) Stream(r *Reader) (*Stream, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	s := &Stream{notes: func() []string { return nil }}
	h := r.Header()
	deflated := p.Cores > 0 && h.ServiceKind != Base
	switch h.Kind {
	case Events:
		s.next = func(e *Event) error {
			if err := r.Event(e); err != nil {
				return err
			}
			return r.fromStart(e.T)
		}
		if h.QuantumS > 0 {
			s.next = spread(s.next, h.QuantumS, p.random(1))
		}
		if deflated { // each that a row stands for was in use, and had others beside it
			s.next = deflate(multiply(s.next, 1, p.random(4)), p.Cores, orOne(h.SampleRate))
		}
		s.next = multiply(s.next, p.rate(), p.random(2))
	case Intervals:
		a := newArrivals(func(i *Interval) error {
			if err := r.Interval(i); err != nil {
				return err
			}
			return r.fromStart(i.T)
		}, p.rate(), p.random(3))
		if deflated {
			a.cores = p.Cores
		}
		s.next, s.notes, s.skip = a.next, a.notes, a.skip
	default:
		return nil, &Error{File: r.Name(), Reason: fmt.Sprintf("a trace of kind %s has no requests; events or intervals are needed", h.Kind)}
	}
	if n := p.fanOut(); n > 1 {
		s.next = fanOut(s.next, n)
	}
	if c := p.compress(); c != 1 {
		s.next = compress(s.next, c)
	}
	return s, nil
}

// About is what Describe says of the trace, and what is missing in it: in all of its
// intervals, or in the first of its requests. Where they end in an error, it says what it
// knows by then: the error comes again to whoever streams.
func (p Plan) About(r *Reader) []string {
	if r.Header().Kind == Events {
		return p.aboutEvents(r)
	}
	sentences := p.Describe(r.Header())
	if r.Header().Kind != Intervals {
		return sentences
	}
	s, err := p.Stream(r)
	if err != nil {
		return sentences
	}
	for s.skip() == nil {
	}
	return append(sentences, s.notes()...)
}

// aboutMost is how many requests are looked through for what is missing: more would take
// as long as to simulate them.
const aboutMost = 100_000

// aboutEvents is About for a trace of requests.
func (p Plan) aboutEvents(r *Reader) []string {
	read, unknown := 0, 0
	for e := (Event{}); read < aboutMost && r.Event(&e) == nil; read++ {
		if math.IsNaN(e.Service) {
			unknown++
		}
	}
	if unknown == 0 {
		return p.Describe(r.Header())
	}
	h, first := r.Header(), ""
	if unknown == read { // else they would be said to be as observed
		h.ServiceKind = Base
	}
	if read == aboutMost {
		first = "the first "
	}
	return append(p.Describe(h), fmt.Sprintf("The service time is unknown in %d of %s%d requests: they take what the scenario says.", unknown, first, read))
}

// random is a generator of its own for each purpose, so that switching one thing
// on does not redraw another.
func (p Plan) random(purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(p.Seed, purpose)) }

// Next gives the next request; io.EOF after the last.
func (s *Stream) Next(e *Event) error { return s.next(e) }

// Notes says what was missing in the trace, as far as it has been read.
func (s *Stream) Notes() []string { return s.notes() }

// fanOut makes n requests of each.
func fanOut(next source, n int) source {
	var held Event
	left := 0
	return func(e *Event) error {
		if left == 0 {
			if err := next(&held); err != nil {
				return err
			}
			left = n
		}
		left--
		*e = held
		return nil
	}
}

// compress divides times by c.
func compress(next source, c float64) source {
	return func(e *Event) error {
		err := next(e)
		e.T /= c
		return err
	}
}

// peeked is a source that can be looked at.
type peeked struct {
	next source
	held Event
	full bool
	err  error
}

// peek is the next request, which stays the next.
func (p *peeked) peek() (*Event, error) {
	if !p.full && p.err == nil {
		p.err = p.next(&p.held)
		p.full = p.err == nil
	}
	if !p.full {
		return nil, p.err
	}
	return &p.held, nil
}
