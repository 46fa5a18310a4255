package autotune_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestTheHistogramsOfASnapshotHoldWhatCallersWaitedAndHeld(t *testing.T) {
	p := open(t, pgtest.DSN(t), 1)
	ctx := within(t)
	if err := p.Ping(ctx); err != nil { // opens the connection
		t.Fatal(err)
	}
	before := settled(t, p)
	asleep, failed := make(chan struct{}), make(chan error, 1)
	c, err := p.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		close(asleep)
		failed <- p.Ping(ctx)
	}()
	<-asleep
	queues(t, p, 1)
	mustExec(t, c, "select pg_sleep(0.06)")
	c.Release()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	gaveUp, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := p.Acquire(gaveUp); err != nil {
		t.Log("gave up before asking:", err)
	}
	after := settled(t, p)

	waits, services := after.Waits.Since(before.Waits), after.Services.Since(before.Services)
	if n := waits.Count(); n < 2 || n > 3 {
		t.Errorf("%d waits were counted, not those of 2 acquires", n)
	}
	if q := waits.Quantile(1); q < 60*time.Millisecond || waits.Sum < 60*time.Millisecond || waits.Sum > q {
		t.Errorf("the wait of at least 60 ms is counted as up to %s, in a sum of %s", q, waits.Sum)
	}
	if q := waits.Quantile(0); q > time.Microsecond {
		t.Errorf("the acquire that did not queue waited up to %s", q)
	}
	if q := services.Quantile(1); q < 60*time.Millisecond || services.Sum < 60*time.Millisecond || services.Sum != after.ServiceTime-before.ServiceTime {
		t.Errorf("the hold of at least 60 ms is counted as up to %s, in a sum of %s", q, services.Sum)
	}
	total := int64(0)
	for upper, n := range services.Buckets() {
		if upper <= 0 || n <= 0 {
			t.Errorf("a bucket up to %s with %d in it", upper, n)
		}
		total += n
	}
	if total != services.Count() {
		t.Errorf("the buckets hold %d, not %d", total, services.Count())
	}
}

func TestServiceTimesOutliveTheConnectionsTheyWereServedBy(t *testing.T) {
	p := open(t, pgtest.DSN(t), 3)
	ctx := within(t)
	for range 5 {
		mustExec(t, p, "select pg_sleep(0.001)")
	}
	if err := p.Resize(ctx, autotune.Size{Max: 2}); err != nil {
		t.Fatal(err)
	}
	mustExec(t, p, "select pg_sleep(0.001)")
	eventually(t, func() string {
		if s := p.Snapshot(); s.Services.Count() != 6 || s.Services.Quantile(0) < time.Millisecond {
			return fmt.Sprintf("%d holds were counted, the shortest of %s", s.Services.Count(), s.Services.Quantile(0))
		}
		return ""
	})
}

