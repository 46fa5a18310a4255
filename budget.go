package autotune

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// errNoBudget is what a dial gets when every server connection of the budget
// is taken. It stays inside: a caller's acquire waits for a token or for a
// connection to come back, whichever is first.
var errNoBudget = errors.New("autotune: the budget of server connections is used up")

// budget counts the server connections of all generations and never lets them
// exceed its size. A token is taken where a socket is dialled and given back
// when the server has closed its end, so connections that are dying count.
//
// Taking never blocks: a dial that could block inside the pool underneath would
// hold up its caller although another connection comes free meanwhile.
//
// All methods are safe for concurrent use.
type budget struct {
	mu   sync.Mutex
	size int
	open int
	peak int           // highest open ever
	free chan struct{} // closed when something came free; nil while nobody waits

	wanted  atomic.Int32 // callers waiting; read on every release
	closing farewells
}

// farewells are the sockets whose end is awaited. It is not a WaitGroup, because
// a hijacked connection is closed whenever its owner likes, also while Close
// waits for the others or after it: an Add beside a Wait from zero is a race.
type farewells struct {
	mu   sync.Mutex
	n    int           // guarded by mu
	none chan struct{} // guarded by mu: closed when n falls to 0; nil while nobody waits
}

func (f *farewells) Go(say func()) {
	f.mu.Lock()
	f.n++
	f.mu.Unlock()
	go func() {
		defer f.done()
		say()
	}()
}

func (f *farewells) done() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n--; f.n == 0 && f.none != nil {
		close(f.none)
		f.none = nil
	}
}

// Wait returns when no socket's end is awaited.
func (f *farewells) Wait() {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return
	}
	if f.none == nil {
		f.none = make(chan struct{})
	}
	none := f.none
	f.mu.Unlock()
	<-none
}

func (b *budget) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open >= b.size {
		return false
	}
	b.open++
	b.peak = max(b.peak, b.open)
	return true
}

// hasRoom tells whether take would succeed now.
func (b *budget) hasRoom() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open < b.size
}

func (b *budget) give() {
	b.mu.Lock()
	b.open--
	b.mu.Unlock()
	b.poke()
}

// poke tells everybody who waits that a token or a connection may be free.
func (b *budget) poke() {
	if b.wanted.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free != nil {
		close(b.free)
		b.free = nil
	}
}

// subscribe returns a channel that closes when something comes free after the
// call. Every subscribe needs one unsubscribe.
func (b *budget) subscribe() <-chan struct{} {
	b.wanted.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free == nil {
		b.free = make(chan struct{})
	}
	return b.free
}

func (b *budget) unsubscribe() { b.wanted.Add(-1) }

func (b *budget) snapshot() (open, peak, size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open, b.peak, b.size
}

// socket is the network connection of one server connection. It carries the
// token of the budget, the permit of the gate while a caller holds it, and the
// counters of the callers it served: they live here, and not in one shared
// place, because only the holder writes them and so nothing contends.
type socket struct {
	net.Conn
	pool *Pool
	gen  *generation

	acquiredAt atomic.Int64 // when the hold began; 0: not held by a caller; below: see short
	closedAt   atomic.Int64 // 0: open
	completed  atomic.Int64 // times given back, but for those in short
	service    atomic.Int64 // sum of the time held, ns
	serviceSq  sumOfSquares
	services   soloDurations

	// Of the holder alone, for holds so short that reading the clock twice
	// would cost as much as they last.
	skip   int32         // holds yet to go without a measurement
	short  int64         // holds before this one to be counted as long as it
	waited time.Duration // for the limit, before this hold

	responses soloDurations // waited and held together

	searching bool // of the holder alone: the statement under way is a vector search

	mu            sync.Mutex
	established   bool // the session is up: later dials are cancel requests
	closed        bool // Close was called
	gone          bool // the server has closed its end: the token is back
	permitPending bool // give the permit back when gone
}

// A hold shorter than shortHold, such as an acquire for a hook, is measured only
// once in shortEvery. A query over a network never is: a round trip over
// loopback takes 50 µs.
const (
	shortHold  = int64(10 * time.Microsecond)
	shortEvery = 8
)

// Holds that are not measured are counted in acquiredAt, so that a single store
// does for them and no reader of the counters misses one: −2n−1 while the n+1st
// lasts, −2n after n of them. The next measured hold takes them over.

func (s *socket) isHeld() bool {
	at := s.acquiredAt.Load()
	return at > 0 || at < 0 && at&1 != 0
}

// unmeasured is the n of an acquiredAt.
func unmeasured(at int64) int64 { return max(0, -at) / 2 }

