package live

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgautotune/autotune/internal/advice"
)

// Metric is one line of the table.
type Metric struct {
	Name, Help string
	Label      string // "" if it has none
	Counter    bool   // else a gauge

	answer   func(*advice.Advice, emit) // of the last answer
	progress func(*Progress, emit)      // of the watch, where there is no answer
}

// emit hands out one value, with that of the metric's label if it has one.
type emit func(v float64, label ...string)

func ofAnswer(name, help string, read func(*advice.Advice, emit)) Metric {
	return Metric{Name: "autotune_watch_" + name, Help: help, answer: read}
}

func ofWatch(name, help string, value func(*Progress) float64) Metric {
	return Metric{Name: "autotune_watch_" + name, Help: help, Counter: strings.HasSuffix(name, "_total"),
		progress: func(p *Progress, e emit) { e(value(p)) }}
}

// sized gives a figure of the recommendation, where there is one.
func sized(value func(*advice.Size) int) func(*advice.Advice, emit) {
	return func(a *advice.Advice, e emit) {
		if a.Size.Known {
			e(float64(value(&a.Size)))
		}
	}
}

// seen gives what was seen of the subject, where it was looked at.
func seen(value func(*advice.Advice) float64) func(*advice.Advice, emit) {
	return func(a *advice.Advice, e emit) {
		if a.Seen.Samples > 0 {
			e(value(a))
		}
	}
}

func states(label string, m Metric) Metric { m.Label = label; return m }

