package autotune

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/redact"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Config is everything that can be set. The zero value of each field means its
// default; only Pool is required. Make it with [ParseConfig], change it, and give
// it to [NewWithConfig], which copies it.
type Config struct {
	// Pool configures the pool underneath; its hooks and tracers keep working.
	// MaxConns, where it was set, is the first size and the default of Ceiling.
	Pool *pgxpool.Config

	Profile         Profile // preset for a kind of service; default auto
	Workers         int     // parallel workers of the batch profile; default GOMAXPROCS
	ConcurrentUsers int     // scale the vector-count guideline above 100,000 vectors; default 100

	// Connections. Floor and Ceiling are the walls of max and limit, Start is
	// the first max. Budget is the most server connections of all generations,
	// swaps included; the controller's own single one comes on top.
	Floor   int // default 1; 1 to Ceiling
	Ceiling int // default Pool.MaxConns where it was set, else Workers + 2 for batch, else 200; 1 to 10,000
	Start   int // default Pool.MaxConns; where it was not set, 100 for vector and Workers + 2 for batch, and Pool.MinConns at least; Floor to Ceiling
	Budget  int // default Ceiling; Ceiling to 20,000

	// Objective is what the limit shall be best for; default balanced.
	// WaitObjective is the 99th percentile of the wait time to aim for while
	// the server has room; default none, then 5 % of callers may wait.
	Objective     Objective
	WaitObjective time.Duration

	// AcquireTimeout bounds every acquire, queueing and dialling together;
	// default none, 10 s for vector, 30 s for batch; negative: none.
	AcquireTimeout time.Duration
	// ConnectRetry is how long an acquire retries, with exponential backoff,
	// while the server is out of reach or starting; default 2 s, negative: never.
	ConnectRetry time.Duration
	// ValidateBeforeUse pings each connection before a caller gets it; default
	// only after a second idle, as pgxpool does; always for batch.
	ValidateBeforeUse bool

	Interval     time.Duration // between two looks; default 1 s; 100 ms to 1 min
	SwapTimeout  time.Duration // bounds checking and warming a generation; default 5 s; 100 ms to 5 min
	DrainTimeout time.Duration // for how long a swap waits for the callers of the one before; default 1 s; up to 10 min

	// Manual switches the controller off: nothing is read from the server, and
	// only Resize, SetLimit and Reconfigure move the pool.
	Manual bool

	Logger  *slog.Logger // changes as Info; holds, and trials that take turns, as Debug; nil is silent
	Journal io.Writer    // gets each observation and decision as a JSON line, for replay; ends at its first error
}

// Objective is what the limit shall be best for while callers queue.
type Objective string

// The objectives. Each ends at the smallest limit that serves it.
const (
	Balanced   Objective = "balanced"   // within 3 % of the peak throughput
	Latency    Objective = "latency"    // the best throughput per response time
	Throughput Objective = "throughput" // within 0.5 % of the peak throughput
)

var objectives = map[Objective]model.Objective{Balanced: model.Balanced, Latency: model.Latency, Throughput: model.Throughput}

// defaultCeiling is the ceiling where nobody set one: above the 150 of the
// vector-count guideline, with room for its scaling by concurrent users. What
// the server has room for is a bound of its own.
const defaultCeiling = 200

// ParseConfig makes a Config from a connection string in URL or keyword/value
// form, with the pool_* settings of [pgxpool.ParseConfig]. It reads the PG*
// environment variables as pgx does, and AUTOTUNE_PROFILE, DB_MAX_CONNECTIONS,
// DB_MIN_CONNECTIONS, DB_CONNECTION_TIMEOUT (the acquire timeout),
// DB_STATEMENT_TIMEOUT and DB_ENABLE_CONNECTION_VALIDATION where the connection
// string does not say otherwise; and, whatever it says,
// DB_ENABLE_PREPARED_STATEMENTS=false. Durations are Go durations, or bare numbers:
// below 1,000 seconds, from 1,000 up milliseconds.
func ParseConfig(connString string) (*Config, error) {
	return parseConfig(connString, os.LookupEnv)
}

func parseConfig(connString string, env func(string) (string, bool)) (*Config, error) {
	pool, err := redact.ParsePool(connString)
	if err != nil {
		// Not wrapped: pgx's error repeats the string, and its masking of passwords
		// is best effort.
		return nil, fmt.Errorf("autotune: the connection string cannot be used: %s", redact.Cause(err))
	}
	cfg := &Config{Pool: pool}
	return cfg, cfg.readEnvironment(env)
}

