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
	switch {
	case refused == nil:
	case strings.HasPrefix(refused.Code, "28"): // invalid authorization
		advice = "check user, password and its pg_hba.conf"
	case refused.Code == "3D000":
		advice = "check the name of the database"
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
