package dashboard

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// unknown is what is said of everything that is.
const unknown = "unknown"

// fact is a name and a value, both for a person.
type fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// decisionView is one entry of the list of decisions.
type decisionView struct {
	N        int64             `json:"n"`
	At       int64             `json:"at"` // Unix milliseconds
	Action   controller.Action `json:"action"`
	What     string            `json:"what"`
	Reason   sizing.Reason     `json:"reason"`
	Sentence string            `json:"sentence"`
	Evidence []fact            `json:"evidence"`
}

func entry(c autotune.Change) decisionView {
	d, g := &c.Decision, &c.Observation.Gauges
	return decisionView{
		N: c.N, At: c.At.UnixMilli(), Action: d.Action, What: what(g, d),
		Reason: d.Reason, Sentence: d.Reason.Sentence(), Evidence: evidence(&c.Observation, d),
	}
}

// what says what a decision does.
func what(g *controller.Gauges, d *autotune.Decision) string {
	move := func(name string, from, to int) string {
		if from == to {
			return ""
		}
		return fmt.Sprintf("%s %d → %d", name, from, to)
	}
	text := ""
	for _, m := range []string{move("limit", g.Limit, d.Limit), move("max", g.Max, d.Max), move("min", g.Min, d.Min)} {
		if text != "" && m != "" {
			text += ", "
		}
		text += m
	}
	if text == "" {
		return fmt.Sprintf("limit stays %d", d.Limit)
	}
	return text
}

// evidence is what a decision rests on.
func evidence(o *autotune.Observation, d *autotune.Decision) []fact {
	e, g := &d.Estimate, &o.Gauges
	facts := []fact{
		{"in use", fmt.Sprintf("%d of a limit of %d", g.InUse, g.Limit)},
		{"queued", fmt.Sprintf("%d callers", g.Queued)},
		{"time with a queue", percent(e.Saturated)},
		{"arrival rate", perSecond(e.Arrival)},
		{"throughput", perSecond(e.Throughput)},
		{"service time", duration(e.Service)},
		{"wait p99", duration(o.WaitP99)},
		{"offered load", fmt.Sprintf("%.1f erlangs", e.OfferedLoad)},
		{"demand p50, p95, p99", fmt.Sprintf("%.1f, %.1f, %.1f connections", e.DemandLower, e.DemandTarget, e.DemandUpper)},
		{"knee", kneeText(&e.Knee)},
		{"recommended", fmt.Sprintf("%d (%d–%d), max %d", d.Recommendation.Target, d.Recommendation.Lower, d.Recommendation.Upper, d.Recommendation.Max)},
	}
	if e.Prior > 0 {
		facts = append(facts, fact{"knee expected from the cores", strconv.Itoa(e.Prior)})
	}
	if d.Bound != sizing.NoBound && d.Bound != "" {
		facts = append(facts, fact{"bound that binds", string(d.Bound)})
	}
	facts = append(facts, serverFacts(o.Server)...)
	return append(facts, hostFacts(o.Host)...)
}

func serverFacts(s *controller.Server) []fact {
	if s == nil {
		return []fact{{"server", unknown + ": it could not be read"}}
	}
	b := s.Ours
	facts := []fact{
		{"backends of this pool", fmt.Sprintf("%d computing, %d IO, %d locks, %d light locks, %d idle in transaction, %d idle", b.OnCPU, b.IO, b.Lock, b.LWLock, b.IdleInTransaction, b.Idle)},
		{"of others", strconv.Itoa(s.Others)},
	}
	if s.Partial {
		facts[1].Value = "at least " + facts[1].Value + ": the role may not see all"
	}
	cores := unknown
	if s.Cores > 0 {
		cores = strconv.Itoa(s.Cores)
	}
	return append(facts, fact{"cores of the server", cores})
}

func hostFacts(h *controller.Host) []fact {
	if h == nil {
		return nil
	}
	whose := "CPU here"
	if h.SharedBox {
		whose = "CPU, shared with the server"
	}
	return []fact{{whose, fmt.Sprintf("%s of %d cores", percent(h.CPU), h.Cores)}}
}

// belief is what the controller believes now.
func belief(s *autotune.Snapshot) []fact {
	if s.LookedAt.IsZero() {
		return []fact{}
	}
	e := &s.Decision.Estimate
	r := &s.Decision.Recommendation
	return []fact{
		{"offered load", fmt.Sprintf("%.1f erlangs", e.OfferedLoad)},
		{"service time", duration(e.Service)},
		{"demand p95", fmt.Sprintf("%.1f connections", e.DemandTarget)},
		{"recommended", fmt.Sprintf("%d (%d–%d)", r.Target, r.Lower, r.Upper)},
	}
}

// kneeView is the knee for the plot and in words.
type kneeView struct {
	Identified bool    `json:"identified"`
	N          int     `json:"n"`
	Lower      int     `json:"lower"`
	Upper      int     `json:"upper"`
	Peak       float64 `json:"peak"` // throughput per second
	Text       string  `json:"text"`
}

func viewKnee(d *autotune.Decision, never bool) kneeView {
	k := &d.Estimate.Knee
	v := kneeView{Identified: k.Identified, N: k.N, Lower: k.Lower, Upper: k.Upper, Peak: d.Estimate.PeakThroughput, Text: kneeText(k)}
	switch {
	case never:
		v.Text = unknown
	case k.N > 0 && (d.Reason == sizing.Learning || d.Reason == sizing.CapacityChanged):
		v.Text += ", when last learned; other limits are being tried now"
	}
	return v
}

// kneeText says what is known of the knee, or why it is not.
func kneeText(k *model.Knee) string {
	switch {
	case k.Identified && k.Lower == k.Upper:
		return fmt.Sprintf("%d connections", k.N)
	case k.Identified:
		return fmt.Sprintf("%d connections (%d–%d cannot be told apart)", k.N, k.Lower, k.Upper)
	case k.N == 0:
		return "not learned yet: the load has neither varied nor queued enough to show what the server can give"
	case k.Missing == model.MissingAbove:
		return fmt.Sprintf("not identified: throughput still rose at %.0f, the largest limit tried", k.SeenMax)
	case k.Missing == model.MissingPoints:
		return fmt.Sprintf("not identified: best at %d, but fewer than three limits were tried", k.N)
	}
	return fmt.Sprintf("not identified: best at %d so far (missing: %s)", k.N, k.Missing)
}

func percent(share float64) string {
	if math.IsNaN(share) || math.IsInf(share, 0) {
		return unknown
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}

func perSecond(x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return unknown
	}
	if x >= 100 {
		return fmt.Sprintf("%.0f/s", x)
	}
	return fmt.Sprintf("%.1f/s", x)
}

// duration is rounded to three digits, with a space before its unit: what is
// measured is no better.
func duration(d time.Duration) string {
	switch s := d.Seconds(); {
	case d == 0:
		return "0 ms"
	case d.Abs() < time.Millisecond:
		return fmt.Sprintf("%.3g µs", s*1e6)
	case d.Abs() < time.Second:
		return fmt.Sprintf("%.3g ms", s*1e3)
	case d.Abs() < time.Minute:
		return fmt.Sprintf("%.3g s", s)
	}
	return span(d.Round(time.Second))
}

// span is a duration that somebody set, without the zeros of Go's own form.
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
