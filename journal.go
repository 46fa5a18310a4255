package autotune

import (
	"encoding/json"
	"io"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

// journalVersion is the version of the journal's format, in its first line.
const journalVersion = 1

// journalHeader is the first line of a journal: what a replay has to start from.
type journalHeader struct {
	Journal int               `json:"autotune_journal"`
	Start   time.Time         `json:"start"`
	Config  controller.Config `json:"config"`
}

// journalEntry is every further line: what was seen, and what was decided.
type journalEntry struct {
	Observation Observation `json:"observation"`
	Decision    Decision    `json:"decision"`
}

func (t *tuner) openJournal(w io.Writer) {
	t.journal = json.NewEncoder(w)
	t.write(journalHeader{Journal: journalVersion, Start: t.observer.start.UTC(), Config: t.cfg})
}

func (t *tuner) record(obs Observation, d Decision) {
	if t.journal != nil {
		t.write(journalEntry{obs, d})
	}
}

// write ends the journal at the first error: a full disk shall cost the record,
// not the tuning.
func (t *tuner) write(line any) {
	if err := t.journal.Encode(line); err != nil {
		t.journal = nil
		t.pool.log.Warn("journal ended", "error", err)
	}
}
