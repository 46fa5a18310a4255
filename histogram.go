package autotune

import (
	"iter"
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"
)

// Histogram counts durations, cumulatively since the pool was opened. It is a
// plain value: the difference of two (see [Histogram.Since]) is the histogram of
// what came between.
//
// Its buckets end where those of Prometheus' native histograms of schema 2 do,
// at 2^(i/4) seconds from 1 µs to about 2 h, and at the round figures of
// [RoundBuckets] besides. So it turns into both kinds of Prometheus histogram
// without an error of its own, and a quantile is at most 19 % too high.
type Histogram struct {
	Sum    time.Duration // of all durations counted
	counts durations
}

// RoundBuckets are the round ends among the buckets of every [Histogram], from
// 100 µs to a minute.
func RoundBuckets() []time.Duration { return slices.Clone(roundEdges) }

// Count is how many durations were counted.
func (h *Histogram) Count() int64 { return h.counts.total() }

// Buckets yields the buckets that are not empty, shortest first: the longest
// duration of each and how many are in it. The end of the last bucket is
// math.MaxInt64: it takes everything above 2 h.
func (h *Histogram) Buckets() iter.Seq2[time.Duration, int64] {
	return func(yield func(time.Duration, int64) bool) {
		for i, n := range h.counts {
			if n != 0 && !yield(edgeOf(i), n) {
				return
			}
		}
	}
}

// Since is the histogram of what was counted after the earlier one was taken.
func (h Histogram) Since(earlier Histogram) Histogram {
	h.Sum -= earlier.Sum
	for i := range h.counts {
		h.counts[i] -= earlier.counts[i]
	}
	return h
}

// Quantile is the duration that a share q (0–1) of those counted did not exceed;
// 0 when nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	return h.counts.quantile(&durations{}, 0, q)
}

// durations are the counts of a histogram, by bucket.
type durations [durationBuckets]int64

const (
	lowestEdge      = -20 * edgeSteps // 2^-20 s, about 1 µs: the end of the first bucket
	highestEdge     = 13 * edgeSteps  // 2^13 s, about 2 h: the end of the last but one
	edgeSteps       = 4               // native buckets per doubling
	roundOnly       = 15              // round ends that are not native ones; ¼, ½ and 1 s are both
	durationBuckets = highestEdge - lowestEdge + 1 + roundOnly + 1
)

// roundEdges are the usual 1, 2.5, 5 from 100 µs to 10 s, then 30 s and a minute.
var roundEdges = []time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// edges are the longest durations of the buckets, in nanoseconds and rising.
var edges = func() (e [durationBuckets]int64) {
	all := make([]int64, 0, durationBuckets)
	for i := lowestEdge; i <= highestEdge; i++ {
		all = append(all, int64(math.Exp2(float64(i)/edgeSteps)*1e9))
	}
	for _, d := range roundEdges {
		all = append(all, int64(d))
	}
	slices.Sort(all)
	copy(e[:], append(slices.Compact(all), math.MaxInt64))
	return e
}()

// firstOf is the first bucket for durations of so many significant bits.
var firstOf = func() (first [64]uint8) {
	for n := range first {
		least := int64(0)
		if n > 0 {
			least = 1 << (n - 1)
		}
		i, _ := slices.BinarySearch(edges[:], least)
		first[n] = uint8(i)
	}
	return first
}()

// bucketOf is the bucket of a duration in nanoseconds: a look into a table and
// at most a handful of comparisons.
func bucketOf(nanos int64) int {
	nanos = max(nanos, 0)
	i := int(firstOf[bits.Len64(uint64(nanos))])
	for edges[i] < nanos {
		i++
	}
	return i
}

func edgeOf(bucket int) time.Duration { return time.Duration(edges[bucket]) }

func (h *durations) add(nanos int64) { h[bucketOf(nanos)]++ }

func (h *durations) total() (n int64) {
	for _, c := range h {
		n += c
	}
	return n
}

// quantile is the duration that a share q of the events of h since the earlier
// snapshot did not exceed; events that never waited count as zeros of them.
func (h *durations) quantile(since *durations, zeros int64, q float64) time.Duration {
	total := max(0, zeros)
	for i := range h {
		total += h[i] - since[i]
	}
	if total <= 0 {
		return 0
	}
	rank := int64(q*float64(total-1)) + 1
	seen := max(0, zeros)
	if rank <= seen {
		return 0
	}
	for i := range h {
		if seen += h[i] - since[i]; seen >= rank {
			return min(edgeOf(i), longestEdge)
		}
	}
	return longestEdge
}

// longestEdge is what stands for every duration above it.
const longestEdge = time.Duration(1<<13) * time.Second

// soloDurations are durations that one goroutine at a time counts, the holder of
// a connection: a load and a store do, and nothing contends. Readers come at any
// moment.
type soloDurations [durationBuckets]atomic.Int64

func (h *soloDurations) add(nanos, n int64) {
	c := &h[bucketOf(nanos)]
	c.Store(c.Load() + n)
}

func (h *soloDurations) addTo(sum *durations) {
	for i := range h {
		sum[i] += h[i].Load()
	}
}
