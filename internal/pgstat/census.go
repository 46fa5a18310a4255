package pgstat

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Turnaround is how long after its last statement an idle connection still counts
// as turning: its caller read the answer and is about to send the next. It spans
// a round trip within a region of a cloud (0.1–2 ms) and the caller's own few
// milliseconds; what is idle for longer is not needed meanwhile.
const Turnaround = 10 * time.Millisecond

// Census is what all clients of the server do at one instant.
type Census struct {
	Groups []Group
	// Databases is the cumulative number of transactions of each database that
	// has a backend, and of the connected one.
	Databases map[string]int64
	// Spent is how long the query took inside the server: what it costs one
	// core, or more where the cores are busy with others.
	Spent time.Duration
}

// Kind is what sort of backend a Group counts.
type Kind string

// The kinds.
const (
	ClientKind Kind = "client" // serves a client
	WorkerKind Kind = "worker" // computes for a client's query in parallel to it
	ServerKind Kind = "server" // the server's own: autovacuum and the like
	HiddenKind Kind = "hidden" // of another role, whose activity this role may not see
)

// State is what the backends of a Group do.
type State string

// The states.
const (
	Active            State = "active" // computes, or waits as Group.Wait says
	IdleInTransaction State = "idle_in_transaction"
	Turning           State = "turning" // idle for at most Turnaround
	Idle              State = "idle"
	ServerWait        State = "server_wait"
	UnknownState      State = "unknown" // starting, or track_activities is off
	HiddenState       State = "hidden"
)

// Group counts backends that are alike.
type Group struct {
	Database    string `json:"database"`
	Role        string `json:"role"`
	Application string `json:"application,omitempty"`
	Kind        Kind   `json:"kind"`
	State       State  `json:"state"`
	Wait        string `json:"wait,omitempty"` // "Type:Event" of an active backend; empty while it computes
	Here        bool   `json:"here,omitempty"` // its clients sit on the server's machine
	Backends    int    `json:"backends"`

	Oldest time.Duration `json:"oldest_ns,omitempty"` // longest time any of them is in this state
	Ages   time.Duration `json:"ages_ns,omitempty"`   // sum of the times they are in it

	// Between is how many of these, which are idle, had a statement running at once
	// since the look before: the mean from the first start to the last end of the
	// statements that ended. There were no fewer at once at some instant.
	Between float64 `json:"between_looks,omitempty"`
}

// Census counts all clients of the server. It is meant for ten times a second. since is
// the time from the last one, 0 if there was none.
func (r *Reader) Census(ctx context.Context, since time.Duration) (Census, error) {
	var c Census
	err := r.session(ctx, r.cfg.Timeout, "read what the clients of the server do", func(ctx context.Context) error {
		c = Census{Databases: map[string]int64{}}
		return r.query(ctx, statement("census"), []any{Turnaround.Microseconds(), since.Microseconds()}, func(rows pgx.Rows) error {
			var (
				g                      Group
				database, role, app    *string
				wait                   *string
				kind, state            string
				oldest, ages           *int64
				transactions, backends int64
			)
			if err := rows.Scan(&database, &role, &app, &kind, &state, &wait, &g.Here, &backends, &oldest, &ages, &g.Between, &transactions); err != nil {
				return err
			}
			g.Database, g.Role, g.Application, g.Wait = text(database), text(role), text(app), text(wait)
			c.Databases[g.Database] = transactions
			if kind == "cost" {
				c.Spent = microseconds(oldest)
				return nil
			}
			g.Kind, g.State, g.Backends = Kind(kind), State(state), int(backends)
			g.Oldest, g.Ages = microseconds(oldest), microseconds(ages)
			c.Groups = append(c.Groups, g)
			return nil
		})
	})
	if err != nil {
		return Census{}, err
	}
	if len(c.Databases) == 0 {
		return Census{}, fmt.Errorf("pgstat: the census came back empty")
	}
	return c, nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
