package model

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestSamplesGiveBackTheCurveTheyWereFed(t *testing.T) {
	want := ClosedMMC{Servers: 8, Service: 0.004}
	s := NewSamples(time.Hour)
	var at time.Duration
	for n := 1.0; n <= 100; n = math.Ceil(n * 1.3) {
		for range 5 {
			at += time.Second
			s.Add(at, n, want.Throughput(n), 1)
		}
	}
	points := s.Points(at, nil)
	for i, p := range points {
		if !near(p.X, want.Throughput(p.N), 1e-9) || !near(p.S, p.N/p.X, 1e-9) || !near(p.Weight, 5, 0.05) {
			t.Errorf("%+v, want X %v", p, want.Throughput(p.N))
		}
		if i > 0 && p.N <= points[i-1].N {
			t.Errorf("points out of order: %v after %v", p.N, points[i-1].N)
		}
	}
	if k := FitCapacity(points).Knee; !k.Identified || k.N != 8 {
		t.Errorf("%v, want 8", k)
	}
}

func TestSampleBucketsAreExactTo16AndThen12PerCentWide(t *testing.T) {
	last := -1
	for n := 1; n <= int(sampleMax); n++ {
		b := sampleBucketOf(float64(n))
		if n <= sampleExact && b != n-1 {
			t.Fatalf("n = %d in bucket %d", n, b)
		}
		if b != last && b != last+1 {
			t.Fatalf("n = %d skips from bucket %d to %d", n, last, b)
		}
		last = b
	}
	if last != MaxPoints-1 {
		t.Errorf("largest n in bucket %d of %d", last, MaxPoints)
	}
	for _, n := range []float64{1e-9, 0.4, 1e12} {
		if b := sampleBucketOf(n); b < 0 || b >= MaxPoints {
			t.Errorf("n = %v in bucket %d", n, b)
		}
	}
}

func TestSamplesFadeAndAreForgotten(t *testing.T) {
	s := NewSamples(time.Minute)
	s.Add(0, 10, 800, 8)
	if p := s.Points(time.Minute, nil); len(p) != 1 || !near(p[0].Weight, 4, 1e-9) || !near(p[0].X, 100, 1e-9) {
		t.Errorf("a half-life later %+v, want weight 4, X 100", p)
	}
	s.Add(time.Minute, 10, 4*200, 4) // a newer truth, as heavy as what is left of the old
	if p := s.Points(time.Minute, nil); !near(p[0].X, 150, 1e-9) {
		t.Errorf("%+v, want the mean of old and new", p)
	}
	if age, ok := s.Age(90*time.Second, 10); !ok || age != 30*time.Second {
		t.Errorf("age %v %v, want 30 s", age, ok)
	}
	if _, ok := s.Age(0, 11); ok {
		t.Error("n = 11 was never seen")
	}
	s.Forget(0.5)
	if p := s.Points(time.Minute, nil); !near(p[0].Weight, 4, 1e-9) || !near(p[0].X, 150, 1e-9) {
		t.Errorf("half forgotten: %+v", p)
	}
	if p := s.Points(time.Hour, nil); len(p) != 0 {
		t.Errorf("an hour later: %+v", p)
	}
	s.Forget(math.NaN())
	if p := s.Points(time.Minute, nil); len(p) != 0 {
		t.Errorf("all forgotten: %+v", p)
	}
}

func TestSamplesIgnoreWhatIsNoNumber(t *testing.T) {
	s := NewSamples(time.Minute)
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1} {
		s.Add(0, bad, 1, 1)
		s.Add(0, 1, bad, 1)
		s.Add(0, 1, 1, bad)
	}
	s.Add(0, 0, 1, 1)
	s.Add(0, 1, 1, 0)
	if s != NewSamples(time.Minute) {
		t.Errorf("%+v", s)
	}
}

