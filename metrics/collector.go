// Package metrics shows a pool to Prometheus:
//
//	http.Handle("/metrics", metrics.Handler(metrics.New(pool, metrics.Options{})))
//
// or, in a registry of yours: registry.MustRegister(metrics.New(pool, …)). Several
// pools of one process go into one registry, each with a name of its own in
// Options.Pool.
//
// Each scrape takes one snapshot of the pool, so that its figures fit together, and
// costs the pool tens of microseconds. What is not known is left out instead of
// being 0. table.go lists all metrics, docs/metrics.md is made from it; rules has
// alerts and grafana a board.
package metrics

import (
	"math"
	"net/http"
	"strings"
	"sync"

	"github.com/pgautotune/autotune"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Pool is the part of [autotune.Pool] that metrics read.
type Pool interface{ Snapshot() autotune.Snapshot }

// Options are the settings of a collector.
type Options struct {
	// Pool is the value of the label pool, which every metric carries if this
	// is set. Where several pools are registered together, all need one.
	Pool string
}

// Collector is a [prometheus.Collector] of one pool, safe for concurrent use.
type Collector struct {
	pool  Pool
	descs []*prometheus.Desc // in the order of table

	mu    sync.Mutex
	shown map[string]float64           // guarded by mu: counters, by metric and labels
	hists map[string]map[float64]int64 // guarded by mu: histograms, by metric and end of bucket
}

// New makes a collector of a pool.
func New(pool Pool, o Options) *Collector {
	var constant prometheus.Labels
	if o.Pool != "" {
		constant = prometheus.Labels{"pool": o.Pool}
	}
	c := &Collector{pool: pool, shown: map[string]float64{}, hists: map[string]map[float64]int64{}}
	for _, m := range table {
		c.descs = append(c.descs, prometheus.NewDesc(m.name, m.help, m.labels, constant))
	}
	return c
}

// Handler serves the metrics of collectors over HTTP, from a registry of its own.
// It panics if two of them are the same or named the same, as a registry does.
func Handler(collectors ...prometheus.Collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors...)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry, EnableOpenMetrics: true})
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	s := c.pool.Snapshot()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, m := range table {
		desc := c.descs[i]
		if m.histogram != nil {
			h := m.histogram(&s)
			out <- histogram{desc, c.buckets(m.name, h), c.risen(m.name+" sum", h.Sum.Seconds())}
			continue
		}
		m.read(&s, func(v float64, labels ...string) {
			kind := prometheus.GaugeValue
			if m.counter {
				kind, v = prometheus.CounterValue, c.risen(m.name+" "+strings.Join(labels, " "), v)
			}
			out <- prometheus.MustNewConstMetric(desc, kind, v, labels...)
		})
	}
}

// risen keeps a counter from falling. The pool counts without locks, and a
// snapshot at the instant between two of its counters may see one release twice
// or not at all. The next one is right; but to Prometheus a counter that falls by
// one has restarted, and it would count all of it again.
func (c *Collector) risen(key string, v float64) float64 {
	v = math.Max(v, c.shown[key])
	c.shown[key] = v
	return v
}

// buckets does the same for the buckets of a histogram, and returns them by the
// seconds at which they end. What it returns is not changed before the next call.
func (c *Collector) buckets(name string, h *autotune.Histogram) map[float64]int64 {
	shown := make(map[float64]int64, len(c.hists[name]))
	for end, n := range c.hists[name] {
		shown[end] = n
	}
	for end, n := range h.Buckets() {
		s := end.Seconds()
		if end == math.MaxInt64 {
			s = math.Inf(1)
		}
		shown[s] = max(shown[s], n)
	}
	c.hists[name] = shown
	return shown
}
