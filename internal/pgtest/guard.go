package pgtest

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// guardScript is plain POSIX shell: a guard has to be a process of its own, and
// the owner's binary (a test, a demo) cannot be run again as something else.
//
//go:embed guard.sh
var guardScript string

// guardPatience is how long release waits for the guard: twice 5 s for
// processes that do not end, 5 s for files that do not go, and some reserve.
const guardPatience = 20 * time.Second

// guard is the process that removes a server when its owner is gone. The owner
// lets go of it in [guard.release], or by dying.
type guard struct {
	dir  string
	hold io.Closer     // our end of its standard input
	done chan struct{} // closed when it has ended
}

// setGuard starts the guard over dir before anything is in it, so that there is
// no moment in which something could stay behind.
func setGuard(dir, data string) (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript, "guard", dir, data)
	cmd.Dir = "/"
	cmd.SysProcAttr = detached("", account{})
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("pgtest: guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("pgtest: guard: %w", err)
	}
	g := &guard{dir: dir, hold: hold, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is seen in what it leaves
		close(g.done)
	}()
	return g, nil
}

// release lets the guard do its work and waits until nothing is left.
func (g *guard) release() error {
	err := g.hold.Close()
	if errors.Is(err, os.ErrClosed) { // the guard was killed, and Wait closed it
		err = nil
	}
	patience := time.NewTimer(guardPatience)
	defer patience.Stop()
	select {
	case <-g.done:
	case <-patience.C:
		return fmt.Errorf("pgtest: %s: the server's processes did not end within %v", g.dir, guardPatience)
	}
	if _, e := os.Lstat(g.dir); e == nil { // it was killed itself
		return os.RemoveAll(g.dir)
	}
	return err
}
