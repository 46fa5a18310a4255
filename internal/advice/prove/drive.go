package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
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

// drive runs pgbench once for each script, all at once, and adds up. clients, if
// given, are used instead of the load's.
func (b *bed) drive(ctx context.Context, l load, connString func(string) (string, error), clients []int, length time.Duration) (result, error) {
	var (
		all    sync.WaitGroup
		mu     sync.Mutex
		sum    result
		times  []float64
		failed error
	)
	for i, sc := range l.scripts {
		if clients != nil {
			sc.clients = clients[i]
		}
		all.Go(func() {
			tps, ms, err := b.pgbenchRun(ctx, sc, connString, length)
			mu.Lock()
			defer mu.Unlock()
			sum.tps += tps
			times, failed = append(times, ms...), errors.Join(failed, err)
		})
	}
	all.Wait()
	if failed != nil {
		return result{}, failed
	}
	if len(times) == 0 {
		return result{p99: math.Inf(1)}, nil // so starved that nothing was finished
	}
	slices.Sort(times)
	sum.p99 = times[min(len(times)-1, len(times)*99/100)]
	return sum, nil
}

// tpsLine is pgbench's own word for throughput; connecting is left out of it.
var tpsLine = regexp.MustCompile(`tps = ([0-9.]+)`)

// pgbenchRun is one pgbench; it returns its throughput and the response times in
// ms, pauses left out.
func (b *bed) pgbenchRun(ctx context.Context, sc script, connString func(string) (string, error), length time.Duration) (tps float64, ms []float64, err error) {
	dsn, err := connString(sc.application)
	if err != nil {
		return 0, nil, err
	}
	folder, err := os.MkdirTemp(b.folder, sc.application)
	if err != nil {
		return 0, nil, err
	}
	defer os.RemoveAll(folder)
	// pgbench's clock runs while its clients connect, about 25 ms each where many do.
	length += time.Duration(sc.clients) * 25 * time.Millisecond
	args := []string{"-n", "-c", fmt.Sprint(sc.clients), "-T", fmt.Sprint(int(math.Ceil(length.Seconds()))), "-l", "--log-prefix", filepath.Join(folder, "log")}
	if sc.rate > 0 {
		args = append(args, "-R", fmt.Sprint(sc.rate))
	}
	if sc.text != "" {
		file := filepath.Join(folder, "script.sql")
		if err := os.WriteFile(file, []byte(sc.text), 0o600); err != nil {
			return 0, nil, err
		}
		args = append(args, "-f", file)
	}
	cmd := exec.CommandContext(ctx, b.pgbench, append(args, dsn)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		if ctx.Err() != nil {
			return 0, nil, ctx.Err()
		}
		return 0, nil, fmt.Errorf("pgbench: %w: %s", err, tail(string(out)))
	}
	if found := tpsLine.FindSubmatch(out); found != nil {
		tps, _ = strconv.ParseFloat(string(found[1]), 64)
	}
	ms, err = readLogs(filepath.Join(folder, "log*"), sc.pause)
	return tps, ms, err
}

func tail(text string) string { return text[max(0, len(text)-500):] }

// readLogs reads the third column of pgbench's logs: microseconds.
func readLogs(pattern string, pause time.Duration) (ms []float64, err error) {
	files, _ := filepath.Glob(pattern)
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		for scan := bufio.NewScanner(f); scan.Scan(); {
			fields := strings.Fields(scan.Text())
			if len(fields) < 3 {
				continue
			}
			us, err := strconv.ParseFloat(fields[2], 64)
			if err != nil {
				continue // "failed" and "skipped" are not response times
			}
			ms = append(ms, max(0, us/1000-float64(pause.Milliseconds())))
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return ms, nil
}
