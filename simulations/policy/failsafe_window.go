package policy

import (
	"math"
	"slices"
)

// The statistics of failsafe-go's limiter (v0.9.8, internal/util), rule by rule:
// a moving median, a moving average and a moving correlation.

// failsafeWarmUp is the number of values before an average forgets and a
// correlation counts.
const failsafeWarmUp = 10

// median5 is the median of the last 5 values. The first 4 are passed through.
type median5 struct {
	values [failsafeSmoothed]float64
	at     int
	size   int
}

func (m *median5) add(v float64) float64 {
	m.values[m.at] = v
	m.at = (m.at + 1) % failsafeSmoothed
	if m.size < failsafeSmoothed-1 {
		m.size++
		return v
	}
	sorted := m.values
	slices.Sort(sorted[:])
	return sorted[failsafeSmoothed/2]
}

// average is an exponential average of an age in values, plain while it warms up.
type average struct {
	factor float64
	value  float64
	sum    float64
	count  int
}

func newAverage(age float64) average { return average{factor: 2 / (age + 1)} }

func (a *average) add(v float64) float64 {
	if a.count < failsafeWarmUp {
		a.count++
		a.sum += v
		a.value = a.sum / float64(a.count)
	} else {
		a.value = a.value*(1-a.factor) + v*a.factor
	}
	return a.value
}

// moments sums the last 50 values that are not 0.
type moments struct {
	values      [50]float64
	size, at    int
	sum, square float64
}

func (m *moments) add(v float64) (old float64, full bool) {
	if v == 0 {
		return 0, false
	}
	if m.size == len(m.values) {
		full, old = true, m.values[m.at]
		m.sum -= old
		m.square -= old * old
	} else {
		m.size++
	}
	m.values[m.at] = v
	m.sum += v
	m.square += v * v
	m.at = (m.at + 1) % len(m.values)
	return old, full
}

// spread returns the coefficient of variation, mean and variance; false when
// there is none.
func (m *moments) spread() (cv, mean, variance float64, ok bool) {
	if m.size < 2 {
		return 0, 0, 0, false
	}
	mean = m.sum / float64(m.size)
	variance = m.square/float64(m.size) - mean*mean
	if variance < 0 || mean == 0 {
		return 0, 0, 0, false
	}
	return math.Sqrt(variance) / mean, mean, variance, true
}

// correlation is the one of the last 50 pairs, and the coefficient of variation of
// y; 0 while it warms up, or when one of them varies by less than 1 %.
type correlation struct {
	x, y     moments
	products float64
}

func (c *correlation) add(x, y float64) (r, cvY float64) {
	if math.IsInf(x, 0) || math.IsInf(y, 0) {
		return 0, 0
	}
	oldX, full := c.x.add(x)
	oldY, _ := c.y.add(y)
	cvX, meanX, varX, okX := c.x.spread()
	cvY, meanY, varY, okY := c.y.spread()
	if full {
		c.products -= oldX * oldY
	}
	c.products += x * y
	switch {
	case !okX || !okY, c.x.size < failsafeWarmUp:
		return 0, 0
	case cvX < 0.01 || cvY < 0.01:
		return 0, cvY
	}
	covariance := c.products/float64(c.x.size) - meanX*meanY
	return covariance / (math.Sqrt(varX) * math.Sqrt(varY)), cvY
}
