package plant

import "time"

// Source gives the requests of open callers in the order of their arrival. One
// goroutine uses it. A Source that can fail (a file) has a method Err() error
// too, asked once Next has returned false.
type Source interface {
	// Next fills r, which may hold the request before, and returns false when
	// there are no more. An At before the one before counts as it.
	Next(r *Request) bool
}

// Request is one arrival.
type Request struct {
	At    time.Duration // from the start of the run
	Class int32         // index into Config.Classes; below 0: drawn by their weights
	// Demand is the time that its stages take alone, all together, split among
	// them as their means are; 0: each is drawn from its distribution.
	Demand   time.Duration
	Patience time.Duration // gives up waiting after this; 0: as its class does
}

// merged is the superposition of a few sources.
type merged struct {
	from []Source
	head []Request
	open []bool
}

// Merge superposes sources. Of requests that arrive in the same instant, the
// earlier source's comes first.
func Merge(sources ...Source) Source {
	if len(sources) == 1 {
		return sources[0]
	}
	m := &merged{from: sources, head: make([]Request, len(sources)), open: make([]bool, len(sources))}
	for i, s := range sources {
		m.open[i] = s.Next(&m.head[i])
	}
	return m
}

func (m *merged) Next(r *Request) bool {
	first := -1
	for i := range m.head {
		if m.open[i] && (first < 0 || m.head[i].At < m.head[first].At) {
			first = i
		}
	}
	if first < 0 {
		return false
	}
	*r = m.head[first]
	m.open[first] = m.from[first].Next(&m.head[first])
	return true
}

// Err is the first error of the sources.
func (m *merged) Err() error {
	for _, s := range m.from {
		if f, ok := s.(interface{ Err() error }); ok && f.Err() != nil {
			return f.Err()
		}
	}
	return nil
}
