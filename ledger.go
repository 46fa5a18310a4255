package autotune

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

// ledger adds up what the pool's connections served, over all generations. The
// hot counters live in each [socket]; the ledger knows the live sockets and
// keeps the sum of those that are gone. It is safe for concurrent use.
type ledger struct {
	mu    sync.Mutex
	live  map[*socket]struct{} // guarded by mu
	gone  serviceTotals        // guarded by mu: of sockets that are closed
	spent durations            // guarded by mu: service times of sockets that are closed
	opens int64                // guarded by mu: server connections established, cumulative
	times durations            // guarded by mu: response times of sockets that are closed

	failed atomic.Int64 // acquires that failed other than by being canceled
	// canceledLate counts acquires canceled after the gate had let them in,
	// while their connection was being dialled or checked.
	canceledLate atomic.Int64
}

// serviceTotals are the cumulative figures of completed and running holds.
type serviceTotals struct {
	completed int64
	held      int64 // gauge: held now
	aside     int64 // gauge: of these, by who did not ask the gate
	pinned    int64 // gauge: of these, open and for controller.PinnedAfter or longer
	orphans   int64 // gauge: of these, closed: by who hijacked them, or broken in use
	service   time.Duration
	inUse     time.Duration // service plus the running holds up to now
	serviceSq float64       // s²
}

// granted is how many acquires got a connection.
func (t *serviceTotals) granted() int64 { return t.completed + t.held - t.aside }

func (t *serviceTotals) add(s *socket, now int64) {
	at := s.acquiredAt.Load()
	if at > aside && at < 0 && at&1 != 0 && now > 0 {
		at = s.stamp(at, now)
	}
	t.completed += s.completed.Load() + unmeasured(at)
	service := time.Duration(s.service.Load())
	t.service += service
	t.inUse += service
	t.serviceSq += s.serviceSq.load()
	if at > 0 || at&1 != 0 {
		t.held++
		if at <= aside {
			t.aside++
		}
		if end := s.closedAt.Load(); end != 0 {
			now = end // hijacked and closed by its new owner
			t.orphans++
		}
		if at > 0 {
			held := time.Duration(max(0, now-at))
			t.inUse += held
			if s.closedAt.Load() == 0 && held >= controller.PinnedAfter {
				t.pinned++
			}
		}
	}
}

func (l *ledger) add(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live == nil {
		l.live = make(map[*socket]struct{})
	}
	l.live[s] = struct{}{}
}

// remove folds the figures of a closed socket into the sum. One that is still
// held stays until its caller gives it back.
func (l *ledger) remove(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.live[s]; !ok || s.isHeld() {
		return
	}
	l.gone.add(s, 0)
	s.responses.addTo(&l.times)
	s.services.addTo(&l.spent)
	delete(l.live, s)
}

func (l *ledger) connected() {
	l.mu.Lock()
	l.opens++
	l.mu.Unlock()
}

// forget drops the sockets of a generation that is closed for good. What is
// still held then was hijacked: the caller owns it, the pool does not know it.
func (l *ledger) forget(gen *generation, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.live {
		if s.gen == gen {
			l.gone.add(s, now)
			s.responses.addTo(&l.times)
			s.services.addTo(&l.spent)
			if at := s.acquiredAt.Load(); s.isHeld() && at > aside {
				l.gone.completed++ // for the pool this hold is over; totals never fall
			}
			delete(l.live, s)
		}
	}
	l.gone.held, l.gone.aside, l.gone.pinned, l.gone.orphans = 0, 0, 0, 0
}

func (l *ledger) totals(now int64) (t serviceTotals, opens int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t = l.gone
	for s := range l.live {
		t.add(s, now)
	}
	return t, l.opens
}

// responses are the response times of all holds that are over.
func (l *ledger) responses() (h durations) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h = l.times
	for s := range l.live {
		s.responses.addTo(&h)
	}
	return h
}

// services are the service times of all holds that were measured. A hold too
// short to be measured is counted with the next measured one of its connection
// (see [socket.hold]).
func (l *ledger) services() (h durations) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h = l.spent
	for s := range l.live {
		s.services.addTo(&h)
	}
	return h
}

// heldBy counts the connections of a generation that callers hold.
func (l *ledger) heldBy(gen *generation) (held int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.live {
		if s.gen == gen && s.isHeld() {
			held++
		}
	}
	return held
}

// sumOfSquares adds up squared seconds. Only the holder of the socket adds, so
// a load and a store suffice; readers see one or the other sum, never a torn one.
type sumOfSquares struct{ bits atomic.Uint64 }

func (s *sumOfSquares) add(n, nanos int64) {
	sec := float64(nanos) / 1e9
	s.bits.Store(math.Float64bits(math.Float64frombits(s.bits.Load()) + float64(n)*sec*sec))
}

func (s *sumOfSquares) load() float64 { return math.Float64frombits(s.bits.Load()) }
