package metrics

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/await"
	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/internal/sizing"
)

// checker compares scraped values and remembers which metrics were compared.
type checker struct {
	testing.TB
	tested *sync.Map
}

// expects are the values that series shall have: a number, or a range.
type expects map[string]any

type between struct{ low, high float64 }

// wrong says what is not as expected, or "".
func (c checker) wrong(got scraped, want expects) string {
	var wrong []string
	for series, w := range want {
		v, ok := got[series]
		if !ok {
			v = math.NaN()
		}
		switch w := w.(type) {
		case nil:
			if ok {
				wrong = append(wrong, fmt.Sprintf("%s is %v, and should be left out", series, v))
			}
		case between:
			if !(v >= w.low && v <= w.high) {
				wrong = append(wrong, fmt.Sprintf("%s is %v, not from %v to %v", series, v, w.low, w.high))
			}
		default:
			if n := number(w); v != n {
				wrong = append(wrong, fmt.Sprintf("%s is %v, not %v", series, v, n))
			}
		}
	}
	if len(wrong) == 0 {
		for series, w := range want {
			if w != nil {
				name, _, _ := strings.Cut(series, "{")
				c.tested.Store(strings.TrimSuffix(strings.TrimSuffix(name, "_count"), "_sum"), true)
			}
		}
	}
	return strings.Join(wrong, "; ")
}

func number(v any) float64 {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	}
	return v.(float64)
}

func (c checker) check(what string, got scraped, want expects) {
	c.Helper()
	if wrong := c.wrong(got, want); wrong != "" {
		c.Errorf("%s: %s", what, wrong)
	}
}

// becomes scrapes until all is as expected.
func (c checker) becomes(of *Collector, want expects) {
	c.Helper()
	eventually(c.TB, func() string { return c.wrong(scrape(c.TB, of), want) })
}

// Each metric is made to move by something that happens to a real pool, and has to
// move by that much. The last check is that none was forgotten.
func TestEveryMetricMovesByWhatHappens(t *testing.T) {
	tested := &sync.Map{} // names; one of the tests looks from the loop of the controller
	events := []struct {
		what string
		test func(checker)
	}{
		{"sizes", sizes},
		{"callers", callers},
		{"a connection that opens slowly", slowConnect},
		{"a hot-swap", swaps},
		{"vector searches", searches},
		{"a server with vectors", vectorServer},
		{"pgvector lost", vectorLost},
		{"steady load", steadyLoad},
		{"a knee", knee},
		{"a bound", bound},
		{"the controller's modes", modesOfController},
		{"a server that is gone", serverGone},
		{"the host", hostFigures},
	}
	ran := 0
	for _, e := range events {
		if !t.Run(e.what, func(t *testing.T) { ran++; e.test(checker{t, tested}) }) {
			return
		}
	}
	if ran < len(events) {
		return // -run chose some of them
	}
	for _, m := range table {
		if _, ok := tested.Load(m.name); !ok {
			t.Errorf("no event tests the value of %s", m.name)
		}
	}
}

func sizes(c checker) {
	p := open(c, pgtest.DSN(c), 8, func(c *autotune.Config) { c.Budget = 10 })
	of := New(p, Options{})
	c.check("as opened", scrape(c, of), expects{"autotune_limit_connections": 8, "autotune_max_connections": 8,
		"autotune_min_connections": 0, "autotune_budget_connections": 10, "autotune_utilization_ratio": 0})
	if err := p.Resize(within(c), autotune.Size{Max: 4, Min: 2}); err != nil {
		c.Fatal(err)
	}
	p.SetLimit(3)
	release := hold(c, p, 3)
	c.becomes(of, expects{"autotune_limit_connections": 3, "autotune_max_connections": 4, "autotune_min_connections": 2,
		"autotune_in_use_connections": 3, "autotune_utilization_ratio": 1, "autotune_open_connections": 3})
	p.SetLimit(2)
	c.check("lowered", scrape(c, of), expects{"autotune_limit_connections": 2, "autotune_utilization_ratio": 1.5})
	release()
	c.becomes(of, expects{"autotune_in_use_connections": 0, "autotune_utilization_ratio": 0, "autotune_idle_connections": 3})
	p.Close()
	c.check("closed", scrape(c, of), expects{"autotune_limit_connections": 0, "autotune_utilization_ratio": nil, "autotune_idle_connections": 0})
}

