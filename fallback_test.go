package autotune_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// A connect may dial several times, one after the other: with TLS and without, each
// address of a host, each of several hosts. Together they take one token of the budget.
func TestEveryConnectionOpensAlthoughSomeDialsAreTurnedAway(t *testing.T) {
	dsn := pgtest.DSN(t)
	server, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	port := server.Port()
	for _, c := range []struct{ name, dsn string }{
		{"sslmode=prefer, and the server has no TLS", strings.Replace(dsn, "sslmode=disable", "sslmode=prefer", 1)},
		{"a standby is preferred, and there is none", strings.Replace(dsn, ":"+port, ":"+port+",127.0.0.1:"+port, 1) + "&target_session_attrs=prefer-standby"},
	} {
		for _, size := range []int{1, 4} {
			t.Run(c.name, func(t *testing.T) {
				leakFree(t)
				p := open(t, c.dsn, size, func(c *autotune.Config) { c.Manual = true })
				for range 3 {
					hold(t, p, size)()
					if err := p.Reconfigure(within(t), func(*pgxpool.Config) error { return nil }); err != nil {
						t.Fatal(err)
					}
				}
				hold(t, p, size)()
				if s := p.Snapshot(); s.OpenPeak > size || s.Failed > 0 {
					t.Errorf("%d connections at most, %d failed: %+v", s.OpenPeak, s.Failed, s)
				}
			})
		}
	}
}
