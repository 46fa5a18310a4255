package autotune_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestAConnectionStringThatCannotBeUsedIsAnErrorAtOnce(t *testing.T) {
	for _, dsn := range []string{
		"postgres://user:s3cret@host:port/db",
		"postgres://user:s3cret@[::1/db",
		"host=localhost password=s3cret port=banana",
		"host=localhost password=s3cret sslmode=maybe",
		"postgres://user:s3cret@localhost/db?pool_max_conns=0",
		"postgres://user:s3cret@localhost/db?pool_max_conns=many",
		"postgres://user:s3cret@localhost/db?pool_max_conn_lifetime=1parsec",
		"postgres://user:s3cret@localhost/db?pool_health_check_period=0",
		"postgres://user:s3cret@localhost/db?pool_min_conns=-1",
		"password=s3cret '",
		"host=h port=x password = s3cret",
		"host=h port=x PASSWORD=s3cret",
		"postgres://me:s3@s3cret@h:x/db",
		"host=h password='s3 s3cret",
		"jdbc:postgresql://user:s3cret@localhost/db?sslmode=disable",
	} {
		p, err := autotune.New(t.Context(), dsn)
		if err == nil {
			p.Close()
			t.Errorf("%s was accepted", dsn)
			continue
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the password is in the error: %v", err)
		}
		if !strings.HasPrefix(err.Error(), "autotune: ") {
			t.Errorf("who says this? %v", err)
		}
	}
}

