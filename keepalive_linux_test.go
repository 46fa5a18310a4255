package autotune

import (
	"net"
	"syscall"
	"testing"

	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestTheVectorProfileSetsTCPKeepAliveOnTheRealSocket(t *testing.T) {
	for profile, want := range map[Profile][3]int{ProfileVector: {60, 30, 3}} {
		p := opened(t, pgtest.DSN(t)+"&pool_max_conns=1", func(c *Config) { c.Profile = profile })
		conn, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := conn.Conn().PgConn().Conn().(syscall.Conn).SyscallConn() // as a user would
		if err != nil {
			t.Fatal(err)
		}
		var got [3]int
		var on int
		if err := raw.Control(func(fd uintptr) {
			for i, option := range []int{syscall.TCP_KEEPIDLE, syscall.TCP_KEEPINTVL, syscall.TCP_KEEPCNT} {
				got[i], _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, option)
			}
			on, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
		}); err != nil {
			t.Fatal(err)
		}
		conn.Release()
		if got != want || on != 1 {
			t.Errorf("%s: keepalive %d, idle, interval, count %v; want %v", profile, on, got, want)
		}
	}
}

func TestAConnectionWithoutASocketOfTheSystemSaysSo(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	if raw, err := (&socket{Conn: ours, dialled: ours}).SyscallConn(); raw != nil || err == nil {
		t.Errorf("a pipe in memory has the socket %v, %v", raw, err)
	}
}
