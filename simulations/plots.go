package simulations

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/pgautotune/autotune/simulations/plant"
)

// leastWait is the bottom of the axis of waits: a tenth of a millisecond, below
// which nobody waits.
const leastWait = 0.1

// mostMoves are drawn one by one; of a policy that moves more often, its limit at
// the end of each interval.
const mostMoves = 1000

// drawn is how a line looks.
type drawn struct {
	Line
	style draw.LineStyle
}

// dress gives each line its colour: autotune's first, the best fixed size green.
func dress(lines []Line) []drawn {
	out := make([]drawn, len(lines))
	other := 0
	for i, l := range lines {
		s := draw.LineStyle{Width: vg.Points(1.4)}
		switch {
		case l.Best:
			s.Color, s.Dashes = bestOf.mark, []vg.Length{vg.Points(6), vg.Points(3)}
		case strings.HasPrefix(l.Name, "auto"):
			s.Color, s.Width = ours.mark, vg.Points(2.2)
			if i > 0 && strings.HasPrefix(lines[i-1].Name, "auto") {
				s.Dashes = []vg.Length{vg.Points(2), vg.Points(2)}
			}
		default:
			s.Color = others[other%len(others)].mark
			if other >= len(others) {
				s.Dashes = []vg.Length{vg.Points(1), vg.Points(3)}
			}
			other++
		}
		out[i] = drawn{l, s}
	}
	return out
}

// drawable are the lines that have something to draw: a result that was read from a file
// may have others.
func drawable(lines []Line) []Line {
	return slices.DeleteFunc(slices.Clone(lines), func(l Line) bool { return len(l.Series) < 2 })
}

// timePicture is the arrival rate, the limits and the p99 waits on one time axis.
func timePicture(lines []Line, w, h vg.Length) (*canvas, error) {
	all := dress(lines)
	c := newCanvas(w, h)
	inside := draw.Crop(c.all, vg.Points(8), -vg.Points(12), vg.Points(6), -vg.Points(8))
	var names []string
	var styles []draw.LineStyle
	for _, l := range all {
		name := inWords(l.Name)
		if l.Best {
			name += ", best in hindsight"
		}
		names, styles = append(names, name), append(styles, l.style)
	}
	used := legend(inside, names, styles)

	rate, err := ratePanel(all[0].Series)
	if err != nil {
		return nil, err
	}
	limit, err := limitPanel(all)
	if err != nil {
		return nil, err
	}
	wait, err := waitPanel(all)
	if err != nil {
		return nil, err
	}
	end := all[0].Series[len(all[0].Series)-1].At.Minutes()
	plots := []*plot.Plot{rate, limit, wait}
	titles := []string{"arrival rate, requests per second", "limit, connections (log scale)", "wait for a connection, 99th percentile (log scale)"}
	for _, p := range plots {
		p.X.Min, p.X.Max = 0, end
		p.X.Tick.Marker = round{8}
	}
	wait.X.Label.Text = "minutes"
	for _, p := range []*plot.Plot{rate, limit} { // one axis below them all
		p.X.Tick.Label.Font.Size, p.X.Tick.Length, p.X.LineStyle.Color = 0, 0, grid.mark
		p.X.Tick.Marker = plot.ConstantTicks(nil)
	}
	// The panels share their left and right edges, not their heights.
	below := draw.Crop(inside, 0, 0, 0, -used)
	height := below.Max.Y - below.Min.Y
	shares := []vg.Length{0.24, 0.35, 0.41}
	tiles := make([]draw.Canvas, len(plots))
	top := below.Max.Y
	for i, share := range shares {
		tiles[i] = below
		tiles[i].Max.Y, tiles[i].Min.Y = top-vg.Points(4), top-share*height
		top -= share * height
	}
	left, right := vg.Length(0), vg.Length(0)
	for i := range plots {
		data := plots[i].DataCanvas(tiles[i])
		left, right = max(left, data.Min.X-tiles[i].Min.X), max(right, tiles[i].Max.X-data.Max.X)
	}
	for i := range plots {
		tiles[i] = heading(tiles[i], titles[i])
	}
	for i := range plots {
		data := plots[i].DataCanvas(tiles[i])
		plots[i].Draw(draw.Crop(tiles[i], left-(data.Min.X-tiles[i].Min.X), -(right - (tiles[i].Max.X - data.Max.X)), 0, 0))
	}
	return c, nil
}

