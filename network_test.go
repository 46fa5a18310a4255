package autotune_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// mutable is a network connection that goes silent, as one does whose other end has
// lost its power: nothing comes through, and nobody hangs up.
type mutable struct {
	*net.TCPConn
	silent   *atomic.Bool
	timeless bool // it knows no deadlines, as those of SSH tunnels
}

func (m *mutable) Read(b []byte) (int, error) {
	for {
		if n, err := m.TCPConn.Read(b); err != nil || !m.silent.Load() {
			return n, err
		}
	}
}

func (m *mutable) Write(b []byte) (int, error) {
	if m.silent.Load() {
		return len(b), nil
	}
	return m.TCPConn.Write(b)
}

func (m *mutable) CloseWrite() error {
	if m.silent.Load() {
		return nil
	}
	return m.TCPConn.CloseWrite()
}

func (m *mutable) SetDeadline(at time.Time) error {
	if m.timeless {
		return errors.New("deadline not supported")
	}
	return m.TCPConn.SetDeadline(at)
}

// throughMutable makes a pool dial connections that go silent with silent.
func throughMutable(c *autotune.Config, silent *atomic.Bool, timeless bool) {
	dial := c.Pool.ConnConfig.DialFunc
	c.Pool.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &mutable{conn.(*net.TCPConn), silent, timeless}, nil
	}
}

// After a failover the old server does not answer, and its connections fill the budget.
// They have been idle for so long that a caller would have them pinged.
func TestReconfigureLeavesAServerThatHasGoneSilent(t *testing.T) {
	leakFree(t)
	var silent atomic.Bool
	p := open(t, pgtest.DSN(t), 2, func(c *autotune.Config) {
		throughMutable(c, &silent, false)
		c.SwapTimeout = 4 * time.Second // the old connections leave 2 s after they were closed
	})
	hold(t, p, 2)()
	<-time.After(1100 * time.Millisecond) // until pgxpool takes an idle connection for doubtful
	silent.Store(true)
	if err := p.Reconfigure(within(t), func(c *pgxpool.Config) error {
		c.ConnConfig.DialFunc = (&net.Dialer{}).DialContext
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := p.Ping(within(t)); err != nil {
		t.Error(err)
	}
}

// Who dials the host that was left goes to the one that was named instead, at once and not
// when the connect times out, whether the host swallows the dial or answers and says nothing.
func TestReconfigureTakesAlongWhoStillDials(t *testing.T) {
	for name, dead := range map[string]func(context.Context) (net.Conn, error){
		"swallowed": func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"silent": func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { _ = theirs.Close() })
			return ours, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			leakFree(t)
			const callers = 2
			var dials atomic.Int64
			p := open(t, pgtest.DSN(t), callers, func(c *autotune.Config) {
				c.Budget, c.Pool.ConnConfig.ConnectTimeout = callers+1, time.Hour
				c.Pool.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
					dials.Add(1)
					return dead(ctx)
				}
			})
			served, wait := crowd(t, p, callers)
			eventually(t, func() string {
				if n := dials.Load(); n < callers {
					return fmt.Sprintf("%d callers dial", n)
				}
				return ""
			})
			if err := p.Reconfigure(within(t), func(c *pgxpool.Config) error {
				c.ConnConfig.DialFunc = (&net.Dialer{}).DialContext
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() string {
				if n := served.Load(); n < callers {
					return fmt.Sprintf("%d of the callers that dialled are served", n)
				}
				return ""
			})
			none(t, wait())
			settled(t, p)
		})
	}
}

