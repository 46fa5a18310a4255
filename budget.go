package autotune

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

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

// guardDial makes the connection about to be opened with cfg take a token of
// the budget where its socket is dialled.
//
// pgconn may dial several times for one connection, one after the other: with TLS
// and without, each address of a host, each host. It closes a socket before it
// dials the next, which then takes over the token of the last if there is no
// other: two attempts that each gave one back and looked for another would hinder
// each other for ever where the budget is nearly used up.
func (p *Pool) guardDial(gen *generation, cfg *pgx.ConnConfig) {
	var (
		last    atomic.Pointer[socket] // of this connection attempt
		refused atomic.Bool            // for good: its fallback, without TLS or to another host, is not meant for that
	)
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		before := last.Load()
		if ctx.Value(connecting{}) == nil || before != nil && before.isEstablished() {
			// A cancel request: its own short socket, not a server connection. pgconn sends
			// one also for an attempt that failed half-way, beside the next.
			return dial(ctx, network, addr)
		}
		if refused.Load() || !p.budget.take() && (before == nil || !before.inherit(ctx)) {
			refused.Store(true)
			return nil, errNoBudget
		}
		began := p.now()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			p.budget.give()
			return nil, err
		}
		p.keepAlive(conn)
		s := &socket{Conn: conn, dialled: conn, pool: p, gen: gen, began: began}
		last.Store(s)
		p.ledger.add(s)
		return s, nil
	}
	if wrap := cfg.AfterNetConnect; wrap != nil {
		cfg.AfterNetConnect = func(ctx context.Context, c *pgconn.Config, conn net.Conn) (net.Conn, error) {
			s, ok := conn.(*socket)
			if !ok { // TLS over it
				return wrap(ctx, c, conn)
			}
			inner, err := wrap(ctx, c, s.Conn) // which is what the user's dial gave
			if err == nil {
				s.Conn = inner
			}
			return s, err
		}
	}
	after := cfg.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		s := beneath(conn)
		if s == nil {
			s = last.Load()
		}
		if s == nil || s.isEstablished() { // made by a user with a copy of this configuration
			if after != nil {
				return after(ctx, conn)
			}
			return nil
		}
		s.mu.Lock()
		s.established = true
		s.mu.Unlock()
		last.Store(s)
		conn.CustomData()[socketKey] = s
		p.ledger.connected()
		if after != nil {
			return after(ctx, conn)
		}
		return nil
	}
}

// connecting marks the context of an attempt to connect.
type connecting struct{}

// TraceConnectStart implements [pgx.ConnectTracer].
func (t *tracer) TraceConnectStart(ctx context.Context, data pgx.TraceConnectStartData) context.Context {
	return context.WithValue(t.ConnectTracer.TraceConnectStart(ctx, data), connecting{}, true)
}
