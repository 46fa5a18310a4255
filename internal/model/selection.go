package model

import "math"

// law is a capacity curve with its parameters filled in.
type law interface {
	// Throughput is X(n) per second.
	Throughput(n float64) float64
	// fill writes X(1), X(2), … in one pass.
	fill(xs []float64)
}

// contender is one family of curves that may explain the points.
type contender struct {
	model  Model
	params int
	// fit fits cleaned points. near, unless nil, is a fit of almost the same
	// points, so that a search may stay around it.
	fit func(pts []Point, near law) (law, error)
}

// contenders are tried in this order; of equals the first wins, so simpler
// families stand first.
var contenders = []contender{
	{BoundedModel, 2, func(pts []Point, _ law) (law, error) { return fitBounded(pts, boundedShape{}) }},
	{ClosedMMCModel, 2, func(pts []Point, near law) (law, error) { return fitMMCNear(pts, near, false) }},
	{ClosedMMCModel, 3, func(pts []Point, near law) (law, error) { return fitMMCNear(pts, near, true) }},
	{USLModel, 3, func(pts []Point, _ law) (law, error) { return fitUSL(pts, logError) }},
	{BoundedModel, 3, func(pts []Point, _ law) (law, error) { return fitBounded(pts, boundedShape{decline: true}) }},
	{BoundedModel, 4, func(pts []Point, _ law) (law, error) { return fitBounded(pts, boundedShape{cliff: true}) }},
	{BoundedModel, 5, func(pts []Point, _ law) (law, error) {
		return fitBounded(pts, boundedShape{decline: true, cliff: true})
	}},
}

func fitMMCNear(pts []Point, near law, withDelay bool) (law, error) {
	if m, ok := near.(ClosedMMC); ok {
		return refitClosedMMC(pts, m)
	}
	return fitClosedMMC(pts, 0, withDelay)
}

const (
	// manyPoints is the number from which the evidence is weighed by AICc, whose
	// correction explodes when points are few; below it by leaving one out.
	manyPoints = 12
	// scoreFloor is the log error below which two fits are equally good: 0.3 %
	// is finer than any throughput counted over seconds.
	scoreFloor = 0.003
	// rivalAICc and rivalLeaveOut say how much worse a curve may score and still
	// not be ruled out: the usual 2 units of AICc, or half again the error.
	rivalAICc     = 2.0
	rivalLeaveOut = 1.5
)

// choice is a fitted contender.
type choice struct {
	contender
	law    law
	misfit float64 // weighted sum of squared errors of log X
	score  float64 // AICc or log of the leave-one-out error; less is better
}

// rms is the root mean square error of log X.
func (c choice) rms(pts []Point) float64 { return math.Sqrt(c.misfit / float64(len(pts))) }

// choose fits every contender, and returns the one that the evidence prefers and
// those that it cannot rule out.
func choose(pts []Point) (best choice, rivals []choice, ok bool) {
	var fitted []choice
	best.score = math.Inf(1)
	for _, c := range contenders {
		if c.params > len(pts)-2 {
			continue // would pass through the points and prove nothing
		}
		l, err := c.fit(pts, nil)
		if err != nil {
			continue
		}
		ch := choice{contender: c, law: l, misfit: misfit(pts, l.Throughput, logError)}
		if len(pts) >= manyPoints {
			ch.score = aicc(len(pts), c.params, ch.misfit)
		} else {
			ch.score = leaveOneOut(pts, c, l)
		}
		fitted = append(fitted, ch)
		// The small step keeps rounding from deciding between equals.
		if ch.score < best.score-1e-6 {
			best = ch
		}
	}
	if math.IsInf(best.score, 1) {
		return choice{}, nil, false
	}
	margin := rivalAICc
	if len(pts) < manyPoints {
		margin = 2 * math.Log(rivalLeaveOut)
	}
	for _, ch := range fitted {
		if ch.score <= best.score+margin && (ch.model != best.model || ch.params != best.params) {
			rivals = append(rivals, ch)
		}
	}
	return best, rivals, true
}

// aicc is Akaike's criterion with the correction for few points (Hurvich and
// Tsai 1989), for log-normal errors; the variance counts as a parameter.
func aicc(points, params int, misfit float64) float64 {
	n, k := float64(points), float64(params+1)
	if n-k-1 <= 0 {
		return math.Inf(1)
	}
	return n*math.Log(misfit/n+scoreFloor*scoreFloor) + 2*k + 2*k*(k+1)/(n-k-1)
}

// leaveOneOut is the log of the mean squared error of log X at each point, as
// predicted by a fit of the others.
func leaveOneOut(pts []Point, c contender, all law) float64 {
	rest := make([]Point, 0, len(pts))
	sum, weight := 0.0, 0.0
	for i, p := range pts {
		rest = append(append(rest[:0], pts[:i]...), pts[i+1:]...)
		l, err := c.fit(rest, all)
		if err != nil {
			return math.Inf(1)
		}
		miss := math.Log(p.X / l.Throughput(p.N))
		sum += p.Weight * miss * miss
		weight += p.Weight
	}
	if math.IsNaN(sum) {
		return math.Inf(1)
	}
	return math.Log(sum/weight + scoreFloor*scoreFloor)
}
