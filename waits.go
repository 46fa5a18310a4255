package autotune

import (
	"math/bits"
	"time"
)

// waitHistogram counts durations in buckets that double every four steps
// (error at most a quarter), from 1 µs to about an hour. It is cumulative and a
// plain value: the difference of two snapshots is the histogram of what came
// between.
type waitHistogram [waitBuckets]int64

const (
	waitSteps   = 4                // buckets per doubling
	waitUnit    = 1024             // nanoseconds of the first bucket: about 1 µs
	waitBuckets = 33*waitSteps + 1 // up to 2^33 µs/1.024, about 2 h
)

func (h *waitHistogram) add(nanos int64) { h[waitBucket(nanos)]++ }

func (h *waitHistogram) total() (n int64) {
	for _, c := range h {
		n += c
	}
	return n
}

// waitBucket is the bucket of a duration in nanoseconds: the exponent and the
// two bits below it.
func waitBucket(nanos int64) int {
	v := uint64(nanos) / (waitUnit / waitSteps)
	if v < waitSteps {
		return 0
	}
	exp := bits.Len64(v) - 3 // v has two bits below its leading one
	return min(exp*waitSteps+int(v>>exp)-waitSteps+1, waitBuckets-1)
}

// waitUpper is the upper edge of a bucket.
func waitUpper(bucket int) time.Duration {
	if bucket == 0 {
		return waitUnit
	}
	b := bucket - 1
	exp, step := b/waitSteps, b%waitSteps
	return time.Duration(uint64(waitSteps+step+1) << exp * (waitUnit / waitSteps))
}

// quantile is the duration that a share q of the events of h since the earlier
// snapshot did not exceed; events that never waited count as zeros of them.
func (h *waitHistogram) quantile(since *waitHistogram, zeros int64, q float64) time.Duration {
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
			return waitUpper(i)
		}
	}
	return waitUpper(waitBuckets - 1)
}
