package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// unreachable is err for a person, if no connection came about: each reason once,
// however many ways were tried (with TLS and without, each address), and what to
// do. Any other error, and nil, stays as it is.
func unreachable(err error) error {
	var connect *pgconn.ConnectError
	if !errors.As(err, &connect) {
		return err
	}
	var reasons []string
	for _, line := range strings.Split(connect.Unwrap().Error(), "\n") {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(reasons, line) {
			reasons = append(reasons, line)
		}
	}
	what, advice := "cannot be reached", "is PostgreSQL running there? Check host, port and what a firewall in between lets through"
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		what = "refuses the connection"
	}
	text := strings.ToLower(strings.Join(reasons, " "))
	switch {
	case refused == nil && (strings.Contains(text, "tls") || strings.Contains(text, "x509")):
		advice = "the server is there, and its TLS is not as sslmode and sslrootcert ask for"
	case refused == nil:
	case strings.HasPrefix(refused.Code, "28"): // invalid authorization
		advice = "check user, password and its pg_hba.conf"
	case refused.Code == "3D000":
		advice = "check the name of the database"
	case strings.HasPrefix(refused.Code, "53"): // insufficient resources
		advice = "all its connections are taken: end one, or try again; a role with pg_use_reserved_connections (PostgreSQL 16) always gets in"
	case strings.HasPrefix(refused.Code, "42"), strings.HasPrefix(refused.Code, "22"), refused.Code == "08P01": // a setting it does not know or take
		advice = "check the settings in the connection string and in PGOPTIONS; a pooler takes few"
	default:
		advice = "the server runs; if it is busy or starting, try again"
	}
	return &unreachableError{text: fmt.Sprintf("the database %s: %s\n%s", what, strings.Join(reasons, "\n"), advice), err: err}
}

type unreachableError struct {
	text string
	err  error
}

func (e *unreachableError) Error() string { return e.text }
func (e *unreachableError) Unwrap() error { return e.err }
