package model

import (
	"math"
	"time"
)

// The buckets of a [Histogram]: one for each integer from 0 to
// histogramExact, then each 5 % wider than the one before, up to
// histogramMax. [Histogram.Quantile] answers with the upper edge of a bucket,
// so it errs upward only, by less than this:
//
//	true value   16   20   50   100   300   1000   5000   10000   (integers)
//	at most      +0   +1   +3    +5   +15    +50   +250    +500
//
// Five per cent is the ratio that the Kubernetes VPA uses for CPU and memory.
const (
	histogramExact   = 16
	histogramRatio   = 1.05
	histogramMax     = 10_000
	histogramBuckets = 149
)

// histogramRescale is how many half-lives may pass before weights are divided
// down to a new reference time. 2^100 keeps 200 binary orders below the largest
// float64 for the caller's weights.
const histogramRescale = 100

// histogramEdge holds the upper edge of each bucket, inclusive.
var histogramEdge = func() (edge [histogramBuckets]float64) {
	for i := range edge {
		if i <= histogramExact {
			edge[i] = float64(i)
		} else {
			edge[i] = math.Min(edge[i-1]*histogramRatio, histogramMax)
		}
	}
	return edge
}()

// Histogram is a decaying histogram of concurrency, as the Kubernetes VPA keeps
// it: an observation loses half of its weight each HalfLife. It is a plain
// value; the zero value never decays. Not safe for concurrent use.
//
// Instead of shrinking all old weights at each look, a new weight is grown by
// 2^((at−Reference)/HalfLife); only the ratios of weights matter.
type Histogram struct {
	HalfLife  time.Duration             `json:"half_life"` // 0: no decay
	Reference time.Duration             `json:"reference"` // time at which a weight counts as given
	Weights   [histogramBuckets]float64 `json:"weights"`   // grown weight per bucket
}

// NewHistogram returns an empty histogram whose observations lose half of their
// weight each halfLife. A halfLife of 0 or below means no decay.
func NewHistogram(halfLife time.Duration) Histogram {
	return Histogram{HalfLife: max(halfLife, 0)}
}

// Add records that the concurrency was value (connections) at the given time,
// with the given weight, e.g. the seconds that it lasted. NaN, infinite and
// negative values are ignored, and so are weights that are not above 0. Values
// above 10,000 count as 10,000.
func (h *Histogram) Add(at time.Duration, value, weight float64) {
	if !finite(value) || value < 0 || !finite(weight) || weight <= 0 {
		return
	}
	grown := weight * h.growth(at)
	if !finite(grown) {
		return
	}
	h.Weights[histogramBucket(value)] += grown
}

// Quantile returns the smallest bucket edge at or below which a share q of the
// weight lies, in connections: 0 for an empty histogram, never below the true
// quantile and at most 5 % above it (below 16: rounded up to an integer). q is
// clamped to 0–1; NaN counts as 1.
func (h *Histogram) Quantile(q float64) float64 {
	total := h.sum()
	if total <= 0 {
		return 0
	}
	if math.IsNaN(q) {
		q = 1
	}
	share := math.Max(0, math.Min(1, q)) * total
	partial, last := 0.0, 0
	for i, w := range h.Weights {
		if w <= 0 {
			continue
		}
		partial, last = partial+w, i
		if partial >= share {
			break
		}
	}
	return histogramEdge[last]
}

// Total returns the weight that is left at the given time, in the unit of the
// weights given to [Histogram.Add].
func (h *Histogram) Total(at time.Duration) float64 {
	if h.HalfLife <= 0 {
		return h.sum()
	}
	return h.sum() * math.Exp2(-float64(at-h.Reference)/float64(h.HalfLife))
}

// growth is the factor that a weight given now is multiplied with, after moving
// the reference time if the factor has become too large.
func (h *Histogram) growth(at time.Duration) float64 {
	if h.HalfLife <= 0 {
		return 1
	}
	halves := float64(at-h.Reference) / float64(h.HalfLife)
	if halves <= histogramRescale {
		return math.Exp2(halves)
	}
	// Whole half-lives only, so that the division is exact in binary.
	whole := math.Floor(halves)
	for i := range h.Weights {
		h.Weights[i] *= math.Exp2(-whole)
	}
	h.Reference += time.Duration(whole) * h.HalfLife
	return math.Exp2(halves - whole)
}

func (h *Histogram) sum() (total float64) {
	for _, w := range h.Weights {
		total += w
	}
	return total
}

// histogramBucket is the bucket whose upper edge is the first not below value.
func histogramBucket(value float64) int {
	if value <= histogramExact {
		return int(math.Ceil(value))
	}
	if value >= histogramMax {
		return histogramBuckets - 1
	}
	i := histogramExact + int(math.Ceil(math.Log(value/histogramExact)/math.Log(histogramRatio)))
	i = min(max(i, histogramExact+1), histogramBuckets-1)
	// The logarithm may be off by one ulp at an edge.
	for i > histogramExact+1 && histogramEdge[i-1] >= value {
		i--
	}
	for i < histogramBuckets-1 && histogramEdge[i] < value {
		i++
	}
	return i
}

// finite reports whether x is a number that may enter a belief.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