func callers(c checker) {
	p := open(c, pgtest.DSN(c), 1)
	of := New(p, Options{})
	exec(c, p, "select 1") // opens the connection
	before := scrape(c, of)

	conn, err := p.Acquire(within(c))
	if err != nil {
		c.Fatal(err)
	}
	queued, cancel := context.WithCancel(within(c))
	done := make(chan error, 3)
	wait := func(ctx context.Context) {
		go func() {
			_, err := p.Exec(ctx, "select pg_sleep(0.02)")
			done <- err
		}()
	}
	wait(queued)
	c.becomes(of, expects{"autotune_queued_callers": 1, "autotune_in_use_connections": 1})
	cancel()
	if err := <-done; err == nil {
		c.Error("a canceled caller got a connection")
	}
	wait(within(c))
	wait(within(c))
	start := time.Now()
	c.becomes(of, expects{"autotune_queued_callers": 2})
	if _, err := conn.Exec(within(c), "select pg_sleep(0.03)"); err != nil {
		c.Fatal(err)
	}
	conn.Release()
	for range 2 {
		if err := <-done; err != nil {
			c.Error(err)
		}
	}
	most := time.Since(start).Seconds()
	c.becomes(of, expects{"autotune_queued_callers": 0, "autotune_in_use_connections": 0})
	// The canceled one and the first of the two waited for the connection, the
	// second for the first one's 20 ms, too.
	c.check("three callers at a held connection", scrape(c, of).minus(before), expects{
		"autotune_arrivals_total": 4, "autotune_completions_total": 3, "autotune_canceled_total": 1, "autotune_waited_total": 2,
		"autotune_failed_total": 0, "autotune_connects_total": 0,
		"autotune_acquire_wait_seconds_count": 3, "autotune_acquire_wait_seconds_sum": between{2*0.030 + 0.020, 2 * most},
		"autotune_service_seconds_count": 3, "autotune_service_seconds_sum": between{0.030 + 2*0.020, 2*most + 1},
		"autotune_in_use_seconds_total":    between{0.030 + 2*0.020, 2*most + 1},
		"autotune_saturated_seconds_total": between{0.030 + 0.020, 2*most + 1},
	})
}

// gated makes connections open only when they are let.
type gated struct {
	let   chan struct{}
	dials chan struct{}
}

