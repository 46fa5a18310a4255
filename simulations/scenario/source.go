package scenario

import (
	"errors"
	"io"
	"math"
	"path/filepath"
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
	"github.com/pgautotune/autotune/simulations/trace"
)

// source reads the requests of a trace as the plant asks for them, so that memory
// does not grow with the file.
type source struct {
	reader  *trace.Reader
	stream  *trace.Stream
	classes map[string]int32
	event   trace.Event
	err     error
}

func (s *Scenario) openTrace(seed uint64) (*source, error) {
	reader, err := trace.Open(s.TracePath())
	if err != nil {
		return nil, err
	}
	stream, err := s.Trace.Plan(seed).Stream(reader)
	if err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	src := &source{reader: reader, stream: stream, classes: make(map[string]int32)}
	for i, c := range s.World.Classes {
		if c.Name != "" { // a request without a class is none of the unnamed one
			src.classes[c.Name] = int32(i)
		}
	}
	return src, nil
}

// TracePath is where the trace's file is: relative to the scenario's.
func (s *Scenario) TracePath() string {
	if s.Trace == nil {
		return ""
	}
	if filepath.IsAbs(s.Trace.File) || s.path == "" || s.Trace.File == "-" {
		return s.Trace.File
	}
	return filepath.Join(filepath.Dir(s.path), s.Trace.File)
}

// AboutTrace says in sentences what is done to the trace, and what is missing in it.
func (s *Scenario) AboutTrace(seed uint64) ([]string, error) {
	if s.Trace == nil {
		return nil, nil
	}
	reader, err := trace.Open(s.TracePath())
	if err != nil {
		return nil, err
	}
	return s.Trace.Plan(seed).About(reader), reader.Close()
}

// Next gives the next request. A class that the world does not name is drawn by
// the weights, a service time that is unknown by its distribution.
func (s *source) Next(r *plant.Request) bool {
	if err := s.stream.Next(&s.event); err != nil {
		if !errors.Is(err, io.EOF) {
			s.err = err
		}
		return false
	}
	*r = plant.Request{At: seconds(s.event.T), Class: -1, Demand: millis(s.event.Service), Patience: millis(s.event.Deadline)}
	if class, ok := s.classes[s.event.Class]; ok {
		r.Class = class
	}
	return true
}

// Err is why the trace ended early.
func (s *source) Err() error { return s.err }

// Close closes the file.
func (s *source) Close() { _ = s.reader.Close() } // it was only read

func seconds(s float64) time.Duration {
	return time.Duration(math.Round(s * float64(time.Second)))
}

// millis is a recorded time; 0 where it is unknown. A known one is at least 1 ns,
// because the plant takes 0 for unknown, and at most longest.
func millis(ms float64) time.Duration {
	if math.IsNaN(ms) {
		return 0
	}
	return time.Duration(min(max(1, math.Round(ms*float64(time.Millisecond))), longest))
}

// longest is 10 years in ns, which added to any time of a run is no overflow.
const longest = 10 * 365 * 24 * float64(time.Hour)
