package bench

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The picture: two panels above one another, legends to their right.
const (
	pictureWidth  = 8.6 * vg.Inch
	pictureHeight = 6.4 * vg.Inch
	legendWidth   = 1.9 * vg.Inch
	margin        = 0.15 * vg.Inch
)

// Okabe and Ito's colours, which the colour-blind tell apart too.
var (
	fixedColour    = color.RGBA{R: 0x55, G: 0x55, B: 0x55, A: 0xff}
	bestColour     = color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 0xff}
	gridColour     = color.RGBA{R: 0xe4, G: 0xe4, B: 0xe4, A: 0xff}
	learnerColours = []color.RGBA{
		{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}, {R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
		{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff}, {R: 0xe6, G: 0x9f, B: 0x00, A: 0xff},
	}
	learnerDashes = [][]vg.Length{nil, {vg.Points(6), vg.Points(3)}, {vg.Points(2), vg.Points(2)}}
)

// WritePlots writes a picture of each workload into a folder, as WORKLOAD.svg:
// throughput over size, with what learns as horizontal lines, and below it the
// limits over time of what learns.
func WritePlots(dir string, r *Result) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("the folder of the plots cannot be made: %w", err)
	}
	for i := range r.Workloads {
		if err := writePlot(filepath.Join(dir, r.Workloads[i].Name+".svg"), &r.Workloads[i]); err != nil {
			return fmt.Errorf("plot of %s: %w", r.Workloads[i].Name, err)
		}
	}
	return nil
}

func writePlot(path string, w *WorkloadResult) (err error) {
	upper, upperLegend, err := throughputPlot(w)
	if err != nil {
		return err
	}
	lower, lowerLegend, err := limitPlot(w)
	if err != nil {
		return err
	}
	svg := vgsvg.New(pictureWidth, pictureHeight)
	all := draw.New(svg)
	all.FillPolygon(color.White, []vg.Point{{}, {X: pictureWidth}, {X: pictureWidth, Y: pictureHeight}, {Y: pictureHeight}})
	all = draw.Crop(all, margin, -margin, margin, -margin)

	panels := draw.Crop(all, 0, -legendWidth, 0, 0)
	tiles := draw.Tiles{Rows: 2, Cols: 1, PadY: 0.25 * vg.Inch}
	upper.Draw(tiles.At(panels, 0, 0))
	lower.Draw(tiles.At(panels, 0, 1))
	legends := draw.Crop(all, pictureWidth-2*margin-legendWidth+0.12*vg.Inch, 0, 0, 0)
	for i, legend := range []*plot.Legend{upperLegend, lowerLegend} {
		legend.Draw(draw.Crop(tiles.At(legends, 0, i), 0, 0, 0, -0.35*vg.Inch))
	}

	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = svg.WriteTo(file)
	return err
}

// throughputPlot is throughput over size.
func throughputPlot(w *WorkloadResult) (*plot.Plot, *plot.Legend, error) {
	p, legend := panel(w.Name+": throughput", "connections", "requests per second")
	var sizes intervals
	var best plotter.XYs
	most, largest := 0.0, 1.0
	for _, r := range w.Contenders {
		most = max(most, r.Throughput.Max)
		if r.Kind != string(fixed) {
			continue
		}
		sizes.XYs = append(sizes.XYs, plotter.XY{X: float64(r.Size), Y: r.Throughput.Mean})
		sizes.YErrors = append(sizes.YErrors, struct{ Low, High float64 }{r.Throughput.Mean - r.Throughput.Min, r.Throughput.Max - r.Throughput.Mean})
		if largest = max(largest, float64(r.Size)); r.Best {
			best = plotter.XYs{{X: float64(r.Size), Y: r.Throughput.Mean}}
		}
	}
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, sizeTicks(largest)
	p.X.Min, p.X.Max = 0.85, 1.3*largest
	p.Y.Min, p.Y.Max = 0, max(1, 1.08*most)
	p.Y.Tick.Marker = roundTicks{}

	line, points, err := plotter.NewLinePoints(sizes.XYs)
	if err != nil {
		return nil, nil, err
	}
	line.Color, points.Color, points.Shape, points.Radius = fixedColour, fixedColour, draw.CircleGlyph{}, vg.Points(2.5)
	bars, err := plotter.NewYErrorBars(sizes)
	if err != nil {
		return nil, nil, err
	}
	bars.Color = fixedColour
	p.Add(bars, line, points)
	legend.Add("fixed size (min–max)", line, points)
	if best != nil {
		mark, err := plotter.NewScatter(best)
		if err != nil {
			return nil, nil, err
		}
		mark.Color, mark.Shape, mark.Radius = bestColour, draw.CircleGlyph{}, vg.Points(4.5)
		p.Add(mark)
		legend.Add("best fixed: "+fmt.Sprint(best[0].X), mark)
	}
	for i, r := range learners(w) {
		l, err := plotter.NewLine(plotter.XYs{{X: p.X.Min, Y: r.Throughput.Mean}, {X: p.X.Max, Y: r.Throughput.Mean}})
		if err != nil {
			return nil, nil, err
		}
		l.LineStyle = learnerStyle(i)
		p.Add(l)
		legend.Add(r.Name, l)
	}
	return p, legend, nil
}