func (g *gated) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	g.dials <- struct{}{}
	select {
	case <-g.let:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

func slowConnect(c checker) {
	gate := &gated{let: make(chan struct{}), dials: make(chan struct{}, 9)}
	p := open(c, pgtest.DSN(c), 2, func(cfg *autotune.Config) { cfg.Pool.ConnConfig.DialFunc, cfg.ConnectRetry = gate.dial, -1 })
	of := New(p, Options{})
	before := scrape(c, of)
	done := make(chan error, 1)
	start := time.Now()
	go func() { done <- p.Ping(within(c)) }()
	<-gate.dials
	dialling := time.Now()
	c.becomes(of, expects{"autotune_connecting_connections": 1, "autotune_open_connections": 1, "autotune_in_use_connections": 1})
	least := time.Since(dialling).Seconds()
	gate.let <- struct{}{}
	if err := <-done; err != nil {
		c.Fatal(err)
	}
	c.becomes(of, expects{"autotune_connecting_connections": 0, "autotune_idle_connections": 1})
	c.check("a connection was opened", scrape(c, of).minus(before), expects{"autotune_connects_total": 1, "autotune_failed_total": 0,
		"autotune_connect_wait_seconds_total": between{least, time.Since(start).Seconds()}})

	before = scrape(c, of)
	if err := p.Reconfigure(within(c), func(cfg *pgxpool.Config) error {
		cfg.BeforeConnect = func(context.Context, *pgx.ConnConfig) error { return fmt.Errorf("no token") }
		return nil
	}); err == nil {
		c.Error("a generation that cannot connect was published")
	}
	c.check("a swap failed", scrape(c, of).minus(before), expects{"autotune_swaps_failed_total": 1, "autotune_swaps_total": 0})
	release := hold(c, p, 1)
	failing := open(c, "postgres://nobody:wrong@127.0.0.1:1/none?sslmode=disable", 1, func(cfg *autotune.Config) { cfg.ConnectRetry = -1 })
	ofFailing := New(failing, Options{})
	for i := range 3 {
		if err := failing.Ping(within(c)); err == nil {
			c.Error("something listens on port 1")
		}
		c.check("nobody listens", scrape(c, ofFailing), expects{"autotune_failed_total": i + 1, "autotune_arrivals_total": i + 1, "autotune_completions_total": 0})
	}
	release()
}

func swaps(c checker) {
	p := open(c, pgtest.DSN(c), 4)
	of := New(p, Options{})
	exec(c, p, "select 1")
	before, start := scrape(c, of), time.Now()
	for _, n := range []int{3, 2, 4} {
		if err := p.Resize(within(c), autotune.Size{Max: n}); err != nil {
			c.Fatal(err)
		}
	}
	c.check("three swaps", scrape(c, of).minus(before), expects{"autotune_swaps_total": 3, "autotune_swaps_failed_total": 0,
		"autotune_swap_seconds_total": between{1e-5, time.Since(start).Seconds()}})
}

func searches(c checker) {
	p := open(c, pgtest.DSN(c), 1)
	of := New(p, Options{})
	for range 3 {
		exec(c, p, "select '[1,2]'::vector <-> '[3,4]'::vector")
	}
	if _, err := p.Exec(within(c), "select '[1,2]'::vector <=> '[3]'::vector"); err == nil {
		c.Error("vectors of different dimensions have a distance")
	}
	c.check("3 searches and a wrong one", scrape(c, of), expects{`autotune_vector_searches_total{outcome="succeeded"}`: 3,
		`autotune_vector_searches_total{outcome="failed"}`: 1, `autotune_vector_searches_total{outcome="canceled"}`: 0})
}

// vectorServer reads what the server says of itself and compares.
func vectorServer(c checker) {
	dsn := pgtest.DSN(c)
	admin, err := pgx.Connect(within(c), dsn)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = admin.Close(context.Background()) })
	run := func(sql string) {
		c.Helper()
		if _, err := admin.Exec(within(c), sql); err != nil {
			c.Fatalf("%s: %v", sql, err)
		}
	}
	run("create table items (id int, a vector(3), b vector(2))")
	run("insert into items select i, array[i, 1, 1]::vector, array[i, 2]::vector from generate_series(1, 1000) i")
	run("create index on items using hnsw (a vector_l2_ops)")
	run("create index on items using hnsw (b vector_cosine_ops)")
	run("create index broken on items using ivfflat (a vector_l2_ops) with (lists = 4)")
	run("update pg_index set indisvalid = false where indexrelid = 'broken'::regclass")
	run("analyze items")
	ask := func(sql string) (v float64) {
		c.Helper()
		if err := admin.QueryRow(within(c), sql).Scan(&v); err != nil {
			c.Fatalf("%s: %v", sql, err)
		}
		return v
	}
	indexBytes := func(method string) float64 {
		return ask("select sum(pg_relation_size(c.oid))::float8 from pg_class c join pg_am m on m.oid = c.relam where m.amname = '" + method + "'")
	}
	p := open(c, dsn, 6, live)
	of := New(p, Options{})
	c.becomes(of, expects{
		"autotune_server_visible":                1,
		"autotune_server_max_connections":        ask("select current_setting('max_connections')::float8"),
		"autotune_server_reserved_connections":   ask("select current_setting('superuser_reserved_connections')::float8 + coalesce(current_setting('reserved_connections', true), '0')::float8"),
		"autotune_server_shared_buffers_bytes":   ask("select pg_size_bytes(current_setting('shared_buffers'))::float8"),
		"autotune_server_response_seconds":       between{1e-6, patience.Seconds()},
		"autotune_vector_rows":                   1000,
		`autotune_vector_indexes{method="hnsw"}`: 2, `autotune_vector_indexes{method="ivfflat"}`: 1,
		`autotune_vector_invalid_indexes{method="hnsw"}`: 0, `autotune_vector_invalid_indexes{method="ivfflat"}`: 1,
		`autotune_vector_index_bytes{method="hnsw"}`: indexBytes("hnsw"), `autotune_vector_index_bytes{method="ivfflat"}`: indexBytes("ivfflat"),
		`autotune_vector_capability{state="unknown"}`: 1, `autotune_vector_capability{state="works"}`: 0,
		`autotune_controller_mode{mode="running"}`: 1,
	})

	// What backends do: one idle in a transaction, one computing, two waiting
	// for a lock, one idle.
	p.Freeze()
	others := scrape(c, of)["autotune_server_other_backends"]
	begin := func(sql string) pgx.Tx {
		c.Helper()
		tx, err := p.Begin(within(c))
		if err != nil {
			c.Fatal(err)
		}
		if _, err := tx.Exec(within(c), sql); err != nil {
			c.Fatal(err)
		}
		return tx
	}
	holder := begin("lock table items")
	ctx, cancel := context.WithCancel(within(c))
	var busy sync.WaitGroup
	for _, sql := range []string{"select count(*) from generate_series(1, 1000000000)", "select id from items", "select id from items"} {
		busy.Go(func() { _, _ = p.Exec(ctx, sql) }) // canceled in the end
	}
	more, err := pgx.Connect(within(c), dsn+"&application_name=another")
	if err != nil {
		c.Fatal(err)
	}
	backends := func(state string) string { return `autotune_server_backends{state="` + state + `"}` }
	c.becomes(of, expects{backends("idle_in_transaction"): 1, backends("lock"): 2,
		backends("on_cpu"): between{0, 1}, backends("io"): between{0, 1}, // a temporary file now and then
		backends("unknown"): 0, "autotune_server_other_backends": others + 1})
	_ = more.Close(within(c))
	cancel()
	busy.Wait()
	_ = holder.Rollback(within(c))
	c.becomes(of, expects{backends("idle_in_transaction"): 0, backends("lock"): 0, backends("on_cpu"): 0, "autotune_server_other_backends": others})
}

