package load

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m, pgtest.Options{}) }

func TestQuantilesAreWithinOnePercentOfTheSortedTruth(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() float64{ // milliseconds
		"exponential": func() float64 { return 5 * rng.ExpFloat64() },
		"two humps":   func() float64 { return 1 + 900*math.Round(rng.Float64()*0.51) + rng.Float64() },
		"constant":    func() float64 { return 16.3 },
		"heavy tail":  func() float64 { return math.Pow(1-rng.Float64(), -0.8) },
	} {
		t.Run(name, func(t *testing.T) {
			rec, all := NewRecorder(), []time.Duration(nil)
			for i := range 20_000 {
				d := time.Duration(draw() * float64(time.Millisecond))
				all = append(all, d)
				rec.shard(i).times.add(d)
			}
			slices.Sort(all)
			tally := rec.Tally()
			if tally.Completed != int64(len(all)) {
				t.Fatalf("counted %d of %d", tally.Completed, len(all))
			}
			for _, q := range []float64{0, 0.001, 0.5, 0.9, 0.99, 0.999, 1} {
				truth := all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
				got := tally.Times.Quantile(q)
				if off := math.Abs(float64(got-truth)) / float64(truth); truth > 2*time.Microsecond && off > 0.01 {
					t.Errorf("quantile %g: got %v, the sorted times say %v", q, got, truth)
				}
			}
		})
	}
}

func TestHistogramTakesTheAbsurd(t *testing.T) {
	for _, d := range []time.Duration{math.MinInt64, -1, 0, 1, 1023, 1024, 1025, 1<<40 - 1, 1 << 40, math.MaxInt64} {
		b := bucketOf(d)
		if b < 0 || b >= bucketsLen {
			t.Errorf("%d is in bucket %d of %d", d, b, bucketsLen)
		}
	}
	for b := range bucketsLen {
		if bucketOf(valueOf(b)) != b {
			t.Fatalf("the middle of bucket %d, %v, is in bucket %d", b, valueOf(b), bucketOf(valueOf(b)))
		}
	}
}

func TestATallyOfAnIntervalIsTheDifference(t *testing.T) {
	rec := NewRecorder()
	rec.shard(0).times.add(time.Second)
	before := rec.Tally()
	for i := range 10 {
		rec.shard(i).arrived.Add(1)
		rec.shard(i).times.add(time.Millisecond)
	}
	rec.fail(3, errors.New("no"))
	d := rec.Tally().Since(before)
	if d.Completed != 10 || d.Failed != 1 || d.Arrived != 10 || d.Times.Quantile(1) > 2*time.Millisecond {
		t.Errorf("got %d completed, %d failed, %d arrived, slowest %v", d.Completed, d.Failed, d.Arrived, d.Times.Quantile(1))
	}
}

func TestFailuresAreCountedByTextAndBounded(t *testing.T) {
	rec := NewRecorder()
	for i := range 30 {
		rec.fail(i, errors.New(string(rune('a'+i%15))))
	}
	failures := rec.Failures()
	var sum int64
	for _, f := range failures {
		sum += f.Count
	}
	if len(failures) != maxFailures+1 || sum != 30 || failures[0] != (Failure{"a", 2}) || failures[maxFailures] != (Failure{otherFailures, 14}) {
		t.Errorf("got %v", failures)
	}
}

// work is a request without a database.
type work func(ctx context.Context, n uint64) error

func (w work) Do(ctx context.Context, _ Pool, n uint64) error { return w(ctx, n) }

func TestAStallIsSeenByOpenArrivalsAndHiddenByClosedClients(t *testing.T) {
	const length, stall = 400 * time.Millisecond, 200 * time.Millisecond
	p90 := func(s Shape) time.Duration {
		until := time.Now().Add(stall)
		rec := NewRecorder()
		err := Run(t.Context(), nil, work(func(ctx context.Context, _ uint64) error { return pause(ctx, time.Until(until)) }), s, length, 1, 0, rec)
		if err != nil {
			t.Fatal(err)
		}
		return rec.Tally().Times.Quantile(0.9)
	}
	// Half of the arrivals come during the stall and wait 100 ms in the mean; the
	// single client waits once and then makes thousands of fast requests.
	if got := p90(Open{Rate: 500}); got < stall/2 {
		t.Errorf("open: p90 %v hides the stall of %v", got, stall)
	}
	if got := p90(Closed{Clients: 1, Think: time.Millisecond}); got > stall/4 {
		t.Errorf("closed: p90 %v; this comparison is void", got)
	}
}

