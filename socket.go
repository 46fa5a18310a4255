package autotune

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// socket is the network connection of one server connection. It carries the
// token of the budget, the permit of the gate while a caller holds it, and the
// counters of the callers it served: they live here, and not in one shared
// place, because only the holder writes them and so nothing contends.
type socket struct {
	net.Conn          // as the user's AfterNetConnect may have wrapped it
	dialled  net.Conn // the same without
	pool     *Pool
	gen      *generation
	began    int64 // when it was dialled

	acquiredAt atomic.Int64 // when the hold began; 0: not held by a caller; below: see short
	closedAt   atomic.Int64 // 0: open
	completed  atomic.Int64 // times given back, but for those in short
	service    atomic.Int64 // sum of the time held, ns
	serviceSq  sumOfSquares
	services   soloDurations

	// Of the holder alone, for holds so short that reading the clock twice
	// would cost as much as they last.
	skip     int32         // holds yet to go without a measurement
	short    int64         // holds before this one to be counted as long as it
	within   int64         // the time that these had, ns
	measured int64         // when the last hold ended that was measured
	waited   time.Duration // for the limit, before this hold

	responses soloDurations // waited and held together

	// Of the ledger's looks, for a hold that lasts although it was not measured.
	owed    atomic.Int64 // holds before it, not in the sums yet
	sight   sighting     // the one under way at the last look
	sightAt int64        // when

	searching bool // of the holder alone: the statement under way is a vector search
	own       bool // of the holder alone: the pool itself is, or was last

	mu            sync.Mutex
	established   bool          // the session is up: later dials are cancel requests
	serves        bool          // counted by the gate as one that can serve
	closed        bool          // Close was called
	gone          bool          // the server has closed its end: the token is back, or with the heir
	permitPending bool          // give the permit back when gone
	heir          chan struct{} // closed when gone and the token is the heir's; nil: there is none
	late          *time.Timer   // closes what pgx does not; nil: not needed
}

// A hold shorter than shortHold, such as an acquire for a hook, is measured only
// once in shortEvery. A query over a network never is: a round trip over
// loopback takes 50 µs.
const (
	shortHold  = int64(10 * time.Microsecond)
	shortEvery = 8
)

// Holds that are not measured are counted in acquiredAt, so that a single write
// does for them and no reader of the counters misses one: −2n−1 while the n+1st
// lasts, −2n after n of them. The next measured hold takes them over.

func (s *socket) isHeld() bool {
	at := s.acquiredAt.Load()
	return at > 0 || at < 0 && at&1 != 0
}

// unmeasured is the n of an acquiredAt.
func unmeasured(at int64) int64 {
	if at <= aside {
		at -= aside
	}
	return max(0, -at) / 2
}

// aside is added to an acquiredAt by a hold that counts nowhere.
const aside = -1 << 62

// holdAside marks the socket as given to a caller who asked the gate for nothing: it is
// in use, but no demand, and not in the statistics, as in pgxpool.
func (s *socket) holdAside() {
	s.waited, s.own = 0, false
	s.acquiredAt.Add(aside - 1)
}

// hold marks the socket as given to a caller.
func (s *socket) hold() {
	s.waited, s.own = 0, false
	at := s.acquiredAt.Load()
	if s.skip > 0 {
		s.skip--
		s.short = 0
		s.acquiredAt.Store(at - 1)
		return
	}
	now := s.pool.now()
	s.acquiredAt.Store(now)
	s.pool.levels.change(now, inUseOf(s.pool.gate.state.Load()))
	if s.short = unmeasured(at); s.short > 0 {
		s.within = now - s.measured
		s.completed.Add(s.short)
	}
}

// giveBack books the hold that ends, and tells whether there was one: none for
// connections that the pool itself held, while warming.
func (s *socket) giveBack() bool {
	at := s.acquiredAt.Load()
	if at < 0 && at > aside && at&1 != 0 {
		if s.acquiredAt.CompareAndSwap(at, at-1) {
			return true
		}
		at = s.acquiredAt.Load() // a look has just given it its beginning, see stamp
	}
	switch {
	case at > 0:
		now := s.pool.now()
		held := max(0, now-at)
		if held < shortHold {
			s.skip = shortEvery - 1
		}
		n := 1 + s.short
		if s.short == 0 || s.short*held <= s.within {
			s.serve(n, held, s.waited)
		} else { // they cannot have been as long
			s.serve(1, held, s.waited)
			s.serve(s.short, s.within/s.short, 0)
		}
		if s.owed.Load() > 0 {
			s.serve(s.owed.Swap(0), 0, 0)
		}
		s.measured = now
		s.completed.Add(1)
		s.acquiredAt.Store(0)
		s.book(now, n)
		return true
	case at <= aside:
		s.acquiredAt.Store(at - aside + 1)
		return true
	}
	return false
}

// sighting tells one hold of a socket that is not measured from another: acquiredAt, and
// how many were measured before.
type sighting struct{ at, completed int64 }

