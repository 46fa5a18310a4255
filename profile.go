package autotune

import (
	"context"
	"fmt"
	"math"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune/internal/redact"
)

// Profile presets settings for a kind of service.
type Profile string

// The profiles. What is set explicitly wins over a profile.
const (
	// ProfileAuto changes nothing of pgxpool's settings and sizes by evidence.
	ProfileAuto Profile = "auto"
	// ProfileVector is for services that search vectors: statement_timeout
	// 300 s, statement cache 64, TCP keepalive (idle 60 s, interval 30 s, 3
	// probes), pgvector checked on connect and then on a schedule, acquire
	// timeout 10 s, and sizes by the vector-count guideline: max at least 100,
	// min a fifth of max and at least 20.
	ProfileVector Profile = "vector"
	// ProfileBatch is for jobs of W parallel workers: max W+2, min W, acquire
	// timeout 30 s, no idle timeout, no lifetime, statement cache 100,
	// connections validated before use.
	ProfileBatch Profile = "batch"
)

// ParseProfile reads a profile's name.
func ParseProfile(s string) (Profile, error) {
	switch p := Profile(strings.ToLower(strings.TrimSpace(s))); p {
	case ProfileAuto, ProfileVector, ProfileBatch:
		return p, nil
	}
	return "", fmt.Errorf("unknown profile %q: use auto, vector or batch", s)
}

// profileSettings is what a profile made of a Config.
type profileSettings struct {
	template     *pgxpool.Config // what generations are built from, size apart
	start        Size
	floorMax     int // the profile's own lower wall of max, 0 = none
	minShare     int // min = max/minShare, 0 = the controller decides
	floorMin     int // the profile's own lower wall of min
	userMin      int // min as the user set it
	fixedSize    bool
	checkVector  bool
	tcpKeepAlive bool
}

const (
	vectorMax       = 100 // least max of the vector profile
	vectorMin       = 20  // least min of the vector profile
	vectorMinShare  = 5   // its min is a fifth of its max
	batchSpare      = 2   // connections of the batch profile beyond its workers
	vectorCheckTime = time.Minute

	leastConnectTimeout = 10 * time.Second
)

// keepAlive of the vector profile finds a dead peer within 60 + 3×30 s, before
// the 350 s after which cloud load balancers drop silent connections.
var vectorKeepAlive = net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 30 * time.Second, Count: 3}

// applyProfile fills in what the profile presets and nobody set.
func (c *Config) applyProfile(set explicit) profileSettings {
	s := profileSettings{
		template: c.Pool,
		start:    Size{Max: int(c.Pool.MaxConns), Min: int(c.Pool.MinConns)},
	}
	conn := c.Pool.ConnConfig
	params := connStringParams(conn.ConnString())
	statementCache := func(n int) {
		if !params["statement_cache_capacity"] && conn.StatementCacheCapacity == defaultStatementCache {
			conn.StatementCacheCapacity = n
		}
	}
	if set.min {
		s.userMin = int(c.Pool.MinConns)
	}
	switch c.Profile {
	case ProfileVector:
		if !hasStatementTimeout(conn) {
			if conn.RuntimeParams == nil {
				conn.RuntimeParams = make(map[string]string)
			}
			conn.RuntimeParams["statement_timeout"] = "300000" // 300 s, in PostgreSQL's milliseconds
		}
		statementCache(64)
		orDefault(&c.AcquireTimeout, 10*time.Second)
		s.tcpKeepAlive, s.checkVector = true, true
		if !set.max {
			s.start.Max, s.floorMax = vectorMax, vectorMax
		}
		if !set.min {
			s.minShare, s.floorMin = vectorMinShare, vectorMin
			s.start.Min = max(vectorMin, s.start.Max/vectorMinShare)
		}
	case ProfileBatch:
		orDefault(&c.Workers, runtime.GOMAXPROCS(0))
		orDefault(&c.AcquireTimeout, 30*time.Second)
		c.ValidateBeforeUse = true
		statementCache(100)
		if !params["pool_max_conn_lifetime"] && c.Pool.MaxConnLifetime == defaultMaxLifetime {
			c.Pool.MaxConnLifetime = 0
		}
		if !params["pool_max_conn_idle_time"] && c.Pool.MaxConnIdleTime == defaultMaxIdleTime {
			c.Pool.MaxConnIdleTime = math.MaxInt64
		}
		if !set.max {
			s.start.Max = c.Workers + batchSpare
			orDefault(&c.Ceiling, s.start.Max)
		}
		if !set.min {
			s.start.Min = min(c.Workers, s.start.Max)
		}
		s.fixedSize = true
	}
	if c.ValidateBeforeUse && c.Pool.ShouldPing == nil {
		c.Pool.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true }
	}
	if c.AcquireTimeout > 0 && conn.ConnectTimeout == 0 {
		// A dial goes on after its caller gave up, and serves the next. It is bounded
		// too, but where callers wait less than a dial takes, none would ever end.
		conn.ConnectTimeout = max(c.AcquireTimeout, leastConnectTimeout)
	}
	return s
}

