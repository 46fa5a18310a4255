package simulations

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pgautotune/autotune/simulations/policy"
)

//go:embed method.md
var method string

// WriteMarkdown writes docs/simulation.md: the method, what autotune did in each
// scenario, and what all others did.
func WriteMarkdown(out io.Writer, r *Result) error {
	w, command := bufio.NewWriter(out), r.Command
	method := strings.ReplaceAll(method, "](../docs/", "](") // the document is in docs itself
	fmt.Fprintf(w, "# Simulations\n\n<!-- Made by \"%s\". -->\n\n%s\n", command, strings.TrimSpace(method))
	fmt.Fprintf(w, "\nThis is the output of `%s`: %d scenarios, %d seed%s, %d million requests simulated\n(the search of the best fixed sizes included) in %.0f minutes on a machine that did other things too.\n",
		command, len(r.Scenarios), r.Seeds, plural(r.Seeds), r.Requests/1e6, r.ElapsedS/60)

	fmt.Fprint(w, "\n## The worst of all scenarios\n\n| policy | worst regret | in | median regret | worst p99 × | in | within the bars of regret and p99 |\n|---|--:|---|--:|--:|---|--:|\n")
	worst := r.Worst()
	slices.SortStableFunc(worst, func(a, b Worst) int { return compareFloat(a.Regret, b.Regret) })
	for _, o := range worst {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %d of %d |\n", o.Policy, percent(o.Regret), o.RegretIn, percent(o.Median), ratio(o.P99Ratio), o.P99In, o.Within, o.Of)
	}
	fmt.Fprint(w, "\n## autotune in each scenario\n\nWhat misses a bar is bold; of changes also where swaps do.\n\n| scenario | best fixed | from | goodput/s | regret | worst seed | p99 × | converged | changes/min | limit at the end |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		for k := range s.Outcomes {
			if o := &s.Outcomes[k]; o.Policy == "auto" {
				writeOurs(w, s, o)
			}
		}
	}
	writeMatrix(w, r)
	fmt.Fprint(w, "\n## The scenarios\n\n| scenario | what it is | what it shows |\n|---|---|---|\n")
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		name := s.Name
		if s.HighLoad {
			name += " (high load)"
		}
		fmt.Fprintf(w, "| %s | %s | %s |\n", name, s.Title, s.Shows)
	}
	writePolicies(w, r)
	return w.Flush()
}

func writeOurs(w io.Writer, s *ScenarioResult, o *Outcome) {
	missed := s.Misses(o)
	mark := func(text string, what ...string) string {
		for _, m := range what {
			if slices.Contains(missed, m) {
				return "**" + text + "**"
			}
		}
		return text
	}
	fmt.Fprintf(w, "| %s | %d | %d | %.1f | %s | %s | %s | %s | %s | %s |\n", s.Name, s.BestFixed, o.Start, o.Goodput,
		mark(percent(o.Regret), "regret"), percent(o.RegretMax), mark(ratio(o.P99Ratio), "p99"), mark(convergence(o), "convergence"),
		mark(fmt.Sprintf("%.1f", o.ChangesPerMinute), "changes", "swaps"), limits(o.Limits))
}

// writeMatrix writes the regret of each policy in each scenario, of the worse start.
func writeMatrix(w io.Writer, r *Result) {
	var names []string
	for i := range r.Scenarios {
		for _, o := range r.Scenarios[i].Outcomes {
			if !slices.Contains(names, o.Policy) {
				names = append(names, o.Policy)
			}
		}
	}
	fmt.Fprintf(w, "\n## Regret of everybody, in percent\n\nOf those that learn, with the start that was worse. A dash: its size is above the ceiling of that world.\n\n| scenario | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("--:|", len(names)))
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		fmt.Fprintf(w, "| %s |", s.Name)
		for _, name := range names {
			cell, worst := "–", -2.0
			for _, o := range s.Outcomes {
				if o.Policy == name && o.Regret > worst {
					worst = o.Regret
					cell = strings.TrimSuffix(percent(o.Regret), " %")
				}
			}
			fmt.Fprintf(w, " %s |", cell)
		}
		fmt.Fprintln(w)
	}
}

func writePolicies(w io.Writer, r *Result) {
	fmt.Fprint(w, "\n## The policies\n\n| policy | what it does | source |\n|---|---|---|\n")
	seen := make(map[string]bool)
	for i := range r.Scenarios {
		for _, o := range r.Scenarios[i].Outcomes {
			if d, err := policy.Describe(o.Policy); err == nil && !seen[o.Policy] {
				seen[o.Policy] = true
				fmt.Fprintf(w, "| %s | %s | %s |\n", d.Name, d.Line, d.Source)
			}
		}
	}
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