func (c *Config) readEnvironment(env func(string) (string, bool)) error {
	var errs []error
	read := func(name string, set func(string) error) {
		if v, ok := env(name); ok && v != "" {
			if err := set(v); err != nil {
				// The value may be that of another variable, such as DATABASE_URL.
				errs = append(errs, fmt.Errorf("autotune: environment variable %s: %s", name, redact.About(err, v)))
			}
		}
	}
	explicit := explicitSize(c.Pool)
	read("AUTOTUNE_PROFILE", func(v string) error {
		p, err := ParseProfile(v)
		c.Profile = p
		return err
	})
	read("DB_MAX_CONNECTIONS", func(v string) error {
		n, err := parseCount(v, 1)
		if err == nil && !explicit.max {
			c.Pool.MaxConns, c.Ceiling = int32(n), n
		}
		return err
	})
	read("DB_MIN_CONNECTIONS", func(v string) error {
		n, err := parseCount(v, 0)
		if err == nil && !explicit.min {
			c.Pool.MinConns = int32(n)
		}
		return err
	})
	read("DB_CONNECTION_TIMEOUT", func(v string) (err error) {
		c.AcquireTimeout, err = parseTimeout(v)
		return err
	})
	read("DB_STATEMENT_TIMEOUT", func(v string) error {
		d, err := parseTimeout(v)
		if err == nil && !hasStatementTimeout(c.Pool.ConnConfig) {
			c.Pool.ConnConfig.RuntimeParams["statement_timeout"] = strconv.FormatInt(d.Milliseconds(), 10)
		}
		return err
	})
	read("DB_ENABLE_PREPARED_STATEMENTS", func(v string) error {
		on, err := parseSwitch(v)
		if err == nil && !on {
			disablePreparedStatements(c.Pool.ConnConfig)
		}
		return err
	})
	read("DB_ENABLE_CONNECTION_VALIDATION", func(v string) (err error) {
		c.ValidateBeforeUse, err = parseSwitch(v)
		return err
	})
	return errors.Join(errs...)
}

func parseCount(s string, low int) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < low || n > maxCeiling {
		return 0, fmt.Errorf("%q is not a number of connections from %d to %d", s, low, maxCeiling)
	}
	return n, nil
}

func parseTimeout(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	d, err := time.ParseDuration(s)
	if n, numErr := strconv.ParseInt(s, 10, 64); numErr == nil {
		unit := time.Second
		if n >= 1000 {
			unit = time.Millisecond
		}
		d, err = time.Duration(n)*unit, nil
		if n > math.MaxInt32 {
			err = strconv.ErrRange
		}
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a timeout: write a duration such as 10s or 300ms", s)
	}
	return d, nil
}

