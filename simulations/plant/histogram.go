package plant

import (
	"math/bits"
	"time"
)

// Summary of a time.
type Summary struct {
	Count int64         `json:"count"`
	Mean  time.Duration `json:"mean"`
	P50   time.Duration `json:"p50"` // quantiles within 1 %
	P99   time.Duration `json:"p99"`
	Max   time.Duration `json:"max"`
}

// histogram counts times in buckets that double every 64 steps: the middle of a
// bucket is within 0.8 % of all in it.
type histogram struct {
	counts  [buckets]int64
	n       int64
	sum     float64 // ns
	longest int64
}

const (
	bucketBits = 6
	buckets    = (64 - bucketBits) << bucketBits // any int64
)

func bucket(ns int64) int {
	v := uint64(ns)
	if v < 1<<bucketBits {
		return int(v)
	}
	e := bits.Len64(v) - bucketBits - 1
	return e<<bucketBits + int(v>>e)
}

// middle of a bucket.
func middle(b int) time.Duration {
	if b < 1<<bucketBits {
		return time.Duration(b)
	}
	e := b>>bucketBits - 1
	low := int64(b-e<<bucketBits) << e
	return time.Duration(low + (int64(1)<<e)/2)
}

func (h *histogram) add(ns int64) {
	h.counts[bucket(ns)]++
	h.n++
	h.sum += float64(ns)
	h.longest = max(h.longest, ns)
}

func (h *histogram) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := int64(q*float64(h.n-1)) + 1
	var seen int64
	for b, c := range h.counts {
		if seen += c; seen >= rank {
			return min(middle(b), time.Duration(h.longest))
		}
	}
	return time.Duration(h.longest)
}

func (h *histogram) summary() Summary {
	if h.n == 0 {
		return Summary{}
	}
	return Summary{Count: h.n, Mean: time.Duration(h.sum/float64(h.n) + 0.5), P50: h.quantile(0.5), P99: h.quantile(0.99), Max: time.Duration(h.longest)}
}

// coarse is a histogram small enough to be cleared often: the buckets of the
// live gate, which double every four steps, so that the controller sees the wait
// time as coarsely as it does live (an answer is the upper edge: up to a quarter
// too long).
type coarse struct {
	counts [coarseBuckets]int32
	n      int64
}

const (
	coarseSteps   = 4
	coarseUnit    = 1024 // ns, of the first bucket
	coarseBuckets = 33*coarseSteps + 1
)

func (h *coarse) add(ns int64) {
	h.n++
	v := uint64(ns) / (coarseUnit / coarseSteps)
	if v < coarseSteps {
		h.counts[0]++
		return
	}
	e := bits.Len64(v) - 3
	h.counts[min(e*coarseSteps+int(v>>e)-coarseSteps+1, coarseBuckets-1)]++
}

// quantile is the time that a share q did not exceed; zeros more were 0.
func (h *coarse) quantile(zeros int64, q float64) time.Duration {
	zeros = max(zeros, 0)
	total := h.n + zeros
	if total == 0 {
		return 0
	}
	rank := int64(q*float64(total-1)) + 1
	seen := zeros
	if rank <= seen {
		return 0
	}
	b := 0
	for ; b < coarseBuckets-1; b++ {
		if seen += int64(h.counts[b]); seen >= rank {
			break
		}
	}
	if b == 0 {
		return coarseUnit
	}
	return time.Duration(uint64(coarseSteps+(b-1)%coarseSteps+1) << ((b - 1) / coarseSteps) * (coarseUnit / coarseSteps))
}

func (h *coarse) clear() { *h = coarse{} }
