//go:build unix

package pgtest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/pgautotune/autotune/internal/await"
)

// ownerVariable makes the test binary, run again, the owner of a server that gets
// killed. Its value is what the owner does before.
const ownerVariable = "AUTOTUNE_PGTEST_OWNER"

// beOwner starts a server, tells what there is to be cleaned up, and waits for
// its end.
func beOwner() {
	fail := func(err error) {
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	s, err := Start(ctx, Options{})
	fail(err)
	pids := []int{s.PID()}
	switch os.Getenv(ownerVariable) {
	case "restarted":
		fail(s.Kill())
		fail(s.Restart(ctx))
		pids = append(pids, s.PID())
	case "killed":
		fail(s.Kill())
	case "stopped postmaster": // one that hangs, and does not react to SIGQUIT
		conn, err := pgx.Connect(ctx, s.DSN()) // with a backend
		fail(err)
		defer conn.Close(ctx)
		if s.in.root != "" && os.Geteuid() != 0 {
			break // sudo would stop with its child, for good
		}
		fail(signal(s.PID(), syscall.SIGSTOP))
	}
	backends, err := workers(s.data)
	if err != nil {
		backends, err = children(s.PID())
	}
	fail(err)
	fmt.Printf("%s\n%d\n%d\n%s\n", s.dir, s.port, segmentIn(s.data), strings.Trim(fmt.Sprint(append(pids, backends...)), "[]"))
	select {}
}

func TestNothingIsLeftWhenTheOwnerIsKilled(t *testing.T) {
	if os.Getenv(EnvDatabase) != "" {
		t.Skip("needs a server of its own")
	}
	New(t, Options{}) // set-up and template are made here, not below a kill
	tests := []struct {
		before string
		with   syscall.Signal
	}{
		{"running", syscall.SIGKILL},
		{"running", syscall.SIGINT},
		{"running", syscall.SIGTERM},
		{"restarted", syscall.SIGKILL},
		{"killed", syscall.SIGKILL},
		{"stopped postmaster", syscall.SIGKILL},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s, %v", tt.before, tt.with), func(t *testing.T) {
			t.Parallel()
			owner := exec.Command(os.Args[0], "-test.run=^$")
			owner.Env = append(os.Environ(), ownerVariable+"="+tt.before)
			owner.Stderr = os.Stderr
			out, err := owner.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := owner.Start(); err != nil {
				t.Fatal(err)
			}
			var lines []string
			for in := bufio.NewScanner(out); len(lines) < 4 && in.Scan(); {
				lines = append(lines, in.Text())
			}
			if len(lines) < 4 {
				t.Fatalf("the owner said %q and ended: %v", lines, owner.Wait())
			}
			dir, segment := lines[0], atoi(t, lines[2])
			var pids []int
			for _, pid := range strings.Fields(lines[3]) {
				pids = append(pids, atoi(t, pid))
			}
			if leftovers(dir, pids, segment) == "" {
				t.Fatalf("there is nothing to be left behind: %q", lines)
			}
			if err := owner.Process.Signal(tt.with); err != nil {
				t.Fatal(err)
			}
			_ = owner.Wait() // "signal: killed"
			eventually(t, func() string { return leftovers(dir, pids, segment) })
			if left := atoi(t, lines[1]); !closed(left, nil) {
				t.Errorf("somebody answers on port %d", left)
			}
		})
	}
}

func TestAKilledGuardIsMadeUpForByStop(t *testing.T) {
	s := New(t, Options{})
	pid, segment := s.PID(), segmentOf(t, s)
	out, err := exec.Command("pgrep", "-f", "guard "+s.dir).Output()
	if err != nil {
		t.Skipf("no pgrep here: %v", err)
	}
	if err := syscall.Kill(atoi(t, strings.TrimSpace(string(out))), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.guard.done
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(s.dir, []int{pid}, segment); left != "" {
		t.Error(left)
	}
}

// leftovers tells what of a server is still there, "" for nothing.
func leftovers(dir string, pids []int, segment int) string {
	var left []string
	if _, err := os.Lstat(dir); err == nil {
		left = append(left, dir)
	}
	for _, pid := range pids {
		if alive(pid) {
			left = append(left, fmt.Sprintf("process %d", pid))
		}
	}
	if table, err := os.ReadFile("/proc/sysvipc/shm"); err == nil {
		for _, line := range strings.Split(string(table), "\n") {
			if f := strings.Fields(line); segment != 0 && len(f) > 1 && f[1] == strconv.Itoa(segment) {
				left = append(left, "shared memory "+f[1])
			}
		}
	}
	return strings.Join(left, ", ")
}

// segmentIn reads the id of the server's System V segment in postmaster.pid.
func segmentIn(data string) int {
	text, _ := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	lines := strings.Split(string(text), "\n")
	if len(lines) < 7 {
		return 0
	}
	fields := strings.Fields(lines[6])
	id, _ := strconv.Atoi(fields[len(fields)-1])
	return id
}

func segmentOf(t *testing.T, s *Server) int {
	t.Helper()
	id := segmentIn(s.data)
	if id == 0 {
		t.Fatal("postmaster.pid names no shared memory")
	}
	return id
}

// eventually waits for the time a guard may take.
func eventually(t testing.TB, wrong func() string) {
	t.Helper()
	await.Until(t, guardPatience, wrong)
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