// hasStatementTimeout tells whether the connection string or PGOPTIONS set one; a
// parameter of its own would win over the one in options.
func hasStatementTimeout(conn *pgx.ConnConfig) bool {
	_, ok := conn.RuntimeParams["statement_timeout"]
	return ok || strings.Contains(conn.RuntimeParams["options"], "statement_timeout")
}

// keepAlive gives a fresh connection the profile's TCP keepalive.
func (p *Pool) keepAlive(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok && p.profile.tcpKeepAlive {
		_ = tcp.SetKeepAliveConfig(vectorKeepAlive)
	}
}

// logStart says once which settings are in force.
func (p *Pool) logStart() {
	conn := p.cfg.Pool.ConnConfig
	p.log.Info("pool started",
		"profile", p.cfg.Profile, "host", conn.Host, "database", redact.Database(conn.Database),
		"max", p.Size().Max, "min", p.Size().Min, "floor", p.cfg.Floor, "ceiling", p.cfg.Ceiling, "budget", p.cfg.Budget,
		"acquire_timeout", p.cfg.AcquireTimeout, "statement_timeout", conn.RuntimeParams["statement_timeout"],
		"statement_cache", conn.StatementCacheCapacity, "prepared_statements", conn.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement,
		"validate_before_use", p.cfg.ValidateBeforeUse, "tcp_keepalive", p.profile.tcpKeepAlive,
		"max_conn_lifetime", p.cfg.Pool.MaxConnLifetime, "max_conn_idle_time", p.cfg.Pool.MaxConnIdleTime,
		"vector_check", p.profile.checkVector, "controller", !p.cfg.Manual)
}

// Defaults of pgx and pgxpool: what has another value was set.
const (
	defaultStatementCache = 512
	defaultMaxLifetime    = time.Hour
	defaultMaxIdleTime    = 30 * time.Minute
)

// disablePreparedStatements lets pgx send each statement without preparing it,
// as a pooler in transaction mode needs it.
func disablePreparedStatements(conn *pgx.ConnConfig) {
	conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn.StatementCacheCapacity = 0
	conn.DescriptionCacheCapacity = 0
}

// defaultMaxConns is what pgxpool takes where nobody says: the greater of 4 and
// the number of CPUs.
func defaultMaxConns() int32 { return max(4, int32(runtime.NumCPU())) }

// connStringParams tells which of the settings that pgx takes for itself stand
// in a connection string; after parsing they are gone from the configuration.
func connStringParams(connString string) map[string]bool {
	set := map[string]bool{}
	cfg, err := pgconn.ParseConfig(connString) // leaves what it does not know in RuntimeParams
	if err != nil {
		return set
	}
	for name := range cfg.RuntimeParams {
		set[name] = true
	}
	return set
}