// stamp gives the hold under way a beginning if it was under way at the last look too:
// nobody had looked at the clock, because those before it were short. The ledger's lock
// is held.
func (s *socket) stamp(at, now int64) int64 {
	seen := sighting{at, s.completed.Load()}
	if s.sight != seen {
		s.sight, s.sightAt = seen, now
		return at
	}
	if !s.acquiredAt.CompareAndSwap(at, s.sightAt) {
		return s.acquiredAt.Load() // over
	}
	n := unmeasured(at)
	s.owed.Add(n)
	s.completed.Add(n)
	return s.sightAt
}

// serve adds n holds of a length to the sums.
func (s *socket) serve(n, held int64, waited time.Duration) {
	s.service.Add(n * held)
	s.serviceSq.add(n, held)
	s.responses.add(int64(waited)+held, n)
	s.services.add(held, n)
}

// book counts n holds that ended now, before the permit goes back: to the first
// in the queue if there is one, and then as many remain in use as before, unless
// the limit was lowered and the permit is owed.
func (s *socket) book(now, n int64) {
	state := s.pool.gate.state.Load()
	inUse := inUseOf(state)
	s.pool.levels.leave(inUse, n)
	if queuedOf(state) == 0 || inUse > s.pool.gate.reach.Load() {
		s.pool.levels.change(now, inUse-1)
	}
}

// lingerTimeout bounds the wait for the server to close its end. A healthy
// server needs about a millisecond; a machine that was cut off never answers,
// and its tokens shall not be lost for longer than this.
const lingerTimeout = 2 * time.Second

// noticeTimeout is how long a server may take to end the backend of a connection that was
// closed as a whole, which is seen by nothing. It takes about a millisecond when it is idle.
const noticeTimeout = 200 * time.Millisecond

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
	if s.serves {
		s.pool.gate.lost()
	}
	s.mu.Unlock()

	s.pool.budget.closing.Go(func() {
		// One that cannot be half-closed has said goodbye if it could, and the server hangs up.
		if c, ok := s.dialled.(interface{ CloseWrite() error }); !ok || c.CloseWrite() == nil {
			// Not by a deadline: a tunnel's connection may have none.
			enough := time.AfterFunc(lingerTimeout, func() { _ = s.dialled.Close() })
			_ = s.dialled.SetDeadline(time.Now().Add(2 * lingerTimeout)) // instead of one long past, which a canceled query set
			var rest [512]byte
			for {
				if _, err := s.dialled.Read(rest[:]); err != nil {
					break
				}
			}
			if !enough.Stop() { // it was told by nothing before this, and counts the backend until it has noticed
				time.Sleep(noticeTimeout)
			}
		}
		_ = s.Conn.Close()
		s.pool.ledger.remove(s)
		s.mu.Lock()
		s.gone = true
		if s.heir != nil {
			close(s.heir)
		} else {
			s.pool.budget.give() // before a permit goes to somebody who needs it
		}
		permit := s.permitPending
		s.permitPending = false
		if s.late != nil {
			s.late.Stop()
		}
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
	if s.permitPending = !gone; !gone {
		// pgx closes it within closeTimeout, or never where a deadline does not end a read.
		s.late = time.AfterFunc(closeTimeout+lingerTimeout, func() { _ = s.Close() })
	}
	s.mu.Unlock()
	if gone {
		s.pool.gate.release()
	}
}

// NetConn is the network connection beneath, as a *tls.Conn tells it.
func (s *socket) NetConn() net.Conn { return s.Conn }

// SyscallConn is the operating system's socket beneath, for who reads or sets its options.
func (s *socket) SyscallConn() (syscall.RawConn, error) {
	if c, ok := s.dialled.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, fmt.Errorf("autotune: a %T, which the dialler gave, has no socket of the operating system", s.dialled)
}

// socketKey is where a connection's custom data holds its socket, for when the
// user's AfterNetConnect has wrapped TLS.
const socketKey = "autotune.socket"

// socketOf finds the socket beneath a connection: two type assertions, where a
// look-up in the custom data would cost as much as the gate.
func socketOf(conn *pgx.Conn) *socket {
	pg := conn.PgConn()
	if s := beneath(pg); s != nil {
		return s
	}
	s, _ := pg.CustomData()[socketKey].(*socket)
	return s
}

// beneath is the socket of a connection that nobody has wrapped, but in TLS; else nil.
func beneath(conn *pgconn.PgConn) *socket {
	switch c := conn.Conn().(type) {
	case *socket:
		return c
	case interface{ NetConn() net.Conn }: // TLS
		s, _ := c.NetConn().(*socket)
		return s
	}
	return nil
}

// canServe tells the gate that the connection is open, hooks and all.
func (s *socket) canServe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && !s.serves {
		s.serves = true
		s.pool.gate.opened(time.Duration(s.pool.now() - s.began))
	}
}

// inherit waits until the server has closed its end of a socket that was closed,
// and takes over its token. It is false when there is none to take over.
func (s *socket) inherit(ctx context.Context) bool {
	s.mu.Lock()
	if !s.closed || s.gone || s.heir != nil { // a cancel request may dial beside the next attempt: one heir only
		s.mu.Unlock()
		return false
	}
	heir := make(chan struct{})
	s.heir = heir
	s.mu.Unlock()
	select {
	case <-heir:
		return true
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heir = nil
	return s.gone
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
