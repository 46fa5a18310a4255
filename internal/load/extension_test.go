package load

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/pgtest"
)

// The advice is something that this role can do on this server.
func TestTheWayToPgvectorIsOneThatCanBeGone(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), pgtest.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	role := fmt.Sprintf("no_creator_%d", conn.PgConn().PID())
	for _, c := range []struct{ sql, want string }{
		{"create role " + role, "run CREATE EXTENSION vector in it"},
		{"set role " + role, "let the owner of the database"},
	} {
		if _, err := conn.Exec(t.Context(), c.sql); err != nil {
			t.Fatal(err)
		}
		if got := VectorRemedy(t.Context(), conn); !strings.Contains(got, c.want) {
			t.Errorf("after %s: %q", c.sql, got)
		}
	}
	if _, err := conn.Exec(t.Context(), "reset role; drop role "+role); err != nil {
		t.Error(err)
	}
	if got := vectorRemedy(false, false); !strings.Contains(got, "has no package of it") {
		t.Errorf("a server without the package: %q", got)
	}
}
