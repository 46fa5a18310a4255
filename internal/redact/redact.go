// Package redact keeps passwords out of messages.
//
// A person gives connection strings, sometimes where none belongs and sometimes
// with a mistake in them, and the mistake may be exactly in what tells the
// password from the rest. So nothing here looks for the password: of a connection
// string, nothing at all is repeated, and of an error about one only words that
// are known not to come from it.
package redact

import (
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Hidden stands where a connection string was.
const Hidden = "[connection string, not shown]"

var (
	// Between the word and the sign may be what does not belong there, quoted or not.
	secret = regexp.MustCompile(`(?i)password(?:\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\[a-z]|[^\w=])*=|[a-z][a-z0-9+.-]*://`)
	// The address of a page has no password.
	page = regexp.MustCompile(`(?i)\bhttps?://[\w.:\[\]/-]*(?:$|[\s,;")])`)
)

// Suspect tells whether text has a connection string in it, or looks like it.
func Suspect(text string) bool { return start(text) >= 0 }

// start is where what may be secret begins; -1 if nothing may.
func start(text string) int {
	pages := page.FindAllStringIndex(text, -1)
	for _, at := range secret.FindAllStringIndex(text, -1) {
		if !slices.ContainsFunc(pages, func(p []int) bool { return p[0] <= at[0] && at[1] <= p[1] }) {
			return at[0]
		}
	}
	return -1
}

// Text is text as it may be shown. A connection string may hold any character, so
// nothing tells where it ends: what follows its beginning is left out too.
func Text(text string) string {
	if at := start(text); at >= 0 {
		// The words before may be its own: host=h user=u password=…
		if before, _, ok := strings.Cut(text[:at], "="); ok {
			at = strings.LastIndexAny(before, " \"'") + 1
		}
		return text[:at] + Hidden
	}
	return text
}

// Error is the text of err as it may be shown: an error about a connection string
// becomes its cause.
func Error(err error) string {
	text := err.Error()
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		before, _, ok := strings.Cut(text, parse.Error())
		if !ok {
			before = "the connection string cannot be used: "
		}
		return Text(before) + Cause(err)
	}
	var connect *pgconn.ConnectError // which names the database
	if errors.As(err, &connect) && connect.Config != nil {
		text = strings.ReplaceAll(text, connect.Config.Database, Database(connect.Config.Database))
	}
	return Text(text)
}

// About is the text of an error about a value that a person gave, which may be a
// connection string where none belongs: then what is wrong with it stays.
func About(err error, value string) string {
	text := err.Error()
	for _, v := range []string{value, strings.TrimSpace(value)} {
		if Suspect(v) {
			text = strings.ReplaceAll(text, strconv.Quote(v), Hidden)
		}
	}
	return Text(text)
}

// Database is the name of a database as it may be shown: pgx takes what follows an
// unescaped / in a password for a part of it.
func Database(name string) string {
	if strings.Contains(name, "@") {
		return Hidden
	}
	return name
}

// Cause says what is wrong with a connection string that pgx refused, without any
// part of it.
func Cause(err error) string {
	var parse *pgconn.ParseConfigError
	if !errors.As(err, &parse) {
		return Text(err.Error())
	}
	// pgx writes: cannot parse `…`: message (cause). The message names a setting and
	// may go on, after a colon, with its value.
	said := strings.TrimPrefix(parse.Error(), pgconn.NewParseConfigError(parse.ConnString, "", nil).Error())
	cause := parse.Unwrap()
	if cause != nil {
		said = strings.TrimSuffix(said, " ("+cause.Error()+")")
	}
	said, _, _ = strings.Cut(said, ":")
	if !message.MatchString(said) {
		said = "it is neither a URL nor key=value pairs"
	}
	if why := detail(cause); why != "" {
		said += " (" + why + ")"
	}
	switch {
	case said == "failed to parse as URL", strings.HasPrefix(said, "failed to parse as URL ("), said == "invalid port" && strings.Contains(parse.ConnString, "://"):
		said += "; in a URL, special characters of a password are written as %XX, such as %40 for @"
	case strings.HasPrefix(said, "failed to parse as keyword/value"):
		said += `; values with spaces stand in single quotes, with \ before ' and \`
	}
	return said
}

// message is the form of what pgx says by itself.
var message = regexp.MustCompile(`^(?:` +
	`failed to (?:parse as URL|parse as keyword/value|configure TLS|read service)|` +
	`could not match \d+ port numbers to \d+ hosts|` +
	`(?:invalid|cannot parse) (?:port|connect_timeout|sslcertmode|require_auth|(?:min|max)_protocol_version|default_query_exec_mode|\w+_cache_capacity|pool_\w+)|` +
	`pool_max_conns too small|` +
	`unknown (?:target_session_attrs|channel_binding) value|` +
	`min_protocol_version cannot be greater than max_protocol_version)$`)

// whole are causes that pgx writes as they are; beginnings go on with values.
var (
	whole = []string{
		"forbidden NUL byte in connection string", "invalid keyword/value", "unterminated quoted string in connection info string",
		"unable to add CA to cert pool", "sslmode is invalid", `both "sslcert" and "sslkey" are required`, "failed to decode sslkey",
		"unable to find sslpassword", "outside range", "negative timeout",
	}
	beginnings = []string{
		`missing "="`, "failed to read service file", "unable to find service", "unable to load system certificate pool", "unable to read CA file",
		"unable to read sslkey", "unable to decrypt key", "unable to read cert", "unable to load cert", "unknown value", "unknown sslcertmode value", "invalid protocol version",
	}
)

// detail is what may be told of a cause; empty if nothing.
func detail(cause error) string {
	if cause == nil {
		return ""
	}
	var number *strconv.NumError
	var path *fs.PathError
	known := ""
	for _, b := range beginnings {
		if strings.HasPrefix(cause.Error(), b) {
			known = b
		}
	}
	inner := ""
	switch {
	case errors.As(cause, &number):
		inner = number.Err.Error()
	case errors.As(cause, &path):
		inner = path.Err.Error()
	case slices.Contains(whole, cause.Error()):
		inner = cause.Error()
	}
	if known != "" && inner != "" {
		return known + ": " + inner
	}
	return known + inner
}
