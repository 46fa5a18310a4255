package host

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Database is where a server was met, as it sees itself.
type Database struct {
	Address    netip.Addr // where it accepted the connection; ignored on a Unix socket
	UnixSocket bool
	BackendPID int // of the backend that serves us, in the server's numbering
}

// SharesMachine tells whether the database runs on this machine, so that CPU and
// RAM read here describe both, and why it thinks so, as a clause for a log.
//
// It takes two witnesses, because one can err. An address of this machine may
// be a tunnel, a proxy or a container's port; and the pid of a backend far away
// may by chance exist here. So the address has to be this machine's (loopback,
// a Unix socket, or one of its interfaces), and the backend's pid has to be a
// PostgreSQL process here. Whatever cannot be found out, such as processes
// hidden from this user or in another pid namespace, means false: to know
// nothing of the database's machine is safe, to take another for it is not.
func SharesMachine(ctx context.Context, db Database) (shares bool, why string) {
	if !db.UnixSocket {
		here, err := isHere(db.Address)
		if err != nil {
			return false, fmt.Sprintf("the addresses of this machine are unknown: %v", err)
		}
		if !here {
			return false, fmt.Sprintf("the database's address %v is not one of this machine", db.Address)
		}
	}
	name, err := processName(ctx, db.BackendPID)
	if err != nil {
		return false, fmt.Sprintf("the database's address is here, but its backend is not to be seen: %v", err)
	}
	// Older packages of Red Hat start it as postmaster.
	if !strings.Contains(name, "postgres") && !strings.Contains(name, "postmaster") {
		return false, fmt.Sprintf("the database's address is here, but process %d is %q, not PostgreSQL", db.BackendPID, name)
	}
	return true, fmt.Sprintf("the database's address is here, and process %d is %q", db.BackendPID, name)
}

// isHere tells whether address is loopback or one of an interface.
func isHere(address netip.Addr) (bool, error) {
	if !address.IsValid() || address.IsUnspecified() {
		return false, nil
	}
	address = address.Unmap().WithZone("")
	if address.IsLoopback() {
		return true, nil
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == address {
				return true, nil
			}
		}
	}
	return false, nil
}
