package controller

// Point is a limit that was tried, and what it gave: a point of the throughput
// curve, for whoever wants to see what a knee rests on.
type Point struct {
	Limit      int     `json:"limit"`
	Throughput float64 `json:"throughput"` // completions per second, while callers queued
	Error      float64 `json:"error"`      // its relative standard error
	Seconds    float64 `json:"seconds"`    // measured
}

// Curve is what is known of the throughput curve after a step that took the
// learner from one state to another: a new episode begins a new curve, and the
// trial of a single other limit, between episodes, is added to the curve there is.
func Curve(known []Point, before, after *Learner) []Point {
	switch {
	case !before.Episode && !after.Episode:
		return known // nothing is being tried
	case before.Episode && before.Verify || after.Episode && after.Verify:
		known = append([]Point(nil), known...)
		for i := range after.Trials {
			known = place(known, after.point(&after.Measured[i]))
		}
		return known
	}
	points := make([]Point, after.Trials)
	for i := range points {
		points[i] = after.point(&after.Measured[i])
	}
	return points
}

func (l *Learner) point(t *Trial) Point {
	return Point{Limit: t.N, Throughput: t.rate(), Error: l.error(t), Seconds: t.Seconds}
}

// place puts a point where it belongs in the order of limits, in the stead of
// one at the same limit.
func place(points []Point, p Point) []Point {
	i := 0
	for i < len(points) && points[i].Limit < p.Limit {
		i++
	}
	if i < len(points) && points[i].Limit == p.Limit {
		points[i] = p
		return points
	}
	points = append(points, Point{})
	copy(points[i+1:], points[i:])
	points[i] = p
	return points
}
