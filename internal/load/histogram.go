package load

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// A histogram has buckets of log-linear width, as HDR histograms do: each power
// of two of nanoseconds is cut into 64. A value in the middle of its bucket is
// at most 1/128 of it away, so quantiles are exact to 0.8 %. It is made here and
// not taken from a library because it is read while it is written.
const (
	subBits    = 6
	subBuckets = 1 << subBits
	leastBits  = 10 // below 1,024 ns all is one bucket: nothing here is faster
	mostBits   = 40 // 2^40 ns are 18 minutes, and everything above
	bucketsLen = (mostBits-leastBits)*subBuckets + 1
)

type histogram [bucketsLen]atomic.Int64

func (h *histogram) add(d time.Duration) { h[bucketOf(d)].Add(1) }

func bucketOf(d time.Duration) int {
	ns := uint64(max(d, 0))
	exp := bits.Len64(ns) - 1 // of the power of two at or below
	if exp < leastBits {
		return 0
	}
	if exp >= mostBits {
		return bucketsLen - 1
	}
	sub := int(ns>>(exp-subBits)) - subBuckets
	return (exp-leastBits)*subBuckets + sub + 1
}

// valueOf is the middle of a bucket.
func valueOf(bucket int) time.Duration {
	if bucket == 0 {
		return 1 << (leastBits - 1)
	}
	exp := (bucket-1)/subBuckets + leastBits
	sub := (bucket - 1) % subBuckets
	width := time.Duration(1) << (exp - subBits)
	return time.Duration(subBuckets+sub)*width + width/2
}

// Times is how long requests took: a histogram that no longer changes.
type Times struct {
	counts [bucketsLen]int64
	n      int64
}

// Count is the number of requests.
func (t *Times) Count() int64 { return t.n }

// Quantile is the time that the share q (0–1) of the requests took at most, to
// 0.8 %; 0 without requests.
func (t *Times) Quantile(q float64) time.Duration {
	rank := max(1, int64(math.Ceil(q*float64(t.n))))
	for i, c := range t.counts {
		if rank -= c; c > 0 && rank <= 0 {
			return valueOf(i)
		}
	}
	return 0
}

func (t *Times) add(h *histogram) {
	for i := range h {
		c := h[i].Load()
		t.counts[i] += c
		t.n += c
	}
}

func (t *Times) subtract(o *Times) {
	for i := range t.counts {
		t.counts[i] -= o.counts[i]
	}
	t.n -= o.n
}
