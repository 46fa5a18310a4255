package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/advice"
)

// result is what a point of the sweep gave.
type result struct {
	tps float64
	p99 float64 // ms
}

// direct makes connection strings past any pool.
func (b *bed) direct(l load) func(application string) (string, error) {
	return func(application string) (string, error) {
		s, err := b.server(context.Background(), l)
		if err != nil {
			return "", err
		}
		cfg, err := pgx.ParseConfig(s.DSN())
		if err != nil {
			return "", err
		}
		return keyValues(cfg.Host, int(cfg.Port), cfg.Database, cfg.User, cfg.Password, application), nil
	}
}

func keyValues(host string, port int, database, user, password, application string) string {
	return fmt.Sprintf("host=%s port=%d dbname=%s user=%s password=%s application_name=%s", host, port, database, user, password, application)
}

// at runs the load with n connections: that many clients, in parts as recommended
// where there are several applications, or all clients through a pool of n.
func (b *bed) at(ctx context.Context, l load, a *advice.Advice, n int, length time.Duration) (result, error) {
	if l.pooled {
		p, err := b.pooler(ctx, n)
		if err != nil {
			return result{}, err
		}
		r, err := b.drive(ctx, l, p.connString, nil, length)
		return r, errors.Join(err, p.stop())
	}
	return b.drive(ctx, l, b.direct(l), parts(l, a, n), length)
}

// parts divides n clients between the applications, as their recommended sizes are
// to each other; the recommended n are those.
func parts(l load, a *advice.Advice, n int) []int {
	weights, sum := make([]float64, len(l.scripts)), 0.0
	for i, sc := range l.scripts {
		weights[i] = 1
		for _, x := range a.Applications {
			if x.Application == sc.application && x.Max > 0 {
				weights[i] = float64(x.Max)
			}
		}
		sum += weights[i]
	}
	if n == a.Size.Max {
		sum = float64(n) // whatever they add up to: rounded, each for itself
	}
	clients := make([]int, len(weights))
	for i, w := range weights {
		clients[i] = max(1, int(math.Round(float64(n)*w/sum)))
	}
	return clients
}

// connecting is what pgbench takes for each of its clients, on its own clock, where many
// connect.
const connecting = 25 * time.Millisecond

// drive runs pgbench once for each script, all at once, and adds up what was done in the
// last `length` in which all of them ran with all their clients. clients, if given, are
// used instead of the load's.
func (b *bed) drive(ctx context.Context, l load, connString func(string) (string, error), clients []int, length time.Duration) (result, error) {
	scripts, run := slices.Clone(l.scripts), length
	for i := range scripts {
		if clients != nil {
			scripts[i].clients = clients[i]
		}
		run += time.Duration(scripts[i].clients) * connecting
	}
	var (
		all  = make([][]transaction, len(scripts))
		errs = make([]error, len(scripts))
		wait sync.WaitGroup
	)
	for i, sc := range scripts {
		wait.Go(func() { all[i], errs[i] = b.pgbenchRun(ctx, sc, connString, run) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return result{}, err
	}
	return together(all, length), nil
}

// transaction is one that pgbench has finished.
type transaction struct {
	end time.Duration // since the epoch of its clock
	ms  float64       // what it took, without the script's pause
}

// together is the throughput and the p99 of the last `length` before the first pgbench
// ended. One so starved that it finished nothing does not count.
func together(all [][]transaction, length time.Duration) result {
	end := time.Duration(math.MaxInt64)
	for _, done := range all {
		if len(done) > 0 {
			last := slices.MaxFunc(done, func(a, b transaction) int { return cmp.Compare(a.end, b.end) })
			end = min(end, last.end)
		}
	}
	var times []float64
	for _, done := range all {
		for _, t := range done {
			if t.end <= end && t.end > end-length {
				times = append(times, t.ms)
			}
		}
	}
	if len(times) == 0 {
		return result{p99: math.Inf(1)}
	}
	slices.Sort(times)
	return result{tps: float64(len(times)) / length.Seconds(), p99: times[min(len(times)-1, len(times)*99/100)]}
}

// pgbenchRun is one pgbench; it returns what was finished.
func (b *bed) pgbenchRun(ctx context.Context, sc script, connString func(string) (string, error), run time.Duration) ([]transaction, error) {
	dsn, err := connString(sc.application)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(b.folder, sc.application)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	args := []string{"-n", "-c", fmt.Sprint(sc.clients), "-T", fmt.Sprint(int(math.Ceil(run.Seconds()))), "-l", "--log-prefix", filepath.Join(folder, "log")}
	if sc.rate > 0 {
		args = append(args, "-R", fmt.Sprint(sc.rate))
	}
	if sc.text != "" {
		file := filepath.Join(folder, "script.sql")
		if err := os.WriteFile(file, []byte(sc.text), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "-f", file)
	}
	cmd := exec.CommandContext(ctx, b.pgbench, append(args, dsn)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("pgbench: %w: %s", err, tail(string(out)))
	}
	return readLogs(filepath.Join(folder, "log*"), sc.pause)
}

func tail(text string) string { return text[max(0, len(text)-500):] }

// readLogs reads pgbench's logs: the third column is microseconds, the fifth and sixth
// are the time of the end.
func readLogs(pattern string, pause time.Duration) (done []transaction, err error) {
	files, _ := filepath.Glob(pattern)
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		for scan := bufio.NewScanner(f); scan.Scan(); {
			var client, number, us, script, seconds, micros int64
			if _, err := fmt.Sscan(scan.Text(), &client, &number, &us, &script, &seconds, &micros); err != nil {
				continue // "failed" and "skipped" are not response times
			}
			done = append(done, transaction{
				end: time.Duration(seconds)*time.Second + time.Duration(micros)*time.Microsecond,
				ms:  max(0, float64(us)/1000-float64(pause.Milliseconds())),
			})
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return done, nil
}
