package fire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/await"
	"pgregory.net/rapid"
)

var ways = []string{"conn", "conn", "tx", "rows", "row", "batch", "batch tx", "sql"}

// acquire gets a connection in one of the ways there are, and says how to give
// it back.
func (m *napkin) acquire(ctx context.Context, way string) (*holder, error) {
	h := &holder{kind: way}
	switch way {
	case "conn":
		c, err := m.pool.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		h.own(c)
	case "tx":
		tx, err := m.pool.Begin(ctx)
		if err != nil {
			return nil, err
		}
		h.release = func() error { return tx.Rollback(context.Background()) }
	case "rows":
		rows, err := m.pool.Query(ctx, "select generate_series(1, 3)")
		if err != nil {
			return nil, err
		}
		h.release = func() error { rows.Close(); return rows.Err() }
	case "row":
		row := m.pool.QueryRow(ctx, "select 1")
		if r, ok := row.(pgx.Rows); ok && r.Err() != nil {
			return nil, r.Err()
		}
		h.release = func() error { var one int; return row.Scan(&one) }
	case "batch", "batch tx":
		b := &pgx.Batch{}
		if way == "batch tx" {
			b.BeginTx(pgx.TxOptions{})
		}
		b.Queue("select 1")
		r := m.pool.SendBatch(ctx, b)
		if way == "batch tx" {
			if tx := r.Tx(); tx != nil {
				if err := r.Close(); err != nil {
					return nil, err
				}
				h.release = func() error { return tx.Commit(context.Background()) }
				return h, nil
			}
			return nil, r.Close()
		}
		if _, err := r.Exec(); err != nil {
			_ = r.Close()
			return nil, err
		}
		h.release = r.Close
	case "sql":
		c, err := m.db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		h.release = c.Close
	}
	return h, nil
}

func (h *holder) own(c *pgxpool.Conn) {
	h.conn, h.pid = c, c.Conn().PgConn().PID()
	h.release = func() error { c.Release(); c.Release(); return nil }
}

// askOne lets a caller ask and returns when the pool knows of it.
func (m *napkin) askOne(rt *rapid.T) {
	way := rapid.SampledFrom(ways).Draw(rt, "way")
	ctx, cancel := context.WithCancel(context.Background())
	a := &asker{action: m.actions, cancel: cancel, answer: make(chan answer, 1)}
	go func() {
		h, err := m.acquire(ctx, way)
		a.answer <- answer{h, err}
	}()
	m.queue = append(m.queue, a)
	m.arrivals++
	if said := await.Poll(modelPatience, func() string {
		if n := m.arrived(); n < m.arrivals {
			return fmt.Sprintf("%d callers have arrived, not %d", n, m.arrivals)
		}
		return ""
	}); said != "" {
		rt.Fatal(said)
	}
}

// arrived is how many callers the pool knows of.
func (m *napkin) arrived() int64 { return m.pool.Snapshot().Arrivals }

func (m *napkin) ask(rt *rapid.T) {
	switch {
	case m.closed:
		if _, err := m.pool.Acquire(context.Background()); !isClosed(err) {
			rt.Fatalf("the closed pool answered %v", err)
		}
	case len(m.queue) > 6 || len(m.held) > 12:
		rt.Skip("enough are here")
	default:
		m.askOne(rt)
	}
}

// askTooLate asks with a context that is over, or over at once.
func (m *napkin) askTooLate(rt *rapid.T) {
	if m.closed || len(m.held) < m.limit && len(m.queue) == 0 {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := m.pool.Acquire(ctx); err == nil {
			rt.Fatal("a connection was given to a context that is over")
		}
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if _, err := m.pool.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, autotune.ErrAcquireTimeout) {
			rt.Fatalf("a caller in the queue whose context was over got %v", err)
		}
	}
	m.arrivals++
	m.canceled++
}

func (m *napkin) release(rt *rapid.T) {
	if len(m.held) == 0 {
		rt.Skip("nobody holds")
	}
	m.giveBack(rt, rapid.IntRange(0, len(m.held)-1).Draw(rt, "who"))
}

func (m *napkin) giveBack(rt *rapid.T, i int) {
	h := m.held[i]
	if h.conn != nil && !m.killed[h.pid] && rapid.IntRange(0, 5).Draw(rt, "dirty") == 0 {
		// In the middle of a transaction: it must not come back as it is.
		if _, err := h.conn.Exec(context.Background(), "begin"); err != nil {
			rt.Fatal(err)
		}
	}
	if err := h.release(); err != nil && len(m.killed) == 0 {
		rt.Fatalf("giving back a %s: %v", h.kind, err)
	}
	m.held = append(m.held[:i:i], m.held[i+1:]...)
	m.over(h)
}

