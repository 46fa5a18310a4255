package fire

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
)

// throughProxy runs a fault of the network under load.
func throughProxy(t *testing.T, what string, fault func(p *proxy, pool *autotune.Pool, b *book) string, change ...func(*book)) {
	t.Helper()
	leakFree(t)
	dsn := database(t)
	proxy, through := newProxy(t, dsn)
	p := open(t, with(t, through, "connect_timeout", "2"), 8)
	boss := admin(t, dsn)
	inFire(t, what, func() *pgx.Conn { return boss }, p, func(b *book) string { return fault(proxy, p, b) }, change...)
}

func TestFaultLatency(t *testing.T) {
	long(t, "chaos")
	throughProxy(t, "network latency 100 ± 50 ms", func(x *proxy, _ *autotune.Pool, b *book) string {
		x.poison("latency", `{"latency":100,"jitter":50}`, 1, "downstream")
		goes(t, 6*time.Second)
		x.heal()
		return ""
	})
}

// Loss of packets shows above TCP as stalls of single connections, and as resets.
func TestFaultLoss(t *testing.T) {
	long(t, "chaos")
	throughProxy(t, "loss: a third of connections stall 1–2 s, data in crumbs", func(x *proxy, _ *autotune.Pool, b *book) string {
		x.poison("latency", `{"latency":1500,"jitter":500}`, 0.33, "downstream")
		x.poison("slicer", `{"average_size":20,"size_variation":10,"delay":200}`, 1)
		goes(t, 6*time.Second)
		x.heal()
		return ""
	})
}

func TestFaultHalfOpen(t *testing.T) {
	throughProxy(t, "half-open connections: nothing comes through, nobody hangs up", func(x *proxy, _ *autotune.Pool, b *book) string {
		x.poison("timeout", `{"timeout":0}`, 1)
		goes(t, pick(5*time.Second, 500*time.Millisecond))
		x.heal() // which hangs up
		return ""
	}, func(b *book) { b.within = 700 * time.Millisecond })
}

func TestFaultCut(t *testing.T) {
	long(t, "chaos")
	throughProxy(t, "connections cut by reset, and refused", func(x *proxy, _ *autotune.Pool, b *book) string {
		for range pick(10, 2) {
			x.Stop()
			goes(t, 100*time.Millisecond)
			if err := x.Start(); err != nil {
				t.Fatal(err)
			}
			x.poison("reset_peer", `{"timeout":30}`, 0.5)
			goes(t, 300*time.Millisecond)
			x.heal()
		}
		return ""
	})
}

