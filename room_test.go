package autotune

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/internal/sizing"
)

// TestAHigherMaxReconnectsNothing grows a pool of 2 to 6 while both of its connections are
// held: four more are opened, and no other generation.
func TestAHigherMaxReconnectsNothing(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) { c.Start, c.Ceiling, c.Manual = 2, 6, true })
	take := func(n int) (pids []uint32, conns []*pgxpool.Conn) {
		for range n {
			c, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Release)
			pids, conns = append(pids, c.Conn().PgConn().PID()), append(conns, c)
		}
		return pids, conns
	}
	first, held := take(2)
	was := p.routes.Load().current

	obs := Observation{Gauges: controller.Gauges{Limit: 2, Max: 2}}
	p.tuner.act(t.Context(), obs, Decision{Action: controller.Grow, Reason: sizing.DemandRose, Limit: 5, Max: 6})
	if s := p.Snapshot(); s.Size.Max != 6 || s.Limit != 5 || s.Swaps != 0 || p.routes.Load().current != was {
		t.Fatalf("max %d, limit %d, %d swaps; want 6, 5, none and the same generation", s.Size.Max, s.Limit, s.Swaps)
	}
	if cfg := p.Config(); cfg.MaxConns != 6 {
		t.Errorf("the configuration says %d, want 6", cfg.MaxConns)
	}
	for _, c := range held {
		c.Release()
	}
	again, _ := take(5)
	for _, pid := range first {
		if !slices.Contains(again, pid) {
			t.Errorf("backend %d of before is not among %v", pid, again)
		}
	}
	if s := p.Snapshot(); s.Connects != 5 {
		t.Errorf("%d connections were opened for 5 in use", s.Connects)
	}
}

// Where the room does not suffice, a decision that grows in place is not carried out:
// the pool underneath could not hold what is asked for.
func TestNoMaxIsGrantedBeyondTheRoom(t *testing.T) {
	p := opened(t, pgtest.DSN(t), func(c *Config) { c.Start, c.Ceiling, c.Manual, c.Pool.MinIdleConns = 2, 6, true, 1 })
	if room := p.routes.Load().current.room; room != 2 {
		t.Fatalf("with MinIdleConns the room is %d, want the max of 2", room)
	}
	obs := Observation{Gauges: controller.Gauges{Limit: 2, Max: 2}}
	p.tuner.act(t.Context(), obs, Decision{Action: controller.Grow, Reason: sizing.DemandRose, Limit: 5, Max: 6})
	if s := p.Snapshot(); s.Size.Max != 2 || s.Limit != 2 {
		t.Errorf("max %d, limit %d; want both 2", s.Size.Max, s.Limit)
	}
	p.tuner.act(t.Context(), obs, Decision{Action: controller.Grow, Reason: sizing.DemandRose, Limit: 5, Max: 6, Swap: true})
	if s := p.Snapshot(); s.Size.Max != 6 || s.Limit != 5 || s.Swaps != 1 {
		t.Errorf("max %d, limit %d, %d swaps; want 6, 5, 1", s.Size.Max, s.Limit, s.Swaps)
	}
}