func TestVectorSearchesAreCountedByHowTheyEnded(t *testing.T) {
	dsn := pgtest.DSN(t)
	p := open(t, dsn, 2, func(c *autotune.Config) { c.Profile = autotune.ProfileVector }) // checks pgvector by itself, too
	ctx := within(t)
	mustExec(t, p, "create table items (id int, embedding vector(3))")
	mustExec(t, p, "insert into items select i, array[i, 1, 1]::vector from generate_series(1, 10) i")
	expect := func(what string, want autotune.Searches) {
		t.Helper()
		if got := p.Snapshot().Searches; got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	expect("no search yet", autotune.Searches{})
	for i, op := range []string{"<->", "<=>", "<#>", "<+>"} {
		var id int
		if err := p.QueryRow(ctx, "select id from items order by embedding "+op+" $1::vector limit 1", "[1,1,1]").Scan(&id); err != nil {
			t.Fatal(err)
		}
		expect(op, autotune.Searches{Succeeded: int64(i + 1)})
	}
	if _, err := p.Exec(ctx, "select id from items where id < 3 and id <> 5 and id <= 4"); err != nil {
		t.Fatal(err)
	}
	expect("comparisons", autotune.Searches{Succeeded: 4})

	if _, err := p.Exec(ctx, "select embedding <-> '[1,2]' from items"); err == nil {
		t.Fatal("different dimensions have a distance")
	}
	expect("an error of the server", autotune.Searches{Succeeded: 4, Failed: 1})
	gaveUp, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := p.Exec(gaveUp, "select pg_sleep(60), embedding <-> '[1,2,3]' from items")
		done <- err
	}()
	eventually(t, func() string {
		if p.Snapshot().InUse == 1 {
			return ""
		}
		return "the search has not begun"
	})
	cancel()
	<-done
	if s := p.Snapshot().Searches; s.Canceled > 1 || s.Succeeded != 4 || s.Failed != 1 { // 0 if canceled before it was sent
		t.Errorf("a caller that went away: %+v", s)
	}

	before := p.Snapshot().Searches
	b := &pgx.Batch{}
	b.Queue("select 1")
	b.Queue("select id from items order by embedding <-> '[1,2,3]' limit 1")
	b.Queue("select id from items order by embedding <=> '[1,2,3]' limit 1")
	if err := p.SendBatch(ctx, b).Close(); err != nil {
		t.Fatal(err)
	}
	before.Succeeded += 2
	expect("a batch", before)
}

func TestASwapThatFailsIsCounted(t *testing.T) {
	p := open(t, pgtest.DSN(t), 2)
	err := p.Reconfigure(within(t), func(c *pgxpool.Config) error {
		c.ConnConfig.Password = "wrong"
		return nil
	})
	if s := p.Snapshot(); err == nil || s.SwapsFailed != 1 || s.Swaps != 0 {
		t.Errorf("with a wrong password: %v; %d swaps, %d failed", err, s.Swaps, s.SwapsFailed)
	}
	if err := p.Resize(within(t), autotune.Size{Max: 1}); err != nil {
		t.Fatal(err)
	}
	if s := p.Snapshot(); s.SwapsFailed != 1 || s.Swaps != 1 {
		t.Errorf("then a good one: %d swaps, %d failed", s.Swaps, s.SwapsFailed)
	}
}

func TestEveryLookIsCountedAsOneDecision(t *testing.T) {
	p := open(t, pgtest.DSN(t), 2, live)
	eventually(t, func() string {
		s := p.Snapshot()
		var sum int64
		for _, n := range s.Decisions {
			sum += n
		}
		if sum < 5 {
			return fmt.Sprintf("%d decisions", sum)
		}
		if s.Decisions[autotune.Verdict{Action: s.Decision.Action, Reason: s.Decision.Reason}] == 0 {
			t.Errorf("the last decision, %s because of %s, is not among %v", s.Decision.Action, s.Decision.Reason, s.Decisions)
		}
		return ""
	})
}

// Whoever embeds the pool shall link what it needs, and nothing that only pages,
// metrics and traces need.
func TestThePoolLinksNeitherPrometheusNorTracing(t *testing.T) {
	deps := func(pkg string) string {
		out, err := exec.Command("go", "list", "-deps", pkg).Output()
		if err != nil {
			t.Fatalf("go list -deps %s: %v", pkg, err)
		}
		return string(out)
	}
	for _, pkg := range []string{".", "./journal"} {
		all := deps(pkg)
		if !strings.Contains(all, module) {
			t.Fatalf("%s depends on %s", pkg, all)
		}
		for _, unwanted := range []string{"github.com/prometheus", "go.opentelemetry.io", "google.golang.org", "otelpgx", "pflag", "/internal/pgtest", "\ntesting\n", "net/http\n"} {
			if strings.Contains(all, unwanted) {
				t.Errorf("%s links %s", pkg, strings.TrimSpace(unwanted))
			}
		}
	}
	if !strings.Contains(deps("./metrics"), "github.com/prometheus") {
		t.Error("metrics does not link Prometheus: this test looks for the wrong name")
	}
}
