package model

import (
	"math"
	"time"
)

// The buckets of [Samples]: one for each whole n up to sampleExact, then each
// 12 % wider than the one before, up to 1,000. A capacity curve bends by less
// than 3 % within 12 % of n, the tolerance of a knee. A bucket remembers the mean
// n that was really in use, so its width does not blur the curve.
const (
	sampleExact = 16
	sampleRatio = 1.12
	sampleMax   = 1000.0
)

// sampleSeconds is the observed time below which a bucket tells nothing.
const sampleSeconds = 1.0

// Samples is the evidence of capacity: for each number of connections in use,
// how much was completed in how long, while callers queued. Older evidence
// counts less: half after each HalfLife. It is a plain value; the zero value
// never forgets by itself. Not safe for concurrent use.
type Samples struct {
	HalfLife time.Duration            `json:"half_life"` // 0: no decay
	Buckets  [LevelCount]SampleBucket `json:"buckets"`
	Drift    Drift                    `json:"drift"`
}

// SampleBucket is the evidence at one n. The sums are those at time Last.
type SampleBucket struct {
	Seconds     float64       `json:"seconds"`     // observed while saturated
	Completions float64       `json:"completions"` // counted in them
	InUse       float64       `json:"in_use"`      // integral of n over them, connection seconds
	Last        time.Duration `json:"last"`        // of the newest observation
}

// Add records that during the given seconds, in which callers queued all the
// time, n connections were in use on average and so many callers were served. It
// first compares the window with what is stored near n and says whether
// throughput there has changed for good (see [Drift]); on a change the stored
// curve describes a database that is gone, and the caller decides how much of it
// to [Samples.Forget]. NaN, infinity, n or seconds not above 0 and negative
// completions are ignored.
func (s *Samples) Add(at time.Duration, n, completions, seconds float64) Change {
	if !finite(n) || n <= 0 || !finite(completions) || completions < 0 || !finite(seconds) || seconds <= 0 {
		return Unchanged
	}
	change := Unchanged
	if expected, weight, ok := s.Near(at, n); ok {
		// Half a completion stands for none, so that the logarithm exists.
		x := math.Max(completions, 0.5) / seconds
		change = s.Drift.observe(math.Log(x/expected), seconds, weight)
	}
	b := &s.Buckets[sampleBucketOf(n)]
	*b = s.aged(*b, at)
	b.Seconds += seconds
	b.Completions += completions
	b.InUse += n * seconds
	b.Last = max(b.Last, at)
	return change
}

// Forget keeps the given share (0–1) of the weight of all evidence. 0 empties
// the store; what is known of the noise stays.
func (s *Samples) Forget(keep float64) {
	if math.IsNaN(keep) || keep <= 0 {
		s.Buckets = [LevelCount]SampleBucket{}
		s.Drift.Up, s.Drift.Down = 0, 0
		return
	}
	keep = math.Min(keep, 1)
	for i := range s.Buckets {
		s.Buckets[i].Seconds *= keep
		s.Buckets[i].Completions *= keep
		s.Buckets[i].InUse *= keep
	}
}

// Near is the throughput per second that the evidence left at the given time leads
// to expect at n, and the seconds it rests on: between the nearest buckets on both
// sides of n, straight in logs, where they are within half as much again; else of a
// bucket within one width. ok is false where there is none near n.
func (s *Samples) Near(at time.Duration, n float64) (x, seconds float64, ok bool) {
	const reach = 1.5
	var low, high SampleBucket
	for i := range s.Buckets {
		b := s.Buckets[i]
		if b.Seconds == 0 || b.N()*reach < n || b.N() > n*reach {
			continue // most of them: how old they are costs more to know
		}
		b = s.aged(b, at)
		if b.Seconds < sampleSeconds || b.Completions <= 0 {
			continue
		}
		switch m := b.N(); {
		case m <= n && m*reach >= n:
			low = b // the last one is the nearest
		case m > n && m <= n*reach && high.Seconds == 0:
			high = b
		}
	}
	switch {
	case low.Seconds > 0 && high.Seconds > 0:
		part := math.Log(n/low.N()) / math.Log(high.N()/low.N())
		x = math.Exp((1-part)*math.Log(low.x()) + part*math.Log(high.x()))
		// The variance of a mean of two, weighted by part.
		return x, 1 / ((1-part)*(1-part)/low.Seconds + part*part/high.Seconds), true
	case low.Seconds > 0 && n <= low.N()*sampleRatio:
		return low.x(), low.Seconds, true
	case high.Seconds > 0 && high.N() <= n*sampleRatio:
		return high.x(), high.Seconds, true
	}
	return 0, 0, false
}

// aged is a bucket as it counts at a later time.
func (s *Samples) aged(b SampleBucket, at time.Duration) SampleBucket {
	if s.HalfLife <= 0 || at <= b.Last {
		return b
	}
	keep := math.Exp2(-float64(at-b.Last) / float64(s.HalfLife))
	b.Seconds *= keep
	b.Completions *= keep
	b.InUse *= keep
	b.Last = at
	return b
}

// At is what is left at the given time of the evidence at n alone, to the width of a
// bucket, in which it may be of a neighbour: see [SampleBucket.N].
func (s *Samples) At(at time.Duration, n float64) SampleBucket {
	return s.aged(s.Buckets[sampleBucketOf(n)], at)
}

// N is the number in use that the evidence is of, in the mean; NaN where there is none.
func (b SampleBucket) N() float64 { return b.InUse / b.Seconds }

func (b SampleBucket) x() float64 { return b.Completions / b.Seconds }

// sampleBucketOf is the bucket whose centre is nearest to n.
func sampleBucketOf(n float64) int {
	if n < sampleExact+0.5 {
		return max(0, int(math.Round(n))-1)
	}
	over := math.Log(math.Min(n, sampleMax)/sampleExact) / math.Log(sampleRatio)
	return min(sampleExact-1+max(1, int(math.Round(over))), LevelCount-1)
}