func parseSwitch(s string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "1", "t", "true", "y", "yes", "on":
		return true, nil
	case "0", "f", "false", "n", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

const (
	maxCeiling = 10_000 // far above what one server can hold; catches a slipped unit
	maxBudget  = 20_000
)

// Validate says which knob is out of its bounds, all of them at once.
func (c *Config) Validate() error {
	_, _, err := c.complete()
	return err
}

// complete returns a validated copy with every default filled in, and what the
// profile made of it.
func (c *Config) complete() (*Config, profileSettings, error) {
	if c == nil || c.Pool == nil || c.Pool.ConnConfig == nil {
		return nil, profileSettings{}, errors.New("autotune: Config.Pool is missing: make the Config with autotune.ParseConfig, or set Pool to the result of pgxpool.ParseConfig")
	}
	out := *c
	out.Pool = c.Pool.Copy()
	explicit := explicitSize(c.Pool)

	var errs []error
	bound := func(name string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("autotune: Config.%s is %d, outside its bounds of %d to %d", name, v, low, high))
		}
	}
	span := func(name string, v, low, high time.Duration) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("autotune: Config.%s is %s, outside its bounds of %s to %s", name, v, low, high))
		}
	}
	orDefault(&out.Profile, ProfileAuto)
	if _, err := ParseProfile(string(out.Profile)); err != nil {
		errs = append(errs, fmt.Errorf("autotune: Config.Profile: %w", err))
	}
	orDefault(&out.Objective, Balanced)
	if _, ok := objectives[out.Objective]; !ok {
		errs = append(errs, fmt.Errorf("autotune: Config.Objective: unknown objective %q: use balanced, latency or throughput", out.Objective))
	}
	span("WaitObjective", out.WaitObjective, 0, time.Minute)
	orDefault(&out.ConcurrentUsers, sizing.GuidelineUsers)
	bound("ConcurrentUsers", out.ConcurrentUsers, 1, 1_000_000)
	if c.Workers != 0 {
		bound("Workers", out.Workers, 1, maxCeiling-2)
	}
	if c.Pool.MaxConns < 1 || c.Pool.MaxConns > maxCeiling {
		errs = append(errs, fmt.Errorf("autotune: Config.Pool.MaxConns is %d, outside its bounds of 1 to %d", c.Pool.MaxConns, maxCeiling))
	}
	if c.Pool.MinConns < 0 || c.Pool.MinConns > maxCeiling {
		errs = append(errs, fmt.Errorf("autotune: Config.Pool.MinConns is %d, outside its bounds of 0 to %d", c.Pool.MinConns, maxCeiling))
	}
	if c.Pool.HealthCheckPeriod <= 0 {
		errs = append(errs, fmt.Errorf("autotune: Config.Pool.HealthCheckPeriod is %s and must be above 0", c.Pool.HealthCheckPeriod))
	}
	if out.Ceiling == 0 && explicit.max {
		out.Ceiling = int(c.Pool.MaxConns)
	}
	settings := out.applyProfile(explicit)

	orDefault(&out.Ceiling, defaultCeiling)
	orDefault(&out.Floor, min(out.Ceiling, 1))
	bound("Ceiling", out.Ceiling, 1, maxCeiling)
	bound("Floor", out.Floor, 1, maxCeiling)
	if out.Floor > out.Ceiling {
		errs = append(errs, fmt.Errorf("autotune: Config.Floor (%d) is above Config.Ceiling (%d): lower the floor or raise the ceiling", out.Floor, out.Ceiling))
	}
	orDefault(&out.Budget, out.Ceiling)
	bound("Budget", out.Budget, 1, maxBudget)
	if out.Budget < out.Ceiling {
		errs = append(errs, fmt.Errorf("autotune: Config.Budget (%d) is below Config.Ceiling (%d): the pool could never reach its ceiling", out.Budget, out.Ceiling))
	}
	if int(c.Pool.MinConns) > out.Ceiling {
		errs = append(errs, fmt.Errorf("autotune: Config.Pool.MinConns (%d) is above the ceiling (%d)", c.Pool.MinConns, out.Ceiling))
	}

	out.AcquireTimeout = max(0, out.AcquireTimeout)
	orDefault(&out.ConnectRetry, 2*time.Second)
	out.ConnectRetry = max(0, out.ConnectRetry)
	orDefault(&out.Interval, time.Second)
	span("Interval", out.Interval, 100*time.Millisecond, time.Minute)
	orDefault(&out.SwapTimeout, 5*time.Second)
	span("SwapTimeout", out.SwapTimeout, 100*time.Millisecond, 5*time.Minute)
	orDefault(&out.DrainTimeout, time.Second)
	span("DrainTimeout", out.DrainTimeout, time.Nanosecond, 10*time.Minute)
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	if out.Start != 0 {
		bound("Start", out.Start, max(1, out.Floor), out.Ceiling)
		settings.start.Max = out.Start
	}
	if explicit.min && !explicit.max && out.Start == 0 { // a min that was asked for holds from the start
		settings.start.Max = max(settings.start.Max, int(c.Pool.MinConns))
	}
	settings.start.Max = min(max(settings.start.Max, out.Floor), out.Ceiling)
	settings.start.Min = min(max(settings.start.Min, 0), settings.start.Max)
	return &out, settings, errors.Join(errs...)
}

func orDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// explicit tells which sizes of a pgxpool.Config somebody chose.
type explicit struct{ max, min bool }

// explicitSize compares a pool's sizes with what its connection string would
// give without the pool_* settings, which pgxpool does not keep.
func explicitSize(pool *pgxpool.Config) explicit {
	params := connStringParams(pool.ConnString())
	return explicit{
		max: params["pool_max_conns"] || pool.MaxConns != defaultMaxConns(),
		min: params["pool_min_conns"] || pool.MinConns != 0,
	}
}
