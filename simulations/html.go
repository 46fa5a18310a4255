package simulations

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
)

//go:embed page.html.tmpl
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"percent": percent, "ratio": ratio, "digits": digits, "label": label, "limits": limits,
	"join":    strings.Join,
	"seconds": func(o Outcome) string { return convergence(&o) },
	"ms":      func(v float64) string { return significant(v) },
	"rate":    func(v float64) string { return fmt.Sprintf("%.1f", v) },
	"minutes": func(s float64) string { return fmt.Sprintf("%g", s/60) },
}).Parse(pageText))

// view is what the page shows.
type view struct {
	*Result
	CSS     template.CSS
	Worst   []Worst
	Bars    template.HTML
	Of      []scenarioView
	Several bool
}

type scenarioView struct {
	*ScenarioResult
	Rows              []Outcome
	Time, Sizes, Bars template.HTML
}

// WriteHTML writes one page that needs nothing else: no script, no font, no
// request.
func WriteHTML(out io.Writer, r *Result) error {
	v := view{Result: r, CSS: template.CSS(css(":root")), Several: len(r.Scenarios) > 1, Worst: r.Worst()}
	if v.Several {
		var bars []regretBar
		for _, w := range v.Worst {
			bars = append(bars, regretBar{w.Policy, w.Regret, strings.HasPrefix(w.Policy, "auto")})
		}
		var err error
		if v.Bars, err = barsHTML("worst regret", bars, BarRegret); err != nil {
			return err
		}
	}
	for i := range r.Scenarios {
		s, err := viewOf(&r.Scenarios[i])
		if err != nil {
			return fmt.Errorf("picture of %s: %w", r.Scenarios[i].Name, err)
		}
		v.Of = append(v.Of, s)
	}
	return page.Execute(out, v)
}

func viewOf(s *ScenarioResult) (v scenarioView, err error) {
	v = scenarioView{ScenarioResult: s, Rows: append([]Outcome{s.Best}, s.Outcomes...)}
	if lines := drawable(s.Lines); len(lines) > 0 {
		if v.Time, err = inline(timePicture(lines, 9*vg.Inch, 5.6*vg.Inch))("Arrival rate, limit and p99 wait over time"); err != nil {
			return v, err
		}
	}
	if len(s.Sizes) > 0 {
		if v.Sizes, err = inline(sizePicture(s, 4.4*vg.Inch, 3*vg.Inch))("Goodput over fixed size"); err != nil {
			return v, err
		}
	}
	var bars []regretBar
	for _, o := range s.Outcomes {
		bars = append(bars, regretBar{label(o.Policy, o.Start), o.Regret, strings.HasPrefix(o.Policy, "auto")})
	}
	v.Bars, err = barsHTML("regret", bars, s.barRegret())
	return v, err
}

func barsHTML(what string, bars []regretBar, bar float64) (template.HTML, error) {
	slices.SortStableFunc(bars, func(a, b regretBar) int { return compareFloat(a.value, b.value) })
	title := fmt.Sprintf("%s (square-root scale; dashed: %g %%)", what, 100*bar)
	return inline(regretPicture(title, bars, bar, 4.4*vg.Inch))("Regret of each policy")
}

// inline makes a picture part of the page. Everything in it was drawn here.
func inline(c *canvas, err error) func(title string) (template.HTML, error) {
	return func(title string) (template.HTML, error) {
		if err != nil {
			return "", err
		}
		text, err := c.text(title, true)
		return template.HTML(text), err //nolint:gosec // titles are escaped, names are of the registry
	}
}

func convergence(o *Outcome) string {
	if !o.Converged {
		return "never"
	}
	return fmt.Sprintf("%.0f s", o.ConvergedS)
}