// Table lists every metric of a watch. What is not known is left out.
var Table = []Metric{
	ofAnswer("recommendation_known", "1 when the last answer has a size, 0 when nothing was seen that one could rest on.",
		func(a *advice.Advice, e emit) { e(truth(a.Size.Known)) }),
	ofAnswer("recommendation_lower_connections", "Recommended max of all instances together, at least: the evidence cannot tell it from the target.",
		sized(func(z *advice.Size) int { return z.Lower })),
	ofAnswer("recommendation_target_connections", "Recommended max of all instances together.",
		sized(func(z *advice.Size) int { return z.Max })),
	ofAnswer("recommendation_upper_connections", "Recommended max of all instances together, at most.",
		sized(func(z *advice.Size) int { return z.Upper })),
	ofAnswer("recommendation_min_connections", "Recommended min of all instances together.",
		sized(func(z *advice.Size) int { return z.Min })),
	ofAnswer("instance_max_connections", "Recommended max of the pool of one instance.",
		sized(func(z *advice.Size) int { return z.MaxEach })),
	ofAnswer("instance_min_connections", "Recommended min of the pool of one instance.",
		sized(func(z *advice.Size) int { return z.MinEach })),
	states("confidence", ofAnswer("recommendation_confidence", "1 for the confidence of the last answer.",
		func(a *advice.Advice, e emit) {
			for _, c := range []advice.Confidence{advice.High, advice.Medium, advice.Low, advice.None} {
				e(truth(a.Size.Confidence == c), string(c))
			}
		})),
	states("state", ofAnswer("backends", "Mean server connections of what is watched, over the window, by what they did.",
		func(a *advice.Advice, e emit) {
			if a.Seen.Samples == 0 {
				return
			}
			s := &a.Seen.Activity
			e(s.Computing, "computing")
			e(s.IO, "io")
			e(s.Commit, "commit")
			e(s.Lock, "lock")
			e(s.Contention, "contention")
			e(s.Other, "other")
			e(s.IdleInTransaction, "idle_in_transaction")
			e(s.Turning, "turning")
			e(s.Idle, "idle")
			e(s.Unknown, "unknown")
		})),
	ofAnswer("open_connections", "Server connections of what is watched, at the last look.",
		seen(func(a *advice.Advice) float64 { return float64(a.Today.Open) })),
	ofAnswer("in_use_connections", "Mean of those in use, over the window: serving a statement or inside a transaction.",
		seen(func(a *advice.Advice) float64 { return a.Demand.Mean })),
	ofAnswer("in_use_p99_connections", "As many or fewer were in use 99 % of the window.",
		seen(func(a *advice.Advice) float64 { return a.Demand.P99 })),
	ofAnswer("clipped_ratio", "Share of the window in which every open connection was in use: callers may queue unseen.",
		seen(func(a *advice.Advice) float64 { return a.Demand.Clipped })),
	ofAnswer("saturated_ratio", "Share of the window in which all cores of the server were busy.",
		func(a *advice.Advice, e emit) {
			if a.Seen.Samples > 0 && a.Supply.Cores > 0 {
				e(a.Supply.Saturated)
			}
		}),
	ofAnswer("transactions_per_second", "Transactions of the databases that are watched.",
		func(a *advice.Advice, e emit) {
			if a.Seen.PerS != nil {
				e(*a.Seen.PerS)
			}
		}),
	ofAnswer("service_seconds", "Mean time that a transaction holds a connection, by Little's law.",
		func(a *advice.Advice, e emit) {
			if a.Seen.Service != nil {
				e(*a.Seen.Service / 1000)
			}
		}),
	ofAnswer("server_max_connections", "max_connections of the server.",
		func(a *advice.Advice, e emit) {
			if a.Server.MaxConnections > 0 {
				e(float64(a.Server.MaxConnections))
			}
		}),
	ofAnswer("server_cores", "Cores of the server, counted where it runs on this machine, or told.",
		func(a *advice.Advice, e emit) {
			if a.Supply.Cores > 0 {
				e(float64(a.Supply.Cores))
			}
		}),
	ofAnswer("findings", "Findings of the last answer: things that cost connections, with a remedy.",
		func(a *advice.Advice, e emit) { e(float64(len(a.Findings))) }),
	ofAnswer("cost_cores", "What the looking costs the server, in cores.",
		func(a *advice.Advice, e emit) {
			if a.Seen.Seconds > 0 {
				e(a.Seen.Cost)
			}
		}),
	ofWatch("answers_total", "Answers so far.", func(p *Progress) float64 { return float64(p.Answers) }),
	ofWatch("looks_total", "Looks that the server answered.", func(p *Progress) float64 { return float64(p.Looks) }),
	ofWatch("observation_errors_total", "Looks that failed or came too late.", func(p *Progress) float64 { return float64(p.Failures) }),
	ofWatch("last_look_timestamp_seconds", "When the server last answered a look, in Unix time; 0 before the first.",
		func(p *Progress) float64 { return unix(p.LookedAt) }),
	ofWatch("last_answer_timestamp_seconds", "When the last answer was given, in Unix time; 0 before the first.",
		func(p *Progress) float64 { return unix(p.AnsweredAt) }),
	ofWatch("answer_interval_seconds", "Time from answer to answer.", func(p *Progress) float64 { return p.Every.Seconds() }),
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Collector is a [prometheus.Collector] of a watch, safe for concurrent use.
type Collector struct {
	source Source
	descs  []*prometheus.Desc // in the order of Table
}

// NewCollector makes a collector of a watch.
func NewCollector(source Source) *Collector {
	c := &Collector{source: source}
	for _, m := range Table {
		var labels []string
		if m.Label != "" {
			labels = []string{m.Label}
		}
		c.descs = append(c.descs, prometheus.NewDesc(m.Name, m.Help, labels, nil))
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	p, a := c.source.Progress(), c.source.Last()
	for i, m := range Table {
		kind := prometheus.GaugeValue
		if m.Counter {
			kind = prometheus.CounterValue
		}
		e := func(v float64, label ...string) {
			out <- prometheus.MustNewConstMetric(c.descs[i], kind, v, label...)
		}
		switch {
		case m.progress != nil:
			m.progress(&p, e)
		case a != nil:
			m.answer(a, e)
		}
	}
}
