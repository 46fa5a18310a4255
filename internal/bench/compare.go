package bench

import (
	"slices"

	"gonum.org/v1/gonum/stat"
)

// bestFixed is the index of the fixed size to compare with, −1 if there is none:
// in a closed loop that of the highest mean throughput; under open arrivals,
// which every sufficient size serves alike, that of the lowest median p99 among
// those that keep up.
func bestFixed(rows []Row, open bool) int { return bestWithout(rows, open, -1) }

// bestWithout is the best fixed size of all rounds but one.
func bestWithout(rows []Row, open bool, round int) int {
	mean, p99 := make([]float64, len(rows)), make([]float64, len(rows))
	most := 0.0
	for i, r := range rows {
		if r.Kind != string(fixed) || len(r.Rounds) == 0 {
			continue
		}
		x, t := r.series()
		if round >= 0 {
			x, t = slices.Delete(x, round, round+1), slices.Delete(t, round, round+1)
		}
		mean[i], p99[i] = stat.Mean(x, nil), median(t)
		most = max(most, mean[i])
	}
	best := -1
	for i, r := range rows {
		switch {
		case r.Kind != string(fixed) || len(r.Rounds) == 0:
		case open && mean[i] < keepsUp*most:
		case best < 0, open && p99[i] < p99[best], !open && mean[i] > mean[best]:
			best = i
		}
	}
	return best
}

// reference is what others are compared with: for each round what the fixed size gave in
// it that was best in all the other rounds. The best of all rounds would be too good:
// of a dozen sizes that serve alike, it is the one that had the most luck, and that luck
// would be everybody else's regret.
func reference(rows []Row, open bool, best int) (throughput, p99 []float64) {
	throughput, p99 = rows[best].series()
	n := len(throughput)
	alike := !slices.ContainsFunc(rows, func(r Row) bool { return r.Kind == string(fixed) && len(r.Rounds) != n })
	if n < 2 || !alike {
		return throughput, p99
	}
	for round := range n {
		chosen := rows[bestWithout(rows, open, round)].Rounds[round]
		throughput[round], p99[round] = chosen.Throughput, chosen.P99Ms
	}
	return throughput, p99
}

// compare fills in what is relative to the best fixed size.
func compare(rows []Row, open bool) {
	best := bestFixed(rows, open)
	if best < 0 {
		return
	}
	throughput, p99 := reference(rows, open, best)
	for i := range rows {
		x, t := rows[i].series()
		rows[i].Best = i == best
		rows[i].Regret, rows[i].RegretMargin = regret(x, throughput)
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
