package metrics

import (
	"slices"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/sizing"
)

// metric is one line of the table: its name, and how a snapshot is read for it.
type metric struct {
	group  string // heading in docs/metrics.md
	name   string
	help   string
	labels []string

	counter   bool // else a gauge
	read      func(*autotune.Snapshot, emit)
	histogram func(*autotune.Snapshot) *autotune.Histogram // then there is no read

	otel string // name in OpenTelemetry's semantic conventions, "" if there is none
}

// emit hands out one value with the values of the metric's labels.
type emit func(v float64, labels ...string)

// table lists every metric, in the order of the loop.
var table = slices.Concat(poolMetrics, decisionMetrics, serverMetrics, estimateMetrics, hostMetrics, healthMetrics)

// gauge and counter make the usual lines: one value that is always known.
func gauge(group, name, help string, value func(*autotune.Snapshot) int) metric {
	return metric{group: group, name: name, help: help, read: func(s *autotune.Snapshot, e emit) { e(float64(value(s))) }}
}

func counter(group, name, help string, value func(*autotune.Snapshot) float64) metric {
	return metric{group: group, name: name, help: help, counter: true, read: func(s *autotune.Snapshot, e emit) { e(value(s)) }}
}

func (m metric) alias(otel string) metric { m.otel = otel; return m }

const poolGroup = "Pool"

var poolMetrics = []metric{
	gauge(poolGroup, "autotune_limit_connections", "Most connections that may be in use at once.",
		func(s *autotune.Snapshot) int { return s.Limit }),
	gauge(poolGroup, "autotune_max_connections", "Most connections that the pool underneath is allowed.",
		func(s *autotune.Snapshot) int { return s.Size.Max }).alias("db.client.connection.max"),
	gauge(poolGroup, "autotune_min_connections", "MinConns of the pool underneath.",
		func(s *autotune.Snapshot) int { return s.Size.Min }).alias("db.client.connection.idle.min"),
	gauge(poolGroup, "autotune_in_use_connections", "Connections given to callers and not yet back.",
		func(s *autotune.Snapshot) int { return s.InUse }).alias("db.client.connection.count{state=\"used\"}"),
	gauge(poolGroup, "autotune_idle_connections", "Connections that are open and wait for a caller.",
		func(s *autotune.Snapshot) int { return s.Idle }).alias("db.client.connection.count{state=\"idle\"}"),
	gauge(poolGroup, "autotune_connecting_connections", "Connections that are being opened.",
		func(s *autotune.Snapshot) int { return s.Connecting }),
	gauge(poolGroup, "autotune_queued_callers", "Callers that asked for a connection and have none yet.",
		func(s *autotune.Snapshot) int { return s.Queued }).alias("db.client.connection.pending_requests"),
	gauge(poolGroup, "autotune_open_connections", "Server connections of all generations, from the dial until the server has closed its end.",
		func(s *autotune.Snapshot) int { return s.Open }),
	gauge(poolGroup, "autotune_budget_connections", "Most server connections that all generations together may hold.",
		func(s *autotune.Snapshot) int { return s.Budget }),
	{group: poolGroup, name: "autotune_utilization_ratio", help: "Connections in use / limit, above 1 after the limit was lowered.",
		read: func(s *autotune.Snapshot, e emit) {
			if s.Limit > 0 { // else the pool is closed
				e(float64(s.InUse) / float64(s.Limit))
			}
		}},
	counter(poolGroup, "autotune_arrivals_total", "Callers that asked for a connection.",
		func(s *autotune.Snapshot) float64 { return float64(s.Arrivals) }),
	counter(poolGroup, "autotune_completions_total", "Connections given back.",
		func(s *autotune.Snapshot) float64 { return float64(s.Completions) }),
	counter(poolGroup, "autotune_canceled_total", "Callers that gave up waiting: demand that was not served.",
		func(s *autotune.Snapshot) float64 { return float64(s.Canceled) }).alias("db.client.connection.timeouts"),
	counter(poolGroup, "autotune_failed_total", "Callers that got no connection because one could not be opened or checked.",
		func(s *autotune.Snapshot) float64 { return float64(s.Failed) }),
	counter(poolGroup, "autotune_waited_total", "Callers that had to queue before they got a connection.",
		func(s *autotune.Snapshot) float64 { return float64(s.Waited) }),
	{group: poolGroup, name: "autotune_acquire_wait_seconds", otel: "db.client.connection.wait_time",
		help:      "Time that callers queued before they were let in, at the limit or while the pool is cold, 0 for those that did not queue. Connecting is not in it.",
		histogram: func(s *autotune.Snapshot) *autotune.Histogram { return &s.Waits }},
	{group: poolGroup, name: "autotune_service_seconds", otel: "db.client.connection.use_time",
		help:      "Time that connections were held. Holds below 10 µs are measured one in eight, and counted with it.",
		histogram: func(s *autotune.Snapshot) *autotune.Histogram { return &s.Services }},
	counter(poolGroup, "autotune_connect_wait_seconds_total", "Time that callers waited, after the queue, for a connection to be opened.",
		func(s *autotune.Snapshot) float64 { return s.ConnectTime.Seconds() }),
	counter(poolGroup, "autotune_in_use_seconds_total", "Connections in use, integrated over time: its rate is their mean.",
		func(s *autotune.Snapshot) float64 { return s.InUseTime.Seconds() }),
	counter(poolGroup, "autotune_saturated_seconds_total", "Time during which at least one caller was queued.",
		func(s *autotune.Snapshot) float64 { return s.SaturatedTime.Seconds() }),
	counter(poolGroup, "autotune_connects_total", "Server connections opened.",
		func(s *autotune.Snapshot) float64 { return float64(s.Connects) }),
	{group: poolGroup, name: "autotune_vector_searches_total", counter: true, labels: []string{"outcome"},
		help: "Statements with a distance operator of pgvector, by outcome: succeeded, failed (timeouts included) or canceled (the caller went away).",
		read: func(s *autotune.Snapshot, e emit) {
			e(float64(s.Searches.Succeeded), "succeeded")
			e(float64(s.Searches.Failed), "failed")
			e(float64(s.Searches.Canceled), "canceled")
		}},
}

