package fire

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/await"
	"pgregory.net/rapid"
)

// The model of a pool is what one would draw on a napkin: a limit, who holds a
// connection, who waits in which order, and what was counted. Random operations
// go to the real pool, on a real server, and to the napkin; after each, the two
// must agree. rapid shrinks a sequence that fails.

// holder is one caller with a connection, however it got it.
type holder struct {
	kind    string
	conn    *pgxpool.Conn // of kinds conn and idle
	pid     uint32        // of its backend, where known
	release func() error
}

// asker is one caller who has asked for a connection and has no answer yet.
type asker struct {
	action int // within which it came: who is first among those of one swap, the pool alone knows
	cancel context.CancelFunc
	answer chan answer
	got    *answer // taken from the channel
}

type answer struct {
	holder *holder
	err    error
}

// napkin is the model next to the pool that it describes.
type napkin struct {
	rt    *rapid.T
	pool  *autotune.Pool
	db    *sql.DB // the same pool, for database/sql
	admin *pgx.Conn
	app   string // application_name of the pool's backends

	validate  bool // connections are checked before a caller gets them: kills go unnoticed
	budget    int
	tight     bool // the budget is the ceiling: a swap has to close one connection to open one
	ceiling   int
	max, min  int
	limit     int
	moving    bool   // the limit is being moved right now: it may be lower than said
	timeout   string // statement_timeout of the connections
	held      []*holder
	queue     []*asker
	own       []*pgx.Conn // hijacked
	killed    map[uint32]bool
	actions   int
	closed    bool
	closeDone chan struct{}

	arrivals, completions, canceled int64
}

// operations counts what was done to all pools of the test.
var operations atomic.Int64

func TestModelThePoolDoesWhatTheNapkinSays(t *testing.T) {
	leakFree(t)
	super := database(t)
	boss := admin(t, super)
	dsn := cheapRole(t, boss, super)
	start := time.Now()
	want := pick[int64](200_000, 300)
	var runs atomic.Int64
	// Several at once: most of the time a pool waits for its server.
	if err := flag.Set("rapid.checks", pick("100", "10")); err != nil {
		t.Fatal(err)
	}
	t.Run("pools", func(t *testing.T) {
		for i := range pick(16, 8) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				conn := admin(t, dsn)
				for operations.Load() < want && !t.Failed() {
					rapid.Check(t, func(rt *rapid.T) { playModel(rt, t, dsn, conn, runs.Add(1)) })
				}
			})
		}
	})
	figure(t, "model", "random operations against the model", "%d operations on %d pools without a difference, in %s",
		operations.Load(), runs.Load(), time.Since(start).Round(time.Second))
}

func playModel(rt *rapid.T, t *testing.T, dsn string, boss *pgx.Conn, run int64) {
	m := &napkin{rt: rt, admin: boss, app: fmt.Sprintf("model %d", run), killed: map[uint32]bool{}, timeout: "0"}
	m.ceiling = rapid.IntRange(1, 5).Draw(rt, "ceiling")
	m.max = rapid.IntRange(1, m.ceiling).Draw(rt, "max")
	m.min = rapid.IntRange(0, m.max).Draw(rt, "min")
	m.limit = m.max
	m.tight = rapid.Bool().Draw(rt, "tight budget")
	m.validate = rapid.Bool().Draw(rt, "validate")
	m.budget = 40 // more than the steps of one run can use up
	if m.tight {
		m.budget = m.ceiling
	}
	cfg, err := autotune.ParseConfig(with(t, dsn, "application_name", m.app))
	if err != nil {
		rt.Fatal(err)
	}
	cfg.Pool.MaxConns, cfg.Pool.MinConns = int32(m.max), int32(m.min)
	cfg.Start, cfg.Ceiling, cfg.Budget, cfg.Manual = m.max, m.ceiling, m.budget, true
	cfg.ValidateBeforeUse = m.validate
	cfg.Interval, cfg.SwapTimeout, cfg.DrainTimeout = 100*time.Millisecond, 500*time.Millisecond, time.Millisecond
	if rapid.Bool().Draw(rt, "acquire timeout") {
		cfg.AcquireTimeout = 2 * patience // the other path through Acquire
	}
	if m.pool, err = autotune.NewWithConfig(context.Background(), cfg); err != nil {
		rt.Fatal(err)
	}
	m.db = autotune.OpenDB(m.pool)
	over := false
	defer func() {
		if !over { // a difference was found: nothing may be left behind for the next try
			m.abandon()
		}
	}()
	rt.Repeat(map[string]func(*rapid.T){
		"":             m.check,
		"ask":          m.ask,
		"ask again":    m.ask,
		"ask too late": m.askTooLate,
		"release":      m.release,
		"give back":    m.release,
		"cancel":       m.cancel,
		"limit":        m.setLimit,
		"resize":       m.resize,
		"swap in load": m.resizeAmongCallers,
		"reconfigure":  m.reconfigure,
		"kill":         m.kill,
		"use":          m.use,
		"hijack":       m.hijack,
		"take idle":    m.takeIdle,
		"reset":        m.reset,
		"census":       m.census,
		"close":        m.close,
	})
	m.finish()
	over = true
}

