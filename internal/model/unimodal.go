package model

import "math"

// unimodal is what the points say without any model except that a capacity
// curve rises, then falls: the weighted least-squares unimodal regression of
// log X (Frisén 1986), i.e. for each possible top, pool-adjacent-violators up to
// it and down from it, and the top that fits best.
type unimodal struct {
	n     []float64
	logX  []float64 // smoothed
	top   int       // index of the highest, the first of several
	noise float64   // standard deviation of log X around the smoothed curve
}

func smooth(pts []Point) unimodal {
	k := len(pts)
	u := unimodal{n: make([]float64, k), logX: make([]float64, k)}
	y, w := make([]float64, k), make([]float64, k)
	for i, p := range pts {
		u.n[i], y[i], w[i] = p.N, math.Log(p.X), p.Weight
	}
	best := math.Inf(1)
	try := make([]float64, k)
	for split := 0; split < k; split++ {
		monotone(try[:split+1], y[:split+1], w[:split+1], 1)
		monotone(try[split+1:], y[split+1:], w[split+1:], -1)
		rss := 0.0
		for i := range try {
			rss += w[i] * (y[i] - try[i]) * (y[i] - try[i])
		}
		if rss < best*(1-1e-9) {
			best = rss
			copy(u.logX, try)
		}
	}
	levels := 0
	for i := range u.logX {
		if i == 0 || u.logX[i] != u.logX[i-1] {
			levels++
		}
		if u.logX[i] > u.logX[u.top] {
			u.top = i
		}
	}
	// Pooled points are the only ones that tell noise; with none the noise is
	// below what these points can show.
	if free := k - levels; free > 0 {
		u.noise = math.Sqrt(best / float64(free))
	}
	return u
}

// monotone writes the weighted least-squares fit of y that never falls (sign 1)
// or never rises (sign −1): pool adjacent violators.
func monotone(fit, y, w []float64, sign float64) {
	type block struct {
		mean, weight float64
		count        int
	}
	var blocks []block
	for i := range y {
		blocks = append(blocks, block{y[i], w[i], 1})
		for k := len(blocks) - 1; k > 0 && sign*blocks[k].mean < sign*blocks[k-1].mean; k-- {
			a, b := blocks[k-1], blocks[k]
			weight := a.weight + b.weight
			mean := (a.mean + b.mean) / 2
			if weight > 0 {
				mean = (a.mean*a.weight + b.mean*b.weight) / weight
			}
			blocks = append(blocks[:k-1], block{mean, weight, a.count + b.count})
		}
	}
	i := 0
	for _, b := range blocks {
		for range b.count {
			fit[i] = b.mean
			i++
		}
	}
}

// at reads log X between the points, where X runs straight; outside it is the end.
func (u unimodal) at(n float64) float64 {
	k := len(u.n)
	if n <= u.n[0] {
		return u.logX[0]
	}
	for i := 1; i < k; i++ {
		if n <= u.n[i] {
			part := (n - u.n[i-1]) / (u.n[i] - u.n[i-1])
			below := math.Exp(u.logX[i-1])
			return math.Log(below + part*(math.Exp(u.logX[i])-below))
		}
	}
	return u.logX[k-1]
}

// riseBeyond is the slope of log X on log n over the points from n on (least
// squares on the smoothed curve): 1 is proportional, 0 flat. With fewer than two
// such points it is that of the last step.
func (u unimodal) riseBeyond(n float64) float64 {
	var count, sx, sy, sxx, sxy float64
	from := len(u.n) - 2
	for i := len(u.n) - 2; i >= 0 && u.n[i] >= n; i-- {
		from = i
	}
	for i := max(from, 0); i < len(u.n); i++ {
		x := math.Log(u.n[i])
		count++
		sx += x
		sy += u.logX[i]
		sxx += x * x
		sxy += x * u.logX[i]
	}
	if den := count*sxx - sx*sx; den > 0 {
		return (count*sxy - sx*sy) / den
	}
	return 0
}
