package controller

import (
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

// Observation is one look at the pool and, where they could be read, at the
// server behind it and the host under it. It is plain data: the live tuner, the
// simulation and the replay of a journal all fill the same struct, and
// everything [Step] knows comes from here.
//
// Counters are cumulative since the pool was opened and never fall while it
// lives; a fall tells Step that the pool was replaced and its memory of the
// last look is void. Gauges hold for the instant At.
type Observation struct {
	// At is the monotonic time since the tuner started. It never goes back;
	// Step ignores an observation that does.
	At time.Duration `json:"at"`

	Counters Counters `json:"counters"`
	Gauges   Gauges   `json:"gauges"`

	// WaitP99 is the 99th percentile of the wait time (asking → getting) of
	// the acquires granted since the last observation; 0 when none waited.
	WaitP99 time.Duration `json:"wait_p99,omitempty"`

	// Server is what pg_stat_activity and the catalogs said; nil when the
	// server could not be read (blind).
	Server *Server `json:"server,omitempty"`

	// Host is the machine this process runs on; nil when it could not be read.
	Host *Host `json:"host,omitempty"`

	// Frozen is true while an operator has frozen the size by hand.
	Frozen bool `json:"frozen,omitempty"`
}

// Counters are the cumulative figures of the pool.
type Counters struct {
	Arrivals    int64 `json:"arrivals"`    // callers that asked for a connection
	Completions int64 `json:"completions"` // connections given back
	Canceled    int64 `json:"canceled"`    // callers that gave up waiting (context or acquire timeout): demand, not failure
	Failed      int64 `json:"failed"`      // acquires that failed for another reason: dial, authentication, validation
	Waited      int64 `json:"waited"`      // granted acquires that had to queue first

	WaitTime      time.Duration `json:"wait_time"`      // sum over granted and canceled acquires of the time queued
	ServiceTime   time.Duration `json:"service_time"`   // sum over completions of the time held
	InUseTime     time.Duration `json:"in_use_time"`    // integral of in use over time: divide by elapsed for the mean
	SaturatedTime time.Duration `json:"saturated_time"` // time during which at least one caller was queued

	// ServiceTimeSq is the sum over completions of (time held in seconds)²,
	// in s²; with ServiceTime it gives the variability of service.
	ServiceTimeSq float64 `json:"service_time_sq"`

	// Levels is, by how many connections were in use, for how long so many
	// were and how many came back out of it.
	Levels model.Levels `json:"levels"`
}

// Gauges are the figures of the pool at one instant, in connections or callers.
type Gauges struct {
	Limit      int `json:"limit"`      // most connections in use at once
	Max        int `json:"max"`        // most connections that the current generation is allowed
	Min        int `json:"min"`        // MinConns of the current generation
	InUse      int `json:"in_use"`     // given and not yet back
	Idle       int `json:"idle"`       // open and waiting for a caller
	Queued     int `json:"queued"`     // asked and not yet given
	Connecting int `json:"connecting"` // being dialled
	Budget     int `json:"budget"`     // most server connections all generations may hold
	// Peak is the highest in use + queued since the last observation.
	Peak int `json:"peak"`
	// Room is what Max can grow to without a swap; Max or less where it cannot.
	Room int `json:"room,omitempty"`
	// Reach is how many of Limit may be in use at once while the pool is cold: callers are
	// let in no faster than connections open. 0: all.
	Reach int `json:"reach,omitempty"`
	// Pinned is how many of those in use have been held for a minute or longer: by a
	// LISTEN, or a leader with its lock. They serve nobody else.
	Pinned int `json:"pinned,omitempty"`
}

// filled is how many connections can be in use as long as no more open.
func (g Gauges) filled() int {
	if g.Reach == 0 {
		return g.Limit
	}
	return max(1, min(g.Limit, g.Reach-g.Connecting))
}

// PinnedAfter is how long a connection has been held that counts as pinned.
const PinnedAfter = time.Minute

// Server is what the database says of itself.
type Server struct {
	// Ours are the client backends of this pool's user, database and
	// application name, by what they are doing. They are a census of one
	// instant, taken without the tuned pool.
	Ours Backends `json:"ours"`
	// Others counts the client backends of everybody else, other processes of the
	// service included.
	Others int `json:"others"`
	// Partial is true when the role may not see what other roles' backends
	// do (no pg_read_all_stats): Others is then a lower bound.
	Partial bool `json:"partial,omitempty"`

	MaxConnections int `json:"max_connections"` // the server's setting
	Reserved       int `json:"reserved"`        // superuser_reserved_connections + reserved_connections

	Cores       int   `json:"cores,omitempty"`        // of the database, 0 when unknown
	MemoryBytes int64 `json:"memory_bytes,omitempty"` // of the database's machine, 0 when unknown

	Vectors VectorFacts `json:"vectors"`
}

// Backends counts server connections by activity.
type Backends struct {
	OnCPU             int `json:"on_cpu"`              // active without a wait event: on CPU or runnable
	IO                int `json:"io"`                  // active, waiting for IO
	Lock              int `json:"lock"`                // active, waiting for a heavyweight lock
	LWLock            int `json:"lwlock"`              // active, waiting for a lightweight lock or buffer pin
	OtherWait         int `json:"other_wait"`          // active, waiting for anything else
	IdleInTransaction int `json:"idle_in_transaction"` // the caller holds a transaction open and works elsewhere
	Idle              int `json:"idle"`
	Unknown           int `json:"unknown"` // state hidden from this role
}

// Total is the number of backends counted.
func (b Backends) Total() int {
	return b.OnCPU + b.IO + b.Lock + b.LWLock + b.OtherWait + b.IdleInTransaction + b.Idle + b.Unknown
}

// VectorFacts is the inventory of pgvector in the connected database.
type VectorFacts struct {
	Installed    bool    `json:"installed"`
	Rows         float64 `json:"rows"`          // estimated rows of tables with a vector column; below 0: never analyzed
	IndexBytes   int64   `json:"index_bytes"`   // vector indexes together
	SharedBuffer int64   `json:"shared_buffer"` // shared_buffers in bytes
}

// Host is the machine this process runs on.
type Host struct {
	CPU       float64 `json:"cpu"`        // busy share of the cores this process may use, 0–1
	Cores     int     `json:"cores"`      // cores this process may use (cgroup-aware)
	RAMTotal  int64   `json:"ram_total"`  // bytes this process may use (cgroup-aware)
	RAMFree   int64   `json:"ram_free"`   // bytes available
	SharedBox bool    `json:"shared_box"` // the database runs on this machine too, so CPU and RAM describe both
}