// A swap of size alone leads to the same host: what is dialled by then is used.
func TestAResizeThrowsNoDialAway(t *testing.T) {
	leakFree(t)
	answer := make(chan struct{})
	var dials atomic.Int64
	p := open(t, pgtest.DSN(t), 3, func(c *autotune.Config) {
		dial := c.Pool.ConnConfig.DialFunc
		c.Pool.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) == 1 {
				select {
				case <-answer:
				case <-ctx.Done():
				}
			}
			return dial(ctx, network, address)
		}
	})
	_, wait := crowd(t, p, 1)
	eventually(t, func() string {
		if dials.Load() == 0 {
			return "nobody dials"
		}
		return ""
	})
	if err := p.Resize(within(t), autotune.Size{Max: 2}); err != nil {
		t.Fatal(err)
	}
	close(answer)
	none(t, wait())
	if n := dials.Load(); n != 2 {
		t.Errorf("%d dials instead of one of the caller and one of the resize", n)
	}
}

func TestAConnectionWithoutDeadlinesDoesNotKeepItsTokenForEver(t *testing.T) {
	leakFree(t)
	var silent atomic.Bool
	p := open(t, pgtest.DSN(t), 1, func(c *autotune.Config) { throughMutable(c, &silent, true) })
	hold(t, p, 1)()
	silent.Store(true)
	closes(t, p)
}

// A hook that sets options of the socket gets the socket, and may wrap it.
func TestAfterNetConnectGetsTheConnectionThatWasDialled(t *testing.T) {
	leakFree(t)
	var silent atomic.Bool
	p := open(t, pgtest.DSN(t), 1, func(c *autotune.Config) {
		c.Pool.ConnConfig.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
			return &mutable{conn.(*net.TCPConn), &silent, false}, nil
		}
	})
	for range 2 {
		c, err := p.Acquire(within(t))
		if err != nil {
			t.Fatal(err)
		}
		beneath, ok := c.Conn().PgConn().Conn().(interface{ NetConn() net.Conn })
		if !ok {
			t.Fatal("the connection beneath cannot be reached")
		} else if _, ok := beneath.NetConn().(*mutable); !ok {
			t.Errorf("beneath is a %T", beneath.NetConn())
		}
		mustExec(t, c, "select 1")
		c.Release()
		p.Reset() // its token comes back
	}
}

// The configuration of a connection is good for another one beside the pool, which is
// none of the pool's.
func TestAConnectionMadeFromThatOfAnotherIsNotThePools(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 1)
	c, err := p.Acquire(within(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	beside, err := pgx.ConnectConfig(within(t), c.Conn().Config())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = beside.Close(context.Background()) }()
	both := make(chan error)
	for _, conn := range []*pgx.Conn{c.Conn(), beside} {
		go func() {
			var err error
			for range 100 {
				_, e := conn.Exec(t.Context(), "select 1")
				err = errors.Join(err, e)
			}
			both <- err
		}()
	}
	if err := errors.Join(<-both, <-both); err != nil {
		t.Error(err)
	}
	if n := p.Snapshot().Connects; n != 1 {
		t.Errorf("%d connects", n)
	}
}

// whole is a connection that can only be closed as a whole, as those that some dialers
// wrap themselves.
type whole struct{ net.Conn }

// A connection counts until the server has noticed its end, also where that cannot be
// told by closing half of it.
func TestTheBudgetHoldsForConnectionsThatCannotBeHalfClosed(t *testing.T) {
	const budget = 4
	dsn, super, _ := role(t, fmt.Sprint("connection limit ", budget))
	var wall wall
	p := open(t, dsn, budget, wall.trace, func(c *autotune.Config) {
		dial := c.Pool.ConnConfig.DialFunc
		c.Pool.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return whole{conn}, nil
		}
	})
	work := startClerks(t, p, 16)
	for i := range 120 {
		if err := p.Resize(t.Context(), autotune.Size{Max: budget - i%2}); err != nil {
			t.Fatalf("swap %d: %v", i, err)
		}
	}
	work.audit(t, admin(t, super))
	if n, s := wall.refused.Load(), p.Snapshot(); n > 0 || s.OpenPeak > budget {
		t.Errorf("the server refused %d connections beyond the %d of the role; at most %d were open", n, budget, s.OpenPeak)
	}
}
