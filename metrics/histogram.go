package metrics

import (
	"maps"
	"math"
	"slices"

	"github.com/pgautotune/autotune"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// schema is the resolution of the native histograms: 2^schema buckets for each
// doubling. The pool's own buckets end where those do, see [autotune.Histogram].
const schema = 2

// zeroBelow is the end of the native bucket that holds 0, in seconds: the end of
// the pool's first bucket. An acquire that did not queue is in it.
var zeroBelow = math.Exp2(-20)

// histogram is a metric with classic and native buckets, for scrapers of either
// kind. client_golang's constant histograms are one or the other.
type histogram struct {
	desc    *prometheus.Desc
	buckets map[float64]int64 // by the seconds at which they end; not cumulative
	sum     float64           // seconds
}

// Desc implements [prometheus.Metric].
func (h histogram) Desc() *prometheus.Desc { return h.desc }

// Write implements [prometheus.Metric].
func (h histogram) Write(out *dto.Metric) error {
	var count uint64
	native := map[int]int64{} // by index
	zeros := uint64(0)
	for end, n := range h.buckets {
		count += uint64(n)
		if end <= zeroBelow {
			zeros += uint64(n)
		} else {
			native[nativeIndex(end)] += n
		}
	}
	hist := &dto.Histogram{
		SampleCount: &count, SampleSum: &h.sum, Bucket: classic(h.buckets),
		Schema: new(int32(schema)), ZeroThreshold: &zeroBelow, ZeroCount: &zeros,
	}
	hist.PositiveSpan, hist.PositiveDelta = spans(native)
	out.Histogram, out.Label = hist, prometheus.MakeLabelPairs(h.desc, nil)
	return nil
}

// classic are the cumulative buckets with round ends; +Inf goes without saying.
func classic(buckets map[float64]int64) (out []*dto.Bucket) {
	ends := slices.Sorted(maps.Keys(buckets))
	n := uint64(0)
	for _, round := range autotune.RoundBuckets() {
		le := round.Seconds()
		for len(ends) > 0 && ends[0] <= le {
			n += uint64(buckets[ends[0]])
			ends = ends[1:]
		}
		out = append(out, &dto.Bucket{UpperBound: &le, CumulativeCount: new(n)})
	}
	return out
}

// nativeIndex is the index of the native bucket in which durations up to end are:
// bucket i goes up to 2^(i/4) seconds, and the one beyond the pool's longest takes
// the rest.
func nativeIndex(end float64) int {
	const perDoubling = 1 << schema
	if math.IsInf(end, 1) {
		return 13*perDoubling + 1
	}
	return int(math.Ceil(math.Log2(end) * perDoubling))
}

// spans writes buckets as Prometheus does: runs of indexes, and the difference of
// each count from the one before.
func spans(buckets map[int]int64) (spans []*dto.BucketSpan, deltas []int64) {
	next, last := 0, int64(0)
	for _, i := range slices.Sorted(maps.Keys(buckets)) {
		if len(spans) == 0 || i != next {
			spans = append(spans, &dto.BucketSpan{Offset: new(int32(i - next)), Length: new(uint32(0))})
		}
		*spans[len(spans)-1].Length++
		deltas = append(deltas, buckets[i]-last)
		next, last = i+1, buckets[i]
	}
	return spans, deltas
}
