package advice

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

// waitShare of the callers may wait for a connection: the usual grade of service.
const waitShare = 0.05

// Demand is how many connections were asked for.
type Demand struct {
	// Connections in use at once: serving a statement or inside a transaction.
	Mean   float64 `json:"mean"`
	Median float64 `json:"p50"`
	P95    float64 `json:"p95"`
	P99    float64 `json:"p99"`
	Peak   float64 `json:"peak"`
	// Between is the peak where no look met it: known from when the statements began
	// and ended that ran between two looks. 0 where the looks saw as many.
	Between float64 `json:"between_looks,omitempty"`

	// Averaged is how many seconds each of these figures is a mean of; 0 where they
	// are of an instant.
	Averaged float64 `json:"averaged_seconds,omitempty"`

	// Wanted keeps 95 % of callers from waiting at the mean, by Erlang C.
	Wanted int `json:"wanted"`

	// Clipped is the share of the time, 0–1, in which every open connection was
	// in use, and as many were open as ever. Callers may then have queued where
	// a server cannot see them: in the service's own pool.
	Clipped float64 `json:"clipped"`

	// Steps is what share of the time each number of connections was in use.
	Steps []Step `json:"distribution"`
}

// Step is a bar of the distribution: From ≤ in use ≤ To for Share of the time.
type Step struct {
	From  int     `json:"from"`
	To    int     `json:"to"`
	Share float64 `json:"share"`
}

// demandOf reads the demand of a subject.
func demandOf(t *tally) Demand {
	h := model.NewHistogram(0)
	var d Demand
	for i := range t.each {
		n := t.each[i].inUse()
		h.Add(time.Duration(i), n, 1)
		d.Peak = max(d.Peak, n)
	}
	d.Mean = t.mean.inUse()
	d.Median, d.P95, d.P99 = h.Quantile(0.5), h.Quantile(0.95), min(d.Peak, h.Quantile(0.99))
	d.P95 = min(d.P95, d.P99)
	d.Median = min(d.Median, d.P95)
	if t.between > d.Peak {
		d.Between, d.Peak = t.between, t.between
	}
	d.Wanted = model.ErlangCServers(d.Mean, waitShare)
	d.Clipped = t.share(func(_ int, c *counts) bool {
		return c.Idle == 0 && c.inUse() > 0 && c.open() >= 0.98*t.peak
	})
	d.Steps = distribution(t, d.Peak)
	return d
}

// distribution has at most 8 bars, in steps of 1, 2, 5, 10, …
func distribution(t *tally, peak float64) []Step {
	width, tens := 1, 1
	for i := 0; math.Floor(peak/float64(width)) >= 8; i++ {
		width = []int{2, 5, 10}[i%3] * tens
		if i%3 == 2 {
			tens *= 10
		}
	}
	var steps []Step
	for from := 0; float64(from) <= peak; from += width {
		to := from + width - 1
		share := t.share(func(_ int, c *counts) bool { return c.inUse() >= float64(from) && c.inUse() <= float64(to) })
		steps = append(steps, Step{From: from, To: to, Share: share})
	}
	return steps
}