// limitPlot is the limits over time.
func limitPlot(w *WorkloadResult) (*plot.Plot, *plot.Legend, error) {
	p, legend := panel("limit: alone from cold, then in turns with the others", "seconds since the workload began", "limit, connections")
	if len(learners(w)) > 0 && learners(w)[0].ConvergedEach != nil {
		p.Title.Text, p.X.Label.Text = "limit: each alone through all phases", "seconds since its first phase began"
	}
	most := 1.0
	for i, r := range learners(w) {
		var steps plotter.XYs
		for _, m := range r.Trace {
			steps = append(steps, plotter.XY{X: m.Seconds, Y: float64(max(1, m.Limit))})
			most = max(most, float64(m.Limit))
		}
		if len(steps) == 0 {
			continue
		}
		l, err := plotter.NewLine(steps)
		if err != nil {
			return nil, nil, err
		}
		l.LineStyle, l.StepStyle = learnerStyle(i), plotter.PostStep
		p.Add(l)
		legend.Add(r.Name, l)
	}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, sizeTicks(most)
	p.Y.Min, p.Y.Max = 0.85, 1.3*most
	p.X.Min, p.X.Tick.Marker = 0, roundTicks{}
	if p.X.Max <= 0 || math.IsInf(p.X.Max, 0) { // nobody learns
		p.X.Max = 1
	}
	return p, legend, nil
}

func learners(w *WorkloadResult) (rows []Row) {
	for _, r := range w.Contenders {
		if r.Kind != string(fixed) {
			rows = append(rows, r)
		}
	}
	return rows
}

func learnerStyle(i int) draw.LineStyle {
	return draw.LineStyle{Color: learnerColours[i%len(learnerColours)], Width: vg.Points(1.6), Dashes: learnerDashes[i%len(learnerDashes)]}
}

// panel is an empty plot with a grid, and its legend, in one sans-serif face.
func panel(title, x, y string) (*plot.Plot, *plot.Legend) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding, p.X.Label.Padding, p.Y.Label.Padding = vg.Points(6), vg.Points(3), vg.Points(5)
	legend := plot.NewLegend()
	legend.Top, legend.Left, legend.Padding = true, true, vg.Points(3)
	legend.ThumbnailWidth = vg.Points(22)
	for style, size := range map[*text.Style]font.Length{
		&p.Title.TextStyle: 12, &p.X.Label.TextStyle: 10, &p.Y.Label.TextStyle: 10,
		&p.X.Tick.Label: 9, &p.Y.Tick.Label: 9, &legend.TextStyle: 9,
	} {
		style.Font.Variant, style.Font.Size = "Sans", size
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColour, gridColour
	p.Add(grid)
	return p, &legend
}

// sizeTicks are powers of two up to a number of connections.
func sizeTicks(most float64) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for n := 1; float64(n) <= 1.3*most; n *= 2 {
		ticks = append(ticks, plot.Tick{Value: float64(n), Label: fmt.Sprint(n)})
	}
	return ticks
}

// roundTicks are about six round numbers, with commas in the thousands.
type roundTicks struct{}

// Ticks returns the ticks of a range.
func (roundTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	rough := (high - low) / 6
	step := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if factor*step >= rough {
			step *= factor
			break
		}
	}
	for v := math.Ceil(low/step) * step; v <= high; v += step {
		label := grouped(v)
		if step < 1 {
			label = fmt.Sprintf("%.1f", v)
		}
		ticks = append(ticks, plot.Tick{Value: v, Label: label})
	}
	return ticks
}

// intervals are points with the least and the most that was measured.
type intervals struct {
	plotter.XYs
	plotter.YErrors
}
