package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/sizing"
)

// writeDemoReport writes the result for a person, in 80 columns.
func writeDemoReport(w io.Writer, r *demoResult, s style) error {
	var b bytes.Buffer
	pool := fmt.Sprintf("tuned pool, profile %s", r.Pool.Profile)
	if !r.Pool.Tuned {
		pool = fmt.Sprintf("plain pool of %d, not tuned", r.Pool.Fixed)
	}
	fmt.Fprintf(&b, "%s\n", s.bold(fmt.Sprintf("%s × %d-d vectors, %d clients, %s", thousands(int64(r.Data.Vectors)), r.Data.Dimensions, r.Pool.Clients, pool)))
	fmt.Fprintf(&b, "PostgreSQL %s, pgvector %s; client on %d cores", r.Server.PostgreSQL, r.Server.PGVector, r.Server.ClientCores)
	if r.Server.Throwaway {
		b.WriteString(", shared with the server")
	}
	b.WriteString("\n\n")
	writePhases(&b, r, s)
	if r.Pool.Tuned {
		writeDecisions(&b, r, s)
	}
	b.WriteByte('\n')
	if r.Errors == 0 {
		fmt.Fprintf(&b, "%s requests, none failed.\n", thousands(r.Requests))
	} else {
		fmt.Fprintf(&b, "%s\n", s.red(fmt.Sprintf("%s requests answered, %s failed:", thousands(r.Requests), thousands(r.Errors))))
		for _, f := range r.Failures {
			fmt.Fprintf(&b, "  %s × %s\n", thousands(f.Count), f.Text)
		}
	}
	_, err := b.WriteTo(w)
	return err
}

func writePhases(b *bytes.Buffer, r *demoResult, s style) {
	const row = "%-12s %8s %6s %6s %7s %6s %7s %7s %5s %6s\n"
	b.WriteString(s.bold(fmt.Sprintf(strings.TrimSuffix(row, "\n"), "phase", "requests", "per s", "p50 ms", "p99 ms", "in use", "limit", "max", "swaps", "errors")) + "\n")
	for _, p := range r.Phases {
		fmt.Fprintf(b, row, p.Name, thousands(p.Requests), thousands(int64(p.Throughput+0.5)),
			fmt.Sprintf("%.1f", p.P50), fmt.Sprintf("%.1f", p.P99), fmt.Sprintf("%.1f", p.InUse),
			between(p.LimitLow, p.LimitHigh), between(p.MaxLow, p.MaxHigh), fmt.Sprint(p.Swaps), thousands(p.Errors))
	}
}

func between(low, high int) string {
	if low == high {
		return fmt.Sprint(low)
	}
	return fmt.Sprintf("%d–%d", low, high)
}

// writeDecisions writes what changed the pool, and why. Steps of one attempt to
// learn are one line, and what it came to counts from the limit before it, unless it is
// that one again.
func writeDecisions(b *bytes.Buffer, r *demoResult, s style) {
	fmt.Fprintf(b, "\n%s\n", s.bold(fmt.Sprintf("%8s  %-6s  %s", "at", "action", "decisions that changed the pool, and why")))
	if len(r.Decisions) == 0 {
		b.WriteString("          none\n")
	}
	for rest := slices.Clone(r.Decisions); len(rest) > 0; {
		n := 1
		for n < len(rest) && joins(rest[n-1], rest[n]) {
			n++
		}
		action := rest[0].Action
		if n > 1 {
			action = "try"
		}
		if before := rest[0].LimitFrom; n < len(rest) && ends(rest[n-1], rest[n]) {
			if rest[n].again = before == rest[n].Limit; !rest[n].again {
				rest[n].LimitFrom = before
				rest[n].Action = moved(&rest[n])
			}
		}
		const indent = 18 // of what comes after the action
		text := strings.ReplaceAll(wrap(explained(rest[:n]), helpWidth-indent), "\n", "\n"+strings.Repeat(" ", indent))
		fmt.Fprintf(b, "%6.1f s  %-6s  %s\n", rest[0].At, action, text)
		rest = rest[n:]
	}
}

// attemptPause is how long after a step the next of the same attempt comes at most, in
// seconds: requests of milliseconds are counted for less. One attempt may end where it
// stands, and the next begin there.
const attemptPause = 5

// joins tells whether two decisions in a row are steps of one attempt.
func joins(a, b demoChange) bool {
	learning := string(sizing.Learning)
	return a.Reason == learning && b.Reason == learning && a.Phase == b.Phase && a.Limit == b.LimitFrom && a.Max == b.MaxFrom &&
		b.At-a.At < attemptPause
}

// ends tells whether a decision is what an attempt to learn came to.
func ends(a, b demoChange) bool {
	learning := string(sizing.Learning)
	return a.Reason == learning && b.Reason != learning && a.Limit == b.LimitFrom && b.MaxFrom == b.Max
}

// moved is the action of a change from before an attempt to learn to after it.
func moved(c *demoChange) string {
	if c.Limit > c.LimitFrom {
		return string(controller.Grow)
	}
	return string(controller.Shrink)
}

// explained is what a decision, or a row of them for one reason, changed, and why.
func explained(steps []demoChange) string {
	first, last := steps[0], steps[len(steps)-1]
	var parts []string
	if len(steps) > 1 || first.LimitFrom != first.Limit {
		limits := fmt.Sprintf("limit %d", first.LimitFrom)
		told := first.LimitFrom
		for i, d := range steps {
			if d.Turn && i+1 < len(steps) || d.Limit == told {
				continue // turns are told by where they end
			}
			told = d.Limit
			limits += fmt.Sprintf(" → %d", told)
		}
		if last.again {
			limits += " again"
		}
		parts = append(parts, limits)
	}
	if first.MaxFrom != last.Max {
		parts = append(parts, fmt.Sprintf("max %d → %d", first.MaxFrom, last.Max))
	}
	if len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("limit %d again", last.Limit))
	}
	bound := ""
	if last.Bound != string(sizing.NoBound) && last.Bound != "" {
		bound = " (bound: " + last.Bound + ")"
	}
	return strings.Join(parts, ", ") + ": " + last.Sentence + bound
}
