package main

import (
	"bytes"
	"encoding/json"
	"sync"
	"time"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/journal"
)

// decisionLog listens to the tuner through its journal, which misses nothing. It
// is safe for concurrent use.
type decisionLog struct {
	mu      sync.Mutex
	partial []byte    // guarded by mu: a line not yet whole
	started time.Time // guarded by mu: when the tuner's clock was 0
	last    *decided  // guarded by mu
	changes []decided // guarded by mu
	err     error     // guarded by mu: the first line not understood
}

// heardJournal is a journal in files that decisions are heard of, too.
type heardJournal struct {
	heard *decisionLog
	kept  *journal.File
}

var _ autotune.JournalRotator = (*heardJournal)(nil)

func (j *heardJournal) Write(line []byte) (int, error) {
	_, _ = j.heard.Write(line) // has no errors
	return j.kept.Write(line)
}

// Rotate implements [autotune.JournalRotator].
func (j *heardJournal) Rotate() (begun bool, err error) { return j.kept.Rotate() }

// decided is one decision and what it found.
type decided struct {
	at          time.Time
	limit, max  int // before
	decision    autotune.Decision
	changesPool bool
}

func (l *decisionLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		line, rest, whole := bytes.Cut(l.partial, []byte{'\n'})
		if !whole {
			return len(p), nil
		}
		if err := l.read(line); err != nil && l.err == nil {
			l.err = err
		}
		l.partial = rest
	}
}

// read takes one line of the journal: the header, or a look.
func (l *decisionLog) read(line []byte) error {
	var entry struct {
		Start       *time.Time            `json:"start"`
		Observation *autotune.Observation `json:"observation"`
		Decision    autotune.Decision     `json:"decision"`
	}
	if err := json.Unmarshal(line, &entry); err != nil {
		return err
	}
	if entry.Start != nil {
		l.started = *entry.Start
	}
	if entry.Observation == nil {
		return nil
	}
	d := decided{
		at:    l.started.Add(entry.Decision.At),
		limit: entry.Observation.Gauges.Limit, max: entry.Observation.Gauges.Max, decision: entry.Decision,
	}
	d.changesPool = d.limit != d.decision.Limit || d.max != d.decision.Max
	l.last = &d
	if d.changesPool {
		l.changes = append(l.changes, d)
	}
	return nil
}

// latest is the last decision; nil before the first.
func (l *decisionLog) latest() *decided {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// all returns the decisions that changed the pool, in order.
func (l *decisionLog) all() ([]decided, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changes, l.err
}
