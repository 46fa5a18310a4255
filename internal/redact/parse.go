package redact

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	// url is a string that is meant as a URL, in quotes or not: no setting's name has
	// these signs.
	url = regexp.MustCompile(`^[^=]*://`)
	// setting is what the name of a server's setting looks like.
	setting = regexp.MustCompile(`^[A-Za-z_\x80-\xff][\w$.\x80-\xff]*$`)
)

// ParsePool is [pgxpool.ParseConfig] for a string that a person gives. For pgx each
// string with a = in it is key=value pairs, so that of a URL of another scheme, as
// JDBC and SQLAlchemy have, all before the = becomes the name of a setting: it goes to
// whatever server the environment names, which writes it into its log, password and
// all. Such a string is refused.
func ParsePool(connString string) (*pgxpool.Config, error) {
	if url.MatchString(connString) && !strings.HasPrefix(connString, "postgres://") && !strings.HasPrefix(connString, "postgresql://") {
		// Without ://, from which on an error would not be shown.
		return nil, errors.New("the scheme of a URL must be postgres or postgresql, in small letters and with nothing before it")
	}
	cfg, err := pgxpool.ParseConfig(connString)
	if err != nil {
		return nil, blame(err)
	}
	for name := range cfg.ConnConfig.RuntimeParams {
		if !setting.MatchString(name) {
			return nil, errors.New(`a setting has a name that none can have; values with spaces stand in single quotes, with \ before ' and \, and in a URL special characters are written as %XX`)
		}
	}
	return cfg, nil
}

// blame names the variable of the environment that an error comes from, if it comes
// without anything of the connection string, too.
func blame(err error) error {
	_, alone := pgxpool.ParseConfig("host=localhost") // by itself it is fine
	if alone == nil {
		return err
	}
	cause := Cause(alone)
	if first, _, _ := strings.Cut(Cause(err), ";"); first != cause {
		return err
	}
	from := "the PG* variables"
	for _, v := range []struct{ word, name string }{{"port", "PGPORT"}, {"service", "PGSERVICE, or the file that PGSERVICEFILE names"}, {"connect_timeout", "PGCONNECT_TIMEOUT"},
		{"sslmode", "PGSSLMODE"}, {"TLS", "the PGSSL* variables"}, {"target_session_attrs", "PGTARGETSESSIONATTRS"}} {
		if strings.Contains(cause, v.word) {
			from = v.name
			break
		}
	}
	return fmt.Errorf("%s, which comes from %s in the environment", cause, from)
}
