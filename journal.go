package autotune

import (
	"encoding/json"
	"io"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

// journalVersion is the version of the journal's format, in its first line.
const journalVersion = 1

// JournalRotator is a [Config.Journal] of more than one file. After each line the
// controller asks whether a new file has begun, and if so writes a header into it
// that holds all the controller remembers: every file replays by itself. Package
// journal has one that writes files up to a size and keeps the last few.
type JournalRotator interface {
	io.Writer
	// Rotate begins a new file if the present one is full, and tells whether it
	// did. An error ends the journal, as one of Write does.
	Rotate() (begun bool, err error)
}

// journalHeader is the first line of a journal: what a replay has to start from.
type journalHeader struct {
	Journal int               `json:"autotune_journal"`
	Start   time.Time         `json:"start"` // of the journal's clock, not of this file
	Config  controller.Config `json:"config"`
	// State is what the controller remembered when this file began; absent at
	// the start of the pool, when it remembers nothing.
	State *controller.State `json:"state,omitempty"`
}

// journalEntry is every further line: what was seen, and what was decided.
type journalEntry struct {
	Observation Observation `json:"observation"`
	Decision    Decision    `json:"decision"`
}

// openJournal begins the journal. The loop does it: a journal that hangs or panics
// shall keep nobody from having a pool.
func (t *tuner) openJournal() {
	if t.pool.cfg.Journal == nil || t.pool.cfg.Manual {
		return
	}
	defer t.survive(&Observation{})
	t.journal = t.pool.cfg.Journal
	t.writeHeader(nil)
}

func (t *tuner) writeHeader(s *controller.State) {
	t.write(journalHeader{Journal: journalVersion, Start: t.observer.start.UTC(), Config: t.cfg, State: s})
}

// record writes one look. t.state is that after the decision.
func (t *tuner) record(obs Observation, d Decision) {
	if t.journal == nil {
		return
	}
	t.write(journalEntry{obs, d})
	r, ok := t.journal.(JournalRotator) // not if the write has just ended it
	if !ok {
		return
	}
	switch begun, err := r.Rotate(); {
	case err != nil:
		t.endJournal(err)
	case begun:
		t.writeHeader(&t.state)
	}
}

// write writes a line in one piece, so that no file ends in half of one.
func (t *tuner) write(line any) {
	text, err := json.Marshal(line)
	if err == nil {
		_, err = t.journal.Write(append(text, '\n'))
	}
	if err != nil {
		t.endJournal(err)
	}
}

// endJournal ends the journal at the first error: a full disk shall cost the
// record, not the tuning.
func (t *tuner) endJournal(err error) {
	t.journal = nil
	t.pool.log.Warn("journal ended", "error", err)
}
