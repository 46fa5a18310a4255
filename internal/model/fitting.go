package model

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/optimize"
)

// Point is the throughput that was counted while n connections were in use and
// callers queued. Windows in which nobody queued say nothing about capacity and
// must not become points.
type Point struct {
	N float64 `json:"n"` // mean connections in use
	X float64 `json:"x"` // throughput, completions per second
	// Weight is how long it was observed, in seconds. 0 or less in all points:
	// all count alike.
	Weight float64 `json:"weight"`
	S      float64 `json:"s,omitempty"` // mean service time, seconds; 0: unknown
}

// clean returns the usable points in order of n, one for each n, with weights
// that average 1. NaN, infinity, n ≤ 0 and X ≤ 0 are dropped; points of the same
// n are merged.
//
// A long look cures noise but not the model's own misfit, so the weight of a
// point levels off: w/(w + median) lets a bucket seen for hours count at most
// twice the typical one.
func clean(points []Point) []Point {
	pts := make([]Point, 0, len(points))
	for _, p := range points {
		if finite(p.N) && p.N > 0 && finite(p.X) && p.X > 0 && finite(p.Weight) && finite(p.S) {
			p.Weight = math.Max(p.Weight, 0)
			pts = append(pts, p)
		}
	}
	sort.SliceStable(pts, func(i, j int) bool { return pts[i].N < pts[j].N })
	pts = mergeSame(pts)
	if len(pts) == 0 {
		return pts
	}
	weights := make([]float64, len(pts))
	for i, p := range pts {
		weights[i] = p.Weight
	}
	sort.Float64s(weights)
	median := weights[len(weights)/2]
	sum := 0.0
	for i := range pts {
		if median > 0 {
			pts[i].Weight /= pts[i].Weight + median
		} else {
			pts[i].Weight = 1
		}
		sum += pts[i].Weight
	}
	for i := range pts {
		pts[i].Weight *= float64(len(pts)) / sum
	}
	return pts
}

// mergeSame joins neighbours of equal n by their weighted mean.
func mergeSame(pts []Point) []Point {
	kept := pts[:0]
	for _, p := range pts {
		if k := len(kept) - 1; k >= 0 && kept[k].N == p.N {
			q := &kept[k]
			a, b := q.Weight, p.Weight
			if a+b <= 0 {
				a, b = 1, 1
			}
			q.X = (q.X*a + p.X*b) / (a + b)
			q.S = (q.S*a + p.S*b) / (a + b)
			q.Weight += p.Weight
			continue
		}
		kept = append(kept, p)
	}
	return kept
}

// bestScale is the factor that brings shape(n) closest to the throughputs.
func bestScale(pts []Point, shape func(float64) float64, by loss) float64 {
	num, den := 0.0, 0.0
	for _, p := range pts {
		s := shape(p.N)
		if by == absoluteError {
			num += p.Weight * p.X * s
			den += p.Weight * s * s
		} else {
			num += p.Weight * math.Log(p.X/s)
			den += p.Weight
		}
	}
	if by == absoluteError {
		return num / den
	}
	return math.Exp(num / den)
}

// misfit is the weighted sum of squared errors of a curve.
func misfit(pts []Point, curve func(float64) float64, by loss) float64 {
	sum := 0.0
	for _, p := range pts {
		miss := p.X - curve(p.N)
		if by == logError {
			miss = math.Log(p.X / curve(p.N))
		}
		sum += p.Weight * miss * miss
	}
	if math.IsNaN(sum) {
		return math.Inf(1)
	}
	return sum
}

// shapeMisfit is the weighted sum of squared errors of log X that is left after
// the best scale, for a shape tabled at n = 1, 2, …
func shapeMisfit(pts []Point, xs []float64) float64 {
	sum, squares, weight := 0.0, 0.0, 0.0
	for _, p := range pts {
		miss := math.Log(p.X / tableAt(xs, p.N))
		sum += p.Weight * miss
		squares += p.Weight * miss * miss
		weight += p.Weight
	}
	left := squares - sum*sum/weight
	if math.IsNaN(left) {
		return math.Inf(1)
	}
	return math.Max(0, left)
}

// tableAt reads a table of X at n = 1, 2, … between its entries; below 1 it is a
// line to the origin, above the end the last entry.
func tableAt(xs []float64, n float64) float64 {
	low := math.Floor(n)
	switch {
	case low < 1:
		return xs[0] * n
	case int(low) >= len(xs):
		return xs[len(xs)-1]
	}
	below := xs[int(low)-1]
	if low == n {
		return below
	}
	return below + (n-low)*(xs[int(low)]-below)
}

// nelderMead minimizes cost from the given start and returns the best place
// found. It is deterministic: one worker, no limit on time. gonum has no
// Levenberg–Marquardt; with two unknowns Nelder–Mead does as well.
func nelderMead(start []float64, cost func([]float64) float64) []float64 {
	settings := &optimize.Settings{
		MajorIterations: 400,
		FuncEvaluations: 800,
		Converger:       &optimize.FunctionConverge{Absolute: 1e-12, Relative: 1e-10, Iterations: 20},
	}
	result, err := optimize.Minimize(optimize.Problem{Func: cost}, start, settings, &optimize.NelderMead{SimplexSize: 0.3})
	if result == nil || err != nil && !finite(result.F) || !(result.F <= cost(start)) {
		return start
	}
	return result.X
}

// goldenSection finds the minimum of cost between low and high to the given
// width, and its value.
func goldenSection(low, high, width float64, cost func(float64) float64) (float64, float64) {
	const ratio = 0.6180339887498949 // 1/φ
	a, b := high-ratio*(high-low), low+ratio*(high-low)
	fa, fb := cost(a), cost(b)
	for high-low > width {
		if fa <= fb {
			high, b, fb = b, a, fa
			a = high - ratio*(high-low)
			fa = cost(a)
		} else {
			low, a, fa = a, b, fb
			b = low + ratio*(high-low)
			fb = cost(b)
		}
	}
	if fa <= fb {
		return a, fa
	}
	return b, fb
}
