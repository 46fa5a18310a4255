package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgautotune/autotune/internal/pgstat"
	"github.com/pgautotune/autotune/internal/redact"
)

// unreachable is err for a person, if no connection came about: each reason once,
// however many ways were tried (with TLS and without, each address), and what to
// do. Any other error, and nil, stays as it is.
func unreachable(err error) error {
	var refused *pgconn.PgError
	said := errors.As(err, &refused)
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &connect):
	case said && refused.Code == "57014" && errors.Is(err, pgstat.ErrSetUp): // before it has a timeout of its own
		return &unreachableError{text: "the database cancels each statement at once: " + refused.Error() +
			"\nthe role's statement_timeout is too short for anything: ALTER ROLE … SET statement_timeout, or use another role", err: err}
	default:
		return err
	}
	what, advice := "cannot be reached", ""
	reasons := reasonsOf(connect)
	if said {
		what, advice = "refuses the connection", refusal(refused)
	} else {
		advice = silence(err, strings.Join(reasons, "\n"))
	}
	return &unreachableError{text: fmt.Sprintf("the database %s: %s\n%s", what, strings.Join(reasons, "\n"), advice), err: err}
}

const noTLS = ": tls error: server refused TLS connection"

// reasonsOf are the reasons why no connection came about, each once. That a server has
// no TLS is none where it was asked without, too.
func reasonsOf(connect *pgconn.ConnectError) (reasons []string) {
	for _, line := range strings.Split(connect.Unwrap().Error(), "\n") {
		line = strings.TrimPrefix(strings.TrimSpace(line), "hostname resolving error: ")
		if line != "" && !slices.Contains(reasons, line) {
			reasons = append(reasons, line)
		}
	}
	all := slices.Clone(reasons)
	return slices.DeleteFunc(reasons, func(line string) bool {
		address, is := strings.CutSuffix(line, noTLS)
		return is && slices.ContainsFunc(all, func(other string) bool { return other != line && strings.HasPrefix(other, address) })
	})
}

// why is an error in one line, without what only a programmer of this package can use.
func why(err error) string {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return redact.Text(strings.Join(reasonsOf(connect), "; "))
	}
	return strings.TrimPrefix(redact.Error(err), "pgstat: ")
}

// refusal is what to do where PostgreSQL said no.
func refusal(no *pgconn.PgError) string {
	says := func(text string) bool { return strings.Contains(no.Message, text) }
	switch {
	case no.Code == "28000" && says("not permitted to log in"):
		return "the role is a group: use one of its members, or ALTER ROLE … LOGIN"
	case strings.HasPrefix(no.Code, "28"): // invalid authorization
		return "check user, password and its pg_hba.conf"
	case no.Code == "3D000":
		return "check the name of the database"
	case no.Code == "53300" && says("for role"):
		return "the role has as many connections as its limit allows: end one, use another role, or ALTER ROLE … CONNECTION LIMIT"
	case no.Code == "53300" && says("for database"):
		return "the database has as many connections as its limit allows: end one, or ALTER DATABASE … CONNECTION LIMIT"
	case strings.HasPrefix(no.Code, "53"): // insufficient resources
		return "all its connections are taken: end one, or try again; a role with pg_use_reserved_connections (PostgreSQL 16) always gets in"
	case strings.HasPrefix(no.Code, "42"), strings.HasPrefix(no.Code, "22"), no.Code == "08P01": // a setting it does not know or take
		return "check the settings in the connection string and in PGOPTIONS; a pooler takes few"
	}
	return "the server runs; if it is busy or starting, try again"
}

// silence is what to do where PostgreSQL said nothing.
func silence(err error, text string) string {
	var unknown *net.DNSError
	says := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(text, p) })
	}
	switch {
	case says("ValidateConnect failed"):
		return "a server is there, and none of the kind that target_session_attrs asks for"
	case says("invalid body length", "unknown message type", "unexpected message", "does not look like a TLS handshake"):
		return "what answers there does not speak PostgreSQL: check the port"
	case says("x509", "tls: ", noTLS):
		return "the server is there, and its TLS is not as sslmode and sslrootcert ask for"
	case says("tls error", "failed to receive message", "failed to write"):
		return "what is there takes the connection and does not answer as PostgreSQL would: check the port; if it is the right one, the server hangs or is starting"
	case errors.As(err, &unknown):
		return "the name of the host cannot be resolved: check it, and the DNS of this machine"
	}
	return "is PostgreSQL running there? Check host, port and what a firewall in between lets through"
}

type unreachableError struct {
	text string
	err  error
}

func (e *unreachableError) Error() string { return e.text }
func (e *unreachableError) Unwrap() error { return e.err }