// plant is a database whose windows of 1 s vary by the given noise, while the
// limit wanders around its knee as a probing controller moves it.
type plant struct {
	random *rand.Rand
	noise  float64
	law    ClosedMMC
}

func (p plant) window(i int) (n, completions float64) {
	n = []float64{8, 8, 9, 8, 7, 8, 10, 12, 10, 8}[i/5%10]
	return n, p.law.Throughput(n) * math.Exp(p.noise*p.random.NormFloat64())
}

func TestDriftIsSilentWhileNothingChanges(t *testing.T) {
	for _, noise := range []float64{0, 0.01, 0.05, 0.2} {
		p := plant{rand.New(rand.NewPCG(7, 7)), noise, ClosedMMC{Servers: 8, Service: 0.01}}
		s := NewSamples(10 * time.Minute)
		alarms := 0
		const windows = 20_000 // 5½ hours of saturation
		for i := range windows {
			n, completions := p.window(i)
			if s.Add(time.Duration(i)*time.Second, n, completions, 1) != Unchanged {
				alarms++
			}
		}
		t.Logf("noise %.2f: measured %.3f, %d alarms in %d windows", noise, s.Drift.Noise(), alarms, windows)
		if alarms > 1 {
			t.Errorf("noise %v: %d false alarms", noise, alarms)
		}
		if want := math.Max(noise, driftNoiseFloor); !near(s.Drift.Noise(), want, 0.3) {
			t.Errorf("noise measured as %v, want %v", s.Drift.Noise(), want)
		}
	}
}

func TestDriftReportsALastingChangeInBothDirections(t *testing.T) {
	for _, c := range []struct {
		noise, factor float64
		within        int
		want          Change
	}{
		{0.02, 0.5, 4, Slower},
		{0.02, 2, 4, Faster},
		{0.05, 0.8, 12, Slower},
		{0.05, 1.25, 12, Faster},
		{0.02, 0.9, 20, Slower},
		{0.2, 0.5, 12, Slower},
	} {
		late := 0
		for seed := range uint64(50) {
			p := plant{rand.New(rand.NewPCG(seed, 3)), c.noise, ClosedMMC{Servers: 8, Service: 0.01}}
			s := NewSamples(10 * time.Minute)
			for i := range 300 {
				n, completions := p.window(i)
				s.Add(time.Duration(i)*time.Second, n, completions, 1)
			}
			seen, at := Unchanged, 0
			for i := 300; i < 300+c.within && seen == Unchanged; i++ {
				n, completions := p.window(i)
				seen, at = s.Add(time.Duration(i)*time.Second, n, completions*c.factor, 1), i-299
			}
			if seen != c.want {
				late++
			} else if at < 3 {
				t.Errorf("factor %v was believed after %d windows, want three to agree", c.factor, at)
			}
		}
		if late > 2 {
			t.Errorf("noise %v, factor %v: %d of 50 not %v within %d windows", c.noise, c.factor, late, c.want, c.within)
		}
	}
}

func TestOneStallIsNoDrift(t *testing.T) {
	p := plant{rand.New(rand.NewPCG(5, 5)), 0.02, ClosedMMC{Servers: 8, Service: 0.01}}
	s := NewSamples(10 * time.Minute)
	for i := range 2000 {
		n, completions := p.window(i)
		if i%60 > 57 { // two seconds in each minute nothing completes: a checkpoint
			completions = 0
		}
		if got := s.Add(time.Duration(i)*time.Second, n, completions, 1); got != Unchanged {
			t.Fatalf("window %d: %v", i, got)
		}
	}
}

func TestDriftSaysNothingWhereNothingWasSeen(t *testing.T) {
	s := NewSamples(0)
	for i := range 100 {
		s.Add(time.Duration(i)*time.Second, 4, 400, 1)
	}
	before := s.Drift
	if got := s.Add(100*time.Second, 40, 1, 1); got != Unchanged || s.Drift != before {
		t.Errorf("n = 40 was judged by n = 4: %v", got)
	}
}
