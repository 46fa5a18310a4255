package simulations

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Colours are drawn as marks that no picture uses otherwise, and replaced by CSS
// variables in the SVG, so that a picture follows the reader's light or dark
// theme.
type colour struct {
	mark  color.RGBA
	name  string
	light string
	dark  string
}

// The palette: Okabe and Ito's colours, which the colour-blind tell apart too, and
// lighter ones of the same hues on dark ground.
var (
	ink     = colour{color.RGBA{1, 1, 1, 255}, "ink", "#1f2328", "#e6edf3"}
	faint   = colour{color.RGBA{2, 1, 1, 255}, "faint", "#59636e", "#9198a1"}
	grid    = colour{color.RGBA{3, 1, 1, 255}, "grid", "#e3e6ea", "#30363d"}
	area    = colour{color.RGBA{4, 1, 1, 255}, "area", "#d5dbe3", "#39424d"}
	ours    = colour{color.RGBA{5, 1, 1, 255}, "ours", "#0072b2", "#58b4f0"}
	bestOf  = colour{color.RGBA{6, 1, 1, 255}, "best", "#009e73", "#3ecf9f"}
	others1 = colour{color.RGBA{7, 1, 1, 255}, "other1", "#d55e00", "#ff9950"}
	others2 = colour{color.RGBA{8, 1, 1, 255}, "other2", "#aa5588", "#e79ccb"}
	others3 = colour{color.RGBA{9, 1, 1, 255}, "other3", "#b07d00", "#f0c04c"}
	others4 = colour{color.RGBA{10, 1, 1, 255}, "other4", "#6b7280", "#a8b0bb"}
	palette = []colour{ink, faint, grid, area, ours, bestOf, others1, others2, others3, others4}
	others  = []colour{others1, others2, others3, others4}
)

// css declares the palette for a selector.
func css(selector string) string {
	var light, dark strings.Builder
	for _, c := range palette {
		fmt.Fprintf(&light, "--%s:%s;", c.name, c.light)
		fmt.Fprintf(&dark, "--%s:%s;", c.name, c.dark)
	}
	return fmt.Sprintf("%s{%s}\n@media (prefers-color-scheme: dark){%s{%s}}\n", selector, light.String(), selector, dark.String())
}

// canvas is a picture in the making.
type canvas struct {
	svg *vgsvg.Canvas
	all draw.Canvas
}

func newCanvas(w, h vg.Length) *canvas {
	svg := vgsvg.New(w, h)
	return &canvas{svg: svg, all: draw.New(svg)}
}

var (
	prolog   = regexp.MustCompile(`(?s)^.*?<svg width="[^"]*" height="[^"]*"`)
	families = regexp.MustCompile(`font-family:[^;"]*;(font-variant:[^;"]*;)?`)
)

// text is the SVG. Inline, it takes the colours from the page; else it declares
// them, and its background, itself.
func (c *canvas) text(title string, inline bool) (string, error) {
	var b bytes.Buffer
	if _, err := c.svg.WriteTo(&b); err != nil {
		return "", err
	}
	s := b.String()
	for _, p := range palette {
		m := p.mark
		s = strings.ReplaceAll(s, fmt.Sprintf("#%02X%02X%02X", m.R, m.G, m.B), "var(--"+p.name+")")
	}
	s = families.ReplaceAllString(s, "")
	head := `<svg role="img"`
	if !inline {
		head = `<svg role="img" style="max-width:100%"`
	}
	s = prolog.ReplaceAllString(s, head)
	about := "<title>" + escape(title) + "</title>"
	if !inline {
		about += "<style>" + css(":root") + ":root{--ground:#ffffff}@media (prefers-color-scheme: dark){:root{--ground:#0d1117}}text{font-family:system-ui,-apple-system,'Segoe UI','Liberation Sans',Arial,sans-serif}</style>" +
			`<rect width="100%" height="100%" rx="6" style="fill:var(--ground)"/>`
	}
	return strings.Replace(s, "<g transform", about+"<g transform", 1), nil
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}

// panel is an empty plot with a grid of horizontal lines and no frame.
func panel() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.Transparent
	for style, size := range map[*text.Style]font.Length{&p.X.Label.TextStyle: 10, &p.Y.Label.TextStyle: 10, &p.X.Tick.Label: 9, &p.Y.Tick.Label: 9} {
		style.Font.Variant, style.Font.Size, style.Color = "Sans", size, faint.mark
	}
	p.X.LineStyle.Color, p.X.Tick.LineStyle.Color = faint.mark, faint.mark
	p.Y.LineStyle.Width, p.Y.Tick.Length = 0, 0
	g := plotter.NewGrid()
	g.Horizontal.Color, g.Vertical.Width = grid.mark, 0
	p.Add(g)
	return p
}

// face is text of a picture.
func face(size font.Length, c colour) text.Style {
	f := plot.New().Title.TextStyle
	f.Font.Variant, f.Font.Size, f.Color, f.XAlign, f.YAlign = "Sans", size, c.mark, text.XLeft, text.YCenter
	return f
}

// heading writes a title at the top left and returns what is left below it.
func heading(to draw.Canvas, title string) draw.Canvas {
	to.FillText(face(10.5, ink), vg.Point{X: to.Min.X, Y: to.Max.Y - vg.Points(7)}, title)
	return draw.Crop(to, 0, 0, 0, -vg.Points(18))
}

// legend draws names with their lines in rows from the top left, and returns how
// high it was.
func legend(to draw.Canvas, names []string, styles []draw.LineStyle) vg.Length {
	face := face(10, ink)
	x, y, row := to.Min.X, to.Max.Y-vg.Points(7), vg.Points(16)
	for i, name := range names {
		width := vg.Points(26) + face.Width(name) + vg.Points(16)
		if x > to.Min.X && x+width > to.Max.X {
			x, y = to.Min.X, y-row
		}
		to.StrokeLine2(styles[i], x, y, x+vg.Points(20), y)
		to.FillText(face, vg.Point{X: x + vg.Points(26), Y: y}, name)
		x += width
	}
	return to.Max.Y - y + vg.Points(9)
}

// steps are the powers of two, or of ten with their thirds, of a log scale.
func steps(low, high float64, label func(float64) string, factors ...float64) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, f := range factors {
			if v := f * math.Pow(10, e); v >= low*0.999 && v <= high*1.001 {
				ticks = append(ticks, plot.Tick{Value: v, Label: label(v)})
			}
		}
	}
	return ticks
}

func powers(low, high float64) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for n := 1.0; n <= high; n *= 2 {
		if n >= low {
			ticks = append(ticks, plot.Tick{Value: n, Label: fmt.Sprint(n)})
		}
	}
	return ticks
}

// round are a few round numbers of a linear scale.
type round struct{ most float64 }

// Ticks returns the ticks of a range.
func (r round) Ticks(low, high float64) (ticks []plot.Tick) {
	rough := (high - low) / r.most
	step := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, f := range []float64{1, 2, 5, 10} {
		if f*step >= rough {
			step *= f
			break
		}
	}
	for v := math.Ceil(low/step) * step; v <= high*(1+1e-9); v += step {
		ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%.6g", v)})
	}
	return ticks
}

func wordsOfTime(msec float64) string {
	switch {
	case msec >= 1000:
		return fmt.Sprintf("%g s", msec/1000)
	case msec >= 1:
		return fmt.Sprintf("%g ms", msec)
	}
	return fmt.Sprintf("%g µs", math.Round(msec*1000))
}