func TestOpenArrivalsComeAtTheirRateAndSeed(t *testing.T) {
	count := func(seed uint64) int64 {
		rec := NewRecorder()
		if err := Run(t.Context(), nil, work(func(context.Context, uint64) error { return nil }), Open{Rate: 2000}, time.Second, seed, 0, rec); err != nil {
			t.Fatal(err)
		}
		return rec.Tally().Completed
	}
	// Poisson: the standard deviation is √2000 = 45; four of them.
	if n := count(7); n < 1820 || n > 2180 {
		t.Errorf("%d arrivals in a second at 2,000/s", n)
	}
}

func TestClientsUseEveryOrdinalOnce(t *testing.T) {
	seen := make(chan uint64, 100_000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rec := NewRecorder()
	err := Run(ctx, nil, work(func(_ context.Context, n uint64) error {
		if n >= 1000+5000 {
			cancel()
		}
		seen <- n
		return nil
	}), Closed{Clients: 7}, time.Minute, 1, 1000, rec)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(seen)
	once := map[uint64]bool{}
	for n := range seen {
		if once[n] || n < 1000 {
			t.Fatalf("ordinal %d is used twice or below the first", n)
		}
		once[n] = true
	}
}

func TestWhatIsCutOffIsAbandonedAndNotFailed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	rec := NewRecorder()
	begun := make(chan struct{}, 4)
	done := make(chan error)
	go func() {
		done <- Run(ctx, nil, work(func(ctx context.Context, _ uint64) error {
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}), Closed{Clients: 4}, time.Minute, 1, 0, rec)
	}()
	for range 4 {
		<-begun
	}
	if p := rec.Tally().Pending(); p != 4 {
		t.Errorf("%d pending instead of 4", p)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if tally := rec.Tally(); tally.Abandoned != 4 || tally.Failed != 0 || tally.Pending() != 0 {
		t.Errorf("abandoned %d, failed %d, pending %d", tally.Abandoned, tally.Failed, tally.Pending())
	}
}

func TestShapesThatCannotBeAreRefused(t *testing.T) {
	for _, s := range []Shape{Closed{}, Closed{Clients: 1, Think: -1}, Open{}, Open{Rate: math.NaN()}, Open{Rate: -1}, Open{Rate: math.Inf(1)}} {
		if err := Run(t.Context(), nil, nil, s, time.Second, 1, 0, NewRecorder()); err == nil {
			t.Errorf("%+v was driven", s)
		}
	}
}

func TestVectorsAreSeededAndClustered(t *testing.T) {
	m, err := NewMixture(32, 1)
	if err != nil {
		t.Fatal(err)
	}
	same, _ := NewMixture(32, 1)
	other, _ := NewMixture(32, 2)
	if m.Text(Rows, 5) != same.Text(Rows, 5) {
		t.Error("the same seed gives other vectors")
	}
	if m.Text(Rows, 5) == other.Text(Rows, 5) || m.Text(Rows, 5) == m.Text(Queries, 5) || m.Text(Rows, 5) == m.Text(Rows, 6) {
		t.Error("another seed, stream or ordinal gives the same vector")
	}
	// A row's nearest neighbour is much nearer than rows are on the average; in
	// 32 dimensions of uniform noise it is about half as far.
	distance := func(a, b []float32) (sum float64) {
		for i := range a {
			sum += float64(a[i]-b[i]) * float64(a[i]-b[i])
		}
		return math.Sqrt(sum)
	}
	nearest, mean := math.Inf(1), 0.0
	const rows = 2000
	query := m.Vector(Queries, 0)
	for n := range uint64(rows) {
		d := distance(query, m.Vector(Rows, n))
		nearest, mean = math.Min(nearest, d), mean+d/rows
	}
	if nearest > 0.55*mean {
		t.Errorf("nearest %.2f, mean %.2f: no clusters", nearest, mean)
	}
	for _, dim := range []int{0, -1, MaxDimensions + 1} {
		if _, err := NewMixture(dim, 1); err == nil {
			t.Errorf("%d dimensions were taken", dim)
		}
	}
}

// newDataset makes a small dataset in a database of its own.
func newDataset(t *testing.T) (dsn string, conn *pgx.Conn, d *Dataset) {
	t.Helper()
	dsn = pgtest.DSN(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	m, err := NewMixture(32, 1)
	if err != nil {
		t.Fatal(err)
	}
	return dsn, conn, &Dataset{Schema: "a \"b\"", Mixture: m, Vectors: 3000, Exact: 200, Counters: 4}
}

func one[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) (v T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatal(sql, err)
	}
	return v
}

func TestEveryWorkloadDoesInTheDatabaseWhatIsRecorded(t *testing.T) {
	dsn, conn, d := newDataset(t)
	var steps []string
	var copied int64
	if err := d.Create(t.Context(), conn, func(step string, done, total int64) {
		if !slices.Contains(steps, step) {
			steps = append(steps, step)
		}
		if step == StepCopy {
			copied = done
		}
		if total != int64(d.Vectors) {
			t.Errorf("%s: total %d", step, total)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if steps[0] != StepCopy || copied != int64(d.Vectors) {
		t.Errorf("steps %v, %d copied", steps, copied)
	}
	if indexed, err := NewIndexSearch(d).UsesIndex(t.Context(), conn); !indexed || err != nil {
		t.Errorf("uses the index: %v, %v", indexed, err)
	}
	plain, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	cfg, err := autotune.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Manual = true
	tuned, err := autotune.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer tuned.Close()

	searches := func() int64 {
		plain.Reset() // ending backends report their statistics
		tuned.Reset()
		var n int64
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
			if one[int64](t, conn, "select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'") == 1 {
				break
			}
		}
		one[any](t, conn, "select pg_stat_clear_snapshot()::text")
		n = one[int64](t, conn, "select idx_scan from pg_stat_user_indexes where indexrelname = 'items_v_hnsw'")
		return n
	}
	for _, c := range []struct {
		name   string
		w      Workload
		effect func() int64 // cumulative, in the database
	}{
		{"index search", NewIndexSearch(d), searches},
		{"holding search", NewHoldingSearch(d, time.Millisecond), searches},
		{"exact scan", NewExactScan(d), nil},
		{"insert", NewInsert(d), func() int64 { return one[int64](t, conn, "select count(*) from "+d.Table("items")) }},
		{"hot update", NewHotUpdate(d), func() int64 { return one[int64](t, conn, "select sum(n)::bigint from "+d.Table("counters")) }},
	} {
		for name, p := range map[string]Pool{"plain": plain, "tuned": tuned} {
			t.Run(c.name+" on a "+name+" pool", func(t *testing.T) {
				var before int64
				if c.effect != nil {
					before = c.effect()
				}
				rec := NewRecorder()
				if err := Run(t.Context(), p, c.w, Closed{Clients: 6}, 300*time.Millisecond, 1, 0, rec); err != nil {
					t.Fatal(err)
				}
				tally := rec.Tally()
				if tally.Failed+tally.Abandoned > 0 || tally.Completed == 0 {
					t.Fatalf("%d completed, %d failed, %d abandoned: %v", tally.Completed, tally.Failed, tally.Abandoned, rec.Failures())
				}
				if c.effect != nil {
					if got := c.effect() - before; got != tally.Completed {
						t.Errorf("recorded %d, the database did %d", tally.Completed, got)
					}
				}
			})
		}
	}
	// By the index from the first statement on: a scan that is kept gets slower.
	plan := one[string](t, conn, "explain (format json) "+strings.Replace(NewHotUpdate(d).sql, "$1", "1001", 1))
	if !strings.Contains(plan, "counters_pkey") {
		t.Errorf("the updates do not go by the primary key: %s", plan)
	}
	if err := d.Drop(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if n := one[int](t, conn, "select count(*) from pg_namespace where nspname = $1", d.Schema); n != 0 {
		t.Error("the schema is still there")
	}
}

func TestASchemaOfSomebodyElseIsNeverTouched(t *testing.T) {
	_, conn, d := newDataset(t)
	for _, sql := range []string{`create schema "a ""b"""`, `create table "a ""b""".precious ()`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Create(t.Context(), conn, nil); !errors.Is(err, ErrForeignSchema) {
		t.Errorf("create: %v", err)
	}
	if err := d.Drop(t.Context(), conn); !errors.Is(err, ErrForeignSchema) {
		t.Errorf("drop: %v", err)
	}
	if n := one[int](t, conn, "select count(*) from pg_tables where tablename = 'precious'"); n != 1 {
		t.Error("the table is gone")
	}
}

func TestWhatWasLeftBehindIsReplaced(t *testing.T) {
	_, conn, d := newDataset(t)
	for _, vectors := range []int{100, 50} {
		d.Vectors = vectors
		if err := d.Create(t.Context(), conn, nil); err != nil {
			t.Fatal(err)
		}
		if n := one[int](t, conn, "select count(*) from "+d.Table("items")); n != vectors {
			t.Errorf("%d rows instead of %d", n, vectors)
		}
	}
}
