// Command prove asks `autotune recommend` about real loads and then measures
// whether it was right:
//
//	go run ./internal/advice/prove            # all loads, about half an hour
//	go run ./internal/advice/prove -loads search-4,hold-10 -point 2s
//
// It starts a throwaway PostgreSQL, drives it with pgbench (a client nobody here
// wrote), looks at it as the command does, sweeps the number of clients (or, where
// the load is not a closed loop, the size of a PgBouncer in front), and then runs
// the recommended size and the best of the sweep in turns. The table says what
// was lost. It needs pgbench, and pgbouncer for the loads that go through a pool.
//
// In order of use: loads.go has the loads, bed.go the server under them,
// drive.go runs pgbench, pooler.go runs PgBouncer.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/pgautotune/autotune/internal/advice"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	names := flag.String("loads", "", "names of the loads, comma-separated (default all)")
	point := flag.Duration("point", 3*time.Second, "time of a point of the sweep")
	look := flag.Duration("look", 10*time.Second, "time to look before recommending")
	pairs := flag.Int("pairs", 3, "turns of the recommended size and the best of the sweep")
	flag.Parse()
	if err := run(ctx, *names, *point, *look, *pairs); err != nil {
		fmt.Fprintln(os.Stderr, "prove:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names string, point, look time.Duration, pairs int) error {
	b, err := newBed(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Printf("%-13s %6s %9s %-7s | %5s %8s %8s | %6s %8s %8s  %s\n", "load", "max", "range", "conf",
		"best", "tps", "p99 ms", "of tps", "p99 ms", "of p99", "verdict")
	for _, l := range loads {
		if names != "" && !slices.Contains(strings.Split(names, ","), l.name) {
			continue
		}
		if err := prove(ctx, b, l, point, look, pairs); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	return nil
}

// prove is one line of the table.
func prove(ctx context.Context, b *bed, l load, point, look time.Duration, pairs int) error {
	if l.cycle > 0 {
		// A burst lasts milliseconds: a look has to meet one of several.
		point, look = max(point, 2*l.cycle+time.Second), max(look, 6*l.cycle+time.Second)
	}
	a, err := b.recommend(ctx, l, look)
	if err != nil {
		return err
	}
	if !a.Size.Known {
		fmt.Printf("%-13s no size: %s\n", l.name, strings.Join(a.Size.Why, " "))
		return nil
	}
	fmt.Fprintf(os.Stderr, "%s: %s %v; %+v demand p99 %.0f clipped %.2f; supply ratio %.2f saturated %.2f cpu %.2f; max of each", l.name, a.Size.Rule, a.Size.Why, a.Seen.Activity, a.Demand.P99, a.Demand.Clipped, a.Supply.Ratio, a.Supply.Saturated, a.Supply.CPU)
	for _, x := range a.Applications {
		fmt.Fprintf(os.Stderr, " %s %d", x.Application, x.Max)
	}
	fmt.Fprintln(os.Stderr)
	sizes := append(slices.Clone(l.sizes), a.Size.Max, a.Size.Lower, a.Size.Upper)
	slices.Sort(sizes)
	sizes = slices.Compact(sizes)
	swept := map[int]result{}
	for _, n := range sizes {
		r, err := b.at(ctx, l, a, n, point)
		if err != nil {
			return err
		}
		swept[n] = r
		fmt.Fprintf(os.Stderr, "  %3d: %8.1f tps, p99 %8.2f ms\n", n, r.tps, r.p99)
	}
	best := bestOf(sizes, swept)
	// The best of a sweep is partly luck: both again, in turns.
	inTurns := func(n int) (ours, theirs result, err error) {
		if n == best {
			return swept[best], swept[best], nil
		}
		var mine, its []result
		for range pairs {
			for _, m := range []int{n, best} {
				r, err := b.at(ctx, l, a, m, point)
				if err != nil {
					return ours, theirs, err
				}
				if m == best {
					its = append(its, r)
				} else {
					mine = append(mine, r)
				}
			}
		}
		return middle(mine), middle(its), nil
	}
	good := func(ours, theirs result) bool { return ours.tps >= 0.95*theirs.tps && ours.p99 <= 1.2*theirs.p99 }
	ours, theirs, err := inTurns(a.Size.Max)
	if err != nil {
		return err
	}
	share, tail := ours.tps/theirs.tps, ours.p99/theirs.p99
	verdict := "good"
	if !good(ours, theirs) {
		verdict = "MISSED"
		within := slices.DeleteFunc(slices.Clone(sizes), func(n int) bool { return n < a.Size.Lower || n > a.Size.Upper })
		other := bestOf(within, swept)
		if best >= a.Size.Lower && best <= a.Size.Upper {
			verdict = "in range"
		} else if mine, its, err := inTurns(other); err != nil {
			return err
		} else if good(mine, its) {
			verdict = fmt.Sprintf("in range: %d", other)
		}
	}
	fmt.Printf("%-13s %6d %9s %-7s | %5d %8.1f %8.2f | %5.1f%% %8.2f %7.2fx  %s\n", l.name, a.Size.Max,
		fmt.Sprintf("%d-%d", a.Size.Lower, a.Size.Upper), a.Size.Confidence, best, theirs.tps, theirs.p99, 100*share, ours.p99, tail, verdict)
	return nil
}

// bestOf is the size of these with the most throughput; among those within 1 % of it, which
// no point can tell apart, the one with the smallest p99.
func bestOf(sizes []int, swept map[int]result) int {
	top := 0.0
	for _, n := range sizes {
		top = max(top, swept[n].tps)
	}
	best := 0
	for _, n := range sizes {
		if swept[n].tps >= 0.99*top && (best == 0 || swept[n].p99 < swept[best].p99) {
			best = n
		}
	}
	return best
}

// middle is the median of throughput and of p99.
func middle(all []result) result {
	var tps, p99 []float64
	for _, r := range all {
		tps, p99 = append(tps, r.tps), append(p99, r.p99)
	}
	slices.Sort(tps)
	slices.Sort(p99)
	return result{tps[len(tps)/2], p99[len(p99)/2]}
}

// recommend drives the load as it is and looks at it meanwhile.
func (b *bed) recommend(ctx context.Context, l load, look time.Duration) (*advice.Advice, error) {
	driven, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := b.drive(driven, l, b.direct(l), nil, look+8*time.Second)
		done <- err
	}()
	rec, err := b.look(ctx, l, look)
	cancel()
	<-done
	if err != nil {
		return nil, err
	}
	return advice.Advise(advice.Question{Filter: advice.Filter{Database: b.database}}, rec), nil
}