// over counts a hold that has ended.
func (m *napkin) over(h *holder) {
	if h.kind != "idle" { // which counts nowhere
		m.completions++
	}
}

func (m *napkin) cancel(rt *rapid.T) {
	if len(m.queue) == 0 {
		rt.Skip("nobody queues")
	}
	i := rapid.IntRange(0, len(m.queue)-1).Draw(rt, "who")
	a := m.queue[i]
	a.cancel()
	got := <-a.answer
	if !errors.Is(got.err, context.Canceled) {
		rt.Fatalf("the canceled caller got %v", got.err)
	}
	m.queue = append(m.queue[:i:i], m.queue[i+1:]...)
	m.canceled++
}

func (m *napkin) setLimit(rt *rapid.T) {
	n := rapid.IntRange(-1, 7).Draw(rt, "limit")
	m.pool.SetLimit(n)
	m.limit = min(max(n, 1), m.max)
}

func (m *napkin) drawSize(rt *rapid.T) autotune.Size {
	size := autotune.Size{Max: rapid.IntRange(1, m.ceiling).Draw(rt, "max")}
	size.Min = rapid.IntRange(0, size.Max).Draw(rt, "min")
	return size
}

func (m *napkin) resize(rt *rapid.T) {
	size := m.drawSize(rt)
	// With the budget used up and every permit out, no connection can be
	// closed to open the first of the new size: then it may fail.
	may := m.tight && (len(m.held) >= m.limit || len(m.queue) > 0 || len(m.held) >= m.budget)
	m.resized(rt, size, may, m.pool.Resize(context.Background(), size))
}

func (m *napkin) resized(rt *rapid.T, size autotune.Size, mayFail bool, err error) {
	switch {
	case m.closed:
		if err == nil {
			rt.Fatal("a closed pool was resized")
		}
	case err == nil:
		m.max, m.min, m.limit = size.Max, size.Min, size.Max
	case !mayFail:
		rt.Fatalf("resize to %+v: %v", size, err)
	}
}

// resizeAmongCallers swaps while callers come, go and give up.
func (m *napkin) resizeAmongCallers(rt *rapid.T) {
	if m.closed {
		rt.Skip("closed")
	}
	size := m.drawSize(rt)
	done := make(chan error, 1)
	before := m.limit
	m.limit, m.moving = max(m.limit, size.Max), true // either may hold until it is done
	go func() { done <- m.pool.Resize(context.Background(), size) }()
	for range rapid.IntRange(1, 6).Draw(rt, "meanwhile") {
		switch what := rapid.SampledFrom([]string{"ask", "release", "release"}).Draw(rt, "what"); {
		case what == "ask" && len(m.queue) < 6 && len(m.held) < 12:
			m.askOne(rt)
		case what == "release" && len(m.held) > 0:
			m.giveBack(rt, rapid.IntRange(0, len(m.held)-1).Draw(rt, "who"))
		}
	}
	err := <-done
	m.makeRoom(rt)
	m.quiet(rt)
	m.limit, m.moving = before, false
	m.resized(rt, size, m.tight, err)
}

// makeRoom lets those who hold a connection give it back as long as more callers have
// been let in than the limit, which fell meanwhile, would let in now: one of them may
// wait for a connection of the new size.
func (m *napkin) makeRoom(rt *rapid.T) {
	if said := await.Poll(modelPatience, func() string {
		rest := m.queue[:0:0]
		for _, a := range m.queue {
			select {
			case got := <-a.answer:
				a.got = &got
			default:
			}
			if a.got == nil || a.got.err != nil {
				rest = append(rest, a)
				continue
			}
			a.cancel()
			m.held = append(m.held, a.got.holder)
		}
		m.queue = rest
		s := m.pool.Snapshot()
		if s.InUse <= s.Limit {
			return ""
		}
		if len(m.held) > 0 {
			h := m.held[0]
			m.held = m.held[1:]
			_ = h.release()
			m.over(h)
		}
		return fmt.Sprintf("%d are in use of %d", s.InUse, s.Limit)
	}); said != "" {
		rt.Fatal(said)
	}
}

