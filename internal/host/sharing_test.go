package host

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m, pgtest.Options{}) }

func TestTheDatabaseIsHereOnlyIfAddressAndBackendAre(t *testing.T) {
	srv := pgtest.New(t, pgtest.Options{WithoutVector: true})
	conn, err := pgx.Connect(t.Context(), srv.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var (
		backend int
		text    string
	)
	if err := conn.QueryRow(t.Context(), "select pg_backend_pid(), host(inet_server_addr())").Scan(&backend, &text); err != nil {
		t.Fatal(err)
	}
	server := netip.MustParseAddr(text)

	gone, err := pgx.Connect(t.Context(), srv.DSN())
	if err != nil {
		t.Fatal(err)
	}
	gonePID := int(gone.PgConn().PID())
	_ = gone.Close(t.Context())
	for { // until the process has ended; the test's own deadline bounds it
		if _, err := processName(t.Context(), gonePID); err != nil {
			break
		}
	}

	for name, c := range map[string]struct {
		db   Database
		want bool
	}{
		"as it is":                    {Database{Address: server, BackendPID: backend}, true},
		"on a Unix socket":            {Database{UnixSocket: true, BackendPID: backend}, true},
		"loopback, IPv6":              {Database{Address: netip.IPv6Loopback(), BackendPID: backend}, true},
		"loopback, mapped":            {Database{Address: netip.MustParseAddr("::ffff:127.0.0.1"), BackendPID: backend}, true},
		"an address elsewhere":        {Database{Address: netip.MustParseAddr("192.0.2.1"), BackendPID: backend}, false},
		"no address":                  {Database{BackendPID: backend}, false},
		"any address":                 {Database{Address: netip.IPv4Unspecified(), BackendPID: backend}, false},
		"a pid that is not postgres":  {Database{Address: server, BackendPID: os.Getpid()}, false},
		"a pid that has ended":        {Database{Address: server, BackendPID: gonePID}, false},
		"no pid":                      {Database{Address: server}, false},
		"a pid that cannot be":        {Database{Address: server, BackendPID: 1 << 40}, false},
		"socket, pid is not postgres": {Database{UnixSocket: true, BackendPID: os.Getpid()}, false},
	} {
		got, why := SharesMachine(t.Context(), c.db)
		if got != c.want || why == "" {
			t.Errorf("%s: %v (%s), want %v", name, got, why, c.want)
		}
	}

	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		ip, _ := netip.AddrFromSlice(a.(*net.IPNet).IP)
		if got, why := SharesMachine(t.Context(), Database{Address: ip, BackendPID: backend}); !got {
			t.Errorf("own address %v: %s", ip, why)
		}
	}
}
