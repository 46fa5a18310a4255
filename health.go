package autotune

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pgautotune/autotune/internal/redact"
	"github.com/pgautotune/autotune/internal/sizing"
)

// HealthStatus is the verdict of [Pool.Health].
type HealthStatus string

// The verdicts, best first.
const (
	Healthy  HealthStatus = "healthy"
	Warning  HealthStatus = "warning"
	Critical HealthStatus = "critical"
)

// What separates the verdicts.
const (
	warningUtilization  = 0.70                   // in use / limit, from which on it is a warning
	criticalUtilization = 0.90                   // and critical
	healthyAcquireTime  = 100 * time.Millisecond // mean time to get a connection, above which it is a warning
	healthySuccessRate  = 0.95                   // acquires that got a connection, below which it is critical
)

// Health is the state of the pool and its server, with every cause of a verdict
// that is not healthy: utilization (a warning from 70 %, critical from 90 %), the
// time to get a connection (above 100 ms), the share of acquires that got one
// (below 95 %), a server that does not answer, pgvector lost or never there. With
// Config.Manual the last two are not judged, because nothing is asked.
type Health struct {
	Status  HealthStatus
	Reasons []string // one sentence each; empty when healthy

	Utilization  float64       // in use / limit now, 0–1, above 1 after the limit was lowered
	AcquireTime  time.Duration // mean over the last minute, from asking to getting
	SuccessRate  float64       // acquires of the last minute that got a connection, 0–1; 1 when there were none
	ResponseTime time.Duration // of the server, to the controller's own connection; 0 when it did not answer

	Vector        VectorState // of pgvector when it was checked last (see ProfileVector)
	VectorVersion string
}

// VectorState is what is known of pgvector's capability.
type VectorState string

// The states.
const (
	VectorUnknown VectorState = "unknown"
	VectorWorks   VectorState = "works"
	VectorMissing VectorState = "missing" // never worked since the pool was opened
	VectorLost    VectorState = "lost"    // worked once, and no longer does
)

// Health asks the server now, over the controller's own connection and bounded
// by ctx, and judges. It acquires nothing from the pool, so it answers when the
// pool is exhausted too.
func (p *Pool) Health(ctx context.Context) Health {
	g := p.gate.peek()
	h := Health{Status: Healthy, SuccessRate: 1, Vector: VectorUnknown}
	worse := func(s HealthStatus, format string, args ...any) {
		h.Reasons = append(h.Reasons, fmt.Sprintf(format, args...))
		if h.Status != Critical {
			h.Status = s
		}
	}
	if p.closed() {
		worse(Critical, "the pool is closed")
		return h
	}

	h.Utilization = float64(g.inUse) / float64(max(1, g.limit))
	why := ""
	if g.queued > 0 {
		why = fmt.Sprintf(", %d callers queue", g.queued)
		switch d := p.Decision(); d.Reason {
		case sizing.ServerSaturated, sizing.PastKnee, sizing.Steady:
			if d.Estimate.Knee.Identified {
				why += "; the server is saturated and more connections would not help: faster queries or more cores would"
			}
		case sizing.IdleInTransaction:
			why += "; most connections are held idle in transactions"
		case sizing.LockContention:
			why += "; most backends wait for locks"
		case sizing.Exhausted:
			why += "; the server has no connections left for this pool"
		}
	}
	switch {
	case h.Utilization >= criticalUtilization:
		worse(Critical, "utilization is %.0f %%: %d of %d connections in use%s", 100*h.Utilization, g.inUse, g.limit, why)
	case h.Utilization >= warningUtilization:
		worse(Warning, "utilization is %.0f %%: %d of %d connections in use%s", 100*h.Utilization, g.inUse, g.limit, why)
	}

	r := p.tuner.recent.since(time.Now(), p.acquireTotals())
	if r.asked > 0 {
		h.SuccessRate = 1 - float64(r.refused)/float64(r.asked)
	}
	if r.granted > 0 {
		h.AcquireTime = r.wait / time.Duration(r.granted)
	}
	if h.SuccessRate < healthySuccessRate {
		worse(Critical, "%.1f %% of acquires got a connection in the last minute (%d of %d did not)", 100*h.SuccessRate, r.refused, r.asked)
	}
	if h.AcquireTime > healthyAcquireTime {
		worse(Warning, "getting a connection took %s on average in the last minute", h.AcquireTime.Round(time.Millisecond))
	}

	if p.cfg.Manual {
		return h
	}
	activity, err := p.tuner.telemetry.now(ctx)
	if err != nil {
		worse(Critical, "the server does not answer the controller: %s", redact.Error(err))
		return h
	}
	h.ResponseTime = activity.RoundTrip
	p.judgeVector(&h, worse)
	return h
}

func (p *Pool) judgeVector(h *Health, worse func(HealthStatus, string, ...any)) {
	h.VectorVersion = p.tuner.telemetry.known().facts.Vectors.Version
	v := p.tuner.telemetry.vectorKnown()
	switch h.Vector = v.state(); h.Vector {
	case VectorLost:
		worse(Critical, "pgvector worked and no longer does: %v", v.err)
	case VectorMissing:
		worse(Critical, "pgvector cannot be used: %v", v.err)
	}
}

// acquireTotals are cumulative figures of acquires.
type acquireTotals struct {
	asked, granted, refused int64
	wait                    time.Duration // of the granted
}

func (p *Pool) acquireTotals() acquireTotals {
	g := p.gate.peek()
	t, _ := p.ledger.totals(p.now())
	c := p.counters()
	a := acquireTotals{granted: t.granted(), refused: g.stat.canceled + p.ledger.canceledLate.Load() + p.ledger.failed.Load()}
	a.asked = a.granted + a.refused
	a.wait = g.grantedWait() + p.connectTime(&c)
	return a
}

// recent keeps the totals of the last minute, one for each second at most.
type recent struct {
	mu   sync.Mutex
	ring [61]recentTotals // guarded by mu
	n    int              // guarded by mu: ever added
}

type recentTotals struct {
	at time.Time
	acquireTotals
}

func (r *recent) add(now time.Time, a acquireTotals) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n > 0 && now.Sub(r.ring[(r.n-1)%len(r.ring)].at) < time.Second {
		return
	}
	r.ring[r.n%len(r.ring)] = recentTotals{now, a}
	r.n++
}

// since is what was added to the totals within the last minute, or since the last
// that are older, where they are added less often.
func (r *recent) since(now time.Time, a acquireTotals) acquireTotals {
	r.mu.Lock()
	defer r.mu.Unlock()
	var old acquireTotals
	for i := r.n - 1; i >= max(0, r.n-len(r.ring)); i-- {
		sample := &r.ring[i%len(r.ring)]
		if old = sample.acquireTotals; now.Sub(sample.at) >= time.Minute {
			break
		}
	}
	return acquireTotals{asked: a.asked - old.asked, granted: a.granted - old.granted, refused: a.refused - old.refused, wait: a.wait - old.wait}
}