// hold marks the socket as given to a caller.
func (s *socket) hold() {
	s.waited = 0
	at := s.acquiredAt.Load()
	if s.skip > 0 {
		s.skip--
		s.acquiredAt.Store(at - 1)
		return
	}
	now := s.pool.now()
	s.acquiredAt.Store(now)
	s.pool.levels.change(now, inUseOf(s.pool.gate.state.Load()))
	if s.short = unmeasured(at); s.short > 0 {
		s.completed.Add(s.short)
	}
}

// giveBack books the hold that ends, and tells whether there was one: none for
// connections that the pool itself held, while warming.
func (s *socket) giveBack() bool {
	at := s.acquiredAt.Load()
	switch {
	case at > 0:
		now := s.pool.now()
		held := max(0, now-at)
		if held < shortHold {
			s.skip = shortEvery - 1
		}
		n := 1 + s.short
		s.service.Add(n * held)
		s.serviceSq.add(n, held)
		s.responses.add(int64(s.waited)+held, n)
		s.services.add(held, n)
		s.completed.Add(1)
		s.acquiredAt.Store(0)
		s.book(now, n)
		return true
	case at&1 != 0:
		s.acquiredAt.Store(at - 1)
		return true
	}
	return false
}

// book counts n holds that ended now, before the permit goes back: to the first
// in the queue if there is one, and then as many remain in use as before, unless
// the limit was lowered and the permit is owed.
func (s *socket) book(now, n int64) {
	state := s.pool.gate.state.Load()
	inUse := inUseOf(state)
	s.pool.levels.leave(inUse, n)
	if queuedOf(state) == 0 || inUse > s.pool.gate.limit.Load() {
		s.pool.levels.change(now, inUse-1)
	}
}

// lingerTimeout bounds the wait for the server to close its end. A healthy
// server needs about a millisecond; a machine that was cut off never answers,
// and its tokens shall not be lost for longer than this.
const lingerTimeout = 2 * time.Second

// Close tells the server that no more will come and gives the token back when
// the server has closed its end: until then its backend still counts.
func (s *socket) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.closedAt.Store(s.pool.now())
	s.mu.Unlock()

	s.pool.budget.closing.Go(func() {
		if c, ok := s.Conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
			_ = s.Conn.SetDeadline(time.Now().Add(lingerTimeout))
			var rest [512]byte
			for {
				if _, err := s.Conn.Read(rest[:]); err != nil {
					break
				}
			}
		}
		_ = s.Conn.Close()
		s.pool.ledger.remove(s)
		s.pool.budget.give()
		s.mu.Lock()
		s.gone = true
		permit := s.permitPending
		s.permitPending = false
		s.mu.Unlock()
		if permit {
			s.pool.gate.release()
		}
	})
	return nil
}

// SetDeadline does nothing any more once the socket is closed: pgconn makes a
// canceled read fail by a deadline in the past, and may do so, or undo it, while
// Close awaits the server's end. It uses no other method of the family.
func (s *socket) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	return s.Conn.SetDeadline(t)
}

// releasePermitWhenGone gives the holder's permit back once the server has
// noticed that the connection is closed: a query that was canceled may run on
// for a while and its backend still uses the server.
func (s *socket) releasePermitWhenGone() {
	s.mu.Lock()
	gone := s.gone
	s.permitPending = !gone
	s.mu.Unlock()
	if gone {
		s.pool.gate.release()
	}
}

// socketKey is where a connection's custom data holds its socket, for when the
// user's AfterNetConnect has wrapped the network connection.
const socketKey = "autotune.socket"

// socketOf finds the socket beneath a connection: two type assertions, where a
// look-up in the custom data would cost as much as the gate.
func socketOf(conn *pgx.Conn) *socket {
	pg := conn.PgConn()
	switch c := pg.Conn().(type) {
	case *socket:
		return c
	case interface{ NetConn() net.Conn }: // TLS
		if s, ok := c.NetConn().(*socket); ok {
			return s
		}
	}
	s, _ := pg.CustomData()[socketKey].(*socket)
	return s
}

// guardDial makes the connection about to be opened with cfg take a token of
// the budget where its socket is dialled.
func (p *Pool) guardDial(gen *generation, cfg *pgx.ConnConfig) {
	var current *socket // of this connection attempt; fallbacks dial one after the other
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if current != nil && current.isEstablished() {
			return dial(ctx, network, addr) // a cancel request: its own short socket, not a server connection
		}
		if !p.budget.take() {
			return nil, errNoBudget
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			p.budget.give()
			return nil, err
		}
		p.keepAlive(conn)
		current = &socket{Conn: conn, pool: p, gen: gen}
		p.ledger.add(current)
		return current, nil
	}
	after := cfg.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		current.mu.Lock()
		current.established = true
		current.mu.Unlock()
		conn.CustomData()[socketKey] = current
		p.ledger.connected()
		if after != nil {
			return after(ctx, conn)
		}
		return nil
	}
}

// isGone tells whether the token of the socket has come back.
func (s *socket) isGone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

func (s *socket) isEstablished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.established
}
