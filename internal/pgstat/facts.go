package pgstat

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Facts is what changes rarely: the server, its limits and settings, what the
// role may see, and the vectors.
type Facts struct {
	Server   Server
	Settings Settings
	Search   Search
	Vectors  Vectors

	// Missing are sentences for a person: what could not be seen, what that
	// means, and what would show it. Empty when everything was seen.
	Missing []string
}

// Server is who answered.
type Server struct {
	VersionNum int    // e.g. 170011 for 17.11
	Version    string // as the server prints it
	InRecovery bool   // a standby: read only

	// Address is where the server accepted the connection, as it sees it;
	// invalid on a Unix socket. Behind a pooler it is the end of the pooler's
	// connection.
	Address    netip.Addr
	UnixSocket bool
	BackendPID int // of the reader's backend, in the server's own numbering
	// Pooler is true when the pid of the handshake is not that of the backend:
	// something like PgBouncer is in between. The limits of this server may
	// then not be the ones that bind.
	Pooler bool

	Role string // the reader's login role
	// SeesAll is true when the role sees what other roles' backends do
	// (superuser, pg_monitor or pg_read_all_stats).
	SeesAll bool

	// RoleConnectionLimit and DatabaseConnectionLimit are those that bind the
	// tuned pool's role and database; -1 is unlimited, as for superusers.
	RoleConnectionLimit     int
	DatabaseConnectionLimit int
	// Limits are the CONNECTION LIMITs of all roles and databases that have one, at
	// most 1,000.
	Limits []ConnectionLimit `json:",omitempty"`
}

// ConnectionLimit is how many connections a role may have, or a database. It does
// not bind superusers.
type ConnectionLimit struct {
	OfDatabase bool // else of a role
	Name       string
	Max        int
}

// Settings are those that bound or price connections, as a session of the
// pool's role in its database starts with.
type Settings struct {
	MaxConnections               int
	SuperuserReservedConnections int
	ReservedConnections          int // 0 before PostgreSQL 16, which introduced it

	SharedBuffers      int64 // bytes
	WorkMem            int64 // bytes, for each sort or hash of each query
	MaintenanceWorkMem int64 // bytes
	EffectiveCacheSize int64 // bytes; the planner's belief, not an allocation

	StatementTimeout         time.Duration // 0 is off
	IdleInTransactionTimeout time.Duration // 0 is off
	TCPKeepalivesIdle        time.Duration // 0 is the operating system's
}

// Reserved is the number of connections an ordinary role cannot have.
func (s Settings) Reserved() int { return s.SuperuserReservedConnections + s.ReservedConnections }

// Search are pgvector's settings. The zero value of each field means unknown:
// pgvector is absent, older than the setting, or behind a pooler.
type Search struct {
	EFSearch          int     // hnsw.ef_search
	IterativeScan     string  // hnsw.iterative_scan: off, relaxed_order, strict_order
	MaxScanTuples     int     // hnsw.max_scan_tuples
	ScanMemMultiplier float64 // hnsw.scan_mem_multiplier, × work_mem
	Probes            int     // ivfflat.probes
}

