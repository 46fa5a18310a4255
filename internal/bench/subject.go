package bench

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/load"
	"github.com/pgautotune/autotune/internal/sizing"
	"github.com/pgautotune/autotune/journal"
)

// subject is a contender's pool in one workload.
type subject struct {
	contender
	db *database

	pool    *autotune.Pool // tuned; open as long as the workload
	closing func()         // see Options.Opened; nil: nobody wants to know
	journal io.Closer

	plain   *pgxpool.Pool // fixed and limited; open for a slice
	limiter *limiter      // limited; lives as long as the workload

	next uint64 // ordinal of the next request
}

// ordinalBits is the room of one contender: no two of them insert the same
// vector, which pgvector would keep as one node of its graph.
const ordinalBits = 40

// newSubject makes what outlives a slice.
func newSubject(ctx context.Context, c contender, index int, db *database, ceiling int, journalAt string) (*subject, error) {
	s := &subject{contender: c, db: db, next: uint64(index) << ordinalBits}
	switch c.kind {
	case limited:
		s.limiter = newLimiter(c.size)
	case tuned:
		pool, err := db.config(c.name)
		if err != nil {
			return nil, err
		}
		cfg := &autotune.Config{Pool: pool, Start: min(c.size, ceiling), Ceiling: ceiling}
		if journalAt != "" {
			file, err := journal.Open(journalAt, journal.Options{}) // an earlier one is put aside
			if err != nil {
				return nil, err
			}
			s.journal, cfg.Journal = file, file
		}
		if s.pool, err = autotune.NewWithConfig(ctx, cfg); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// journalPath is where a contender's journal of a workload goes.
func journalPath(dir, workload, contender string, run int) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, fmt.Sprintf("%s.%s.run%d.jsonl", workload, contender, run+1))
}

// open opens and warms what lives for a slice: all of a plain pool's
// connections, each with a request behind it.
func (s *subject) open(ctx context.Context, w load.Workload) error {
	if s.kind == tuned {
		return nil
	}
	cfg, err := s.db.config(s.name)
	if err != nil {
		return err
	}
	cfg.MaxConns = int32(s.size)
	if s.plain, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return err
	}
	return s.warm(ctx, w)
}

func (s *subject) warm(ctx context.Context, w load.Workload) error {
	conns, err := acquireAll(ctx, s.plain, s.size)
	for _, c := range conns {
		c.Release()
	}
	if err != nil {
		return fmt.Errorf("warming %s: %w", s.name, err)
	}
	// Each connection's first statement is slow: it is parsed, and the backend
	// fills its caches.
	var all sync.WaitGroup
	errs := make([]error, s.size)
	first := s.ordinals(uint64(s.size))
	for i := range s.size {
		all.Go(func() { errs[i] = w.Do(ctx, s.plain, first+uint64(i)) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("warming %s: %w", s.name, err)
		}
	}
	return nil
}

// acquireAll takes n connections at once, so that there are n.
func acquireAll(ctx context.Context, p *pgxpool.Pool, n int) (conns []*pgxpool.Conn, err error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			c, e := p.Acquire(ctx)
			mu.Lock()
			defer mu.Unlock()
			if e != nil {
				err = e
				return
			}
			conns = append(conns, c)
		})
	}
	all.Wait()
	return conns, err
}

// closeSlice closes what lives for a slice.
func (s *subject) closeSlice() {
	if s.plain != nil {
		s.plain.Close()
		s.plain = nil
	}
}

func (s *subject) close() error {
	s.closeSlice()
	if s.closing != nil {
		s.closing()
	}
	if s.pool != nil {
		s.pool.Close()
	}
	if s.journal != nil {
		return s.journal.Close()
	}
	return nil
}

// target is what the generator drives.
func (s *subject) target() load.Pool {
	if s.kind == tuned {
		return s.pool
	}
	return s.plain
}

// wrap puts the limiter around a request, where there is one.
func (s *subject) wrap(w load.Workload) load.Workload {
	if s.limiter == nil {
		return w
	}
	return &permitted{w, s.limiter}
}

// ordinals reserves n of them and returns the first.
func (s *subject) ordinals(n uint64) uint64 {
	first := s.next
	s.next += n
	return first
}

// limit tells how many connections may be in use at once now, how many are open,
// and whether the limit is being moved only to learn.
func (s *subject) limit() (limit, held int, learning bool) {
	switch s.kind {
	case tuned:
		snap := s.pool.Snapshot()
		return snap.Limit, snap.Open, snap.Decision.Reason == sizing.Learning
	case limited:
		return s.limiter.Limit(), s.plainOpen(), false
	}
	return s.size, s.plainOpen(), false
}

func (s *subject) plainOpen() int {
	if s.plain == nil {
		return 0
	}
	return int(s.plain.Stat().TotalConns())
}
