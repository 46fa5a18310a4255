package autotune

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pgautotune/autotune/internal/pgstat"
	"github.com/pgautotune/autotune/internal/pgtest"
)

// opened is a pool of a profile on a real server, its controller off.
func opened(t *testing.T, dsn string, change func(*Config)) *Pool {
	t.Helper()
	cfg, err := parseConfig(dsn, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	cfg.Manual = true
	change(cfg)
	p, err := NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func show(t *testing.T, p *Pool, setting string) (value string) {
	t.Helper()
	if err := p.QueryRow(t.Context(), "select current_setting($1)", setting).Scan(&value); err != nil {
		t.Error(err)
	}
	return value
}

// What the code sets counts as much as what the connection string does.
func TestABatchKeepsLifetimesThatTheCodeSets(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) {
		c.Profile, c.Workers = ProfileBatch, 2
		c.Pool.MaxConnLifetime, c.Pool.MaxConnIdleTime = 10*time.Minute, time.Minute
	})
	if c := p.Config(); c.MaxConnLifetime != 10*time.Minute || c.MaxConnIdleTime != time.Minute {
		t.Errorf("lifetime %s, idle %s", c.MaxConnLifetime, c.MaxConnIdleTime)
	}
}

// A check that the server had no time for says nothing about pgvector.
func TestOnlyAnswersAboutPgvectorCountAsItsLoss(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) { c.Profile = ProfileVector })
	check := p.tuner.telemetry
	check.noteVector(nil)
	for _, err := range []error{io.EOF, context.Canceled,
		fmt.Errorf("wrapped: %w", &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "57014"}),
		&pgconn.PgError{SeverityUnlocalized: "FATAL", Code: "57P01"}, &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "53200"}} {
		if check.noteVector(err); check.vectorKnown().lost {
			t.Errorf("%v is taken for a loss", err)
		}
	}
	for _, err := range []error{pgstat.ErrNoVector, &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "58P01"}} {
		if check.noteVector(err); !check.vectorKnown().lost {
			t.Errorf("%v is no loss", err)
		}
		check.noteVector(nil)
	}
}

// warmed waits until a pool has as many connections as its min.
func warmed(t *testing.T, p *Pool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		if n := p.Stat().TotalConns(); int(n) >= p.Size().Min {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%d connections, with a min of %d", n, p.Size().Min)
		}
	}
}

func TestTheVectorProfilePresetsWhatItPromises(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) { c.Profile = ProfileVector })
	if got := show(t, p, "statement_timeout"); got != "5min" {
		t.Errorf("statement_timeout is %s, not 300 s", got)
	}
	if got := p.Config().ConnConfig.StatementCacheCapacity; got != 64 {
		t.Errorf("the statement cache holds %d", got)
	}
	if p.Size() != (Size{Max: 100, Min: 20}) || p.cfg.AcquireTimeout != 10*time.Second {
		t.Errorf("size %+v, acquire timeout %s", p.Size(), p.cfg.AcquireTimeout)
	}
	if !p.profile.checkVector || p.profile.floorMax != 100 || p.profile.minShare != 5 || p.profile.floorMin != 20 || p.profile.fixedSize {
		t.Errorf("%+v", p.profile)
	}
	warmed(t, p)

	for dsn, want := range map[string]Size{
		"pool_max_conns=7":                     {7, 7}, // min at least 20, but not above max
		"pool_max_conns=150":                   {150, 30},
		"pool_max_conns=50&pool_min_conns=3":   {50, 3},
		"statement_cache_capacity=9":           {100, 20},
		"statement_timeout=1234ms":             {100, 20},
		"statement_timeout=0&pool_min_conns=5": {100, 5},
		"options=-c%20statement_timeout%3D5s":  {100, 20},
	} {
		cfg, settings := completed(t, "postgres://u@h/d?"+dsn, func(c *Config) { c.Profile = ProfileVector })
		if settings.start != want {
			t.Errorf("%s: size %+v, want %+v", dsn, settings.start, want)
		}
		if capacity := cfg.Pool.ConnConfig.StatementCacheCapacity; strings.Contains(dsn, "cache") != (capacity == 9) {
			t.Errorf("%s: statement cache %d", dsn, capacity)
		}
		timeout := cfg.Pool.ConnConfig.RuntimeParams["statement_timeout"]
		if want, explicit := map[bool]string{true: "1234ms"}[strings.Contains(dsn, "1234")], strings.Contains(dsn, "statement_timeout"); explicit && want != "" && timeout != want || !explicit && timeout != "300000" || strings.Contains(dsn, "options") && timeout != "" {
			t.Errorf("%s: statement_timeout %s", dsn, timeout)
		}
	}
}