// Facts takes the dear look, meant for every few minutes. It returns within
// Config.FactsTimeout, and Config.ConnectTimeout where it has to connect. What a role
// may not see, or what is locked, ends up in Missing; an error means that the server
// could not be read at all.
func (r *Reader) Facts(ctx context.Context) (Facts, error) {
	if r.cfg.ConnectTimeout > 0 {
		if err := r.connectPatiently(ctx); err != nil {
			return Facts{}, err
		}
	}
	var f Facts
	err := r.session(ctx, r.cfg.FactsTimeout, "read the facts about the server", func(ctx context.Context) error {
		f = Facts{}
		for _, part := range []func(context.Context, *Facts) error{
			r.server,
			r.vectors, // before the settings: it loads pgvector, whose settings exist only then
			r.settings,
		} {
			if err := part(ctx, &f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Facts{}, err
	}
	return f, nil
}

func (r *Reader) server(ctx context.Context, f *Facts) error {
	s := &f.Server
	err := r.query(ctx, statement("server"), []any{r.cfg.Database, r.cfg.User}, func(rows pgx.Rows) error {
		var address *string
		if err := rows.Scan(&s.VersionNum, &s.Version, &s.BackendPID, &address, &s.InRecovery,
			&s.Role, &s.SeesAll, &s.RoleConnectionLimit, &s.DatabaseConnectionLimit); err != nil {
			return err
		}
		s.UnixSocket = address == nil
		if address != nil {
			s.Address, _ = netip.ParseAddr(*address) // the server's own output; invalid means unknown
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = r.query(ctx, statement("limits"), nil, func(rows pgx.Rows) error {
		var limit ConnectionLimit
		if err := rows.Scan(&limit.OfDatabase, &limit.Name, &limit.Max); err != nil {
			return err
		}
		s.Limits = append(s.Limits, limit)
		return nil
	})
	if err != nil {
		return err
	}
	s.Pooler = r.pooled
	if !s.SeesAll {
		f.miss("What the backends of other roles do is hidden, so they are counted without knowing whether they are busy. To see it: GRANT pg_read_all_stats TO %s;", pgx.Identifier{s.Role}.Sanitize())
	}
	if s.Pooler {
		f.miss("A connection pooler stands in front of the server, and its own limits (such as max_client_conn and default_pool_size of PgBouncer) cannot be read from here. To see all: connect to the server directly.")
	}
	return nil
}

// settings reads Settings and Search. A value that does not parse is an error:
// the server's own canonical output is not a matter of luck.
func (r *Reader) settings(ctx context.Context, f *Facts) error {
	var bad error
	s, v := &f.Settings, &f.Search
	err := r.query(ctx, statement("settings"), nil, func(rows pgx.Rows) error {
		var name, value, unit string
		if err := rows.Scan(&name, &value, &unit); err != nil {
			return err
		}
		var err error
		switch name {
		case "max_connections":
			s.MaxConnections, err = strconv.Atoi(value)
		case "superuser_reserved_connections":
			s.SuperuserReservedConnections, err = strconv.Atoi(value)
		case "reserved_connections":
			s.ReservedConnections, err = strconv.Atoi(value)
		case "shared_buffers":
			s.SharedBuffers, err = inBytes(value, unit)
		case "work_mem":
			s.WorkMem, err = inBytes(value, unit)
		case "maintenance_work_mem":
			s.MaintenanceWorkMem, err = inBytes(value, unit)
		case "effective_cache_size":
			s.EffectiveCacheSize, err = inBytes(value, unit)
		case "statement_timeout":
			s.StatementTimeout, err = time.ParseDuration(value + unit)
		case "idle_in_transaction_session_timeout":
			s.IdleInTransactionTimeout, err = time.ParseDuration(value + unit)
		case "tcp_keepalives_idle":
			s.TCPKeepalivesIdle, err = time.ParseDuration(value + unit)
		case "hnsw.ef_search":
			v.EFSearch, err = strconv.Atoi(value)
		case "hnsw.iterative_scan":
			v.IterativeScan = value
		case "hnsw.max_scan_tuples":
			v.MaxScanTuples, err = strconv.Atoi(value)
		case "hnsw.scan_mem_multiplier":
			v.ScanMemMultiplier, err = strconv.ParseFloat(value, 64)
		case "ivfflat.probes":
			v.Probes, err = strconv.Atoi(value)
		}
		if err != nil && bad == nil {
			bad = fmt.Errorf("setting %s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if f.Vectors.Installed && v.EFSearch == 0 {
		f.miss("The settings of pgvector (hnsw.ef_search and others) cannot be read, because its library is not loaded in this session.")
	}
	return bad
}

func (f *Facts) miss(format string, args ...any) {
	f.Missing = append(f.Missing, fmt.Sprintf(format, args...))
}

// refused reports whether err is the server's answer to a statement, so that
// the connection itself is sound and the next statement may go better.
func refused(err error) (*pgconn.PgError, bool) {
	var answer *pgconn.PgError
	ok := errors.As(err, &answer) && answer.SeverityUnlocalized == "ERROR"
	return answer, ok
}

// inBytes converts a setting with the unit that pg_settings gives it: B, kB,
// MB, GB, TB, or a multiple of kB such as 8kB (one block).
func inBytes(value, unit string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, err
	}
	digits := 0
	for digits < len(unit) && unit[digits] >= '0' && unit[digits] <= '9' {
		digits++
	}
	multiple := int64(1)
	if digits > 0 {
		if multiple, err = strconv.ParseInt(unit[:digits], 10, 64); err != nil {
			return 0, err
		}
	}
	shift, ok := map[string]uint{"B": 0, "kB": 10, "MB": 20, "GB": 30, "TB": 40}[unit[digits:]]
	if !ok {
		return 0, fmt.Errorf("unit %q is not one of B, kB, MB, GB, TB", unit)
	}
	return n * multiple << shift, nil
}
