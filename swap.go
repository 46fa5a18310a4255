package autotune

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgautotune/autotune/internal/ramp"
)

// swap replaces the generation by one of the given template and size: build,
// check, hand over, publish, drain. Callers keep their connections throughout;
// server connections stay within the budget. On an error nothing has changed.
// The turn to swap is held.
func (p *Pool) swap(ctx context.Context, template *pgxpool.Config, size Size, limit int) (err error) {
	defer func() {
		if err != nil {
			p.swapsFailed.Add(1)
		}
	}()
	if err := p.awaitDrain(ctx); err != nil {
		return err
	}
	start := time.Now()
	old := p.routes.Load().current
	next, err := p.build(template, size)
	if err != nil {
		return err
	}
	if err := p.check(ctx, next); err != nil {
		p.closeGeneration(next, false)
		return fmt.Errorf("autotune: the new generation was not published, the pool stays as it was (max %d, min %d): %w", old.size().Max, old.min, err)
	}

	// From here on nothing can fail. A lower limit goes first, because the new
	// generation serves no more than its max; a higher one last, because the
	// old one serves no more than its own: it lets the queue in at once, to
	// dial for itself.
	lower := limit < int(p.gate.limit.Load())
	if lower {
		p.gate.setLimit(limit)
	}
	p.routes.Store(&routes{current: old, next: next})
	if !lower {
		p.gate.setLimit(limit)
	}
	moved := p.handOver(ctx, old, next, int(template.MinIdleConns))
	p.routes.Store(&routes{current: next})
	another := p.template.Swap(template) != template
	p.drain(old, another)
	p.swaps.Add(1)
	p.swapNanos.Add(int64(time.Since(start)))
	p.log.Info("pool resized", "generation", next.id,
		"max", size.Max, "min", size.Min, "old_max", old.size().Max, "old_min", old.min,
		"limit", limit, "warmed", moved, "took", time.Since(start))
	return nil
}

// grow raises max within the room of the generation, and the limit with it: nothing is
// reconnected. The turn to swap is held.
func (p *Pool) grow(gen *generation, most, limit int) {
	before := gen.max.Swap(int64(most))
	p.gate.setLimit(limit)
	p.log.Info("pool grown in place", "generation", gen.id, "max", most, "old_max", before, "min", gen.min, "limit", limit)
}

// awaitDrain waits for the callers of the generation replaced last. Those that
// hold a connection for longer than DrainTimeout (a LISTEN, a long
// transaction, a leak) are left behind with it: their connections are never
// cut, and close when they come back.
func (p *Pool) awaitDrain(ctx context.Context) error {
	old := p.draining
	if old == nil {
		return nil
	}
	select {
	case <-old.closed:
		p.draining = nil
		return nil
	default:
	}
	t := time.NewTimer(p.cfg.DrainTimeout)
	defer t.Stop()
	select {
	case <-old.closed:
	case <-t.C:
		// Its last acquires first: one may be dialling, for as long as its
		// caller and connect_timeout allow.
		bounded, cancel := context.WithTimeout(ctx, p.cfg.SwapTimeout)
		defer cancel()
		select {
		case <-old.left:
		case <-bounded.Done():
			return fmt.Errorf("autotune: a caller of the previous resize is still connecting: %w", bounded.Err())
		}
		p.log.Info("generation left behind", "generation", old.id, "still_held", old.pool.Stat().AcquiredConns(), "after", p.cfg.DrainTimeout)
	case <-ctx.Done():
		return fmt.Errorf("autotune: the previous resize is still being drained: %w", ctx.Err())
	}
	p.draining = nil
	return nil
}

// check opens the first connection of a generation, so that a wrong password or
// host is found before any caller can meet it.
func (p *Pool) check(ctx context.Context, next *generation) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.SwapTimeout)
	defer cancel()
	var conn *pgxpool.Conn
	acquire := func() (err error) {
		conn, err = p.acquireForItself(ctx, next)
		return err
	}
	err := acquire()
	if errors.Is(err, errNoBudget) {
		if err = p.gate.acquireAhead(ctx); err == nil {
			old := p.routes.Load().current
			var closed bool
			if closed, err = p.openInstead(ctx, old, acquire); err != nil && closed {
				p.background.Go(func() { p.reopen(old) })
			} else {
				p.gate.releaseOwn()
			}
		}
	}
	if err != nil {
		return err
	}
	conn.Release()
	return nil
}

// openInstead acquires from a new generation although the budget is used up, by
// closing an idle connection of the old one. The caller holds a permit, as
// everybody who needs a connection does, and so there is one that nobody needs:
// idle, or on its way back. It is kept until the end, because otherwise a caller
// would take the token that the closed connection leaves. It tells whether it has
// closed one.
func (p *Pool) openInstead(ctx context.Context, old *generation, acquire func() error) (closed bool, err error) {
	var closing *socket
	err = p.awaitBudget(ctx, func() error {
		more := closing == nil || closing.isGone() // whose token came back, and somebody else has it
		err := acquire()
		if more && errors.Is(err, errNoBudget) {
			closing = p.closeIdle(ctx, old)
			closed = closed || closing != nil
		}
		return err
	})
	return closed, err
}

