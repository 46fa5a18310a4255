package pgstat

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// maxWaitEvents is how many wait events a report shows: the eighth is rarely
// more than one backend.
const maxWaitEvents = 8

// Activity is a census of the client backends at one instant.
type Activity struct {
	// Ours are the backends of the tuned pool: same database, same role, same
	// application name. The reader's own backend is not counted.
	Ours Backends
	// Others are all other client backends of the server, in any database.
	Others Backends
	// Hidden is how many of Ours.Unknown this role may not see, be they busy or not.
	Hidden int
	// Partial is true when the activity of some others is hidden from this
	// role. They are counted as Unknown, without certainty that each of them
	// is a client.
	Partial bool

	// Waits are the most frequent wait events of our active backends, most
	// frequent first, at most 8.
	Waits []WaitEvent

	// LongestTransaction is the age of the oldest open transaction of ours;
	// 0 when none is open.
	LongestTransaction time.Duration
	// LongestIdleInTransaction is how long the laziest of our backends has
	// been idle in a transaction; 0 when none is.
	LongestIdleInTransaction time.Duration

	// Transactions is the cumulative number of commits and rollbacks in the
	// pool's database since StatsReset, by all clients. A backend reports at
	// most once a second, so it lags by about that.
	Transactions int64
	// StatsReset is when the counters last restarted; zero when never. A
	// crash of the server restarts them too.
	StatsReset time.Time
	// DatabaseBackends is the number of backends of any type in the pool's
	// database, the reader's included.
	DatabaseBackends int

	// RoundTrip is how long the server took to answer this query, network
	// included, connecting not.
	RoundTrip time.Duration
}

// Backends counts server connections by what they are doing.
type Backends struct {
	OnCPU             int // active without a wait event: on CPU or ready to run
	IO                int // active, waiting for IO
	Lock              int // active, waiting for a heavyweight lock (rows, tables, advisory)
	LWLock            int // active, waiting for a lightweight lock or a buffer pin
	OtherWait         int // active, waiting for anything else: the client, a timer, parallel workers
	IdleInTransaction int // a transaction is open, aborted ones included, and the client is elsewhere
	Idle              int
	Unknown           int // hidden from this role, still starting, or track_activities is off
}

// Total is the number of backends counted.
func (b Backends) Total() int {
	return b.OnCPU + b.IO + b.Lock + b.LWLock + b.OtherWait + b.IdleInTransaction + b.Idle + b.Unknown
}

// WaitEvent is something active backends wait for, as "Type:Event" of
// pg_stat_activity, and how many do.
type WaitEvent struct {
	Name     string
	Backends int
}

// mostBackends is MAX_BACKENDS of PostgreSQL: no server has more.
const mostBackends = 1<<18 - 1

// Read takes the cheap look, meant for once a second. It returns within
// Config.Timeout. After an error the zero Activity means nothing: hold.
func (r *Reader) Read(ctx context.Context) (Activity, error) {
	var a Activity
	err := r.session(ctx, r.cfg.Timeout, "read what the backends are doing", func(ctx context.Context) error {
		var err error
		a, err = r.activity(ctx)
		return err
	})
	if err != nil {
		return Activity{}, err
	}
	return a, nil
}

func (r *Reader) activity(ctx context.Context) (Activity, error) {
	var (
		a     Activity
		found bool
	)
	begin := time.Now()
	err := r.query(ctx, statement("activity"), []any{r.cfg.Database, r.cfg.User, r.app, r.cfg.AnyUser, r.cfg.AnyApplication}, func(rows pgx.Rows) error {
		var (
			reset                 *time.Time
			ours, hidden          *bool
			class, wait           *string
			n, xactAge, idleInAge *int64
		)
		if err := rows.Scan(&a.Transactions, &reset, &a.DatabaseBackends,
			&ours, &hidden, &class, &wait, &n, &xactAge, &idleInAge); err != nil {
			return err
		}
		found = true
		if reset != nil {
			a.StatsReset = *reset
		}
		if class == nil || n == nil {
			return nil // no backend at all
		}
		if ours == nil || hidden == nil || *n < 0 || *n > mostBackends {
			return fmt.Errorf("the answer makes no sense: %d backends of class %q", *n, *class)
		}
		a.Partial = a.Partial || *hidden
		if !*ours {
			return a.Others.add(*class, int(*n))
		}
		if wait != nil {
			a.Waits = append(a.Waits, WaitEvent{Name: *wait, Backends: int(*n)})
		}
		if *hidden {
			a.Hidden += int(*n)
		}
		a.LongestTransaction = max(a.LongestTransaction, microseconds(xactAge))
		a.LongestIdleInTransaction = max(a.LongestIdleInTransaction, microseconds(idleInAge))
		return a.Ours.add(*class, int(*n))
	})
	a.RoundTrip = time.Since(begin)
	if err != nil {
		return Activity{}, err
	}
	if !found {
		return Activity{}, fmt.Errorf("the server has no database %q; Config.Database must name the one the pool is connected to", r.cfg.Database)
	}
	slices.SortFunc(a.Waits, func(x, y WaitEvent) int {
		return cmp.Or(cmp.Compare(y.Backends, x.Backends), cmp.Compare(x.Name, y.Name))
	})
	if len(a.Waits) > maxWaitEvents {
		a.Waits = a.Waits[:maxWaitEvents]
	}
	return a, nil
}

// add counts n backends of a class that activity.sql names.
func (b *Backends) add(class string, n int) error {
	switch class {
	case "on_cpu":
		b.OnCPU += n
	case "io":
		b.IO += n
	case "lock":
		b.Lock += n
	case "lwlock":
		b.LWLock += n
	case "other_wait":
		b.OtherWait += n
	case "idle_in_transaction":
		b.IdleInTransaction += n
	case "idle":
		b.Idle += n
	case "unknown":
		b.Unknown += n
	default:
		return fmt.Errorf("activity.sql answered with the unknown class %q", class)
	}
	return nil
}

// microseconds is 0 for null and for ages that a clock step made negative.
func microseconds(us *int64) time.Duration {
	if us == nil || *us < 0 {
		return 0
	}
	return time.Duration(min(*us, math.MaxInt64/1000)) * time.Microsecond
}
