package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// field is the contenders of one workload with what they have shown so far.
type field struct {
	subjects []*subject
	watches  []*watch
	rows     []Row
	cpu      []cpuUse
	others   float64 // CPU of other programs, see rest
	errs     []string

	// Until the end of the cold phase, for what is counted after it.
	from          []time.Time
	changesBefore []int
	swaps         []int64
}

// enter makes the contenders.
func (b *bench) enter(ctx context.Context, contenders []contender, w workload, run int) (*field, error) {
	f := &field{}
	origin := time.Now()
	for i, c := range contenders {
		s, err := newSubject(ctx, c, i+1, b.db, b.ceiling, journalPath(b.o.JournalDir, w.name, c.name, run))
		if err != nil {
			return f, err
		}
		if s.pool != nil && b.o.Opened != nil {
			s.closing = b.o.Opened(w.name+"."+c.name, s.pool)
		}
		f.subjects = append(f.subjects, s)
		f.watches = append(f.watches, newWatch(s.limit, origin, origin))
		f.rows = append(f.rows, Row{Name: c.name, Kind: string(c.kind), Size: c.size, Note: c.note})
		f.swaps, f.from, f.changesBefore = append(f.swaps, 0), append(f.from, origin), append(f.changesBefore, 0)
	}
	return f, nil
}

// take adds what was measured.
func (f *field) take(i int, m measured) {
	f.rows[i].add(m)
	f.cpu = append(f.cpu, m.cpu)
	for _, e := range m.failures {
		f.errs = append(f.errs, fmt.Sprintf("%s: %d requests failed: %s", f.rows[i].Name, e.Count, strings.ReplaceAll(e.Text, "\n", "; ")))
	}
}

// finish reads what a contender has come to.
func (f *field) finish() {
	for i, s := range f.subjects {
		row, w := &f.rows[i], f.watches[i]
		row.summarise()
		row.Limit, row.Backends = w.limit, w.heldMost
		if !s.learns() {
			continue
		}
		row.Trace, row.Changes = append(w.trace, Moment{time.Since(w.origin).Seconds(), w.limit}), w.changes-f.changesBefore[i]
		if minutes := time.Since(f.from[i]).Minutes(); minutes > 0 {
			row.ChangesPerMinute = float64(row.Changes) / minutes
		}
		if s.pool != nil {
			row.Swaps = s.pool.Snapshot().Swaps - f.swaps[i]
		}
	}
}

func (f *field) leave() (err error) {
	for _, s := range f.subjects {
		err = errors.Join(err, s.close())
	}
	return err
}

func meanCPU(uses []cpuUse) (own, machine float64) {
	known := 0
	for _, u := range uses {
		own += u.own / float64(len(uses))
		if u.machine >= 0 {
			machine += u.machine
			known++
		}
	}
	if known == 0 {
		return own, -1
	}
	return own, machine / float64(known)
}
