package bench

import (
	"slices"
)

// Spread is the median of some figures and how far they scatter.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	return Spread{median(values), slices.Min(values), slices.Max(values)}
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

// ratios compares a with b round by round, because rounds differ more than
// contenders do. Where one has fewer rounds (the shift), a is compared with b's
// median. Rounds in which b is 0 say nothing.
func ratios(a, b []float64) (r []float64) {
	for i, v := range a {
		base := median(b)
		if len(a) == len(b) {
			base = b[i]
		}
		if base > 0 {
			r = append(r, v/base)
		}
	}
	return r
}

// regrets is how much of b's throughput a misses, round by round: 0.02 is 2 %
// less, below 0 is more.
func regrets(a, b []float64) []float64 {
	r := ratios(a, b)
	for i := range r {
		r[i] = 1 - r[i]
	}
	return r
}

// bestFixed is the index of the fixed size to compare with, −1 if there is none:
// in a closed loop that of the highest median throughput; under open arrivals,
// which every sufficient size serves alike, that of the lowest median p99 among
// those that keep up.
func bestFixed(rows []Row, open bool) int {
	most := 0.0
	for _, r := range rows {
		if r.Kind == string(fixed) {
			most = max(most, r.Throughput.Median)
		}
	}
	best := -1
	for i, r := range rows {
		switch {
		case r.Kind != string(fixed) || len(r.Rounds) == 0:
		case best < 0 && (!open || r.Throughput.Median >= keepsUp*most):
			best = i
		case best < 0:
		case !open && r.Throughput.Median > rows[best].Throughput.Median:
			best = i
		case open && r.Throughput.Median >= keepsUp*most && r.P99Ms < rows[best].P99Ms:
			best = i
		}
	}
	return best
}

// compare fills in what is relative to the best fixed size.
func compare(rows []Row, open bool) {
	best := bestFixed(rows, open)
	if best < 0 {
		return
	}
	throughput, p99 := rows[best].series()
	for i := range rows {
		x, t := rows[i].series()
		rows[i].Best = i == best
		rows[i].Regret = spread(regrets(x, throughput))
		rows[i].P99Ratio = median(ratios(t, p99))
	}
}

// scatter is how much the fixed sizes' throughput scatters from round to round:
// the range over the median, of the median size. They do not change between
// rounds, so it is the machine's noise.
func scatter(rows []Row) float64 {
	var each []float64
	for _, r := range rows {
		if r.Kind == string(fixed) && len(r.Rounds) > 1 && r.Throughput.Median > 0 {
			each = append(each, (r.Throughput.Max-r.Throughput.Min)/r.Throughput.Median)
		}
	}
	return median(each)
}
