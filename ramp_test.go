package autotune_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// crowd sends n callers for one query each, and returns how many have been served so far
// and what waits for all of them and returns their errors.
func crowd(t *testing.T, p *autotune.Pool, n int) (served *atomic.Int64, wait func() []error) {
	t.Helper()
	served = new(atomic.Int64)
	var all sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		all.Go(func() {
			if _, errs[i] = p.Exec(within(t), "select 1"); errs[i] == nil {
				served.Add(1)
			}
		})
	}
	return served, func() []error {
		all.Wait()
		return errs
	}
}

// none fails on each caller that was not served.
func none(t *testing.T, errs []error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

// dials is a hook before each connection is opened that counts them and decides.
type dials struct {
	begun atomic.Int64
	each  func(n int64) error
}

func (d *dials) hook(c *autotune.Config) {
	c.Pool.BeforeConnect = func(context.Context, *pgx.ConnConfig) error { return d.each(d.begun.Add(1)) }
}

func TestACrowdIsServedByTheFirstConnectionThatOpens(t *testing.T) {
	leakFree(t)
	const callers, atOnce = 40, 4
	rest := make(chan struct{})
	d := &dials{each: func(n int64) error {
		if n > 1 {
			<-rest
		}
		return nil
	}}
	p := open(t, pgtest.DSN(t), callers, d.hook)
	served, wait := crowd(t, p, callers)
	// All but those that others are being opened for, one more since the first opened.
	eventually(t, func() string {
		if n := served.Load(); n < callers-atOnce-1 {
			return fmt.Sprintf("%d served, %d dials begun: %+v", n, d.begun.Load(), p.Snapshot().Queued)
		}
		return ""
	})
	if n := d.begun.Load(); n > atOnce+2 {
		t.Errorf("%d connections are being opened for callers whom one could serve", n)
	}
	close(rest)
	none(t, wait())
}

func TestWhoWaitsForNothingToOpenIsLetInLater(t *testing.T) {
	leakFree(t)
	const callers = 40
	hung := make(chan struct{})
	d := &dials{each: func(int64) error { <-hung; return nil }}
	p := open(t, pgtest.DSN(t), callers, d.hook)
	_, wait := crowd(t, p, callers)
	eventually(t, func() string {
		if n := d.begun.Load(); n < callers {
			return fmt.Sprintf("%d of %d have begun to connect", n, callers)
		}
		return ""
	})
	close(hung)
	none(t, wait())
}

// A failure is told to all at once, as by pgxpool, and not to four at a time.
func TestWhereNothingOpensEverybodyIsLetIn(t *testing.T) {
	leakFree(t)
	const callers = 40
	all := make(chan struct{})
	refused := errors.New("no token")
	d := &dials{}
	d.each = func(n int64) error {
		if n == callers {
			close(all)
		}
		if n > 4 {
			<-all // so that nobody's permit goes to another
		}
		return refused
	}
	p := open(t, pgtest.DSN(t), callers, d.hook)
	_, wait := crowd(t, p, callers)
	for _, err := range wait() {
		if !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
	}
}

func TestATimeoutTellsOfTheRamp(t *testing.T) {
	leakFree(t)
	hung := make(chan struct{})
	d := &dials{each: func(int64) error { <-hung; return nil }}
	p := open(t, pgtest.DSN(t), 40, d.hook, func(c *autotune.Config) { c.AcquireTimeout = 100 * time.Millisecond })
	_, wait := crowd(t, p, 10)
	told := 0
	for _, err := range wait() {
		if !errors.Is(err, autotune.ErrAcquireTimeout) {
			t.Errorf("got %v", err)
		} else if strings.Contains(err.Error(), "(limit 40, of which 4 are let in until more connections are open)") {
			told++
		}
	}
	if told == 0 {
		t.Error("nobody was told that the pool is cold")
	}
	close(hung)
}

// What pgxpool opens by itself, because it was asked for, is not the crowd's: of what one
// of its rounds leaves out, nothing is opened for a minute.
func TestMinComesBackInOneRound(t *testing.T) {
	leakFree(t)
	const least = 20
	p := open(t, pgtest.DSN(t), 40, func(c *autotune.Config) { c.Pool.MinConns, c.Pool.HealthCheckPeriod = least, time.Minute })
	full := func() string {
		if n := p.Stat().IdleConns(); n < least {
			return fmt.Sprintf("%d of %d are open", n, least)
		}
		return ""
	}
	eventually(t, full)
	p.Reset()
	c, err := p.Acquire(within(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Conn().Close(t.Context())
	c.Release() // which calls for a round
	eventually(t, full)
}

// Who gives up leaves the dial behind, and the dial its place in the ramp.
func TestDialsThatHangAndWereGivenUpKeepNobodyOut(t *testing.T) {
	leakFree(t)
	const atOnce = 4
	swallowed := make(chan struct{})
	d := &dials{each: func(n int64) error {
		if n <= atOnce {
			<-swallowed
		}
		return nil
	}}
	p := open(t, pgtest.DSN(t), 5*atOnce, d.hook)
	defer close(swallowed)
	impatient, giveUp := context.WithCancel(t.Context())
	var gone sync.WaitGroup
	for range atOnce {
		gone.Go(func() {
			if err := p.Ping(impatient); !errors.Is(err, context.Canceled) {
				t.Errorf("a caller whose dial hangs: %v", err)
			}
		})
	}
	eventually(t, func() string {
		if n := d.begun.Load(); n < atOnce {
			return fmt.Sprintf("%d dials begun", n)
		}
		return ""
	})
	giveUp()
	gone.Wait()
	if err := p.Ping(within(t)); err != nil { // nobody else comes: no queue widens the ramp
		t.Errorf("the network works, and %d connections may be opened: %v", 4*atOnce, err)
	}
}