func TestFaultSlowDNS(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	dsn := database(t)
	host, _, err := net.SplitHostPort(hostport(t, dsn))
	if err != nil {
		t.Fatal(err)
	}
	boss := admin(t, dsn)
	var slow atomic.Bool
	p := open(t, with(t, dsn, "application_name", "dns"), 8, func(c *autotune.Config) {
		c.Pool.ConnConfig.Host = "database.invalid" // known to our resolver alone
		c.Pool.ConnConfig.Fallbacks = nil
		c.Pool.ConnConfig.LookupFunc = func(ctx context.Context, _ string) ([]string, error) {
			if slow.Load() {
				select {
				case <-time.After(2 * time.Second):
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			return []string{host}, nil
		}
	})
	inFire(t, "DNS that takes 2 s, half of the backends cut", func() *pgx.Conn { return boss }, p, func(b *book) string {
		slow.Store(true)
		do(t, boss, "select pg_terminate_backend(pid) from (select pid from pg_stat_activity where application_name = 'dns' limit 4) v")
		before := b.failures.Load()
		goes(t, 4*time.Second)
		slow.Store(false)
		return fmt.Sprintf("%d failures meanwhile", b.failures.Load()-before)
	})
}

func TestFaultWrongHost(t *testing.T) {
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	p := open(t, dsn, 8, func(c *autotune.Config) { c.SwapTimeout = time.Second })
	inFire(t, "wrong host, port and password by Reconfigure", func() *pgx.Conn { return boss }, p, func(b *book) string {
		for what, change := range map[string]func(*pgx.ConnConfig){
			"host":     func(c *pgx.ConnConfig) { c.Host = "no-such-host.invalid" },
			"port":     func(c *pgx.ConnConfig) { c.Port = 1 },
			"password": func(c *pgx.ConnConfig) { c.Password = "wrong" },
		} {
			if err := p.Reconfigure(t.Context(), func(c *pgxpool.Config) error {
				c.ConnConfig.Fallbacks = nil
				change(c.ConnConfig)
				return nil
			}); err == nil {
				t.Errorf("a wrong %s was published", what)
			}
		}
		if n := b.failures.Load(); n > 0 {
			t.Errorf("%d operations failed: %v", n, b.why())
		}
		return "3 refused, pool as it was"
	})
}

func TestFaultTelemetryNonsense(t *testing.T) {
	leakFree(t)
	dsn := database(t)
	liar, through := newLiar(t, with(t, dsn, "sslmode", "disable"))
	p := open(t, through, 8, func(c *autotune.Config) { c.Floor = 2 })
	boss := admin(t, dsn)
	inFire(t, "telemetry returning nonsense", func() *pgx.Conn { return boss }, p, func(b *book) string {
		liar.mu.Lock()
		liar.lying = true
		liar.mu.Unlock()
		for end := time.Now().Add(pick(20*time.Second, 2*time.Second)); time.Now().Before(end); {
			s := p.Snapshot()
			if s.Limit < 1 || s.Limit > s.Size.Max || s.Size.Max < 2 || s.Size.Max > 8 || s.Size.Min < 0 || s.Size.Min > s.Size.Max {
				t.Fatalf("nonsense reached the pool: limit %d of %+v: %+v", s.Limit, s.Size, s.Decision)
			}
			goes(t, 10*time.Millisecond)
		}
		liar.mu.Lock()
		defer liar.mu.Unlock()
		liar.lying = false
		if liar.told < 10 {
			t.Errorf("only %d values were replaced: it proves nothing", liar.told)
		}
		if n := b.failures.Load(); n > 0 {
			t.Errorf("%d operations failed: %v", n, b.why())
		}
		return fmt.Sprintf("%d values replaced", liar.told)
	})
}

func TestFaultTelemetryKilled(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	p := open(t, dsn, 8)
	inFire(t, "the telemetry connection killed again and again", func() *pgx.Conn { return boss }, p, func(b *book) string {
		killed := int64(0)
		for end := time.Now().Add(pick(10*time.Second, time.Second)); time.Now().Before(end); {
			killed += count(t, boss, "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'autotune' and datname = current_database()")
			goes(t, 10*time.Millisecond)
		}
		if n := b.failures.Load(); n > 0 || killed == 0 {
			t.Errorf("%d operations failed, %d kills: %v", n, killed, b.why())
		}
		return fmt.Sprintf("%d times", killed)
	})
}

func TestFaultPasswordChanged(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	roled := cheapRole(t, boss, dsn)
	cfg, err := pgx.ParseConfig(roled)
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, roled, 8)
	inFire(t, "password changed under way", func() *pgx.Conn { return boss }, p, func(b *book) string {
		for i := range pick(10, 2) {
			password := fmt.Sprintf("changed-%d", i)
			do(t, boss, "alter role "+cfg.User+" password '"+password+"'", pgx.QueryExecModeSimpleProtocol)
			if err := p.Reconfigure(t.Context(), func(c *pgxpool.Config) error { c.ConnConfig.Password = password; return nil }); err != nil {
				t.Fatal(err)
			}
			b.round(t)
		}
		if n := b.failures.Load(); n > 0 {
			t.Errorf("%d operations failed: %v", n, b.why())
		}
		return ""
	})
}