// inWords is a policy's name as a legend has it.
func inWords(name string) string {
	if n, ok := strings.CutPrefix(name, "fixed-"); ok {
		return n + " connections"
	}
	if n, ok := strings.CutPrefix(name, "auto@"); ok {
		return "autotune, from " + n
	}
	return name
}

func ratePanel(series []plant.Interval) (*plot.Plot, error) {
	p := panel()
	points := plotter.XYs{}
	most := 0.0
	for _, i := range series {
		v := float64(i.Arrivals) / i.Length.Seconds()
		points = append(points, plotter.XY{X: (i.At - i.Length).Minutes(), Y: v}, plotter.XY{X: i.At.Minutes(), Y: v})
		most = max(most, v)
	}
	l, err := plotter.NewLine(points)
	if err != nil {
		return nil, err
	}
	l.Width, l.Color, l.FillColor = vg.Points(1), faint.mark, area.mark
	p.Add(l)
	p.Y.Min, p.Y.Max, p.Y.Tick.Marker = 0, max(1, 1.1*most), round{3}
	return p, nil
}

func limitPanel(all []drawn) (*plot.Plot, error) {
	p := panel()
	low, high := math.Inf(1), 1.0
	for _, l := range reversed(all) {
		var points plotter.XYs
		if len(l.Moves) <= mostMoves {
			for _, m := range l.Moves {
				points = append(points, plotter.XY{X: m.At.Minutes(), Y: float64(max(1, m.Limit))})
			}
		} else {
			for _, i := range l.Series {
				points = append(points, plotter.XY{X: i.At.Minutes(), Y: float64(max(1, i.Limit))})
			}
		}
		last := l.Series[len(l.Series)-1]
		points = append(points, plotter.XY{X: last.At.Minutes(), Y: float64(max(1, last.Limit))})
		for _, q := range points {
			low, high = min(low, q.Y), max(high, q.Y)
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		line.LineStyle, line.StepStyle = l.style, plotter.PostStep
		p.Add(line)
	}
	p.Y.Scale = plot.LogScale{}
	p.Y.Min, p.Y.Max = max(0.9, low/1.4), 1.4*high
	p.Y.Tick.Marker = powers(p.Y.Min, p.Y.Max)
	return p, nil
}

func waitPanel(all []drawn) (*plot.Plot, error) {
	p := panel()
	high := 10.0
	for _, l := range reversed(all) {
		var points plotter.XYs
		for _, i := range l.Series {
			if i.Completed == 0 {
				continue
			}
			v := max(leastWait, ms(i.WaitP99))
			high = max(high, v)
			points = append(points, plotter.XY{X: (i.At - i.Length/2).Minutes(), Y: v})
		}
		if len(points) < 2 {
			continue
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		line.LineStyle = l.style
		line.Width *= 0.8
		p.Add(line)
	}
	p.Y.Scale = plot.LogScale{}
	p.Y.Min, p.Y.Max = leastWait*0.8, 1.5*high
	ticks := steps(leastWait, p.Y.Max, wordsOfTime, 1)
	ticks[0].Label = "less" // or none at all
	p.Y.Tick.Marker = ticks
	return p, nil
}

// reversed draws what is named first on top of the others.
func reversed(all []drawn) []drawn {
	out := make([]drawn, len(all))
	for i := range all {
		out[len(all)-1-i] = all[i]
	}
	return out
}

// sizePicture is goodput over fixed size, with the policies' goodput.
func sizePicture(s *ScenarioResult, w, h vg.Length) (*canvas, error) {
	c := newCanvas(w, h)
	p := panel()
	var points, best plotter.XYs
	most := 0.0
	for _, z := range s.Sizes {
		points = append(points, plotter.XY{X: float64(z.Size), Y: z.Goodput})
		most = max(most, z.Goodput)
		if z.Size == s.BestFixed {
			best = plotter.XYs{{X: float64(z.Size), Y: z.Goodput}}
		}
	}
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return nil, err
	}
	line.Color, line.Width = faint.mark, vg.Points(1.4)
	dots.Color, dots.Shape, dots.Radius = faint.mark, draw.CircleGlyph{}, vg.Points(2.2)
	mark, err := plotter.NewScatter(best)
	if err != nil {
		return nil, err
	}
	mark.Color, mark.Shape, mark.Radius = bestOf.mark, draw.CircleGlyph{}, vg.Points(4.5)
	p.Add(line, dots, mark)
	p.X.Scale, p.X.Label.Text = plot.LogScale{}, "connections"
	p.X.Min, p.X.Max = 0.9, 1.15*points[len(points)-1].X
	p.X.Tick.Marker = powers(1, p.X.Max)
	p.Y.Min, p.Y.Max, p.Y.Tick.Marker = 0, max(1, 1.1*most), round{5}
	p.Draw(heading(draw.Crop(c.all, vg.Points(8), -vg.Points(8), vg.Points(6), -vg.Points(8)), "goodput of fixed sizes, requests per second"))
	return c, nil
}

// regretBar is one bar.
type regretBar struct {
	name  string
	value float64 // 0–1
	mine  bool
}

// regretPicture is bars of regret, the least first, on a scale of square roots:
// that shows 1 % beside 100 %.
func regretPicture(title string, bars []regretBar, bar float64, w vg.Length) (*canvas, error) {
	row := vg.Points(17)
	c := newCanvas(w, row*vg.Length(len(bars))+vg.Points(58))
	p := panel()
	var ticks plot.ConstantTicks
	for i, b := range bars {
		y := float64(len(bars) - 1 - i)
		x := math.Sqrt(max(0, min(1, b.value)))
		poly, err := plotter.NewPolygon(plotter.XYs{{X: 0, Y: y - 0.34}, {X: x, Y: y - 0.34}, {X: x, Y: y + 0.34}, {X: 0, Y: y + 0.34}})
		if err != nil {
			return nil, err
		}
		poly.LineStyle.Width, poly.Color = 0, others4.mark
		if b.mine {
			poly.Color = ours.mark
		}
		labels, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: x, Y: y}}, Labels: []string{percent(b.value)}})
		if err != nil {
			return nil, err
		}
		labels.TextStyle[0].Font.Variant, labels.TextStyle[0].Font.Size, labels.TextStyle[0].Color = "Sans", 9, ink.mark
		labels.TextStyle[0].YAlign, labels.Offset = text.YCenter, vg.Point{X: vg.Points(4)}
		p.Add(poly, labels)
		ticks = append(ticks, plot.Tick{Value: y, Label: b.name})
	}
	limit, err := plotter.NewLine(plotter.XYs{{X: math.Sqrt(bar), Y: -0.6}, {X: math.Sqrt(bar), Y: float64(len(bars)) - 0.4}})
	if err != nil {
		return nil, err
	}
	limit.Color, limit.Dashes, limit.Width = others1.mark, []vg.Length{vg.Points(3), vg.Points(3)}, vg.Points(1)
	p.Add(limit)
	p.Y.Tick.Marker, p.Y.Min, p.Y.Max = ticks, -0.6, float64(len(bars))-0.4
	p.Y.Tick.Label.Color = ink.mark
	p.X.Min, p.X.Max = 0, 1.1
	var at plot.ConstantTicks
	for _, v := range []float64{0, 0.01, 0.05, 0.2, 0.5, 1} {
		at = append(at, plot.Tick{Value: math.Sqrt(v), Label: fmt.Sprintf("%g %%", 100*v)})
	}
	p.X.Tick.Marker = at
	p.Draw(heading(draw.Crop(c.all, vg.Points(8), -vg.Points(8), vg.Points(6), -vg.Points(8)), title))
	return c, nil
}

// pictureStep is how long an interval of a picture is: long enough that its p99 is
// of many requests, short enough for about 150 of them.
func pictureStep(length time.Duration) time.Duration {
	return max(time.Second, (length / 150).Round(time.Second))
}