func (m *napkin) reconfigure(rt *rapid.T) {
	ctx := context.Background()
	refuse := errors.New("refused")
	switch what := rapid.SampledFrom([]string{"timeout", "timeout", "own error", "nobody there"}).Draw(rt, "what"); {
	case m.closed || what == "own error":
		if err := m.pool.Reconfigure(ctx, func(*pgxpool.Config) error { return refuse }); err == nil {
			rt.Fatal("the error of the function was ignored")
		}
	case what == "nobody there":
		if err := m.pool.Reconfigure(ctx, func(c *pgxpool.Config) error {
			c.ConnConfig.Port, c.ConnConfig.Fallbacks = 1, nil
			return nil
		}); err == nil {
			rt.Fatal("a server that is not there was published")
		}
	default:
		// Never whole seconds, which the server would show as such.
		timeout := fmt.Sprintf("%d001ms", rapid.IntRange(100, 900).Draw(rt, "seconds"))
		size := autotune.Size{Max: m.max, Min: m.min}
		limit := m.limit
		may := m.tight && (len(m.held) >= m.limit || len(m.queue) > 0 || len(m.held) >= m.budget)
		err := m.pool.Reconfigure(ctx, func(c *pgxpool.Config) error {
			c.ConnConfig.RuntimeParams["statement_timeout"] = timeout
			return nil
		})
		m.resized(rt, size, may, err)
		m.limit = limit // the size is as it was, so the limit stays too
		if err == nil {
			m.timeout = timeout
		}
	}
}

// kill cuts every connection at the server, those that are held too.
func (m *napkin) kill(rt *rapid.T) {
	if !m.validate {
		rt.Skip("only connections that are checked before use may be cut without anybody's noticing")
	}
	for _, h := range m.held {
		m.killed[h.pid] = true
	}
	if len(m.held) == 0 {
		m.killed[0] = true
	}
	_, err := m.admin.Exec(context.Background(), "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = $1", m.app)
	if err != nil {
		rt.Fatal(err)
	}
}

// use runs a query on a connection that is held, or on one for the query alone.
func (m *napkin) use(rt *rapid.T) {
	ctx := context.Background()
	if len(m.held) < m.limit && len(m.queue) == 0 && !m.closed {
		var timeout string
		if err := m.pool.QueryRow(ctx, "show statement_timeout").Scan(&timeout); err != nil || timeout != m.timeout {
			rt.Fatalf("statement_timeout is %q, not %q (%v)", timeout, m.timeout, err)
		}
		m.arrivals++
		m.completions++
	}
	for _, h := range m.held {
		if h.conn != nil && !m.killed[h.pid] {
			if err := h.conn.Ping(ctx); err != nil {
				rt.Fatalf("a connection in use broke: %v", err)
			}
		}
	}
}

func (m *napkin) hijack(rt *rapid.T) {
	if m.tight || len(m.own) > 3 {
		rt.Skip("its connection would be missing from the budget")
	}
	if m.closed {
		rt.Skip("a closed pool looks for hijacked connections only when the others are back")
	}
	for i, h := range m.held {
		if h.kind == "conn" {
			m.own = append(m.own, h.conn.Hijack())
			m.held = append(m.held[:i:i], m.held[i+1:]...)
			m.completions++
			return
		}
	}
	rt.Skip("nobody holds a plain connection")
}

func (m *napkin) takeIdle(rt *rapid.T) {
	if len(m.held) > 8 {
		rt.Skip("enough are out")
	}
	for _, c := range m.pool.AcquireAllIdle(context.Background()) {
		h := &holder{kind: "idle"}
		h.own(c)
		m.held = append(m.held, h) // in use, but nobody asked: it is in no count
		// Nobody checks these before use: what was killed while idle is found out now.
		if len(m.killed) > 0 && c.Ping(context.Background()) != nil {
			m.killed[h.pid] = true
		}
	}
}

func (m *napkin) reset(*rapid.T) { m.pool.Reset() }

// census counts the backends where they are: at the server.
func (m *napkin) census(rt *rapid.T) {
	var n int
	if err := m.admin.QueryRow(context.Background(), "select count(*) from pg_stat_activity where application_name = $1", m.app).Scan(&n); err != nil {
		rt.Fatal(err)
	}
	if n > m.budget {
		rt.Fatalf("the server has %d backends of a budget of %d", n, m.budget)
	}
}

func (m *napkin) close(rt *rapid.T) {
	if m.closed || rapid.IntRange(0, 3).Draw(rt, "really") != 0 {
		rt.Skip("not yet")
	}
	m.shut(rt)
}

// shut begins to close the pool and returns when it lets nobody in any more.
func (m *napkin) shut(rt *rapid.T) {
	m.closeDone = make(chan struct{})
	go func() { defer close(m.closeDone); m.pool.Close() }()
	if said := await.Poll(modelPatience, func() string {
		if m.pool.Snapshot().Limit != 0 {
			return "the pool still lets callers in"
		}
		return ""
	}); said != "" {
		rt.Fatal(said)
	}
	m.closed = true
	for _, a := range m.queue {
		got := <-a.answer
		a.got = &got
		a.cancel()
		if !isClosed(got.err) {
			rt.Fatalf("a queued caller got %v from Close", got.err)
		}
		m.canceled++
	}
	m.queue = nil
}