const decisionGroup = "Decisions"

var actions = []controller.Action{controller.Hold, controller.Grow, controller.Shrink, controller.Freeze}

var decisionMetrics = []metric{
	{group: decisionGroup, name: "autotune_decisions_total", counter: true, labels: []string{"action", "reason"},
		help: "Decisions of the controller, one at each look. docs/how-it-decides.md explains the reasons.",
		read: func(s *autotune.Snapshot, e emit) {
			if s.Manual {
				return
			}
			for _, a := range actions { // from 0 on, so that the first of a kind is seen as an increase
				for _, r := range sizing.Reasons {
					e(float64(s.Decisions[autotune.Verdict{Action: a, Reason: r}]), string(a), string(r))
				}
			}
		}},
	{group: decisionGroup, name: "autotune_binding_bound", labels: []string{"bound"},
		help: "1 for the wall that clipped the last decision, or for none.",
		read: func(s *autotune.Snapshot, e emit) {
			if looked(s) {
				states(e, sizing.Bounds, s.Decision.Bound)
			}
		}},
	counter(decisionGroup, "autotune_swaps_total", "Hot-swaps of the pool underneath.",
		func(s *autotune.Snapshot) float64 { return float64(s.Swaps) }),
	counter(decisionGroup, "autotune_swaps_failed_total", "Hot-swaps that failed and left the pool as it was.",
		func(s *autotune.Snapshot) float64 { return float64(s.SwapsFailed) }),
	counter(decisionGroup, "autotune_swap_seconds_total", "Time spent in hot-swaps, from the start to the last connection handed over.",
		func(s *autotune.Snapshot) float64 { return s.SwapTime.Seconds() }),
	{group: decisionGroup, name: "autotune_recommendation_lower_connections", help: "Connections in use at once that are asked for, at least.",
		read: recommended(func(r *sizing.Recommendation) int { return r.Lower })},
	{group: decisionGroup, name: "autotune_recommendation_target_connections", help: "Connections in use at once that are asked for.",
		read: recommended(func(r *sizing.Recommendation) int { return r.Target })},
	{group: decisionGroup, name: "autotune_recommendation_upper_connections", help: "Connections in use at once that are asked for, at most.",
		read: recommended(func(r *sizing.Recommendation) int { return r.Upper })},
}

// looked tells whether the controller has taken a look, so that there is a
// decision to read.
func looked(s *autotune.Snapshot) bool { return !s.LookedAt.IsZero() }

func recommended(value func(*sizing.Recommendation) int) func(*autotune.Snapshot, emit) {
	return func(s *autotune.Snapshot, e emit) {
		if r := &s.Decision.Recommendation; looked(s) && r.Target > 0 {
			e(float64(value(r)))
		}
	}
}

// states gives 1 to the value that holds and 0 to all others of a closed set.
func states[T ~string](e emit, all []T, holds T) {
	for _, v := range all {
		n := 0.0
		if v == holds {
			n = 1
		}
		e(n, string(v))
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
