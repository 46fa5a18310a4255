package metrics

import (
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/model"
)

// The second half of the table: the world beside the pool, what is believed of
// it, and whether the loop is well.

const serverGroup = "Server"

// server reads a figure of the server, which is left out while it is not seen.
func server(name, help string, value func(*controller.Server) int) metric {
	return metric{group: serverGroup, name: name, help: help, read: func(s *autotune.Snapshot, e emit) {
		if v := s.Observation.Server; v != nil {
			e(float64(value(v)))
		}
	}}
}

var vectorStates = []autotune.VectorState{autotune.VectorUnknown, autotune.VectorWorks, autotune.VectorMissing, autotune.VectorLost}

var serverMetrics = []metric{
	{group: serverGroup, name: "autotune_server_visible", help: "1 while the controller sees the server, 0 while it is blind and holds.",
		read: func(s *autotune.Snapshot, e emit) {
			if looked(s) {
				e(truth(s.Observation.Server != nil))
			}
		}},
	{group: serverGroup, name: "autotune_server_backends", labels: []string{"state"},
		help: "Server connections of this pool's role, database and application name, by what they do, as the controller saw them last.",
		read: func(s *autotune.Snapshot, e emit) {
			v := s.Observation.Server
			if v == nil {
				return
			}
			b := v.Ours
			for _, state := range []struct {
				name string
				n    int
			}{
				{"on_cpu", b.OnCPU}, {"io", b.IO}, {"lock", b.Lock}, {"lwlock", b.LWLock}, {"other_wait", b.OtherWait},
				{"idle_in_transaction", b.IdleInTransaction}, {"idle", b.Idle}, {"unknown", b.Unknown},
			} {
				e(float64(state.n), state.name)
			}
		}},
	server("autotune_server_other_backends", "Server connections of everybody else, other processes of this service included. A lower bound without pg_read_all_stats.",
		func(v *controller.Server) int { return v.Others }),
	server("autotune_server_max_connections", "max_connections of the server, or less where a limit of the role or database binds.",
		func(v *controller.Server) int { return v.MaxConnections }),
	server("autotune_server_reserved_connections", "Connections that the server keeps from ordinary roles.",
		func(v *controller.Server) int { return v.Reserved }),
	{group: serverGroup, name: "autotune_server_response_seconds", help: "Time the server took to answer the controller's last query, over a connection of its own.",
		read: func(s *autotune.Snapshot, e emit) {
			if d := s.Sight.ResponseTime; d > 0 {
				e(d.Seconds())
			}
		}},
	{group: serverGroup, name: "autotune_server_shared_buffers_bytes", help: "shared_buffers of the server.",
		read: func(s *autotune.Snapshot, e emit) {
			if v := s.Observation.Server; v != nil && v.Vectors.SharedBuffer > 0 {
				e(float64(v.Vectors.SharedBuffer))
			}
		}},
	{group: serverGroup, name: "autotune_vector_capability", labels: []string{"state"},
		help: "1 for what the last check of pgvector found: works, missing (never worked), lost (worked once) or unknown (only the profile vector checks).",
		read: func(s *autotune.Snapshot, e emit) {
			states(e, vectorStates, s.Sight.Vector)
		}},
	{group: serverGroup, name: "autotune_vector_rows", help: "Estimated rows of tables with a vector column.",
		read: func(s *autotune.Snapshot, e emit) {
			if v := s.Observation.Server; v != nil && v.Vectors.Installed && v.Vectors.Rows >= 0 {
				e(v.Vectors.Rows)
			}
		}},
	vectorIndexes("autotune_vector_indexes", "Vector indexes in the database.", func(i autotune.VectorIndexes) float64 { return float64(i.Count) }),
	vectorIndexes("autotune_vector_invalid_indexes", "Vector indexes that no query can use: left behind by a failed CREATE INDEX CONCURRENTLY, or not yet ready.",
		func(i autotune.VectorIndexes) float64 { return float64(i.Invalid) }),
	vectorIndexes("autotune_vector_index_bytes", "Size of the vector indexes. Above the memory for caching, expect a cliff of throughput.",
		func(i autotune.VectorIndexes) float64 { return float64(i.Bytes) }),
}

func vectorIndexes(name, help string, value func(autotune.VectorIndexes) float64) metric {
	return metric{group: serverGroup, name: name, help: help, labels: []string{"method"}, read: func(s *autotune.Snapshot, e emit) {
		for _, i := range s.Sight.VectorIndexes {
			e(value(i), i.Method)
		}
	}}
}

const estimateGroup = "Estimates"

// estimate reads what is believed; known says whether it is.
func estimate(name, help string, value func(*model.Estimate) (v float64, known bool)) metric {
	return metric{group: estimateGroup, name: name, help: help, read: func(s *autotune.Snapshot, e emit) {
		if !looked(s) {
			return
		}
		if v, known := value(&s.Decision.Estimate); known {
			e(v)
		}
	}}
}

func positive(n int) (float64, bool) { return float64(n), n > 0 }

