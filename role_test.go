package autotune_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// role makes a role for this test alone and returns a fresh database that it
// owns, as seen by it, and as seen by the superuser. attributes are SQL, such as
// "connection limit 3".
//
// Its password costs next to nothing to check where the server allows that
// (PostgreSQL 16): with the usual 4,096 rounds, and the race detector in each,
// tests that reconnect thousands of times would measure SHA-256.
func role(t testing.TB, attributes string) (dsn, super string, name string) {
	t.Helper()
	server := pgtest.Shared(t)
	name = "r" + strings.ToLower(rand.Text())
	password := "first-" + rand.Text()
	do := func(ctx context.Context, sql ...string) {
		conn, err := pgx.Connect(ctx, server.DSN())
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(ctx)
		for _, s := range sql {
			if _, err := conn.Exec(ctx, s); err != nil {
				t.Errorf("%s: %v", s, err)
			}
		}
	}
	do(t.Context(), cheap+fmt.Sprintf("create role %s login password '%s' %s", name, password, attributes))
	t.Cleanup(func() { do(context.Background(), "drop role if exists "+name) }) // after the database is gone
	super = pgtest.DSN(t)
	mustExec(t, admin(t, super), "do $$ begin execute format('alter database %I owner to "+name+"', current_database()); end $$")
	return as(t, super, name, password), super, name
}

// cheap makes passwords that are set after it in the same statement cheap to check.
const cheap = "select set_config('scram_iterations', '1', false) where current_setting('server_version_num')::int >= 160000; "

// as is a connection string with another user.
func as(t testing.TB, dsn, user, password string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal("the connection string is not a URL")
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}
