package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// postmaster is one run of the server's main process.
type postmaster struct {
	pid    int
	exited chan struct{} // closed when it has ended and been waited for
}

// errPortTaken says that somebody else listens on the port.
var errPortTaken = errors.New("pgtest: the port is taken")

// readyEvery is how often postmaster.pid is read while the server starts, which
// takes about 50 ms.
const readyEvery = 5 * time.Millisecond

// boot runs the postmaster on the data directory and returns when it accepts
// connections.
func (s *Server) boot(ctx context.Context, port int) (*postmaster, error) {
	logFile, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	defer logFile.Close()
	from, err := logFile.Seek(0, 2)
	if err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}

	// What a killed server has left says "ready" too.
	pidFile := filepath.Join(s.data, "postmaster.pid")
	stale, _ := readPIDFile(pidFile, port)

	// The server outlives ctx, which is for its start.
	cmd := s.in.command(context.Background(), s.who, s.inside("data"), "postgres",
		"-D", s.inside("data"), "-p", strconv.Itoa(port))
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	pm := &postmaster{pid: cmd.Process.Pid, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // what it had to say is in the log
		close(pm.exited)
	}()

	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		select {
		case <-pm.exited:
			said := readFrom(s.logPath(), from)
			if strings.Contains(said, "could not bind") || strings.Contains(said, "could not create any TCP/IP sockets") {
				return nil, errPortTaken
			}
			return nil, fmt.Errorf("pgtest: PostgreSQL %s ended while starting, its log says:\n%s", s.in.version, tail(said))
		case <-ctx.Done():
			_, _ = crash(pm.pid, s.data) // what this does not end, the guard does
			return nil, fmt.Errorf("pgtest: starting PostgreSQL: %w", ctx.Err())
		case <-tick.C:
			if pid, ready := readPIDFile(pidFile, port); ready && pid != stale {
				pm.pid = pid // below sudo, the process started is not the postmaster
				return pm, nil
			}
		}
	}
}

// readPIDFile reads postmaster.pid: the pid on its first line, the port on the
// fourth, the state on the eighth.
func readPIDFile(path string, port int) (pid int, ready bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 8 || lines[3] != strconv.Itoa(port) || strings.TrimSpace(lines[7]) != "ready" {
		return 0, false
	}
	pid, err = strconv.Atoi(lines[0])
	return pid, err == nil
}

// Ports are looked for below those the system gives to outgoing connections
// (32768 and up on Linux, 49152 and up on macOS). One of these could be taken by
// any client while a killed server is down, and a client that dials its own
// port connects to itself.
const (
	lowestPort  = 15000
	highestPort = 32000
)

// freePort returns a loopback port that nobody listens on now.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		var l net.Listener
		if l, err = net.Listen("tcp", address(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("pgtest: no free loopback port: %w", err)
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// closedEvery is how often crashed processes and their port are looked at.
const closedEvery = 5 * time.Millisecond

// waitClosed returns when no process of the killed server is alive and nobody
// answers on its port. Only then can it start again: it refuses to while one of
// its old backends is attached to the shared memory.
func (s *Server) waitClosed(ctx context.Context, pids []int) error {
	tick := time.NewTicker(closedEvery)
	defer tick.Stop()
	for {
		late, _ := workers(s.data) // forked while the postmaster was being killed
		for _, pid := range late {
			if err := kill(pid); err != nil {
				return err
			}
		}
		if len(late) == 0 && closed(s.port, pids) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("pgtest: the killed server still answers or has processes: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func closed(port int, pids []int) bool {
	for _, pid := range pids {
		if alive(pid) {
			return false
		}
	}
	conn, err := net.DialTimeout("tcp", address(port), time.Second)
	if err != nil {
		return true
	}
	conn.Close()
	return false
}

// readFrom returns the file from an offset on, empty if it cannot be read.
func readFrom(path string, from int64) string {
	text, err := os.ReadFile(path)
	if err != nil || int64(len(text)) < from {
		return ""
	}
	return string(text[from:])
}

// tail returns the last lines of a program's output, for an error.
func tail(s string) string {
	lines := bytes.Split(bytes.TrimSpace([]byte(s)), []byte("\n"))
	if n := len(lines); n > 20 {
		lines = lines[n-20:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}