func vectorLost(c checker) {
	dsn := pgtest.DSN(c)
	admin, err := pgx.Connect(within(c), dsn)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = admin.Close(context.Background()) })
	p := open(c, dsn, 2, live, func(cfg *autotune.Config) { cfg.Profile = autotune.ProfileVector })
	of := New(p, Options{})
	state := func(want string) {
		c.Helper()
		eventually(c, func() string {
			p.Reset() // new connections check pgvector as they open
			if err := p.Ping(within(c)); err != nil {
				return err.Error()
			}
			want := expects{`autotune_vector_capability{state="` + want + `"}`: 1, `autotune_vector_capability{state="missing"}`: 0}
			return c.wrong(scrape(c, of), want)
		})
	}
	state("works")
	if _, err := admin.Exec(within(c), "drop extension vector"); err != nil {
		c.Fatal(err)
	}
	state("lost")
}

// steadyLoad keeps two of four connections in use, so that by Little's law the
// offered load is two, whatever the service time.
func steadyLoad(c checker) {
	p := open(c, pgtest.DSN(c), 4, live)
	of := New(p, Options{})
	ctx, stop := context.WithCancel(within(c))
	var work sync.WaitGroup
	for range 2 {
		work.Go(func() {
			for ctx.Err() == nil {
				_, _ = p.Exec(ctx, "select pg_sleep(0.05)")
			}
		})
	}
	c.becomes(of, expects{
		"autotune_estimate_offered_load_connections": between{1.5, 2.3},
		"autotune_estimate_demand_connections":       between{1.5, 2.3},
		"autotune_estimate_service_seconds":          between{0.05, 1},
		"autotune_estimate_arrivals_per_second":      between{5, 40},
		"autotune_estimate_completions_per_second":   between{5, 40},
		"autotune_estimate_wanted_connections":       between{4, 7}, // Erlang C for 1.5 to 2.3 erlangs, 5 % wait
		"autotune_estimate_saturated_ratio":          0,
		"autotune_knee_identified":                   0,
		"autotune_recommendation_lower_connections":  between{1, 3},
		"autotune_recommendation_target_connections": between{2, 4},
		"autotune_recommendation_upper_connections":  between{2, 4},
	})
	s := scrape(c, of)
	if offered, littles := s["autotune_estimate_offered_load_connections"], s["autotune_estimate_arrivals_per_second"]*s["autotune_estimate_service_seconds"]; math.Abs(offered-littles) > 1e-9*offered {
		c.Errorf("the offered load is %v, arrival rate × service time %v", offered, littles)
	}
	stop()
	work.Wait()
}

