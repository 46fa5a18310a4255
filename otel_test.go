package autotune_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
	"go.opentelemetry.io/otel/codes"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// The tracer of OpenTelemetry in the user's configuration has to see through the
// façade what it sees in a plain pool: the acquire, queueing included, and each
// query, as children of the caller's span, before and after a hot-swap.
func TestOpenTelemetrySeesAcquiresAndQueriesAcrossASwap(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	defer func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	tracer := otelpgx.NewTracer(otelpgx.WithTracerProvider(provider), otelpgx.WithMeterProvider(metricnoop.NewMeterProvider()))
	p := open(t, pgtest.DSN(t), 4, func(c *autotune.Config) { c.Pool.ConnConfig.Tracer = tracer })
	ctx := within(t)

	request := func(name string, work func(context.Context)) (children []sdktrace.ReadOnlySpan) {
		t.Helper()
		ctx, parent := provider.Tracer("caller").Start(ctx, name)
		work(ctx)
		parent.End()
		settles(t, p)
		for _, s := range spans.Ended() {
			if s.Parent().SpanID() == parent.SpanContext().SpanID() {
				children = append(children, s)
			}
		}
		return children
	}
	names := func(spans []sdktrace.ReadOnlySpan) (names []string) {
		for _, s := range spans {
			names = append(names, s.Name())
		}
		return names
	}
	all := func(round string, work func(context.Context)) {
		t.Helper()
		got := request(round, work)
		for _, want := range []string{"pool.acquire", "SELECT", "batch start", `copy_from "items"`} {
			if !slices.ContainsFunc(got, func(s sdktrace.ReadOnlySpan) bool { return strings.HasPrefix(s.Name(), want) }) {
				t.Errorf("%s: no span %q among %q", round, want, names(got))
			}
		}
		acquires := 0
		for _, s := range got {
			if s.Name() == "pool.acquire" {
				acquires++
			}
			if s.Status().Code == codes.Error || s.EndTime().Before(s.StartTime()) {
				t.Errorf("%s: the span %s is %v, from %s to %s", round, s.Name(), s.Status(), s.StartTime(), s.EndTime())
			}
		}
		if acquires != 3 {
			t.Errorf("%s: %d spans of acquires for 3 acquires", round, acquires)
		}
	}
	work := func(ctx context.Context) {
		var n int
		if err := p.QueryRow(ctx, "select 1 + $1::int", 1).Scan(&n); err != nil || n != 2 {
			t.Errorf("%d, %v", n, err)
		}
		b := &pgx.Batch{}
		b.Queue("select 2")
		if err := p.SendBatch(ctx, b).Close(); err != nil {
			t.Error(err)
		}
		if _, err := p.CopyFrom(ctx, pgx.Identifier{"items"}, []string{"id"}, pgx.CopyFromRows([][]any{{1}})); err != nil {
			t.Error(err)
		}
	}
	mustExec(t, p, "create table items (id int)")
	all("before the swap", work)
	if err := p.Resize(ctx, autotune.Size{Max: 3, Min: 1}); err != nil {
		t.Fatal(err)
	}
	all("after the swap", work)

	// A caller that gives up in the queue has a span with the error.
	release := hold(t, p, 3)
	got := request("exhausted", func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			_, err := p.Acquire(ctx)
			done <- err
		}()
		queues(t, p, 1)
		cancel()
		if err := <-done; err == nil {
			t.Error("an exhausted pool gave a connection")
		}
		release()
	})
	if len(got) != 1 || got[0].Name() != "pool.acquire" || got[0].Status().Code != codes.Error {
		t.Errorf("the spans of an acquire that was given up: %s", fmt.Sprint(names(got)))
	}
}
