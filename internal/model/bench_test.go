package model

import (
	"math"
	"testing"
	"time"
)

var sink float64

func BenchmarkHistogramAddAndQuantile(b *testing.B) {
	h := NewHistogram(time.Hour)
	var at time.Duration
	b.ReportAllocs()
	for b.Loop() {
		at += time.Second
		h.Add(at, float64(at/time.Second%97), 1)
		sink = h.Quantile(0.95)
	}
}

func BenchmarkErlangCServers(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		sink = float64(ErlangCServersForWait(100, 10*time.Millisecond, 0.99, 5*time.Millisecond, 1.5))
	}
}

func BenchmarkDemandObserve(b *testing.B) {
	var d Demand
	w := steady(time.Second, 200, 25*time.Millisecond)
	b.ReportAllocs()
	for b.Loop() {
		d.Observe(w)
	}
}

func BenchmarkSamplesAddAndNear(b *testing.B) {
	s := Samples{HalfLife: 10 * time.Minute}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		s.Add(time.Duration(i)*time.Second, float64(1+i%50), 100, 1)
		sink, _, _ = s.Near(time.Duration(i)*time.Second, float64(1+i%50))
	}
}

func benchmarkFit(b *testing.B, last float64) {
	var points []Point
	law := ClosedMMC{Servers: 16, Service: 0.01, Delay: 0.005}
	for n := 1.0; n <= last; n = math.Ceil(n * 1.12) {
		points = append(points, Point{N: n, X: law.Throughput(n) * (1 + 0.02*math.Sin(n)), Weight: 10})
	}
	b.ReportAllocs()
	for b.Loop() {
		sink = FitCapacity(points).PeakX
	}
	b.ReportMetric(float64(len(points)), "points")
}

func BenchmarkFitCapacityTo16(b *testing.B)   { benchmarkFit(b, 16) }
func BenchmarkFitCapacityTo100(b *testing.B)  { benchmarkFit(b, 100) }
func BenchmarkFitCapacityTo1000(b *testing.B) { benchmarkFit(b, 1000) }

// The online half is called at every look and must not feed the collector.
func TestOnlineHalfDoesNotAllocate(t *testing.T) {
	h, s := NewHistogram(time.Hour), Samples{HalfLife: 10 * time.Minute}
	var d Demand
	w := steady(time.Second, 200, 25*time.Millisecond)
	var at time.Duration
	allocs := testing.AllocsPerRun(1000, func() {
		at += time.Second
		h.Add(at, 7, 1)
		sink = h.Quantile(0.9)
		d.Observe(w)
		sink = d.Rates().OfferedLoad
		s.Add(at, 9, 100, 1)
		sink, _, _ = s.Near(at, 9)
		sink = float64(ErlangCServers(20, 0.05))
	})
	if allocs != 0 {
		t.Errorf("%v allocations a look, want 0", allocs)
	}
}
