package autotune

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// From a permit of the gate to a connection: at once where one is idle, else as soon as
// the budget, the server and a swap under way allow.

// connect gets the connection for a permit that was waited for, or gives the
// permit back.
func (p *Pool) connect(ctx context.Context, waited time.Duration) (*pgxpool.Conn, error) {
	ended := false
	defer p.unlessEnded(&ended)
	gen := p.enter()
	conn, err := gen.acquire(ctx)
	if err != nil {
		if err = p.connectAgain(ctx, gen, err, func(ctx context.Context, gen *generation) (err error) {
			conn, err = gen.pool.Acquire(ctx)
			return err
		}); err != nil {
			ended = true
			p.notConnected(ctx)
			return nil, err
		}
	}
	s := socketOf(conn.Conn())
	s.hold()
	s.waited = waited
	ended = true
	return conn, nil
}

// unlessEnded gives the permit of an acquire back in which a hook of the user
// panicked.
func (p *Pool) unlessEnded(ended *bool) {
	if !*ended {
		p.ledger.failed.Add(1)
		p.gate.release()
	}
}

// notConnected books an acquire that had a permit and got no connection.
func (p *Pool) notConnected(ctx context.Context) {
	if ctx.Err() != nil {
		p.ledger.canceledLate.Add(1)
	} else {
		p.ledger.failed.Add(1)
	}
	p.gate.release()
}

// connectAgain repeats an acquire that failed for a reason that may pass: the
// budget is used up for a moment (repeated whenever something comes free), or
// the server cannot be reached or does not accept connections just now (repeated
// with exponential backoff for at most ConnectRetry), or the generation it was
// tried in has been replaced meanwhile, with its password or its host perhaps
// (repeated in the new one). The caller holds a permit; gen is where the first try failed.
func (p *Pool) connectAgain(ctx context.Context, gen *generation, err error, acquire func(context.Context, *generation) error) error {
	if ctx.Err() == nil && !errors.Is(err, errNoBudget) && !gen.retired.Load() {
		p.gate.notOpened()
	}
	p.retrying.Add(1)
	defer p.retrying.Add(-1)
	var turned turnedDown
	tried := ctx
	if refuses(p.template.Load()) {
		tried = context.WithValue(ctx, turnedDownKey{}, &turned)
	}
	within := func() error { // where it counts as inside the generation
		p.retrying.Add(-1)
		defer p.retrying.Add(1)
		err := gen.use(func(gen *generation) error { return acquire(tried, gen) })
		if most := gen.size().Max; errors.Is(err, errNoBudget) && int(turned) > most {
			return fmt.Errorf("autotune: %d connections were turned down for one caller, of a pool of %d; likely bug in PrepareConn or BeforeAcquire hook", turned, most)
		}
		return err
	}
	again := func() error {
		gen = p.enter()
		return within()
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 20 * time.Millisecond // a restarting server is back in tenths of a second
	pause.MaxInterval = 500 * time.Millisecond    // so that recovery is noticed within half a second
	var deadline time.Time                        // from the first failure that may pass: a wait for the budget is none
	refusals := 0
	for err != nil {
		switch {
		case errors.Is(err, errNoBudget):
			p.reconcileHijacked()
			err = p.awaitBudget(ctx, again)
			continue
		case ctx.Err() == nil && gen != p.routes.Load().newest():
			gen = p.enterNewest()
			err = within()
			continue
		}
		wait := pause.NextBackOff()
		switch {
		case passing(err):
			if deadline.IsZero() {
				deadline = time.Now().Add(p.cfg.ConnectRetry)
			}
			if time.Now().Add(wait).After(deadline) {
				return err
			}
		case refusals < maxRefusals && refused(err) && gen.pool.Stat().TotalConns() > 0:
			refusals++
			wait = time.Millisecond << refusals
		default:
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
			err = again()
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
	return nil
}

// turnedDown counts the connections that a hook of the user turns down in one acquire that
// is repeated. pgxpool gives up after as many as it may have, and one more; but where each
// of them has the budget's last token, it gets to try one at a time.
type turnedDown int

type turnedDownKey struct{}

// refuses tells whether a hook may turn connections down when a caller would get them.
func refuses(template *pgxpool.Config) bool {
	//lint:ignore SA1019 of users that have not moved on
	return template.PrepareConn != nil || template.BeforeAcquire != nil
}

// noteTurnedDown counts one, if the acquire counts them. pgxpool calls the hook in the
// goroutine of the caller.
func noteTurnedDown(ctx context.Context) {
	if n, ok := ctx.Value(turnedDownKey{}).(*turnedDown); ok {
		*n++
	}
}

// maxRefusals is how often an acquire whose dial was refused for good (a password
// that was rotated) looks for a connection opened before, within 62 ms in all: a
// permit is handed over a moment before the connection that goes with it is idle.
const maxRefusals = 5

// refused tells whether a connection could not be opened, hooks apart.
func refused(err error) bool {
	var connectErr *pgconn.ConnectError
	return errors.As(err, &connectErr) && !errors.Is(err, context.Canceled)
}

// passing tells whether a failure to connect is likely to pass by itself: the
// server cannot be reached, is starting or stopping, or has no slot left.
func passing(err error) bool {
	var connectErr *pgconn.ConnectError
	if !errors.As(err, &connectErr) || errors.Is(err, context.Canceled) {
		return false
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		switch pgErr.Code {
		case "57P03", // cannot_connect_now: starting up, shutting down, recovering
			"57P01", // admin_shutdown
			"57P02", // crash_shutdown
			"53300": // too_many_connections
			return true
		}
		return false
	}
	var dnsErr *net.DNSError
	if errors.As(err, &dnsErr) {
		return !dnsErr.IsNotFound
	}
	var opErr *net.OpError
	if errors.As(err, &opErr) {
		// crypto/tls says so of an alert: a certificate that is missing or not trusted.
		return opErr.Op != "remote error" && opErr.Op != "local error"
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
