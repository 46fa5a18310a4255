package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// textWidth is what the tables keep within.
const textWidth = 100

// column is one of a table: title, width, and what stands in it.
type column struct {
	title string
	width int
	cell  func(w *WorkloadResult, r *Row) string
}

var columns = []column{
	{"contender", 13, func(_ *WorkloadResult, r *Row) string {
		if r.Best {
			return r.Name + " *"
		}
		return r.Name
	}},
	{"req/s", 7, func(_ *WorkloadResult, r *Row) string { return grouped(r.Throughput.Mean) }},
	{"p50 ms", 7, func(_ *WorkloadResult, r *Row) string { return figure(r.P50Ms) }},
	{"p99 ms", 7, func(_ *WorkloadResult, r *Row) string { return figure(r.P99Ms) }},
	{"regret", 14, func(_ *WorkloadResult, r *Row) string {
		switch {
		case r.Best:
			return "best"
		case r.RegretMargin == nil:
			return fmt.Sprintf("%.1f %%", 100*r.Regret.Mean)
		}
		return fmt.Sprintf("%.1f ± %.1f %%", 100*r.Regret.Mean, 100**r.RegretMargin)
	}},
	{"p99 ×", 6, func(_ *WorkloadResult, r *Row) string { return fmt.Sprintf("%.2f", r.P99Ratio) }},
	{"settled", 7, func(w *WorkloadResult, r *Row) string {
		switch {
		case r.Kind == string(fixed):
			return ""
		case r.ConvergedIn == nil:
			return "no"
		}
		return fmt.Sprintf("%.1f s", *r.ConvergedIn)
	}},
	{"limit", 5, func(_ *WorkloadResult, r *Row) string { return fmt.Sprint(r.Limit) }},
	{"mv/min", 6, learner(func(r *Row) string { return fmt.Sprintf("%.1f", r.ChangesPerMinute) })},
	{"swaps", 5, func(_ *WorkloadResult, r *Row) string {
		if r.Kind != string(tuned) {
			return ""
		}
		return fmt.Sprint(r.Swaps)
	}},
	{"held", 4, func(_ *WorkloadResult, r *Row) string { return fmt.Sprint(r.Backends) }},
}

func learner(cell func(*Row) string) func(*WorkloadResult, *Row) string {
	return func(_ *WorkloadResult, r *Row) string {
		if r.Kind == string(fixed) {
			return ""
		}
		return cell(r)
	}
}

// WriteText writes the tables.
func WriteText(out io.Writer, r *Result) error {
	var b strings.Builder
	writeWrapped(&b, fmt.Sprintf("PostgreSQL %s with pgvector %s, %d cores; %s vectors of %d dimensions; took %v", r.Server.Version, r.Server.Pgvector,
		r.Server.Cores, grouped(float64(r.Settings.Vectors)), r.Settings.Dimensions, time.Duration(r.ElapsedSeconds)*time.Second), "")
	for i := range r.Workloads {
		b.WriteByte('\n')
		writeWorkload(&b, &r.Workloads[i])
	}
	b.WriteByte('\n')
	legend := []string{
		"*: the fixed size that served best. Others are compared, round by round, with the one that was best in the other rounds, so that luck does not choose it.",
		"req/s: throughput, mean of the rounds. p50, p99: response time, waiting for a connection included, medians of the rounds.",
		"regret: throughput missing to the best fixed size, below 0 is more; ±: holds in 95 of 100 cases.",
		"p99 ×: p99 against that of the best fixed size.",
		"settled: from cold (shift: after the slowest change) until the limit stayed put. limit: at the end.",
		"mv/min: changes of the limit per minute after that. held: most connections open.",
	}
	for _, line := range legend {
		writeWrapped(&b, line, "")
	}
	for _, n := range r.Notes {
		writeWrapped(&b, n, "- ")
	}
	for _, w := range r.Warnings {
		writeWrapped(&b, w, "WARNING: ")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func writeWorkload(b *strings.Builder, w *WorkloadResult) {
	writeWrapped(b, fmt.Sprintf("%s: %s; %s", w.Name, w.About, w.Shape), "")
	cpu := fmt.Sprintf("CPU: generator %.0f %%", 100*w.GeneratorCPU)
	if w.MachineCPU >= 0 {
		cpu += fmt.Sprintf(", all %.0f %% of the machine", 100*w.MachineCPU)
	}
	if len(w.Skipped) > 0 {
		cpu += "; too small for this rate, not run: " + strings.Join(w.Skipped, ", ")
	}
	writeWrapped(b, cpu, "")
	var titles []string
	for _, c := range columns {
		titles = append(titles, c.title)
	}
	writeRow(b, titles)
	for i := range w.Contenders {
		var cells []string
		for _, c := range columns {
			cells = append(cells, c.cell(w, &w.Contenders[i]))
		}
		writeRow(b, cells)
	}
}

// writeRow aligns the first column left and the others right.
func writeRow(b *strings.Builder, cells []string) {
	var line strings.Builder
	for i, text := range cells {
		pad := strings.Repeat(" ", max(0, columns[i].width-utf8.RuneCountInString(text)))
		if i == 0 {
			line.WriteString(text + pad)
		} else {
			line.WriteString(" " + pad + text)
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// writeWrapped breaks text between words, and indents what follows the first line.
func writeWrapped(b *strings.Builder, text, lead string) {
	line := lead
	fresh := true
	for word := range strings.FieldsSeq(text) {
		switch {
		case fresh:
			line, fresh = line+word, false
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > textWidth:
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", max(2, utf8.RuneCountInString(lead))) + word
		default:
			line += " " + word
		}
	}
	b.WriteString(line + "\n")
}

// figure writes a number to three digits.
func figure(v float64) string {
	switch {
	case v >= 99.95:
		return grouped(v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// grouped writes a whole number with commas.
func grouped(v float64) string {
	s := fmt.Sprint(int64(math.Round(v)))
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// About says how long the plan takes and what it is made of.
func (p *Plan) About() string {
	return fmt.Sprintf("%d workloads × %d contenders, %d rounds: about %v", len(p.workloads), len(p.contenders), p.options.Rounds, p.Duration().Round(time.Second))
}
