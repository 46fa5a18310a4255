package model

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/mat"
)

// ErrTooFewPoints says that a model has as many parameters as there are points
// with a different n, or more, so that any fit would be an invention.
var ErrTooFewPoints = errors.New("model: too few points with a different n to fit a capacity curve")

// ErrNoFit says that no parameters within the model's bounds describe the points.
var ErrNoFit = errors.New("model: no capacity curve within bounds fits the points")

// USL is Gunther's Universal Scalability Law:
//
//	X(N) = γN / (1 + α(N−1) + βN(N−1))
//
// γ is the throughput of one connection per second, α the share of the work that
// is serialized (contention: X levels off), β the cost of keeping every pair
// coherent (X falls again).
type USL struct {
	Gamma float64 `json:"gamma"`
	Alpha float64 `json:"alpha"`
	Beta  float64 `json:"beta"`
}

// Throughput is X(n) per second; 0 for n ≤ 0.
func (u USL) Throughput(n float64) float64 {
	if !(n > 0) {
		return 0
	}
	return u.Gamma * u.shape(n)
}

// PeakN is N* = √((1−α)/β), the n with the highest throughput: +Inf when β is 0
// and the curve never falls, and never below 1.
func (u USL) PeakN() float64 {
	if u.Beta <= 0 {
		return math.Inf(1)
	}
	return math.Sqrt(math.Max(1, (1-u.Alpha)/u.Beta))
}

// shape is X(n)/γ.
func (u USL) shape(n float64) float64 {
	return n / (1 + u.Alpha*(n-1) + u.Beta*n*(n-1))
}

func (u USL) fill(xs []float64) {
	for i := range xs {
		xs[i] = u.Throughput(float64(i + 1))
	}
}

// FitUSLLinear fits the law by weighted linear least squares on
//
//	N/X = A + B(N−1) + C·N(N−1),  γ = 1/A, α = B/A, β = C/A
//
// The rows are weighted by X/N so that errors count in per cent: unweighted,
// the slow points at high N, where N/X is largest, would decide alone. α and β
// cannot be negative: where the best fit makes one so, it is fixed at 0 and the
// others are fitted again.
func FitUSLLinear(points []Point) (USL, error) {
	return fitUSLLinear(clean(points), true)
}

// FitUSL starts from [FitUSLLinear] and then minimizes the squared error of
// log X, which is what capacity models are compared by.
func FitUSL(points []Point) (USL, error) { return fitUSL(clean(points), logError) }

// loss is the error that a refinement minimizes.
type loss uint8

const (
	// logError counts log X: errors in per cent, alike at both ends of the curve.
	logError loss = iota
	// absoluteError counts X itself, as the R package usl and most published
	// fits do; with it the published parameters can be reproduced.
	absoluteError
)

func fitUSL(pts []Point, by loss) (USL, error) {
	start, err := fitUSLLinear(pts, true)
	if err != nil {
		return USL{}, err
	}
	// γ is known in closed form once α and β are; those that were fixed at 0 stay there.
	build := func(logs []float64) USL {
		u := start
		i := 0
		if start.Alpha > 0 {
			u.Alpha, i = math.Exp(logs[i]), i+1
		}
		if start.Beta > 0 {
			u.Beta = math.Exp(logs[i])
		}
		u.Gamma = bestScale(pts, u.shape, by)
		return u
	}
	var logs []float64
	for _, v := range []float64{start.Alpha, start.Beta} {
		if v > 0 {
			logs = append(logs, math.Log(v))
		}
	}
	if len(logs) > 0 {
		logs = nelderMead(logs, func(logs []float64) float64 {
			return misfit(pts, build(logs).Throughput, by)
		})
	}
	u := build(logs)
	if !finite(u.Gamma) || u.Gamma <= 0 || !finite(u.Alpha) || !finite(u.Beta) {
		return USL{}, ErrNoFit
	}
	return u, nil
}

// fitUSLLinear solves the linearized law; relative says whether rows are
// weighted by X/N. The four choices of terms are few enough to try them all,
// which makes the non-negative solution exact.
func fitUSLLinear(pts []Point, relative bool) (USL, error) {
	if len(pts) < 3 {
		return USL{}, ErrTooFewPoints
	}
	best, bestRSS := USL{}, math.Inf(1)
	for _, terms := range []struct{ b, c bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		a, b, c, rss, ok := solveUSL(pts, terms.b, terms.c, relative)
		if !ok || a <= 0 || b < 0 || c < 0 || rss >= bestRSS {
			continue
		}
		best, bestRSS = USL{Gamma: 1 / a, Alpha: b / a, Beta: c / a}, rss
	}
	if math.IsInf(bestRSS, 1) {
		return USL{}, ErrNoFit
	}
	return best, nil
}

// solveUSL is one least-squares solution, by QR, with or without the terms B and C.
func solveUSL(pts []Point, withB, withC, relative bool) (a, b, c, rss float64, ok bool) {
	columns := 1
	for _, with := range []bool{withB, withC} {
		if with {
			columns++
		}
	}
	// Columns are scaled to the largest n, so that 1, N and N² do not differ
	// by orders of magnitude.
	last := pts[len(pts)-1].N
	scale := [3]float64{1, 1 / last, 1 / (last * last)}
	rows, y := mat.NewDense(len(pts), columns, nil), mat.NewVecDense(len(pts), nil)
	for i, p := range pts {
		w := math.Sqrt(p.Weight)
		if relative {
			w *= p.X / p.N
		}
		rows.Set(i, 0, w)
		j := 1
		if withB {
			rows.Set(i, j, w*(p.N-1)*scale[1])
			j++
		}
		if withC {
			rows.Set(i, j, w*p.N*(p.N-1)*scale[2])
		}
		y.SetVec(i, w*p.N/p.X)
	}
	var qr mat.QR
	qr.Factorize(rows)
	var coef mat.VecDense
	if err := qr.SolveVecTo(&coef, false, y); err != nil {
		return 0, 0, 0, 0, false // singular: the points do not tell the terms apart
	}
	var fitted mat.VecDense
	fitted.MulVec(rows, &coef)
	for i := range pts {
		miss := fitted.AtVec(i) - y.AtVec(i)
		rss += miss * miss
	}
	a, j := coef.AtVec(0), 1
	if withB {
		b = coef.AtVec(j) * scale[1]
		j++
	}
	if withC {
		c = coef.AtVec(j) * scale[2]
	}
	return a, b, c, rss, true
}
