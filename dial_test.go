package autotune

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/await"
	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// listening answers connections until the test ends, and counts them.
func listening(t *testing.T, answer func(net.Conn)) (address string, dials *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	dials = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			dials.Add(1)
			go func() {
				defer c.Close()
				answer(c)
			}()
		}
	}()
	return l.Addr().String(), dials
}

// A load balancer without a backend accepts and hangs up. pgconn sends a cancel request
// after such an attempt, while it tries the next host, and that must not take the next
// host's place in the budget.
func TestAHostThatHangsUpDoesNotUseUpTheBudget(t *testing.T) {
	dead, dials := listening(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) })
	u, err := url.Parse(pgtest.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Host = dead + "," + u.Host
	q := u.Query()
	q.Set("sslmode", "prefer")
	u.RawQuery = q.Encode()
	for range 5 {
		p := opened(t, u.String(), func(c *Config) { c.Pool.MaxConns, c.Start, c.Ceiling, c.Budget = 1, 1, 1, 1 })
		before := dials.Load()
		ctx, cancel := context.WithTimeout(t.Context(), edgePatience)
		err := p.Ping(ctx)
		cancel()
		if n := dials.Load() - before; err != nil || n > 10 {
			t.Errorf("%v after %d dials of the host that hangs up", err, n)
		}
		p.Close()
	}
}

// A server that turns us away for good is not asked again and again.
func TestACertificateThatIsMissingIsNoPassingFailure(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"x"}}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	strict := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientAuth: tls.RequireAndVerifyClientCert}
	address, dials := listening(t, func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 8)) // the request for TLS
		_, _ = c.Write([]byte("S"))
		_ = tls.Server(c, strict).Handshake()
		_, _ = io.Copy(io.Discard, c)
	})
	p := opened(t, fmt.Sprintf("postgres://u:p@%s/db?sslmode=require", address), func(*Config) {})
	if err := p.Ping(t.Context()); err == nil || dials.Load() > 3 { // two are pgx's own
		t.Errorf("%v after %d dials", err, dials.Load())
	}
}

// The time that a failure may take to pass begins with it, not with a wait for the
// budget before.
func TestAFailureAfterAWaitForTheBudgetIsRetriedLikeAnyOther(t *testing.T) {
	var down atomic.Bool
	p := opened(t, pgtest.DSN(t), func(c *Config) {
		c.Pool.MaxConns, c.Start, c.Ceiling, c.Budget = 1, 1, 1, 1
		c.ConnectRetry = 500 * time.Millisecond
		dial := c.Pool.ConnConfig.DialFunc
		c.Pool.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			if down.CompareAndSwap(true, false) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
			}
			return dial(ctx, network, address)
		}
	})
	c, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own := c.Hijack() // keeps the only token
	p.reconcileHijacked()
	down.Store(true)
	time.AfterFunc(2*p.cfg.ConnectRetry, func() { _ = own.Close(context.Background()) })
	ctx, cancel := context.WithTimeout(t.Context(), edgePatience)
	defer cancel()
	if err := p.Ping(ctx); err != nil || down.Load() {
		t.Errorf("%v (refused once: %t)", err, !down.Load())
	}
}

// pgxpool begins with a round of its own, which is turned away: what it seems to be
// opening is not there.
func TestTheMinimumIsOpenedWhateverPgxpoolDoesAtTheStart(t *testing.T) {
	dsn := pgtest.DSN(t)
	for range 150 { // of which four were without, once
		p := opened(t, dsn, func(c *Config) { c.Pool.MaxConns, c.Pool.MinConns, c.Start, c.Ceiling = 8, 1, 8, 8 })
		await.Until(t, edgePatience, func() string {
			if p.Stat().IdleConns() < 1 {
				return "no connection is open"
			}
			return ""
		})
		p.Close()
	}
}

// slow is a log whose sink takes its time.
type slow struct {
	slog.Handler
	until <-chan struct{}
}

func (s slow) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "pool started" {
		<-s.until
	}
	return nil
}

func TestAConnectionThatOpensWhileThePoolIsBeingMadeFindsAllItNeeds(t *testing.T) {
	opens := make(chan struct{}, 100)
	until := make(chan struct{})
	go func() { <-opens; <-opens; close(until) }() // when the first is open, and over
	p := opened(t, pgtest.DSN(t), func(c *Config) {
		c.Profile = ProfileVector
		c.Pool.MinConns, c.Pool.HealthCheckPeriod, c.Pool.MaxConnLifetime = 1, 10*time.Millisecond, time.Millisecond
		c.Logger = slog.New(slow{slog.NewTextHandler(io.Discard, nil), until})
		c.Pool.AfterConnect = func(context.Context, *pgx.Conn) error {
			opens <- struct{}{}
			return nil
		}
	})
	if err := p.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// A password with an unescaped / in it reaches the name of the database.
func TestTheLogOfTheStartHasNoPassword(t *testing.T) {
	var said strings.Builder
	p := opened(t, "postgres://me:12/34secret@h/db", func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&said, nil)) })
	p.Close() // nobody writes any more
	if text := said.String(); strings.Contains(text, "34secret") || !strings.Contains(text, "pool started") {
		t.Errorf("the log says %q", text)
	}
}

// Nor has what is said when the server does not answer: pgx names the database.
func TestWhatIsSaidOfAServerThatDoesNotAnswerHasNoPassword(t *testing.T) {
	const dsn = "postgres://127.0.0.1:1/34secret@h/db?pool_max_conns=2"
	var said strings.Builder
	live := opened(t, dsn, func(c *Config) {
		c.Manual, c.Interval, c.Logger = false, time.Minute, slog.New(slog.DiscardHandler)
	})
	h := live.Health(t.Context())
	fmt.Fprintln(&said, h.Reasons)

	p := opened(t, dsn, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&said, nil)) })
	_, err := p.tuner.telemetry.now(t.Context())
	if err == nil || !strings.Contains(err.Error(), "34secret") {
		t.Fatalf("the error is %v; the test proves nothing", err)
	}
	blind := Decision{Action: controller.Freeze}
	p.tuner.explain(Observation{}, blind, err)
	p.tuner.blind = false
	p.tuner.explain(Observation{}, blind, nil) // before the first answer
	p.tuner.act(t.Context(), Observation{Gauges: controller.Gauges{Limit: 2, Max: 2}}, Decision{Action: controller.Shrink, Swap: true, Max: 1, Limit: 1})
	p.Close() // nobody writes any more
	text := said.String()
	for _, event := range []string{"does not answer", "controller frozen", "resize failed"} {
		if !strings.Contains(text, event) {
			t.Errorf("nothing is said of %q", event)
		}
	}
	if strings.Contains(text, "34secret") {
		t.Errorf("a part of the password in %q", text)
	}
}

func TestAConfigurationWithoutParametersIsEnough(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) {
		c.Profile, c.Pool.ConnConfig.RuntimeParams = ProfileVector, nil
	})
	if got := show(t, p, "statement_timeout"); got != "5min" {
		t.Errorf("statement_timeout is %s", got)
	}
}
