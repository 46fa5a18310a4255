package model

import "math"

// Bounded is the bluntest capacity curve: straight up to the knee, then flat,
//
//	X(n) = Slope · min(n, KneeN)
//
// with, where the points ask for it, a slow decline beyond the knee,
// X ∝ (n/KneeN)^−Decline, and a cliff: from CliffN on (the working set no longer
// fits the cache, say) only the share CliffFactor is left.
type Bounded struct {
	Slope       float64 `json:"slope"`        // λ₁, throughput of one connection, per second
	KneeN       float64 `json:"knee_n"`       // connections at which it stops rising
	Decline     float64 `json:"decline"`      // exponent, ≥ 0; 0.1 loses 7 % at each doubling
	CliffN      float64 `json:"cliff_n"`      // connections; 0: no cliff
	CliffFactor float64 `json:"cliff_factor"` // share left, 0–1; without meaning when CliffN is 0
}

// Throughput is X(n) per second; 0 for n ≤ 0.
func (b Bounded) Throughput(n float64) float64 {
	if !(n > 0) {
		return 0
	}
	x := b.Slope * math.Min(n, b.KneeN)
	if n > b.KneeN && b.Decline > 0 {
		x *= math.Pow(n/b.KneeN, -b.Decline)
	}
	if b.CliffN > 0 && n >= b.CliffN {
		x *= b.CliffFactor
	}
	return x
}

func (b Bounded) fill(xs []float64) {
	for i := range xs {
		xs[i] = b.Throughput(float64(i + 1))
	}
}

// boundedShape says which of the extras of [Bounded] a fit may use.
type boundedShape struct{ decline, cliff bool }

// cliffStep is the smallest fall from one point to the next that may be a cliff:
// a quarter of the throughput. What falls less is a decline.
const cliffStep = 0.25

// FitBounded fits the curve to the error of log X, with decline and cliff as
// allowed. The knee is searched for on a grid and by golden section; given the
// knee, the rest is linear in logs.
func FitBounded(points []Point, decline, cliff bool) (Bounded, error) {
	return fitBounded(clean(points), boundedShape{decline, cliff})
}

func fitBounded(pts []Point, shape boundedShape) (Bounded, error) {
	if len(pts) < 2 {
		return Bounded{}, ErrTooFewPoints
	}
	cliffs := []float64{0}
	if shape.cliff {
		cliffs = cliffsOf(pts)
		if len(cliffs) == 0 {
			return Bounded{}, ErrNoFit
		}
	}
	first, last := math.Log(pts[0].N), math.Log(pts[len(pts)-1].N)
	best, bestMisfit := Bounded{}, math.Inf(1)
	for _, cliff := range cliffs {
		cost := func(logKnee float64) float64 {
			_, m := solveBounded(pts, logKnee, cliff, shape.decline)
			return m
		}
		const steps = 32
		at, low := first, math.Inf(1)
		for i := 0; i <= steps; i++ {
			knee := first + (last-first)*float64(i)/steps
			if m := cost(knee); m < low {
				at, low = knee, m
			}
		}
		step := (last - first) / steps
		knee, _ := goldenSection(math.Max(first, at-step), math.Min(last, at+step), 1e-5, cost)
		if b, m := solveBounded(pts, knee, cliff, shape.decline); m < bestMisfit {
			best, bestMisfit = b, m
		}
	}
	if math.IsInf(bestMisfit, 1) {
		return Bounded{}, ErrNoFit
	}
	return best, nil
}

// cliffsOf lists where throughput falls by cliffStep or more from one point to
// the next: half way between the two, in logs.
func cliffsOf(pts []Point) (at []float64) {
	for i := 1; i < len(pts); i++ {
		if pts[i].X < pts[i-1].X*(1-cliffStep) {
			at = append(at, math.Sqrt(pts[i-1].N*pts[i].N))
		}
	}
	return at
}

// solveBounded finds slope, decline d ≥ 0 and cliff g ≥ 0 for a given knee by
// weighted least squares on
//
//	log X − log min(n, knee) = log Slope − d·log max(1, n/knee) − g·[n ≥ cliff]
func solveBounded(pts []Point, logKnee, cliff float64, decline bool) (Bounded, float64) {
	row := func(p Point) (y, u, v float64) {
		over := math.Max(0, math.Log(p.N)-logKnee)
		y = math.Log(p.X/p.N) + over
		if decline {
			u = -over
		}
		if cliff > 0 && p.N >= cliff {
			v = -1
		}
		return y, u, v
	}
	// Weighted means first, so that the intercept drops out.
	var weight, my, mu, mv float64
	for _, p := range pts {
		y, u, v := row(p)
		weight += p.Weight
		my += p.Weight * y
		mu += p.Weight * u
		mv += p.Weight * v
	}
	my, mu, mv = my/weight, mu/weight, mv/weight
	var yy, uu, vv, uv, yu, yv float64
	for _, p := range pts {
		y, u, v := row(p)
		y, u, v = y-my, u-mu, v-mv
		yy += p.Weight * y * y
		uu += p.Weight * u * u
		vv += p.Weight * v * v
		uv += p.Weight * u * v
		yu += p.Weight * y * u
		yv += p.Weight * y * v
	}
	d, g := nonNegative(uu, vv, uv, yu, yv)
	left := yy - 2*d*yu - 2*g*yv + d*d*uu + g*g*vv + 2*d*g*uv
	b := Bounded{Slope: math.Exp(my - d*mu - g*mv), KneeN: math.Exp(logKnee), Decline: d}
	if cliff > 0 {
		b.CliffN, b.CliffFactor = cliff, math.Exp(-g)
	}
	if math.IsNaN(left) {
		return b, math.Inf(1)
	}
	return b, math.Max(0, left)
}

// nonNegative solves the 2×2 normal equations for d, g ≥ 0.
func nonNegative(uu, vv, uv, yu, yv float64) (d, g float64) {
	const dust = 1e-12
	if det := uu*vv - uv*uv; det > dust*uu*vv && det > 0 {
		d, g = (yu*vv-yv*uv)/det, (yv*uu-yu*uv)/det
		if d >= 0 && g >= 0 {
			return d, g
		}
	}
	// One of them is 0: the better of the two single fits.
	gainD, gainG := 0.0, 0.0
	if uu > 0 && yu > 0 {
		gainD = yu * yu / uu
	}
	if vv > 0 && yv > 0 {
		gainG = yv * yv / vv
	}
	switch {
	case gainD == 0 && gainG == 0:
		return 0, 0
	case gainD >= gainG:
		return yu / uu, 0
	default:
		return 0, yv / vv
	}
}
