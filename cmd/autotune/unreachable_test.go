package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/pgstat"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// greeting is a service that is not PostgreSQL and speaks first.
func greeting(t *testing.T, says string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.WriteString(conn, says)
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	return listener.Addr().String()
}

// The advice is about what stands between the person and an answer, and not about TLS
// because TLS was tried first.
func TestEachWayToFailHasItsOwnAdvice(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range []string{
		"create role advice_group password 'hunter2'", "create role advice_full login connection limit 0 password 'hunter2'",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), dsn)
		if err == nil {
			_, err = conn.Exec(context.Background(), "drop role advice_group, advice_full")
			_ = conn.Close(context.Background())
		}
		if err != nil {
			t.Error(err)
		}
	})
	as := func(role, query string) string {
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if role != "" {
			u.User = url.UserPassword(role, "hunter2")
		}
		u.RawQuery = query
		return u.String()
	}
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for name, c := range map[string]struct{ dsn, first, advice string }{
		"a web server":        {"postgres://me:hunter2@" + web.Listener.Addr().String() + "/db?connect_timeout=1", "timeout", "does not answer as PostgreSQL would: check the port"},
		"another service":     {"postgres://me:hunter2@" + greeting(t, "HTTP/1.1 400 Bad Request\r\n\r\n") + "/db", "", "does not speak PostgreSQL: check the port"},
		"a shell":             {"postgres://me:hunter2@" + greeting(t, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n") + "/db", "", "does not speak PostgreSQL: check the port"},
		"a wrong password":    {as("postgres", ""), "password authentication failed", "check user, password"},
		"no TLS":              {as("", "sslmode=require"), "refused TLS", "TLS is not as sslmode"},
		"no standby":          {as("", "target_session_attrs=standby"), "ValidateConnect failed", "target_session_attrs asks for"},
		"a limit of the role": {as("advice_full", ""), "too many connections for role", "ALTER ROLE … CONNECTION LIMIT"},
		"a group":             {as("advice_group", ""), "not permitted to log in", "ALTER ROLE … LOGIN"},
		"a name of nobody":    {"postgres://me:hunter2@no.such.host.invalid/db", "no.such.host.invalid", "cannot be resolved"},
	} {
		got := call(t, nil, "recommend", "--for", "1s", "--dsn", c.dsn)
		lines := strings.Split(strings.TrimSuffix(got.stderr, "\n"), "\n")
		if got.code != exitFailed || !strings.HasPrefix(lines[0], "autotune: the database ") || !strings.Contains(lines[0], c.first) || !strings.Contains(lines[len(lines)-1], c.advice) ||
			len(lines) > 3 || strings.Contains(got.stderr, "hunter2") {
			t.Errorf("%s: exit %d:\n%s", name, got.code, got.stderr)
		}
	}
}

// Whose first statement is quick enough is chance, so the error comes from another one.
func TestARolesTimeoutIsToldWithoutThePackage(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), pgtest.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), "set statement_timeout = 1; select pg_sleep(60)")
	early := unreachable(fmt.Errorf("pgstat: cannot connect: %w: %w", pgstat.ErrSetUp, err))
	if err == nil || strings.Contains(early.Error(), "pgstat") || !strings.Contains(early.Error(), "57014") || !strings.Contains(early.Error(), "ALTER ROLE … SET statement_timeout") {
		t.Error(early)
	}
	if later := fmt.Errorf("pgstat: cannot read: %w", err); unreachable(later) != later {
		t.Errorf("a timeout of the reader's own is no role's: %v", unreachable(later))
	}
}
