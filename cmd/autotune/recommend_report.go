package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pgautotune/autotune/internal/advice"
)

// writeRecommendation writes the answer for a person, in 80 columns.
func writeRecommendation(w io.Writer, a *advice.Advice, s style) error {
	r := &recommendation{style: s, a: a}
	r.headline()
	r.seen()
	r.applications()
	r.capacity()
	r.vectors()
	r.findings()
	r.unseen()
	_, err := r.b.WriteTo(w)
	return err
}

type recommendation struct {
	b     bytes.Buffer
	style style
	a     *advice.Advice
}

func (r *recommendation) line(format string, args ...any) { fmt.Fprintf(&r.b, format+"\n", args...) }

func (r *recommendation) title(text string) { r.line("\n%s", r.style.bold(text)) }

// item writes a label and wrapped text beside it.
func (r *recommendation) item(label, format string, args ...any) {
	const indent = 15
	text := wrap(fmt.Sprintf(format, args...), helpWidth-indent)
	pad := max(1, indent-2-utf8.RuneCountInString(label))
	r.line("  %s%s%s", label, strings.Repeat(" ", pad), strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", indent)))
}

// headline is the answer itself and why.
func (r *recommendation) headline() {
	a, z := r.a, r.a.Size
	who := a.Question.Filter.String()
	if z.Known {
		r.line("%s", r.style.bold(fmt.Sprintf("max %d, min %d  for %s", z.Max, z.Min, cut(who, 50))))
		if n := a.Question.Instances; n > 1 {
			r.item("each", "max %d, min %d in each of %d instances", z.MaxEach, z.MinEach, n)
		}
		r.item("range", "max %s and min %s would do; confidence %s", between(z.Lower, z.Upper), between(z.MinLower, z.MinUpper), z.Confidence)
	} else {
		r.line("%s", r.style.bold("no size can be recommended for "+cut(who, 45)))
	}
	r.item("today", "%d open, %d at most%s", a.Today.Open, a.Today.Peak, today(a))
	if a.Vectors.Installed {
		r.item("guideline", "%d by the number of vectors%s", a.Guideline, guideline(a))
	}
	for i, why := range z.Why {
		label := ""
		if i == 0 {
			label = "why"
		}
		r.item(label, "%s", why)
	}
	if b := a.Batch; b != nil {
		r.title(fmt.Sprintf("Batch of %d workers: max %d, min %d", b.Workers, b.Max, b.Min))
		for _, why := range b.Why {
			r.item("", "%s", why)
		}
		for _, differs := range b.Differs {
			r.item("but", "%s", differs)
		}
	}
}

func today(a *advice.Advice) string {
	z := a.Size
	switch {
	case !z.Known || a.Today.Peak == 0:
		return ""
	case a.Today.Peak > z.Upper:
		return ": more than the server can use or anybody asked for"
	case a.Today.Peak < z.Lower:
		return ": fewer than the evidence asks for"
	}
	return ": within the range"
}

// guideline says how the rule of thumb differs from the evidence, and why.
func guideline(a *advice.Advice) string {
	z := a.Size
	switch {
	case !z.Known:
		return "; a start where there is no evidence"
	case a.Guideline > z.Upper && z.Rule == advice.ByDemand:
		return ": above the range, for nobody asked for so many"
	case a.Guideline > z.Upper:
		return ": above the range, for it knows nothing of the cores"
	case a.Guideline < z.Lower:
		return ": below the range, for it knows nothing of waiting"
	}
	return ": within the range"
}

// seen is what was observed.
func (r *recommendation) seen() {
	a, seen := r.a, r.a.Seen
	of, cost := "", ""
	if version, _, _ := strings.Cut(a.Server.PostgreSQL, " "); version != "" {
		of = " of PostgreSQL " + version
	}
	if seen.Cost > 0 {
		cost = fmt.Sprintf(", at %.2f %% of a core", 100*seen.Cost)
	}
	r.title("What was seen")
	r.item("source", "%s%s: %s in %.0f s%s", a.Source, of, plural(seen.Samples, "sample"), seen.Seconds, cost)
	if seen.PerS != nil {
		whose := ""
		if seen.Shared {
			whose = "; of everybody in the database, for the server does not tell whose they are"
		}
		service := "the service time is unknown"
		switch {
		case seen.Service != nil:
			service = fmt.Sprintf("%.3g ms of service time on average", *seen.Service)
		case seen.Activity.Unknown < 0.05:
			service = "the service time is too short to be seen"
		}
		r.item("throughput", "%s transactions/s, %s%s", thousands(int64(*seen.PerS+0.5)), service, whose)
	} else {
		r.item("throughput", "unknown")
	}
	d := a.Demand
	ever := "ever"
	if d.Averaged > 0 {
		ever = "in any interval"
	}
	r.item("in use", "%.1f on average; at most %.0f half of the time, %.0f for 95 %%, %.0f for 99 %%, %.0f %s", d.Mean, d.Median, d.P95, d.P99, math.Ceil(d.Peak), ever)
	for _, step := range d.Steps {
		if step.Share >= 0.005 {
			r.line("  %13s%6s %s %3.0f %%", "", between(step.From, step.To), bar(step.Share, 24), 100*step.Share)
		}
	}
	act := seen.Activity
	var parts []string
	for _, p := range []struct {
		what string
		n    float64
	}{{"computing", act.Computing}, {"IO", act.IO}, {"commit", act.Commit}, {"locks", act.Lock}, {"LWLocks", act.Contention}, {"other waits", act.Other},
		{"idle in transaction", act.IdleInTransaction}, {"turning", act.Turning}, {"idle", act.Idle}, {"unknown", act.Unknown}} {
		if p.n >= 0.05 {
			parts = append(parts, fmt.Sprintf("%.1f %s", p.n, p.what))
		}
	}
	if len(parts) > 0 {
		r.item("doing", "%s", strings.Join(parts, ", "))
	}
	var waits []string
	for _, w := range seen.Waits {
		if w.Mean >= 0.05 {
			waits = append(waits, fmt.Sprintf("%s %.1f", w.Event, w.Mean))
		}
	}
	if len(waits) > 0 {
		r.item("waits", "%s", strings.Join(waits, ", "))
	}
}

// applications is who uses the server.
func (r *recommendation) applications() {
	if len(r.a.Applications) < 2 {
		return
	}
	r.line("\n%s", r.style.bold("  "+applicationTitle))
	for _, x := range r.a.Applications {
		r.line("  "+applicationColumns, applicationRow(x)...)
	}
}

const applicationColumns = "%-30s %-12s %6s %7s %8s %6s"

var applicationTitle = fmt.Sprintf(applicationColumns, "application", "user", "open", "in use", "of CPU", "max")

// applicationRow is who it is, open, in use, of CPU, and max.
func applicationRow(x advice.Application) []any {
	name := x.Application
	if name == "" {
		name = "(no name)"
	}
	most := "?"
	if x.Max > 0 {
		most = fmt.Sprint(x.Max)
	}
	return []any{cut(name, 30), cut(x.Role, 12), fmt.Sprintf("%.1f", x.Open), fmt.Sprintf("%.1f", x.InUse), fmt.Sprintf("%.0f %%", 100*x.Share), most}
}

// capacity is what the server can use, and the walls.
func (r *recommendation) capacity() {
	s, z := r.a.Supply, r.a.Size
	r.title("What the server can use")
	cores := "unknown"
	if s.Cores > 0 {
		cores = fmt.Sprint(s.Cores)
	}
	r.item("cores", "%s (%s)", cores, strings.TrimPrefix(s.CoresSource, "unknown: "))
	if s.Cores > 0 {
		busy := fmt.Sprintf("all busy %.0f %% of the time; %.1f backends compute or want to", 100*s.Saturated, s.Computing)
		if s.CPU >= 0 {
			busy += fmt.Sprintf("; CPU %.0f %%", 100*s.CPU)
		}
		r.item("", "%s", busy)
		r.item("knee", "%s, best %d: waiting is %.2g × computing (%.2g–%.2g)", between(s.KneePart.Lower, s.KneePart.Upper), s.KneePart.Target, s.Ratio, s.RatioLow, s.RatioHigh)
	}
	if s.Locked.Target > 0 {
		r.item("locks", "%d keep the contended rows busy", s.Locked.Target)
	}
	if z.Ceiling > 0 {
		binds := ", and does not bind"
		if z.Bound != "none" {
			binds = ", and binds"
		}
		r.item("wall", "%d by %s%s (max_connections %d, reserved %d)", z.Ceiling, z.CeilingBy, binds, r.a.Server.MaxConnections, r.a.Server.Reserved)
	}
}

func (r *recommendation) vectors() {
	a, v := r.a, r.a.Vectors
	if v.Installed {
		rows := "an unknown number of"
		if v.Rows >= 0 {
			rows = thousands(int64(v.Rows))
		}
		r.title("Vectors")
		kinds := []string{fmt.Sprint(v.HNSW, " HNSW"), fmt.Sprint(v.IVFFlat, " IVFFlat")}
		for _, method := range slices.Sorted(maps.Keys(v.Other)) {
			kinds = append(kinds, fmt.Sprint(v.Other[method], " ", method))
		}
		last := len(kinds) - 1
		r.item("pgvector", "%s: %s rows in %s; %s and %s indexes", v.Version, rows, plural(v.Tables, "table"), strings.Join(kinds[:last], ", "), kinds[last])
		ram := "unknown"
		if a.Memory.ServerRAM > 0 {
			ram = advice.Bytes(a.Memory.ServerRAM)
		}
		r.item("indexes", "%s against %s of shared_buffers and RAM %s", advice.Bytes(v.IndexBytes), advice.Bytes(v.Buffers), ram)
		if v.EFSearch > 0 {
			scan := v.IterativeScan
			if scan == "" {
				scan = "unknown"
			}
			r.item("search", "ef_search %d; iterative scan %s, up to %s each", v.EFSearch, scan, advice.Bytes(v.ScanBytes))
		}
	}
	if a.Memory.Total > 0 {
		free := "free memory unknown"
		if a.Memory.Free > 0 {
			free = advice.Bytes(a.Memory.Free) + " are free"
		}
		r.item("memory", "%d connections may take %s at work; %s", a.Size.Max, advice.Bytes(a.Memory.Total), free)
	}
}

func (r *recommendation) findings() {
	if len(r.a.Findings) == 0 {
		return
	}
	r.title("Findings, the most worthwhile first")
	for i, f := range r.a.Findings {
		r.line("%2d. %s", i+1, cut(f.Title, 76))
		for _, text := range []string{f.Evidence, "→ " + f.Remedy} {
			r.line("    %s", strings.ReplaceAll(wrap(text, helpWidth-4), "\n", "\n    "))
		}
	}
}

func (r *recommendation) unseen() {
	list := func(title string, items []string) {
		if len(items) == 0 {
			return
		}
		r.title(title)
		for _, text := range items {
			r.line("  - %s", strings.ReplaceAll(wrap(text, helpWidth-4), "\n", "\n    "))
		}
	}
	list("What could not be seen", r.a.Unseen)
	if r.a.Experiment != "" {
		list("What would settle the range", []string{r.a.Experiment})
	}
}
