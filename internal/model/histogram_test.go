package model

import (
	"encoding/json"
	"math"
	"sort"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestHistogramQuantileAgainstSortedObservations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type observation struct{ value, weight float64 } // weight: log2, then relative to the heaviest
		halfLife := time.Duration(rapid.IntRange(1, 3600).Draw(t, "half-life s")) * time.Second
		h := NewHistogram(halfLife)
		var naive []observation
		var at time.Duration
		for range rapid.IntRange(1, 60).Draw(t, "observations") {
			at += time.Duration(rapid.Float64Range(0, 300).Draw(t, "gap s") * float64(time.Second))
			value := rapid.Float64Range(0, 9000).Draw(t, "value")
			if rapid.Bool().Draw(t, "whole") {
				value = math.Round(value)
			}
			weight := rapid.Float64Range(0.01, 10).Draw(t, "weight")
			h.Add(at, value, weight)
			naive = append(naive, observation{value, math.Log2(weight) + float64(at)/float64(halfLife)})
		}
		heaviest := math.Inf(-1)
		for _, o := range naive {
			heaviest = math.Max(heaviest, o.weight)
		}
		sort.Slice(naive, func(i, j int) bool { return naive[i].value < naive[j].value })
		total := 0.0
		for i := range naive {
			naive[i].weight = math.Exp2(naive[i].weight - heaviest)
			total += naive[i].weight
		}
		q := rapid.Float64Range(0.01, 0.99).Draw(t, "q")
		// Rounding may decide a tie at the quantile either way: accept what a
		// share a hair smaller or larger gives.
		exact := func(q float64) float64 {
			partial := 0.0
			for _, o := range naive {
				if partial += o.weight; partial >= q*total {
					return o.value
				}
			}
			return naive[len(naive)-1].value
		}
		low, high := exact(q-1e-9), exact(q+1e-9)
		got := h.Quantile(q)
		if got < low-1e-9 || got > math.Max(math.Ceil(high), high*histogramRatio)+1e-9 {
			t.Fatalf("quantile %.4f = %v, naive %v to %v", q, got, low, high)
		}
	})
}

func TestHistogramBucketEdgesKeepTheDocumentedError(t *testing.T) {
	for v := 0; v <= histogramMax; v++ {
		var h Histogram
		h.Add(0, float64(v), 1)
		got := h.Quantile(0.5)
		if got < float64(v) || got > float64(v)*histogramRatio+1e-9 {
			t.Fatalf("%d is answered by %v, more than 5 %% off", v, got)
		}
		if v <= histogramExact && got != float64(v) {
			t.Fatalf("%d is answered by %v, want exact", v, got)
		}
	}
	if last := histogramEdge[histogramBuckets-1]; last != histogramMax {
		t.Fatalf("last edge %v, want %v", last, histogramMax)
	}
	if histogramEdge[histogramBuckets-2] >= histogramMax {
		t.Fatal("the last two buckets are the same: too many buckets")
	}
}

func TestHistogramHalvesWeightEachHalfLifeAndSurvivesAYear(t *testing.T) {
	h := NewHistogram(time.Hour)
	h.Add(0, 5, 8)
	for hours, want := range map[int]float64{0: 8, 1: 4, 3: 1} {
		if got := h.Total(time.Duration(hours) * time.Hour); math.Abs(got-want) > 1e-12 {
			t.Errorf("after %d h weight %v, want %v", hours, got, want)
		}
	}
	h = NewHistogram(time.Second)
	for at := time.Duration(0); at < 365*24*time.Hour; at += time.Hour {
		h.Add(at, 7, 1)
		if total := h.Total(at); math.Abs(total-1) > 1e-9 {
			t.Fatalf("at %v total %v, want 1: the hour before is forgotten", at, total)
		}
	}
}

func TestHistogramRescalingChangesNoQuantile(t *testing.T) {
	// 99 and 101 half-lives: one side of the rescale and the other.
	for _, at := range []time.Duration{99 * time.Second, 101 * time.Second} {
		h := NewHistogram(time.Second)
		h.Add(at-2*time.Second, 4, 6)
		h.Add(at, 40, 1)
		if got := h.Quantile(0.59); got != 4 { // 6/4 against 1: a share of 0.6
			t.Errorf("at %v quantile 0.59 = %v, want 4", at, got)
		}
		if got := h.Quantile(0.61); got < 40 || got > 42 {
			t.Errorf("at %v quantile 0.61 = %v, want 40 to 42", at, got)
		}
	}
}

func TestHistogramIgnoresWhatIsNoNumber(t *testing.T) {
	var h Histogram
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1} {
		h.Add(0, v, 1)
		h.Add(0, 1, v)
	}
	h.Add(0, 1, 0)
	if h != (Histogram{}) {
		t.Fatal("an absurd observation left a trace")
	}
	if h.Quantile(0.5) != 0 || h.Total(0) != 0 {
		t.Fatal("an empty histogram must answer 0 and be empty")
	}
	h.Add(0, 3, 1)
	for _, q := range []float64{math.NaN(), 2, math.Inf(1)} {
		if got := h.Quantile(q); got != 3 {
			t.Errorf("quantile %v = %v, want the highest", q, got)
		}
	}
}

func TestOnlineStateSurvivesJSONUnchanged(t *testing.T) {
	type state struct {
		H Histogram
		D Demand
		S Samples
	}
	s := state{H: NewHistogram(time.Hour), S: Samples{HalfLife: time.Minute}}
	for i := range 300 {
		at := time.Duration(i) * 700 * time.Millisecond
		s.H.Add(at, float64(i%37), 1)
		s.D.Observe(Window{Elapsed: 700 * time.Millisecond, Arrivals: int64(i % 11), Completions: int64(i % 7), ServiceTime: time.Duration(i) * time.Millisecond, ServiceTimeSq: 0.1})
		s.S.Add(at, float64(1+i%20), float64(i%13), 0.7)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back state
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if back != s { // comparable: no pointer, map or slice inside
		t.Fatal("state changed on its way through JSON")
	}
	copied := s
	s.H.Add(time.Hour, 9, 1)
	s.S.Add(time.Hour, 9, 9, 9)
	if copied != back {
		t.Fatal("a copy shares memory with the original")
	}
}