// knee lets the controller learn from a load whose curve no machine changes: two
// locks, each held for 5 ms, so that few connections serve as much as many.
func knee(c checker) {
	p := open(c, pgtest.DSN(c), 16, live)
	of := New(p, Options{})
	ctx, stop := context.WithTimeout(c.Context(), 6*patience)
	defer stop()
	var work sync.WaitGroup
	for i := range 48 {
		work.Go(func() {
			for ctx.Err() == nil {
				_, _ = p.Exec(ctx, "select pg_advisory_xact_lock($1), pg_sleep(0.005)", i%2)
			}
		})
	}
	saturated := false
	await.Until(c, 5*patience, func() string { // evidence takes as long as it takes where others use the machine
		s := scrape(c, of)
		saturated = saturated || c.wrong(s, expects{"autotune_estimate_saturated_ratio": between{0.5, 1}}) == ""
		return c.wrong(s, expects{"autotune_knee_identified": 1, "autotune_estimate_prior_connections": between{1, 16}})
	})
	if !saturated {
		c.Error("callers queued all the time, and the saturated share was never above a half")
	}
	p.Freeze()
	stop()
	work.Wait()
	d := p.Decision()
	k := d.Estimate.Knee
	if k.N < 1 || k.Lower > k.N || k.Upper < k.N || d.Estimate.KneeThroughput <= 0 || d.Estimate.KneeThroughput > d.Estimate.PeakThroughput {
		c.Fatalf("the knee is %+v at %v per second", k, d.Estimate.KneeThroughput)
	}
	c.check("the knee", scrape(c, of), expects{
		"autotune_knee_connections": k.N, "autotune_knee_lower_connections": k.Lower, "autotune_knee_upper_connections": k.Upper,
		"autotune_knee_completions_per_second":       d.Estimate.KneeThroughput,
		"autotune_recommendation_target_connections": min(k.N, 16),
	})
	grown := 0.0
	for series, v := range scrape(c, of) {
		if strings.HasPrefix(series, `autotune_decisions_total{action="grow"`) || strings.HasPrefix(series, `autotune_decisions_total{action="shrink"`) {
			grown += v
		}
	}
	if grown == 0 {
		c.Error("a knee was found, and no decision to grow or shrink was counted")
	}
}

// onDecision calls f, in the loop of the controller, for each decision logged.
type onDecision struct {
	slog.Handler
	f func(bound string)
}

func (h onDecision) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "decision" {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "bound" {
				h.f(a.Value.String())
			}
			return true
		})
	}
	return nil
}

// bound moves a pool beyond its ceiling by hand: the controller takes it back,
// and names the ceiling.
func bound(c checker) {
	var (
		of   *Collector
		mu   sync.Mutex
		seen = map[string]string{} // by bound, what was wrong with the metrics then
	)
	ready := make(chan struct{})
	p := open(c, pgtest.DSN(c), 2, live, func(cfg *autotune.Config) {
		cfg.Ceiling, cfg.Budget = 2, 6
		cfg.Logger = slog.New(onDecision{slog.NewTextHandler(&bytes.Buffer{}, &slog.HandlerOptions{Level: slog.LevelDebug}), func(bound string) {
			<-ready
			want := expects{}
			for _, b := range sizing.Bounds {
				want[`autotune_binding_bound{bound="`+string(b)+`"}`] = 0
			}
			want[`autotune_binding_bound{bound="`+bound+`"}`] = 1
			mu.Lock()
			defer mu.Unlock()
			seen[bound] = c.wrong(scrape(c, of), want)
		}})
	})
	of = New(p, Options{})
	close(ready)
	c.becomes(of, expects{"autotune_server_visible": 1})
	if err := p.Resize(within(c), autotune.Size{Max: 6}); err != nil {
		c.Fatal(err)
	}
	eventually(c, func() string {
		mu.Lock()
		defer mu.Unlock()
		for _, bound := range []sizing.Bound{sizing.NoBound, sizing.CeilingBound} {
			if wrong, ok := seen[string(bound)]; !ok || wrong != "" {
				return fmt.Sprintf("bound %s: decided %v, %s", bound, ok, wrong)
			}
		}
		return ""
	})
	c.becomes(of, expects{"autotune_limit_connections": 2})
}

