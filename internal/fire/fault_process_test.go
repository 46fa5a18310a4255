package fire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgautotune/autotune"
)

const childDSN = "AUTOTUNE_FIRE_CHILD_DSN"

func init() {
	children["clerks"] = clerksChild
}

// clerksChild is a service: clerks over a pool with the controller on. It prints
// the number of successes so far every 20 ms, and on the end of its input the
// ids that it holds for acknowledged, and ends.
func clerksChild() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cfg, err := autotune.ParseConfig(os.Getenv(childDSN))
	if err != nil {
		return err
	}
	cfg.Pool.MaxConns, cfg.Ceiling, cfg.Interval = 8, 8, 100*time.Millisecond
	p, err := autotune.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	b := &book{pool: p, table: "child", rest: time.Millisecond, within: 60 * time.Second,
		acknowledged: map[int64]struct{}{}, undecided: map[int64]struct{}{}, reasons: map[string]int{}}
	b.start(12)
	end := make(chan struct{})
	go func() { defer close(end); _, _ = bufio.NewReader(os.Stdin).ReadString('\n') }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for over := false; !over; {
		select {
		case <-end:
			over = true
		case <-tick.C:
			sum := int64(0)
			for i := range b.good {
				sum += b.good[i].Load()
			}
			fmt.Println(sum)
		}
	}
	b.end()
	s := p.Snapshot()
	p.Close()
	fmt.Printf("end %d acknowledged, %d undecided, %d failed, %d looks old, limit %d of %d\n",
		len(b.acknowledged), len(b.undecided), b.failures.Load(), int(time.Since(s.LookedAt).Seconds()), s.Limit, s.Size.Max)
	for why, n := range b.why() {
		fmt.Fprintln(os.Stderr, n, why)
	}
	return nil
}

// child is a service in a process of its own.
type child struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    interface{ Close() error }
	lines chan string
	said  bytes.Buffer
}

func startChild(t testing.TB, binary, dsn string) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(binary), lines: make(chan string, 100_000)}
	c.cmd.Env = append(os.Environ(), childVariable+"=clerks", childDSN+"="+dsn)
	c.cmd.Stderr = &c.said
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in = in
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	return c
}

// rises waits until the child has had that many more successes than it said last.
func (c *child) rises(by int) time.Duration {
	c.t.Helper()
	for len(c.lines) > 0 {
		<-c.lines
	}
	start, first := time.Now(), -1
	for {
		select {
		case text, ok := <-c.lines:
			var n int
			if !ok {
				c.t.Fatalf("the child ended: %s", c.said.String())
			}
			if _, err := fmt.Sscan(text, &n); err != nil {
				continue
			}
			if first < 0 {
				first = n
			}
			if n >= first+by {
				return time.Since(start)
			}
		case <-time.After(patience):
			c.t.Fatalf("the child makes no progress: %s", c.said.String())
		}
	}
}

// audited ends the child and compares its count with the table.
func (c *child) audited(dsn string) string {
	c.t.Helper()
	_ = c.in.Close()
	last := ""
	for text := range c.lines {
		last = text
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Fatalf("the child: %v: %s", err, c.said.String())
	}
	var acknowledged, undecided, failed int64
	if _, err := fmt.Sscanf(last, "end %d acknowledged, %d undecided, %d failed", &acknowledged, &undecided, &failed); err != nil {
		c.t.Fatalf("the child said %q", last)
	}
	boss := admin(c.t, dsn)
	found := count(c.t, boss, "select count(distinct id) from child")
	if twice := count(c.t, boss, "select count(*) - count(distinct id) from child"); twice > 0 {
		c.t.Errorf("%d are there twice", twice)
	}
	if found < acknowledged || found > acknowledged+undecided || failed > 0 {
		c.t.Errorf("%d found, %d acknowledged, %d undecided, %d failed: %s", found, acknowledged, undecided, failed, c.said.String())
	}
	return fmt.Sprintf("%d acknowledged = %d found, 0 twice; %d operations failed", acknowledged, found, failed)
}

func childDatabase(t testing.TB) string {
	t.Helper()
	dsn := database(t)
	do(t, admin(t, dsn), "create table child (id bigint not null)")
	return dsn
}

func TestFaultProcessStopped(t *testing.T) {
	dsn := childDatabase(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := startChild(t, self, dsn)
	c.rises(100)
	stopped := pick(30*time.Second, time.Second)
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goes(t, stopped)
	if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	took := c.rises(100)
	figure(t, "fault", "SIGSTOP of the tuner's process for "+stopped.String(), "100 operations %s after SIGCONT; %s", ms(took), c.audited(dsn))
}

// The child is built with a clock whose wall time jumps by a day, forward and
// back, ten times a second, while its monotonic time goes on as it should: what a
// host with a broken time service shows to Go programs.
func TestFaultClockJumps(t *testing.T) {
	long(t, "chaos")
	dir := t.TempDir()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		t.Skipf("Go's own source is not here: %v", err)
	}
	const call = "sec, nsec, mono := runtimeNow()"
	if n := strings.Count(string(text), call); n == 0 {
		t.Fatalf("this Go reads its clock elsewhere: %q is not in %s", call, source)
	}
	jumping := strings.Replace(string(text), call, call+"\n\tif mono/100_000_000%2 == 1 {\n\t\tsec += 86400\n\t}", 1)
	if err := os.WriteFile(filepath.Join(dir, "time.go"), []byte(jumping), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{source: filepath.Join(dir, "time.go")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "fire.test")
	build := exec.Command("go", "test", "-c", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dsn := childDatabase(t)
	c := startChild(t, binary, dsn)
	c.rises(100)
	goes(t, 10*time.Second)
	took := c.rises(100)
	figure(t, "fault", "wall clock jumping a day, 10 times a second", "100 operations in %s all the while; %s", ms(took), c.audited(dsn))
}
