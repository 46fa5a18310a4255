package autotune_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestHealthWarnsFromSeventyAndIsCriticalFromNinetyPercent(t *testing.T) {
	p := open(t, pgtest.DSN(t), 10, func(c *autotune.Config) { c.Manual = false })
	p.Freeze()
	for held, want := range map[int]autotune.HealthStatus{0: autotune.Healthy, 6: autotune.Healthy, 7: autotune.Warning, 8: autotune.Warning, 9: autotune.Critical, 10: autotune.Critical} {
		release := hold(t, p, held)
		h := p.Health(within(t))
		release()
		if h.Status != want {
			t.Errorf("%d of 10 in use: %s (%v), want %s", held, h.Status, h.Reasons, want)
		}
		if h.Utilization != float64(held)/10 {
			t.Errorf("%d of 10 in use: utilization %v", held, h.Utilization)
		}
		if want != autotune.Healthy && (len(h.Reasons) == 0 || !strings.Contains(h.Reasons[0], fmt.Sprintf("%d of 10", held))) {
			t.Errorf("%d of 10 in use: the reasons %q do not say so", held, h.Reasons)
		}
		if h.ResponseTime <= 0 || h.ResponseTime > 10*time.Second {
			t.Errorf("response time of the server %s", h.ResponseTime)
		}
	}
}

func TestHealthCountsAcquiresThatGotNothing(t *testing.T) {
	p := open(t, pgtest.DSN(t), 1)
	ctx := within(t)
	if err := p.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	release := hold(t, p, 1)
	for range 3 {
		short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		if _, err := p.Acquire(short); err == nil {
			t.Fatal("an exhausted pool gave a connection")
		}
		cancel()
	}
	release()
	h := p.Health(ctx)
	if h.SuccessRate != 0.4 || h.Status != autotune.Critical { // 2 of 5
		t.Errorf("success rate %v, %s (%v); want 0.4, critical", h.SuccessRate, h.Status, h.Reasons)
	}
}

func TestHealthNoticesAServerThatIsGone(t *testing.T) {
	server := pgtest.New(t, pgtest.Options{})
	p := open(t, server.DSN(), 2, live)
	if h := p.Health(within(t)); h.Status != autotune.Healthy {
		t.Fatalf("before: %s (%v)", h.Status, h.Reasons)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	h := p.Health(within(t))
	if h.Status != autotune.Critical || !strings.Contains(strings.Join(h.Reasons, " "), "does not answer") {
		t.Errorf("with the server killed: %s (%v)", h.Status, h.Reasons)
	}
}

func TestTheLossOfPgvectorIsReportedByHealthAndFailsNoOtherQuery(t *testing.T) {
	dsn := pgtest.DSN(t)
	p := open(t, dsn, 4, live, func(c *autotune.Config) { c.Profile = autotune.ProfileVector })
	super := admin(t, dsn)
	vector := func(want autotune.VectorState) {
		t.Helper()
		eventually(t, func() string {
			p.Reset() // new connections check pgvector as they open
			if err := p.Ping(within(t)); err != nil {
				t.Fatalf("a query that needs no vectors: %v", err)
			}
			if h := p.Health(within(t)); h.Vector != want {
				return fmt.Sprintf("pgvector is %s (%v), want %s", h.Vector, h.Reasons, want)
			}
			return ""
		})
	}
	vector(autotune.VectorWorks)
	mustExec(t, super, "drop extension vector")
	vector(autotune.VectorLost)
	if h := p.Health(within(t)); h.Status != autotune.Critical {
		t.Errorf("with pgvector lost: %s", h.Status)
	}
	mustExec(t, super, "create extension vector")
	vector(autotune.VectorWorks)
}