func modesOfController(c checker) {
	manual := New(open(c, pgtest.DSN(c), 1), Options{})
	c.check("manual", scrape(c, manual), expects{
		`autotune_controller_mode{mode="manual"}`: 1, `autotune_controller_mode{mode="running"}`: 0,
		"autotune_last_look_timestamp_seconds": nil, "autotune_look_interval_seconds": nil, "autotune_server_visible": nil,
		"autotune_estimate_arrivals_per_second": nil, `autotune_decisions_total{action="hold",reason="steady"}`: nil,
	})

	p := open(c, pgtest.DSN(c), 1, live)
	of := New(p, Options{})
	verdict := func(a controller.Action, r sizing.Reason) string {
		return fmt.Sprintf("autotune_decisions_total{action=%q,reason=%q}", a, r)
	}
	c.becomes(of, expects{verdict(controller.Hold, sizing.Steady): between{3, 1e6}, verdict(controller.Freeze, sizing.Operator): 0,
		verdict(controller.Hold, sizing.Start): between{0, 1}, "autotune_look_interval_seconds": 0.1, "autotune_server_visible": 1})
	before, looks := scrape(c, of), time.Now()
	p.Freeze()
	c.becomes(of, expects{verdict(controller.Freeze, sizing.Operator): between{3, 1e6}, `autotune_controller_mode{mode="frozen"}`: 1, `autotune_controller_mode{mode="running"}`: 0,
		"autotune_last_look_timestamp_seconds": between{float64(looks.Unix()), float64(time.Now().Add(patience).Unix())}})
	s := scrape(c, of)
	took := s["autotune_last_look_timestamp_seconds"] - before["autotune_last_look_timestamp_seconds"]
	if decided := s.minus(before)[verdict(controller.Freeze, sizing.Operator)]; took <= 0 || decided > took/0.1+1.5 {
		c.Errorf("%v decisions in %v s of a look every 0.1 s", decided, took)
	}
	p.Thaw()
	c.becomes(of, expects{`autotune_controller_mode{mode="frozen"}`: 0, `autotune_controller_mode{mode="running"}`: 1})
}

func serverGone(c checker) {
	server := pgtest.New(c, pgtest.Options{})
	p := open(c, server.DSN(), 2, live)
	of := New(p, Options{})
	c.becomes(of, expects{"autotune_server_visible": 1, `autotune_observation_errors_total{source="server"}`: 0})
	if err := server.Kill(); err != nil {
		c.Fatal(err)
	}
	c.becomes(of, expects{`autotune_observation_errors_total{source="server"}`: between{1, 1000}, `autotune_observation_errors_total{source="host"}`: 0})
	c.becomes(of, expects{"autotune_server_visible": 0, `autotune_decisions_total{action="hold",reason="blind"}`: between{1, 1e6},
		"autotune_server_max_connections": nil, `autotune_server_backends{state="idle"}`: nil})
}

func hostFigures(c checker) {
	p := open(c, pgtest.DSN(c), 1, live)
	of := New(p, Options{})
	var h autotune.Sight
	eventually(c, func() string {
		if h = p.Snapshot().Sight; !h.CPUKnown {
			return "the CPU is unknown"
		}
		return ""
	})
	series := func(name string, source autotune.Source) string { return name + `{source="` + string(source) + `"}` }
	c.becomes(of, expects{
		series("autotune_host_cpu_ratio", h.CPUSource):           between{0, 1},
		series("autotune_host_cores", h.CPUSource):               h.Cores,
		series("autotune_host_memory_bytes", h.RAMSource):        h.RAMTotal,
		series("autotune_host_memory_free_bytes", h.RAMSource):   between{1, float64(h.RAMTotal)},
		"autotune_host_same_machine":                             between{0, 1},
		`autotune_observation_errors_total{source="host"}`:       0,
		series("autotune_host_cores", other(h.CPUSource)):        nil,
		series("autotune_host_memory_bytes", other(h.RAMSource)): nil,
	})
	same := map[bool]float64{true: 1}[h.SameMachine]
	c.check("the machine", scrape(c, of), expects{"autotune_host_same_machine": same})
	if h.RAMSource == autotune.FromHost {
		text, err := os.ReadFile("/proc/meminfo")
		if err == nil && !strings.Contains(string(text), fmt.Sprintf(" %d kB", h.RAMTotal/1024)) {
			c.Errorf("the machine has %d bytes of memory, and /proc/meminfo says\n%.60s", h.RAMTotal, text)
		}
	}
}

func other(s autotune.Source) autotune.Source {
	if s == autotune.FromHost {
		return autotune.FromCgroup
	}
	return autotune.FromHost
}