func TestAServerThatCannotBeReachedFailsTheQueryAndNotThePool(t *testing.T) {
	leakFree(t)
	good := pgtest.DSN(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a port of which it is certain that nobody answers
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	for name, c := range map[string]struct {
		dsn   string
		code  string // SQLSTATE, where the server says no
		tries bool   // it may pass, so ConnectRetry is used up
	}{
		"closed port":      {fmt.Sprintf("postgres://u:s3cret@127.0.0.1:%d/db?sslmode=disable", port), "", true},
		"unknown host":     {"postgres://u:s3cret@nowhere.invalid/db", "", false},
		"wrong password":   {as(t, good, "postgres", "s3cret"), "28P01", false},
		"unknown user":     {as(t, good, "nobody_at_all", "s3cret"), "28P01", false},
		"unknown database": {good + "&dbname=nowhere", "3D000", false},
		"unknown setting":  {with(good, "nonsense_setting", "1"), "42704", false},
	} {
		t.Run(name, func(t *testing.T) {
			const retry = 200 * time.Millisecond
			p := open(t, c.dsn, 3, live, func(c *autotune.Config) { c.ConnectRetry, c.Pool.MinConns = retry, 1 })
			start := time.Now()
			err := p.Ping(within(t))
			took := time.Since(start)
			if err == nil {
				t.Fatal("no error")
			}
			var pgErr *pgconn.PgError
			if errors.As(err, &pgErr); c.code != "" && (pgErr == nil || pgErr.Code != c.code) {
				t.Errorf("not SQLSTATE %s: %v", c.code, err)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the password is in the error: %v", err)
			}
			if took > 5*time.Second || c.tries && took < retry/2 {
				t.Errorf("the error came after %s", took)
			}
			if err := p.Resize(within(t), autotune.Size{Max: 2}); err == nil {
				t.Error("a resize worked without a server")
			}
			eventually(t, func() string { // a token is back when the server has closed its end
				if s := p.Snapshot(); s.Failed != 1 || s.Open != 0 || s.Size.Max != 3 {
					return fmt.Sprintf("%d failed, %d open, max %d", s.Failed, s.Open, s.Size.Max)
				}
				return ""
			})
		})
	}
}

func TestAServerWithTooFewSlotsIsWaitedForInsteadOfFailing(t *testing.T) {
	leakFree(t)
	server := pgtest.New(t, pgtest.Options{Settings: map[string]string{"max_connections": "10", "superuser_reserved_connections": "1", "max_wal_senders": "0"}})
	p := open(t, server.DSN(), 50, func(c *autotune.Config) { c.ConnectRetry = patience })
	var callers sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for range 30 {
		callers.Go(func() {
			for range 5 {
				if _, err := p.Exec(within(t), "select pg_sleep(0.005)"); err != nil {
					mu.Lock()
					failed++
					mu.Unlock()
					t.Logf("failed: %v", err)
				}
			}
		})
	}
	callers.Wait()
	s := settled(t, p)
	t.Logf("150 queries by 30 callers over 10 slots: %d failed, %d connections opened, %d open now", failed, s.Connects, s.Open)
	if failed > 0 {
		t.Errorf("%d queries failed", failed)
	}
	if s.Open > 10 {
		t.Errorf("%d open on a server for 10", s.Open)
	}
}

func TestARoleWithoutRightsGetsThePoolAndItsOwnErrors(t *testing.T) {
	leakFree(t)
	dsn, super, _ := role(t, "")
	mustExec(t, admin(t, super), "create table secret (i int)")
	p := open(t, dsn, 2, live)
	var pgErr *pgconn.PgError
	if _, err := p.Exec(within(t), "select * from secret"); !errors.As(err, &pgErr) || pgErr.Code != "42501" {
		t.Errorf("not its permission error: %v", err)
	}
	if err := p.Ping(within(t)); err != nil {
		t.Error(err)
	}
	looked(t, p)
}

// looked waits until the controller has taken a look at the server.
func looked(t testing.TB, p *autotune.Pool) autotune.Snapshot {
	t.Helper()
	eventually(t, func() string {
		if s := p.Snapshot(); s.LookedAt.IsZero() || s.Observation.Server == nil {
			return "the controller has not seen the server"
		}
		return ""
	})
	return p.Snapshot()
}

func TestAKnobOutOfItsBoundsIsNamed(t *testing.T) {
	parse := func() *autotune.Config {
		cfg, err := autotune.ParseConfig("postgres://u@localhost/db")
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	for name, c := range map[string]struct {
		change func(*autotune.Config)
		named  string
	}{
		"no pool":               {func(c *autotune.Config) { c.Pool = nil }, "Config.Pool"},
		"unknown profile":       {func(c *autotune.Config) { c.Profile = "turbo" }, "Profile"},
		"floor above ceiling":   {func(c *autotune.Config) { c.Floor, c.Ceiling = 9, 8 }, "Floor"},
		"negative floor":        {func(c *autotune.Config) { c.Floor = -1 }, "Floor"},
		"negative ceiling":      {func(c *autotune.Config) { c.Ceiling = -1 }, "Ceiling"},
		"absurd ceiling":        {func(c *autotune.Config) { c.Ceiling = 10_001 }, "Ceiling"},
		"smallest number":       {func(c *autotune.Config) { c.Ceiling = math.MinInt }, "Ceiling"},
		"largest number":        {func(c *autotune.Config) { c.Budget = math.MaxInt }, "Budget"},
		"budget below ceiling":  {func(c *autotune.Config) { c.Ceiling, c.Budget = 10, 9 }, "Budget"},
		"negative budget":       {func(c *autotune.Config) { c.Budget = -5 }, "Budget"},
		"start below floor":     {func(c *autotune.Config) { c.Floor, c.Ceiling, c.Start = 5, 10, 4 }, "Start"},
		"start above ceiling":   {func(c *autotune.Config) { c.Ceiling, c.Start = 10, 11 }, "Start"},
		"negative start":        {func(c *autotune.Config) { c.Start = -1 }, "Start"},
		"negative workers":      {func(c *autotune.Config) { c.Profile, c.Workers = autotune.ProfileBatch, -1 }, "Workers"},
		"absurd workers":        {func(c *autotune.Config) { c.Workers = 1 << 30 }, "Workers"},
		"negative users":        {func(c *autotune.Config) { c.ConcurrentUsers = -1 }, "ConcurrentUsers"},
		"interval too short":    {func(c *autotune.Config) { c.Interval = time.Millisecond }, "Interval"},
		"negative interval":     {func(c *autotune.Config) { c.Interval = -time.Second }, "Interval"},
		"interval too long":     {func(c *autotune.Config) { c.Interval = time.Hour }, "Interval"},
		"swap timeout":          {func(c *autotune.Config) { c.SwapTimeout = 1 }, "SwapTimeout"},
		"drain timeout":         {func(c *autotune.Config) { c.DrainTimeout = -1 }, "DrainTimeout"},
		"pool max 0":            {func(c *autotune.Config) { c.Pool.MaxConns = 0 }, "MaxConns"},
		"negative pool max":     {func(c *autotune.Config) { c.Pool.MaxConns = -7 }, "MaxConns"},
		"negative pool min":     {func(c *autotune.Config) { c.Pool.MinConns = -1 }, "MinConns"},
		"pool min over ceiling": {func(c *autotune.Config) { c.Pool.MinConns, c.Ceiling = 20, 10 }, "MinConns"},
		"no health check":       {func(c *autotune.Config) { c.Pool.HealthCheckPeriod = 0 }, "HealthCheckPeriod"},
	} {
		cfg := parse()
		c.change(cfg)
		err := cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), c.named) {
			t.Errorf("%s: %v does not name %s", name, err, c.named)
		}
		if p, newErr := autotune.NewWithConfig(t.Context(), cfg); newErr == nil {
			p.Close()
			t.Errorf("%s: a pool was made", name)
		} else if err != nil && newErr.Error() != err.Error() {
			t.Errorf("%s: Validate says %v, NewWithConfig %v", name, err, newErr)
		}
	}
	if _, err := autotune.NewWithConfig(t.Context(), nil); err == nil {
		t.Error("nil was accepted")
	}
	several := parse()
	several.Floor, several.Interval, several.Profile = -1, 1, "turbo"
	if err := several.Validate(); err == nil || !strings.Contains(err.Error(), "Floor") || !strings.Contains(err.Error(), "Interval") || !strings.Contains(err.Error(), "turbo") {
		t.Errorf("not all of three are named: %v", err)
	}
	if err := parse().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestResizeAndSetLimitStayWithinTheirBounds(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 4)
	for _, size := range []autotune.Size{{}, {Max: -1}, {Max: math.MinInt}, {Max: math.MaxInt}, {Max: 2, Min: 3}, {Max: 2, Min: -1}, {Max: 5}} {
		if err := p.Resize(within(t), size); err == nil || !strings.HasPrefix(err.Error(), "autotune: ") {
			t.Errorf("%+v: %v", size, err)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Resize(over, autotune.Size{Max: 2}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is over: %v", err)
	}
	for n, want := range map[int]int{math.MinInt: 1, -1: 1, 0: 1, 1: 1, 3: 3, 4: 4, 5: 4, math.MaxInt: 4} {
		p.SetLimit(n)
		if got := p.Snapshot().Limit; got != want {
			t.Errorf("SetLimit(%d) gives %d, not %d", n, got, want)
		}
	}
	if s := p.Snapshot(); s.Size.Max != 4 || s.Swaps != 0 {
		t.Errorf("now max %d after %d swaps", s.Size.Max, s.Swaps)
	}
	if err := p.Ping(within(t)); err != nil {
		t.Error(err)
	}
}

func TestTheVectorProfileWorksWithoutPgvector(t *testing.T) {
	leakFree(t)
	dsn := pgtest.DSN(t)
	mustExec(t, admin(t, dsn), "drop extension vector")
	p := open(t, dsn, 4, live, func(c *autotune.Config) { c.Profile = autotune.ProfileVector })
	looked(t, p)
	if err := p.Ping(within(t)); err != nil {
		t.Error(err)
	}
	eventually(t, func() string {
		if h := p.Health(t.Context()); h.Vector != autotune.VectorMissing {
			return fmt.Sprintf("pgvector is said to be %s", h.Vector)
		}
		return ""
	})
}
