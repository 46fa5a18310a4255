package bench

import (
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Spread is the middle of some figures and how far they scatter.
type Spread struct {
	Median float64 `json:"median"`
	Mean   float64 `json:"mean"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	return Spread{median(values), stat.Mean(values, nil), slices.Min(values), slices.Max(values)}
}

// median of an even number is the mean of the middle two; of none it is 0.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	if mid := len(v) / 2; len(v)%2 == 0 {
		return (v[mid-1] + v[mid]) / 2
	}
	return v[len(v)/2]
}

// margin95 is the half width of the interval that holds the mean of what the values are
// samples of in 95 of 100 cases (Student's t). Two values are too few to tell: nil.
func margin95(values []float64) *float64 {
	n := len(values)
	if n < 3 {
		return nil
	}
	t := distuv.StudentsT{Sigma: 1, Nu: float64(n - 1)}.Quantile(0.975)
	m := t * stat.StdErr(stat.StdDev(values, nil), float64(n))
	return &m
}

// ratios compares a with b round by round, because rounds differ more than
// contenders do. Where one has fewer rounds (the shift), a is compared with b's
// mean. Rounds in which b is 0 say nothing.
func ratios(a, b []float64) (r []float64) {
	for i, v := range a {
		base := 0.0
		switch {
		case len(a) == len(b):
			base = b[i]
		case len(b) > 0:
			base = stat.Mean(b, nil)
		}
		if base > 0 {
			r = append(r, v/base)
		}
	}
	return r
}

// regret is how much of b's throughput a misses: 0.02 is 2 % less, below 0 is more.
// The mean is of all that both served, and the margin that of their ratio: of its
// residuals, round by round (Cochran, Sampling Techniques, 1977, section 6.3).
func regret(a, b []float64) (_ Spread, within *float64) {
	each := ratios(a, b)
	for i := range each {
		each[i] = 1 - each[i]
	}
	s := spread(each)
	if len(each) == 0 {
		return s, nil
	}
	base := stat.Mean(b, nil)
	ratio := stat.Mean(a, nil) / base
	s.Mean = 1 - ratio
	if len(a) != len(b) {
		return s, nil
	}
	residuals := make([]float64, len(a))
	for i := range a {
		residuals[i] = (a[i] - ratio*b[i]) / base
	}
	return s, margin95(residuals)
}
