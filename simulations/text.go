package simulations

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// WriteText writes the tables, in 80 columns.
func WriteText(out io.Writer, r *Result) error {
	w := bufio.NewWriter(out)
	for i := range r.Scenarios {
		if i > 0 {
			fmt.Fprintln(w)
		}
		writeScenario(w, &r.Scenarios[i], r.Seeds)
	}
	if len(r.Scenarios) > 1 {
		fmt.Fprintln(w)
		writeWorst(w, r)
	}
	fmt.Fprintln(w)
	for _, line := range wrap(fmt.Sprintf("%s. Regret is the goodput (requests within the SLO) that is missing against the best fixed size in hindsight, with the same requests; × is p99 over its p99. Conv. is when the slowest seed came to stay within 5 %% of it; chg/m are changes of the limit a minute in the second half, limit is that at the end. docs/simulation.md defines all of them.", seedsText(r.Seeds)), 80) {
		fmt.Fprintln(w, line)
	}
	return w.Flush()
}

func seedsText(n int) string {
	if n == 1 {
		return "1 seed"
	}
	return fmt.Sprintf("Means of %d seeds, medians of p99", n)
}

// duration is a length of time in whole minutes and the seconds that remain.
func duration(seconds float64) string {
	seconds = math.Round(seconds*1000) / 1000
	minutes := math.Floor(seconds / 60)
	rest := math.Round((seconds-60*minutes)*1000) / 1000
	switch {
	case minutes == 0:
		return fmt.Sprintf("%g s", rest)
	case rest == 0:
		return fmt.Sprintf("%g min", minutes)
	}
	return fmt.Sprintf("%g min %g s", minutes, rest)
}

func writeScenario(w io.Writer, s *ScenarioResult, seeds int) {
	fmt.Fprintf(w, "%s: %s\n", s.Name, s.Title)
	length := "as long as the trace"
	if s.DurationS > 0 {
		length = duration(s.DurationS)
	}
	fmt.Fprintf(w, "%s loop, %s, SLO %s ms; best fixed size %d\n", s.Loop, length, digits(s.SLOMs), s.BestFixed)
	for _, line := range append(s.Trace, s.LeftOut...) {
		for _, l := range wrap(line, 78) {
			fmt.Fprintf(w, "  %s\n", l)
		}
	}
	fmt.Fprintf(w, "  %-17s %9s %7s %7s %8s %5s %6s %5s %s\n", "policy", "goodput/s", "regret", "worst", "p99 ms", "×", "conv.", "chg/m", "limit")
	writeRow(w, &s.Best, "best ")
	for i := range s.Outcomes {
		writeRow(w, &s.Outcomes[i], "")
	}
}

func writeRow(w io.Writer, o *Outcome, prefix string) {
	conv := fmt.Sprintf("%.0f s", o.ConvergedS)
	if !o.Converged {
		conv = "never"
	}
	fmt.Fprintf(w, "  %-17s %9.1f %7s %7s %8s %5s %6s %5.1f %s\n", cutTo(prefix+label(o.Policy, o.Start), 17), o.Goodput,
		percent(o.Regret), percent(o.RegretMax), significant(o.P99Ms), ratio(o.P99Ratio), conv, o.ChangesPerMinute, limits(o.Limits))
}

// limits are the least and the most of the seeds.
func limits(all []int) string {
	if len(all) == 0 {
		return ""
	}
	low, high := all[0], all[0]
	for _, n := range all {
		low, high = min(low, n), max(high, n)
	}
	if low == high {
		return fmt.Sprint(low)
	}
	return fmt.Sprintf("%d–%d", low, high)
}

func percent(share float64) string {
	p := 100 * share
	switch {
	case p > -0.05 && p < 0.05:
		return "0 %"
	case p <= -99.95 || p >= 99.95 && p < 100:
		return fmt.Sprintf("%.2f %%", p)
	}
	return fmt.Sprintf("%.1f %%", p)
}

// significant is three digits of a number, without an exponent.
func significant(x float64) string {
	if x >= 100 {
		return fmt.Sprintf("%.0f", x)
	}
	short, _ := strconv.ParseFloat(fmt.Sprintf("%.3g", x), 64) // it was a number just now
	return digits(short)
}

// digits is a number without an exponent.
func digits(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

func ratio(x float64) string {
	if x >= 100 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

func cutTo(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}

// writeWorst writes each policy's worst scenario.
func writeWorst(w io.Writer, r *Result) {
	fmt.Fprintf(w, "Worst of %d scenarios\n", len(r.Scenarios))
	fmt.Fprintf(w, "  %-17s %7s  %-24s %5s  %s\n", "policy", "regret", "in", "×", "in")
	for _, o := range r.Worst() {
		fmt.Fprintf(w, "  %-17s %7s  %-24s %5s  %s\n", cutTo(o.Policy, 17), percent(o.Regret), cutTo(o.RegretIn, 24), ratio(o.P99Ratio), cutTo(o.P99In, 20))
	}
}

// Worst is a policy over all scenarios.
type Worst struct {
	Policy   string  `json:"policy"` // with its start
	Of       int     `json:"scenarios"`
	Regret   float64 `json:"regret"`
	RegretIn string  `json:"regret_in"`
	Median   float64 `json:"regret_median"`
	P99Ratio float64 `json:"p99_ratio"`
	P99In    string  `json:"p99_in"`
	Within   int     `json:"within_bars"` // scenarios in which no bar of regret and p99 was missed
}

// Worst lists the policies in the order in which they were named, each with its
// worst regret and p99.
func (r *Result) Worst() []Worst {
	var out []Worst
	regrets := make(map[string][]float64)
	index := make(map[string]int)
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		for k := range s.Outcomes {
			o := &s.Outcomes[k]
			name := label(o.Policy, o.Start)
			if !o.StartNamed && (o.Start == 60 || o.Start == 100 || o.Start == s.Ceiling && s.Ceiling < 4) { // what scenarios begin with beside 4: from too many
				name = o.Policy + "@100"
			}
			at, ok := index[name]
			if !ok {
				at = len(out)
				index[name] = at
				out = append(out, Worst{Policy: name, Regret: o.Regret, RegretIn: s.Name, P99Ratio: o.P99Ratio, P99In: s.Name})
			}
			w := &out[at]
			w.Of++
			if o.Regret > w.Regret {
				w.Regret, w.RegretIn = o.Regret, s.Name
			}
			if o.P99Ratio > w.P99Ratio {
				w.P99Ratio, w.P99In = o.P99Ratio, s.Name
			}
			within := true
			for _, m := range s.Misses(o) {
				within = within && m != "regret" && m != "p99"
			}
			if within {
				w.Within++
			}
			regrets[name] = append(regrets[name], o.Regret)
		}
	}
	for i := range out {
		out[i].Median = median(regrets[out[i].Policy])
	}
	return out
}

// wrap breaks text at spaces.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
