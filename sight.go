package autotune

import (
	"slices"
	"time"

	"github.com/pgautotune/autotune/internal/pgstat"
)

// Sight is what the controller knows of the world beside the pool, for metrics
// and pages. What its backends do is in Snapshot.Observation.
type Sight struct {
	ServerAt     time.Time     // of the last good reading of the server; zero: never
	ResponseTime time.Duration // the server took for it; 0: never read
	ServerErrors int64         // readings of the server that failed, cumulative
	HostErrors   int64         // readings of the host that failed, or in part, cumulative

	Vector        VectorState     // of pgvector when it was checked last (see ProfileVector)
	VectorVersion string          // "" when not installed or not known
	VectorFactsAt time.Time       // when the inventory was taken; zero: never
	VectorIndexes []VectorIndexes // hnsw, ivfflat, then other methods as seen; nil before the first inventory

	HostKnown            bool // the fields below hold
	CPUKnown             bool
	CPU                  float64 // busy share of the cores this process may use, 0–1
	Cores                int     // that this process may use
	RAMTotal, RAMFree    int64   // bytes that this process may use, and that are left
	CPUSource, RAMSource Source  // whose limit the figures are of
	SameMachine          bool    // the database runs on it too, so that CPU and RAM describe both
}

// Source says whose limit a figure of the host is of.
type Source string

// The sources.
const (
	FromHost   Source = "host"   // the machine's own
	FromCgroup Source = "cgroup" // a quota or limit of the container or unit this process is in
)

// VectorIndexes are the indexes of one method.
type VectorIndexes struct {
	Method  string // hnsw, ivfflat, or of an extension that indexes pgvector's types: diskann, scann, ivf, vchordrq, vchordg
	Count   int    // valid or not
	Invalid int    // left behind by a failed CREATE INDEX CONCURRENTLY, or not yet ready
	Bytes   int64
}

// sight reads what the telemetry knows.
func (t *telemetry) sight() Sight {
	w, v := t.known(), t.vectorKnown()
	s := Sight{
		ServerAt: w.activityAt, ResponseTime: w.activity.RoundTrip,
		ServerErrors: t.serverErrors.Load(), HostErrors: t.hostErrors.Load(),
		Vector: v.state(), VectorVersion: w.facts.Vectors.Version, VectorFactsAt: w.factsAt,
		HostKnown: w.hostOK, CPUKnown: w.host.CPUKnown, CPU: w.host.CPU, Cores: w.host.Cores,
		RAMTotal: w.host.RAMTotal, RAMFree: w.host.RAMFree, CPUSource: FromHost, RAMSource: FromHost,
		SameMachine: w.sharedBox,
	}
	if w.host.Quota > 0 {
		s.CPUSource = FromCgroup
	}
	if w.host.RAMLimited {
		s.RAMSource = FromCgroup
	}
	if !w.factsAt.IsZero() {
		s.VectorIndexes = indexesByMethod(w.facts.Vectors.Indexes)
	}
	return s
}

func indexesByMethod(all []pgstat.VectorIndex) []VectorIndexes {
	out := []VectorIndexes{{Method: "hnsw"}, {Method: "ivfflat"}}
	for _, index := range all {
		i := slices.IndexFunc(out, func(m VectorIndexes) bool { return m.Method == index.Method })
		if i < 0 {
			i, out = len(out), append(out, VectorIndexes{Method: index.Method})
		}
		m := &out[i]
		m.Count++
		m.Bytes += index.Bytes
		if !index.Valid && !index.Building {
			m.Invalid++
		}
	}
	return out
}

// state is the verdict of the last check.
func (v vectorCheck) state() VectorState {
	switch {
	case v.at.IsZero():
		return VectorUnknown
	case v.err == nil:
		return VectorWorks
	case v.lost:
		return VectorLost
	}
	return VectorMissing
}