// check compares the pool with the napkin.
func (m *napkin) check(rt *rapid.T) {
	operations.Add(1)
	m.actions++
	m.quiet(rt)
	if said := await.Poll(modelPatience, func() string {
		if n := int(m.pool.Stat().AcquiredConns()); n != len(m.held) {
			return fmt.Sprintf("Stat has %d acquired, not %d", n, len(m.held))
		}
		return ""
	}); said != "" {
		rt.Fatal(said)
	}
	if len(m.queue) > 0 && len(m.held) < m.limit {
		rt.Fatalf("%d callers queue although only %d of %d connections are in use", len(m.queue), len(m.held), m.limit)
	}
	s, stat := m.pool.Snapshot(), m.pool.Stat()
	if s.Open > m.budget || s.OpenPeak > m.budget {
		rt.Fatalf("%d open, at most %d, of a budget of %d", s.Open, s.OpenPeak, m.budget)
	}
	if limit := m.pool.Snapshot().Limit; !m.closed && (limit != m.limit || s.Size != autotune.Size{Max: m.max, Min: m.min}) {
		rt.Fatalf("limit %d of %+v, not %d of {%d %d}", limit, s.Size, m.limit, m.max, m.min)
	}
	if n := m.arrived(); n != m.arrivals || s.Canceled != m.canceled || s.Failed != 0 {
		rt.Fatalf("%d arrivals, %d canceled, %d failed, not %d, %d, 0", n, s.Canceled, s.Failed, m.arrivals, m.canceled)
	}
	if got := stat.CanceledAcquireCount(); got != m.canceled {
		rt.Fatalf("Stat has %d canceled, not %d", got, m.canceled)
	}
}

// quiet waits until everybody whom the pool has let in holds a connection, and
// checks that it let them in up to the limit and in the order of their asking.
func (m *napkin) quiet(rt *rapid.T) {
	answered := 0
	if said := await.Poll(modelPatience, func() string {
		answered = 0
		for _, a := range m.queue {
			select {
			case got := <-a.answer:
				a.got = &got
			default:
			}
			if a.got != nil {
				answered++
			}
		}
		s := m.pool.Snapshot()
		in, queued := len(m.held)+answered, len(m.queue)-answered
		if s.InUse != in || s.Queued != queued || queued > 0 && in < m.limit && !m.moving {
			return fmt.Sprintf("%d in use and %d queued, not %d and %d, of %d", s.InUse, s.Queued, in, queued, m.limit)
		}
		return ""
	}); said != "" {
		rt.Fatal(said)
	}
	waiting := m.queue[:0:0]
	for i, a := range m.queue {
		switch {
		case a.got == nil:
			waiting = append(waiting, a)
			continue
		case a.got.err != nil:
			rt.Fatalf("a queued caller got %v", a.got.err)
		case len(waiting) > 0 && waiting[0].action < a.action:
			rt.Fatalf("caller %d of the queue passed another who came %d actions before", i+1, a.action-waiting[0].action)
		}
		a.cancel()
		m.held = append(m.held, a.got.holder)
	}
	m.queue = waiting
	if answered > 0 && len(m.held) > m.limit {
		rt.Fatalf("%d callers were let in although now %d of %d are in use", answered, len(m.held), m.limit)
	}
}

// finish gives everything back, closes the pool and balances the books.
func (m *napkin) finish() {
	rt := m.rt
	for len(m.held) > 0 {
		m.giveBack(rt, 0)
		m.check(rt)
	}
	if !m.closed {
		m.shut(rt)
	}
	for i, c := range m.own {
		if i == 0 {
			go func() { _ = c.Close(context.Background()) }() // at the same time as Close
			continue
		}
		_ = c.Close(context.Background())
	}
	select {
	case <-m.closeDone:
	case <-time.After(modelPatience):
		rt.Fatalf("Close does not end: %+v", m.pool.Snapshot())
	}
	_ = m.db.Close()
	said := await.Poll(modelPatience, func() string {
		s := m.pool.Snapshot()
		if s.Open != 0 || s.InUse != 0 || s.Queued != 0 || s.Idle != 0 {
			return fmt.Sprintf("after Close %d open, %d in use, %d queued, %d idle", s.Open, s.InUse, s.Queued, s.Idle)
		}
		if s.Arrivals != m.arrivals || s.Completions != m.completions || s.Canceled != m.canceled || s.Failed != 0 {
			return fmt.Sprintf("at the end %d arrivals, %d completions, %d canceled, %d failed, not %d, %d, %d, 0",
				s.Arrivals, s.Completions, s.Canceled, s.Failed, m.arrivals, m.completions, m.canceled)
		}
		return ""
	})
	if said == "" && m.arrivals != m.completions+m.canceled {
		said = fmt.Sprintf("the books do not balance: %d arrivals, %d completions, %d canceled", m.arrivals, m.completions, m.canceled)
	}
	if said != "" {
		rt.Fatal(said)
	}
}

// abandon ends a pool whose state is unknown.
func (m *napkin) abandon() {
	for _, a := range m.queue {
		a.cancel()
		if a.got == nil {
			got := <-a.answer
			a.got = &got
		}
		if a.got.holder != nil {
			m.held = append(m.held, a.got.holder)
		}
	}
	for _, h := range m.held {
		_ = h.release()
	}
	for _, c := range m.own {
		_ = c.Close(context.Background())
	}
	m.pool.Close()
	_ = m.db.Close()
}

func isClosed(err error) bool { return errors.Is(err, puddle.ErrClosedPool) }
