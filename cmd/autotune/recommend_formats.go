package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pgautotune/autotune/internal/advice"
)

// pasted is what the formats are filled with: the size of one instance.
type pasted struct {
	max, min int
	total    int // max of all instances
	totalMin int // min of all instances
	timeout  int // seconds to wait for a connection
	comment  string
	database string // of which this is; "" where unknown
	alone    bool   // nobody else uses that database
}

// formats are the forms that can be pasted, beside text and json. Each is read by
// the program it is for in a test, where that can be run.
var formats = []struct {
	name  string
	write func(p pasted) string
}{
	{"env", func(p pasted) string {
		return fmt.Sprintf("# %s\nDB_MAX_CONNECTIONS=%d\nDB_MIN_CONNECTIONS=%d\nDB_CONNECTION_TIMEOUT=%d\n", p.comment, p.max, p.min, p.timeout)
	}},
	{"yaml", func(p pasted) string {
		return fmt.Sprintf("# %s\ndatabase:\n  pool:\n    max_connections: %d\n    min_connections: %d\n    connection_timeout: %ds\n", p.comment, p.max, p.min, p.timeout)
	}},
	{"pgx", func(p pasted) string { return fmt.Sprintf("pool_max_conns=%d&pool_min_conns=%d\n", p.max, p.min) }},
	{"hikaricp", func(p pasted) string {
		return fmt.Sprintf("# %s\nmaximumPoolSize=%d\nminimumIdle=%d\nconnectionTimeout=%d\n", p.comment, p.max, p.min, p.timeout*1000)
	}},
	{"pgbouncer", func(p pasted) string {
		// In one pooler the connections of all instances meet.
		most, into := fmt.Sprintf("max_db_connections = %d\n", p.total), fmt.Sprintf("pool_size=%d min_pool_size=%d", p.total, p.totalMin)
		if p.alone {
			into += fmt.Sprintf(" max_db_connections=%d", p.total)
		} else {
			most = "" // it would bind the others in that database, too
		}
		comment := p.comment
		if p.database != "" {
			comment += fmt.Sprintf("\n; If it serves other databases than %s, too, put this into its line of [databases]:\n;   %s", p.database, into)
		}
		return fmt.Sprintf("; %s\n[pgbouncer]\ndefault_pool_size = %d\nmin_pool_size = %d\n%squery_wait_timeout = %d\n", comment, p.total, p.totalMin, most, p.timeout)
	}},
	{"sqlx", func(p pasted) string {
		return fmt.Sprintf("// %s\nPgPoolOptions::new()\n    .max_connections(%d)\n    .min_connections(%d)\n    .acquire_timeout(std::time::Duration::from_secs(%d))\n", p.comment, p.max, p.min, p.timeout)
	}},
}

func formatNames() (names []string) {
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// Acquire timeouts of the profiles, seconds: a caller of a service gives up, a
// worker of a batch has time.
const (
	serviceTimeout = 10
	batchTimeout   = 30
)

func writeFormat(w io.Writer, name string, a *advice.Advice) error {
	z := a.Size
	p := pasted{max: z.MaxEach, min: z.MinEach, total: z.Max, totalMin: z.Min, timeout: serviceTimeout}
	p.comment = fmt.Sprintf("autotune recommend: for %s max %d (%s), confidence %s, by %s", a.Question.Filter, z.Max, between(z.Lower, z.Upper), z.Confidence, z.Rule)
	if n := a.Question.Instances; n > 1 {
		p.comment += fmt.Sprintf("; each of %d instances %d", n, z.MaxEach)
	}
	if b := a.Batch; b != nil {
		p.max, p.min, p.timeout = b.Max, b.Min, batchTimeout
		p.comment = fmt.Sprintf("autotune recommend: a batch of %d workers", b.Workers)
		if z.Ceiling > 0 && p.max > z.Ceiling {
			p.max, p.min = z.Ceiling, min(p.min, z.Ceiling)
			p.comment += fmt.Sprintf(", of which %d can have a connection", p.max)
		}
		p.total, p.totalMin = p.max, p.min
	}
	if len(a.Databases) > 0 {
		p.database = a.Databases[0]
	}
	p.alone = !slices.ContainsFunc(a.Applications, func(x advice.Application) bool {
		return x.Database == p.database && !a.Question.Filter.Picks(x.Application, x.Role, x.Database)
	})
	if name == "pgbouncer" && len(a.Databases) > 1 {
		return usagef("Ask about one of them with --database", "recommend: the size is of %d databases together (%s), and PgBouncer has pools for each", len(a.Databases), strings.Join(a.Databases, ", "))
	}
	for _, f := range formats {
		if f.name == name {
			_, err := io.Copy(w, strings.NewReader(f.write(p)))
			return err
		}
	}
	return fmt.Errorf("no format %q", name)
}
