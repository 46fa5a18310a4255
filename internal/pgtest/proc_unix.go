//go:build unix

package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// account is whom the server runs as. change is true when that is not the
// caller: PostgreSQL refuses to run as root.
type account struct {
	uid, gid int
	change   bool
}

func supported() error { return nil }

// serverAccount finds whom the programs of in can run as.
func serverAccount(in install) (account, error) {
	if uid := os.Geteuid(); uid != 0 {
		return account{uid: uid, gid: os.Getegid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		var uid, gid string
		if in.root != "" {
			uid, gid = lookupIn(filepath.Join(in.root, "etc/passwd"), name)
		} else if u, err := user.Lookup(name); err == nil {
			uid, gid = u.Uid, u.Gid
		}
		u, err1 := strconv.Atoi(uid)
		g, err2 := strconv.Atoi(gid)
		if err1 == nil && err2 == nil {
			return account{uid: u, gid: g, change: true}, nil
		}
	}
	return account{}, errors.New("pgtest: PostgreSQL refuses to run as root and there is no user postgres or nobody: run as an ordinary user, or add one (useradd postgres)")
}

// lookupIn reads a passwd file of another root.
func lookupIn(path, name string) (uid, gid string) {
	text, _ := os.ReadFile(path)
	for _, line := range strings.Split(string(text), "\n") {
		if f := strings.Split(line, ":"); len(f) > 3 && f[0] == name {
			return f[2], f[3]
		}
	}
	return "", ""
}

// detached puts a command in a session of its own, as who, inside root.
func detached(root string, who account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true, Chroot: root}
	if who.change {
		attr.Credential = &syscall.Credential{Uid: uint32(who.uid), Gid: uint32(who.gid)}
	}
	return attr
}

// own gives a path to who.
func (who account) own(path string) error {
	if !who.change {
		return nil
	}
	return os.Lchown(path, who.uid, who.gid)
}

// tryLock takes an exclusive lock without waiting, and tells whether it has it.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return false, nil
	}
	return err == nil, err
}

// askToStop asks a postmaster for a fast shutdown: clients are disconnected,
// their transactions rolled back, data written.
func askToStop(pid int) error { return signal(pid, syscall.SIGINT) }

// kill ends a process with SIGKILL.
func kill(pid int) error { return signal(pid, syscall.SIGKILL) }

// crash ends a postmaster and all its backends with SIGKILL, as a power cut
// would, and returns their pids. The postmaster is not stopped (SIGSTOP) first: a
// sudo above it would stop with it, and for good. One that forks meanwhile leaves
// a process that [workers] shows.
func crash(pid int, data string) ([]int, error) {
	pids, err := workers(data)
	if err != nil {
		pids, err = children(pid) // no /proc
	}
	for _, p := range append([]int{pid}, pids...) {
		err = errors.Join(err, kill(p))
	}
	return append(pids, pid), err
}

// signal sends sig; that the process is gone already is not an error.
func signal(pid int, sig syscall.Signal) error {
	err := syscall.Kill(pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pgtest: %v to process %d: %w", sig, pid, err)
	}
	return nil
}

// alive tells whether a process exists and still runs.
func alive(pid int) bool {
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) && stateOf(pid) != "Z" // zombie
}

// workers lists the processes that work in the data directory: postmaster and
// backends, whoever their parent. It fails where there is no /proc.
func workers(data string) ([]int, error) {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	if len(links) == 0 {
		return nil, errors.New("pgtest: no /proc")
	}
	var found []int
	for _, link := range links {
		// An error is a process of somebody else, or one that is gone.
		if cwd, err := os.Readlink(link); err == nil && cwd == data {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
			found = append(found, pid)
		}
	}
	return found, nil
}

// children lists the processes whose parent is pid, for systems without /proc.
func children(pid int) ([]int, error) {
	var found []int
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("pgtest: listing processes with ps: %w", err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		var p, parent int
		if n, _ := fmt.Sscan(line, &p, &parent); n == 2 && parent == pid {
			found = append(found, p)
		}
	}
	return found, nil
}

// stateOf reads /proc/PID/stat, whose second field, the program's name in
// brackets, may contain anything: fields are counted from the last bracket.
func stateOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	return fields[0]
}
