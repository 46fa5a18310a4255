package model

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestSamplesGiveBackTheCurveTheyWereFed(t *testing.T) {
	want := ClosedMMC{Servers: 8, Service: 0.004}
	s := Samples{HalfLife: time.Hour}
	var at time.Duration
	for n := 1.0; n <= 100; n = math.Ceil(n * 1.3) {
		for range 5 {
			at += time.Second
			s.Add(at, n, want.Throughput(n), 1)
		}
	}
	for n := 1.0; n <= 100; n = math.Ceil(n * 1.3) {
		x, seconds, ok := s.Near(at, n)
		if !ok || !near(x, want.Throughput(n), 1e-9) || !near(seconds, 5, 0.05) {
			t.Errorf("n = %v: X %v of %v s, %v; want %v of 5 s", n, x, seconds, ok, want.Throughput(n))
		}
	}
	// Between two, straight in logs; beyond the last, nothing.
	if x, _, ok := s.Near(at, 34); !ok || !near(x, want.Throughput(34), 1e-3) {
		t.Errorf("X(34) = %v, %v; want %v", x, ok, want.Throughput(34))
	}
	if x, _, ok := s.Near(at, 200); ok {
		t.Errorf("X(200) = %v of a limit nobody tried", x)
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
	if last != LevelCount-1 {
		t.Errorf("largest n in bucket %d of %d", last, LevelCount)
	}
	for _, n := range []float64{1e-9, 0.4, 1e12} {
		if b := sampleBucketOf(n); b < 0 || b >= LevelCount {
			t.Errorf("n = %v in bucket %d", n, b)
		}
	}
}

func TestSamplesFadeAndAreForgotten(t *testing.T) {
	s := Samples{HalfLife: time.Minute}
	s.Add(0, 10, 800, 8)
	is := func(when string, at time.Duration, x, seconds float64) {
		t.Helper()
		if gotX, got, ok := s.Near(at, 10); ok != (seconds > 0) || !near(gotX, x, 1e-9) || !near(got, seconds, 1e-9) {
			t.Errorf("%s: X %v of %v s, want %v of %v s", when, gotX, got, x, seconds)
		}
	}
	is("a half-life later", time.Minute, 100, 4)
	s.Add(time.Minute, 10, 4*200, 4) // a newer truth, as heavy as what is left of the old
	is("the mean of old and new", time.Minute, 150, 8)
	s.Forget(0.5)
	is("half forgotten", time.Minute, 150, 4)
	is("an hour later", time.Hour, 0, 0)
	s.Forget(math.NaN())
	is("all forgotten", time.Minute, 0, 0)
}

func TestSamplesIgnoreWhatIsNoNumber(t *testing.T) {
	s := Samples{HalfLife: time.Minute}
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1} {
		s.Add(0, bad, 1, 1)
		s.Add(0, 1, bad, 1)
		s.Add(0, 1, 1, bad)
	}
	s.Add(0, 0, 1, 1)
	s.Add(0, 1, 1, 0)
	if s != (Samples{HalfLife: time.Minute}) {
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
		s := Samples{HalfLife: 10 * time.Minute}
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
			s := Samples{HalfLife: 10 * time.Minute}
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
	s := Samples{HalfLife: 10 * time.Minute}
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
	s := Samples{}
	for i := range 100 {
		s.Add(time.Duration(i)*time.Second, 4, 400, 1)
	}
	before := s.Drift
	if got := s.Add(100*time.Second, 40, 1, 1); got != Unchanged || s.Drift != before {
		t.Errorf("n = 40 was judged by n = 4: %v", got)
	}
}

func TestLevelTopIsTheLastOfItsEntry(t *testing.T) {
	for n := 1; n < sampleMax; n++ {
		if top := LevelTop(n); top < n || LevelOf(top) != LevelOf(n) || top < sampleMax && LevelOf(top+1) == LevelOf(n) {
			t.Fatalf("LevelTop(%d) is %d", n, top)
		}
	}
}