// reopen makes good for the connection that a failed check may have cost the
// generation. It keeps the permit meanwhile: if the old password no longer works
// either, the pool goes on with the connections that are left, and no caller is
// sent to open one in vain.
func (p *Pool) reopen(gen *generation) {
	ctx := gen.life
	defer p.gate.releaseOwn()
	left := gen.pool.Stat().TotalConns()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 20 * time.Millisecond // the token of the failed check is back within a few
	pause.MaxInterval = 30 * time.Second          // a password that is refused again and again locks accounts out
	for {
		err := gen.probe(ctx, p.cfg.SwapTimeout)
		open := gen.pool.Stat().TotalConns()
		if err == nil || errors.Is(err, errNoBudget) && (open > left || int64(open) >= p.gate.limit.Load()) {
			return // it works, or did for a caller, or there is a connection for every permit
		}
		t := time.NewTimer(pause.NextBackOff())
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// probe opens a connection as the generation would, beside it, and closes it. Who
// answers to nothing is given up after the timeout.
func (g *generation) probe(ctx context.Context, timeout time.Duration) error {
	cfg := g.pool.Config()
	if cfg.ConnConfig.ConnectTimeout <= 0 {
		cfg.ConnConfig.ConnectTimeout = timeout
	}
	if err := cfg.BeforeConnect(ctx, cfg.ConnConfig); err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return err
	}
	_ = conn.Close(ctx) // that it opened is all there was to know
	return nil
}

// closeIdle closes one idle connection of a generation and returns its socket,
// or nil if it has none. The caller holds a permit.
func (p *Pool) closeIdle(ctx context.Context, from *generation) *socket {
	if from.pool.Stat().IdleConns() == 0 {
		return nil
	}
	conn, err := p.acquireForItself(context.WithValue(ctx, toBeClosed{}, true), from)
	if err != nil {
		return nil // a caller was quicker, and another could not be opened
	}
	s := socketOf(conn.Conn())
	own := conn.Hijack() // else the user's BeforeClose would get it closed
	hook := from.pool.Config().BeforeClose
	p.background.Go(func() { // a goodbye may take as long as it likes
		if hook != nil {
			hook(own)
		}
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = own.Close(ctx)
	})
	return s
}

// closeTimeout bounds the end of a connection, as in pgxpool.
const closeTimeout = 15 * time.Second

// handOver moves the pool from the old generation to the next one connection at
// a time, while callers use both, and returns how many connections the next one
// has then. Every step holds a permit of the gate, as a caller would: where the
// budget is used up it frees a token by closing an idle connection of the old
// generation, and opens one in the next. It ends when the next generation has
// what is in use now and idle ones beside, or has connections to spare, or at the swap timeout:
// what is missing then is opened by the callers that need it.
//
// Steps are taken one after the other on purpose: 50 connections take 66–182 ms
// whatever the parallelism, because the server forks them in turn, and a
// storm of them would crowd out queries.
func (p *Pool) handOver(ctx context.Context, old, next *generation, idle int) int {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.SwapTimeout)
	defer cancel()
	g := p.gate.peek()
	want := min(next.size().Max, int(g.limit), max(next.min, int(g.inUse+g.queued)+idle))
	p.warm(ctx, old, next, want)
	return int(next.pool.Stat().TotalConns())
}

// awaitBudget retries an acquire that found the budget used up, each time
// something came free, until it does not or ctx ends. A connection that is given
// back is announced a moment before it is idle (see [Pool.released]), and a hook
// of the user may hold it up further: so it also looks without being told. Where the ramp
// alone keeps it out for long, what is being opened hangs, and its callers have given up:
// nobody need be queued to be let in by the ramp's own clock.
func (p *Pool) awaitBudget(ctx context.Context, acquire func() error) error {
	var ramped time.Time // since when the ramp alone keeps it out; zero: it does not
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		free := p.budget.subscribe()
		err := acquire()
		switch now := time.Now(); {
		case !errors.Is(err, errRamp):
			ramped = time.Time{}
		case ramped.IsZero():
			ramped = now
		case now.Sub(ramped) > ramp.Patience:
			p.gate.notOpened()
			ramped = now
		}
		if errors.Is(err, errNoBudget) {
			t := time.NewTimer(pause)
			select {
			case <-free:
			case <-t.C:
			case <-ctx.Done():
				err = ctx.Err()
			}
			t.Stop()
		}
		p.budget.unsubscribe()
		if !errors.Is(err, errNoBudget) {
			return err
		}
	}
}

// drain retires a generation that is no longer published: its idle connections
// close now, those in use when their callers give them back. another is whether the
// configuration has changed.
func (p *Pool) drain(old *generation, another bool) {
	p.draining = old
	p.closeGeneration(old, another)
}