func completed(t *testing.T, dsn string, change func(*Config)) (*Config, profileSettings) {
	t.Helper()
	cfg, err := parseConfig(dsn, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	change(cfg)
	out, settings, err := cfg.complete()
	if err != nil {
		t.Fatal(err)
	}
	return out, settings
}

// A ceiling bounds a profile's size; it does not choose another.
func TestACeilingLeavesAProfileItsSize(t *testing.T) {
	for _, c := range []struct {
		profile Profile
		ceiling int
		want    Size
	}{{ProfileVector, 150, Size{100, 20}}, {ProfileVector, 50, Size{50, 20}}, {ProfileBatch, 100, Size{66, 64}}, {ProfileBatch, 10, Size{10, 10}}} {
		cfg, settings := completed(t, "postgres://u@h/d", func(cfg *Config) { cfg.Profile, cfg.Ceiling, cfg.Workers = c.profile, c.ceiling, 64 })
		if settings.start != c.want || cfg.Ceiling != c.ceiling {
			t.Errorf("%s with ceiling %d: %+v, ceiling %d", c.profile, c.ceiling, settings.start, cfg.Ceiling)
		}
	}
}

func TestTheBatchProfilePresetsWhatItPromises(t *testing.T) {
	dsn := pgtest.DSN(t)
	p := opened(t, dsn, func(c *Config) { c.Profile, c.Workers = ProfileBatch, 3 })
	if p.Size() != (Size{Max: 5, Min: 3}) || p.cfg.AcquireTimeout != 30*time.Second || !p.profile.fixedSize || p.cfg.Ceiling != 5 {
		t.Errorf("size %+v, acquire timeout %s, ceiling %d, %+v", p.Size(), p.cfg.AcquireTimeout, p.cfg.Ceiling, p.profile)
	}
	c := p.Config()
	if c.ConnConfig.StatementCacheCapacity != 100 || c.MaxConnLifetime != 0 || c.MaxConnIdleTime != math.MaxInt64 {
		t.Errorf("statement cache %d, lifetime %s, idle time %s", c.ConnConfig.StatementCacheCapacity, c.MaxConnLifetime, c.MaxConnIdleTime)
	}
	warmed(t, p)

	// Validated before use: a backend that has died while idle is not given out,
	// not even a moment later, when pgxpool alone would not look.
	for _, validated := range []bool{true, false} {
		if !validated {
			p = opened(t, dsn+"&pool_max_conns=1", func(*Config) {})
		}
		var pid int
		if err := p.QueryRow(t.Context(), "select pg_backend_pid()").Scan(&pid); err != nil {
			t.Fatal(err)
		}
		killer, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := killer.Exec(t.Context(), "select pg_terminate_backend(pid, 5000) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()"); err != nil {
			t.Fatal(err)
		}
		if err := killer.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := p.Exec(t.Context(), "select 1"); (err == nil) != validated {
			t.Errorf("validated %t: after the backends died: %v", validated, err)
		}
	}
}

func TestTheAutoProfileLeavesPgxpoolsSettingsAlone(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(*Config) {})
	if got := show(t, p, "statement_timeout"); got != "0" {
		t.Errorf("statement_timeout is %s", got)
	}
	c := p.Config()
	if c.MaxConns != defaultMaxConns() || c.MinConns != 0 || c.ConnConfig.StatementCacheCapacity != defaultStatementCache ||
		c.MaxConnLifetime != time.Hour || c.MaxConnIdleTime != 30*time.Minute || p.cfg.AcquireTimeout != 0 || p.cfg.Ceiling != 200 || p.cfg.Budget != 200 {
		t.Errorf("%+v", c)
	}
}

