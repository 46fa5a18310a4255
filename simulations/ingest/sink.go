package ingest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pgautotune/autotune/simulations/trace"
)

// maxIntervals bounds the intervals of a trace, which are held in memory: a week
// of seconds is 604,800.
const maxIntervals = 1 << 21

// sink collects the rows of an import, in any order, and writes them in order of
// time. Its memory is bounded: events that are too many for it wait on disk.
type sink struct {
	header  trace.Header
	columns []string
	begun   bool
	// relative says that times are from the start already, which stays the start.
	relative bool
	notes    []string
	in       *input // that is read now; nil: none

	// Of a log that may be a sample: how many rows follow another one of their client,
	// and how many transactions these are apart.
	followed, apart int64

	instant int64 // events that took no time by their clock
	fine    bool  // a CSV had times that are no whole seconds

	events    sorter
	intervals []trace.Interval // T as the source has it
	scraped   *scraped         // of Prometheus, until all files are read
}

// begin says what the trace is. Files after the first one add to it.
func (s *sink) begin(h trace.Header, columns []string) {
	if !s.begun {
		h.Version = trace.Version
		s.header, s.columns, s.begun = h, columns, true
	}
}

func (s *sink) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(s.notes, n) {
		s.notes = append(s.notes, n)
	}
}

// problem is what is wrong where the input is.
func (s *sink) problem(format string, args ...any) error {
	if s.in == nil {
		return fmt.Errorf(format, args...)
	}
	return s.in.problem(format, args...)
}

// event takes a request that arrived at a time in ns, since 1970 or any other.
func (s *sink) event(at int64, e *trace.Event) error {
	if s.begun && s.header.Kind != trace.Events {
		return s.problem("this is a record of %s, and a file before is one of %s; a trace has one kind", trace.Events, s.header.Kind)
	}
	if e.Service == 0 {
		s.instant++
	}
	return s.events.add(at, e)
}

// interval takes an interval that began at a time in s.
func (s *sink) interval(at float64, i *trace.Interval) error {
	if s.begun && s.header.Kind != trace.Intervals {
		return s.problem("this is a record of %s, and a file before is one of %s; a trace has one kind", trace.Intervals, s.header.Kind)
	}
	if len(s.intervals) == maxIntervals {
		return s.problem("there are more than %d intervals; import a part of them, or longer ones", maxIntervals)
	}
	for _, cv := range [...]float64{i.IaCV, i.ServiceCV} {
		if cv > trace.MostCV {
			return s.problem("a coefficient of variation is %.4g, and nothing can be drawn from one above %d", cv, trace.MostCV)
		}
	}
	i.T = at
	s.intervals = append(s.intervals, *i)
	return nil
}

// discard removes what is on disk.
func (s *sink) discard() { s.events.discard() }

// write makes the trace.
func (s *sink) write(format, name string, create Create) (res Result, err error) {
	if s.header.Kind == trace.Events && s.events.count == 0 || s.header.Kind == trace.Intervals && len(s.intervals) == 0 {
		return Result{Format: format}, &trace.Error{File: name, Reason: "there is nothing in it to make a trace of"}
	}
	if s.instant > 0 {
		s.note("%d of %d requests have a service time of 0: a simulation takes them to cost next to nothing.", s.instant, s.events.count)
	}
	h := s.header
	first := 0.0
	if h.Kind == trace.Events {
		if err := s.events.finish(); err != nil {
			return res, err
		}
		first = float64(s.events.first) / 1e9
	} else {
		slices.SortStableFunc(s.intervals, func(a, b trace.Interval) int {
			switch {
			case a.T < b.T:
				return -1
			case a.T > b.T:
				return 1
			}
			return 0
		})
		s.intervals = s.superpose()
		first = s.intervals[0].T
	}
	if len(s.notes) > 0 {
		h.Note = strings.Join(append(strings.Fields(h.Note), s.notes...), " ")
	}
	if first > trace.Epoch { // since 1970; not a clock that began with the run
		s.relative = false
	}
	if h.T0 == "" && first > trace.Epoch {
		h.T0 = time.Unix(0, int64(first*1e6)*1000).UTC().Format(time.RFC3339Nano)
	}
	w, err := create(h, s.columns...)
	if err != nil {
		return res, err
	}
	if h.Kind == trace.Events {
		err = s.writeEvents(w)
	} else {
		err = s.writeIntervals(w, first)
	}
	err = errors.Join(err, w.Close())
	return Result{Format: format, Header: h, Rows: w.Rows(), Notes: s.notes}, err
}

func (s *sink) writeEvents(w *trace.Writer) error {
	start := s.events.first
	if s.relative {
		start = 0
	}
	for {
		at, e, err := s.events.next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		e.T = float64(at-start) / 1e9
		if err := w.Event(&e); err != nil {
			return err
		}
	}
}

func (s *sink) writeIntervals(w *trace.Writer, first float64) error {
	if s.relative {
		first = 0
	}
	for _, i := range s.intervals {
		i.T = float64(nanoseconds(i.T)-nanoseconds(first)) / 1e9
		if err := w.Interval(&i); err != nil {
			return err
		}
	}
	return nil
}
