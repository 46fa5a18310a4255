package advice

import (
	"strings"
	"time"

	"github.com/pgautotune/autotune/internal/pgstat"
)

// Recording is what was seen of a server.
type Recording struct {
	Facts   pgstat.Facts
	Machine Machine
	// Database is the one that the looks themselves were made in; "" if none was.
	Database string
	Samples  []Sample // in order of time
	// Averaged is how long the intervals are of which the samples are means; 0 where
	// they are looks, which see an instant.
	Averaged time.Duration
	// Source says where the samples come from, as a clause for a person.
	Source string
	// Unseen are sentences about what the source could not show.
	Unseen []string
}

// Machine is what is known of the machine that the server runs on.
type Machine struct {
	Shared   bool   `json:"shared"` // it is the machine that looks
	Why      string `json:"why,omitempty"`
	Cores    int    `json:"cores,omitempty"` // 0 when unknown
	RAMTotal int64  `json:"ram_total_bytes,omitempty"`
	RAMFree  int64  `json:"ram_free_bytes,omitempty"`
}

// Sample is one look.
type Sample struct {
	At           time.Duration    `json:"at_ns"`
	Groups       []pgstat.Group   `json:"groups"`
	Transactions map[string]int64 `json:"transactions,omitempty"` // cumulative, by database
	Spent        time.Duration    `json:"spent_ns,omitempty"`     // what the look took inside the server
	// CPU is the busy share of the server's machine, 0–1, since the look before
	// that had one; nil when unknown.
	CPU *float64 `json:"cpu,omitempty"`
}

// Filter picks the backends that the question is about. Empty fields pick all.
type Filter struct {
	Application string `json:"application,omitempty"`
	Role        string `json:"role,omitempty"`
	Database    string `json:"database,omitempty"`
}

// Any tells whether the filter picks every client.
func (f Filter) Any() bool { return f == Filter{} }

// Picks tells whether an application is asked about.
func (f Filter) Picks(application, role, database string) bool {
	return (f.Application == "" || f.Application == application) &&
		(f.Role == "" || f.Role == role) && (f.Database == "" || f.Database == database)
}

func (f Filter) picks(g *pgstat.Group) bool { return f.Picks(g.Application, g.Role, g.Database) }

// String is who is asked about, in words.
func (f Filter) String() string {
	if f.Any() {
		return "all clients of the server"
	}
	var parts []string
	for _, p := range []struct{ what, name string }{{"application", f.Application}, {"user", f.Role}, {"database", f.Database}} {
		if p.name != "" {
			parts = append(parts, p.what+" "+p.name)
		}
	}
	return strings.Join(parts, ", ")
}

// Question is what is asked about a recording.
type Question struct {
	Filter     Filter `json:"filter"`
	Instances  int    `json:"instances"`             // how many processes share the connections; 0 counts as 1
	Workers    int    `json:"workers,omitempty"`     // of a batch job; 0: not one
	ServerCPUs int    `json:"server_cpus,omitempty"` // cores of the server as told; 0: find out
}