var estimateMetrics = []metric{
	estimate("autotune_estimate_arrivals_per_second", "Arrival rate over the last seconds.",
		func(e *model.Estimate) (float64, bool) { return e.Arrival, true }),
	estimate("autotune_estimate_completions_per_second", "Throughput over the last seconds.",
		func(e *model.Estimate) (float64, bool) { return e.Throughput, true }),
	estimate("autotune_estimate_service_seconds", "Mean time that a connection is held.",
		func(e *model.Estimate) (float64, bool) { return e.Service.Seconds(), e.Service > 0 }),
	estimate("autotune_estimate_offered_load_connections", "Offered load: arrival rate × service time, in erlangs.",
		func(e *model.Estimate) (float64, bool) { return e.OfferedLoad, true }),
	estimate("autotune_estimate_demand_connections", "True demand in the last window: in use, queued, and what those that gave up would have held.",
		func(e *model.Estimate) (float64, bool) { return e.Concurrency, true }),
	estimate("autotune_estimate_saturated_ratio", "Share of the last window in which callers queued.",
		func(e *model.Estimate) (float64, bool) { return e.Saturated, true }),
	estimate("autotune_estimate_wanted_connections", "Connections that keep the wait within the objective at the offered load, by Erlang C.",
		func(e *model.Estimate) (float64, bool) { return positive(e.Wanted) }),
	estimate("autotune_estimate_prior_connections", "Where the knee is expected before it is measured, from cores and waits.",
		func(e *model.Estimate) (float64, bool) { return positive(e.Prior) }),
	estimate("autotune_knee_identified", "1 when the knee of the throughput curve is known with evidence on both sides.",
		func(e *model.Estimate) (float64, bool) { return truth(e.Knee.Identified), true }),
	estimate("autotune_knee_connections", "The knee: the fewest connections in use that give nearly all of the peak throughput. A guess unless identified.",
		func(e *model.Estimate) (float64, bool) { return positive(e.Knee.N) }),
	estimate("autotune_knee_lower_connections", "Lower end of the knee's interval of confidence.",
		func(e *model.Estimate) (float64, bool) { return positive(e.Knee.Lower) }),
	estimate("autotune_knee_upper_connections", "Upper end of the knee's interval of confidence.",
		func(e *model.Estimate) (float64, bool) { return positive(e.Knee.Upper) }),
	estimate("autotune_knee_completions_per_second", "Throughput measured at the knee.",
		func(e *model.Estimate) (float64, bool) { return e.KneeThroughput, e.KneeThroughput > 0 }),
}

const hostGroup = "Host"

// host reads a figure of this process's machine, with whose limit it is of.
func host(name, help string, value func(*autotune.Sight) (v float64, source autotune.Source, known bool)) metric {
	return metric{group: hostGroup, name: name, help: help, labels: []string{"source"}, read: func(s *autotune.Snapshot, e emit) {
		if v, source, known := value(&s.Sight); s.Sight.HostKnown && known {
			e(v, string(source))
		}
	}}
}

var hostMetrics = []metric{
	host("autotune_host_cpu_ratio", "Busy share of the cores this process may use.",
		func(s *autotune.Sight) (float64, autotune.Source, bool) { return s.CPU, s.CPUSource, s.CPUKnown }),
	host("autotune_host_cores", "Cores this process may keep busy.",
		func(s *autotune.Sight) (float64, autotune.Source, bool) { return float64(s.Cores), s.CPUSource, true }),
	host("autotune_host_memory_bytes", "Memory this process may use.",
		func(s *autotune.Sight) (float64, autotune.Source, bool) {
			return float64(s.RAMTotal), s.RAMSource, s.RAMTotal > 0
		}),
	host("autotune_host_memory_free_bytes", "Part of it that can be had without swapping or being killed.",
		func(s *autotune.Sight) (float64, autotune.Source, bool) {
			return float64(s.RAMFree), s.RAMSource, s.RAMTotal > 0
		}),
	{group: hostGroup, name: "autotune_host_same_machine", help: "1 when the database runs on this machine, so that the figures of the host describe both.",
		read: func(s *autotune.Snapshot, e emit) {
			if s.Observation.Server != nil {
				e(truth(s.Sight.SameMachine))
			}
		}},
}

const healthGroup = "Health of the loop"

type mode string

var modes = []mode{"running", "frozen", "manual"}

func modeOf(s *autotune.Snapshot) mode {
	switch {
	case s.Manual:
		return "manual"
	case s.Frozen:
		return "frozen"
	}
	return "running"
}

var healthMetrics = []metric{
	{group: healthGroup, name: "autotune_controller_mode", labels: []string{"mode"},
		help: "1 for running, frozen (by Freeze, or by a bug that ended the tuning) or manual (switched off in the configuration).",
		read: func(s *autotune.Snapshot, e emit) { states(e, modes, modeOf(s)) }},
	{group: healthGroup, name: "autotune_last_look_timestamp_seconds", help: "When the controller took its last look, in Unix time; 0 before the first.",
		read: func(s *autotune.Snapshot, e emit) {
			switch {
			case looked(s):
				e(float64(s.LookedAt.UnixNano()) / 1e9)
			case !s.Manual:
				e(0)
			}
		}},
	{group: healthGroup, name: "autotune_look_interval_seconds", help: "Time between two looks; while it learns, the controller looks more often.",
		read: func(s *autotune.Snapshot, e emit) {
			if !s.Manual {
				e(s.Interval.Seconds())
			}
		}},
	{group: healthGroup, name: "autotune_observation_errors_total", counter: true, labels: []string{"source"},
		help: "Readings that failed: of the server (then the controller holds) or of the host.",
		read: func(s *autotune.Snapshot, e emit) {
			e(float64(s.Sight.ServerErrors), "server")
			e(float64(s.Sight.HostErrors), "host")
		}},
}