func TestTheEnvironmentIsHonouredAndTheConnectionStringWins(t *testing.T) {
	const dsn = "postgres://u@h/d"
	for _, tt := range []struct {
		name, value, dsn string
		ok               func(*Config, profileSettings) bool
	}{
		{"DB_MAX_CONNECTIONS", "37", dsn, func(c *Config, s profileSettings) bool { return s.start.Max == 37 && c.Ceiling == 37 }},
		{"DB_MAX_CONNECTIONS", "37", dsn + "?pool_max_conns=9", func(c *Config, s profileSettings) bool { return s.start.Max == 9 && c.Ceiling == 9 }},
		{"DB_MIN_CONNECTIONS", "2", dsn, func(c *Config, s profileSettings) bool { return s.start.Min == 2 && s.userMin == 2 }},
		{"DB_MIN_CONNECTIONS", "50", dsn, func(c *Config, s profileSettings) bool { return s.start == Size{Max: 50, Min: 50} && c.Ceiling == 200 }},
		{"DB_MIN_CONNECTIONS", "2", dsn + "?pool_min_conns=1", func(c *Config, s profileSettings) bool { return s.start.Min == 1 }},
		{"DB_CONNECTION_TIMEOUT", "7", dsn, func(c *Config, _ profileSettings) bool { return c.AcquireTimeout == 7*time.Second }},
		{"DB_CONNECTION_TIMEOUT", "1500", dsn, func(c *Config, _ profileSettings) bool { return c.AcquireTimeout == 1500*time.Millisecond }},
		{"DB_CONNECTION_TIMEOUT", "250ms", dsn, func(c *Config, _ profileSettings) bool { return c.AcquireTimeout == 250*time.Millisecond }},
		{"DB_STATEMENT_TIMEOUT", "30", dsn, func(c *Config, _ profileSettings) bool {
			return c.Pool.ConnConfig.RuntimeParams["statement_timeout"] == "30000"
		}},
		{"DB_STATEMENT_TIMEOUT", "30", dsn + "?statement_timeout=5", func(c *Config, _ profileSettings) bool {
			return c.Pool.ConnConfig.RuntimeParams["statement_timeout"] == "5"
		}},
		{"DB_ENABLE_PREPARED_STATEMENTS", "false", dsn, func(c *Config, _ profileSettings) bool {
			return c.Pool.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeExec && c.Pool.ConnConfig.StatementCacheCapacity == 0
		}},
		{"DB_ENABLE_PREPARED_STATEMENTS", "on", dsn, func(c *Config, _ profileSettings) bool {
			return c.Pool.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
		}},
		{"DB_ENABLE_CONNECTION_VALIDATION", "yes", dsn, func(c *Config, _ profileSettings) bool {
			return c.ValidateBeforeUse && c.Pool.ShouldPing != nil
		}},
		{"DB_ENABLE_CONNECTION_VALIDATION", "0", dsn, func(c *Config, _ profileSettings) bool {
			return !c.ValidateBeforeUse && c.Pool.ShouldPing == nil
		}},
		{"AUTOTUNE_PROFILE", "Vector", dsn, func(c *Config, s profileSettings) bool {
			return c.Profile == ProfileVector && s.start.Max == 100
		}},
		{"DB_MAX_CONNECTIONS", "", dsn, func(c *Config, _ profileSettings) bool { return c.Ceiling == 200 }},
	} {
		cfg, err := parseConfig(tt.dsn, environment{tt.name: tt.value}.lookup)
		if err != nil {
			t.Errorf("%s=%s: %v", tt.name, tt.value, err)
			continue
		}
		if done, settings, err := cfg.complete(); err != nil || !tt.ok(done, settings) {
			t.Errorf("%s=%s on %s: %+v, size %+v, %v", tt.name, tt.value, tt.dsn, done, settings.start, err)
		}
	}
	bad := environment{
		"AUTOTUNE_PROFILE": "turbo", "DB_MAX_CONNECTIONS": "0", "DB_MIN_CONNECTIONS": "-1", "DB_CONNECTION_TIMEOUT": "soon",
		"DB_STATEMENT_TIMEOUT": "99999999999999999999", "DB_ENABLE_PREPARED_STATEMENTS": "maybe", "DB_ENABLE_CONNECTION_VALIDATION": "2",
	}
	_, err := parseConfig(dsn, bad.lookup)
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("environment variable %s:", name)) {
			t.Errorf("%s=%s is not refused by name: %v", name, bad[name], err)
		}
	}
}

type environment map[string]string

func (e environment) lookup(name string) (string, bool) { v, ok := e[name]; return v, ok }
