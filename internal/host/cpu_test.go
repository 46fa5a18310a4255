package host

import (
	"math"
	"testing"
)

func TestBusyShare(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	type cores = map[string]cpuTime
	for name, c := range map[string]struct {
		before, after cores
		want          float64
		known         bool
	}{
		"a quarter":              {cores{"cpu0": {10, 100}}, cores{"cpu0": {11, 104}}, 0.25, true},
		"cores are weighed":      {cores{"cpu0": {0, 0}, "cpu1": {0, 0}}, cores{"cpu0": {3, 3}, "cpu1": {0, 1}}, 0.75, true},
		"idle":                   {cores{"cpu0": {5, 5}}, cores{"cpu0": {5, 6}}, 0, true},
		"nothing before":         {nil, cores{"cpu0": {5, 5}}, 0, false},
		"nothing after":          {cores{"cpu0": {5, 5}}, nil, 0, false},
		"clock stood still":      {cores{"cpu0": {5, 9}}, cores{"cpu0": {5, 9}}, 0, false},
		"clock went back":        {cores{"cpu0": {5, 9}}, cores{"cpu0": {6, 8}}, 0, false},
		"busy went back":         {cores{"cpu0": {5, 9}}, cores{"cpu0": {4, 10}}, 0, true},
		"idle went back":         {cores{"cpu0": {5, 9}}, cores{"cpu0": {8, 10}}, 1, true},
		"a core was plugged in":  {cores{"cpu0": {0, 0}}, cores{"cpu0": {1, 2}, "cpu1": {900, 900}}, 0.5, true},
		"a core was pulled out":  {cores{"cpu0": {0, 0}, "cpu1": {900, 900}}, cores{"cpu0": {1, 2}}, 0.5, true},
		"a core started over":    {cores{"cpu0": {0, 0}, "cpu1": {900, 999}}, cores{"cpu0": {1, 2}, "cpu1": {1, 1}}, 0.5, true},
		"not a number":           {cores{"cpu0": {0, 0}, "cpu1": {0, 0}}, cores{"cpu0": {1, 2}, "cpu1": {nan, nan}}, 0.5, true},
		"infinite":               {cores{"cpu0": {0, 0}}, cores{"cpu0": {inf, inf}}, 0, false},
		"all cores were renamed": {cores{"cpu0": {0, 0}}, cores{"cpu7": {1, 2}}, 0, false},
	} {
		got, known := busyShare(c.before, c.after)
		if math.Abs(got-c.want) > 1e-12 || known != c.known || math.IsNaN(got) {
			t.Errorf("%s: %v %v, want %v %v", name, got, known, c.want, c.known)
		}
	}
}

func TestQuotaShare(t *testing.T) {
	for name, c := range map[string]struct {
		used, elapsed, quota float64
		want                 float64
		known                bool
	}{
		"half of half a core":     {0.25, 1, 0.5, 0.5, true},
		"half of four cores":      {4, 2, 4, 0.5, true},
		"a burst above it":        {1.1, 1, 1, 1, true},
		"idle":                    {0, 1, 1, 0, true},
		"counter went back":       {-1, 1, 1, 0, false},
		"clock went back":         {1, -1, 1, 0, false},
		"clock stood still":       {1, 0, 1, 0, false},
		"no quota":                {1, 1, 0, 0, false},
		"counter unknown":         {math.NaN(), 1, 1, 0, false},
		"infinite time":           {1, math.Inf(1), 1, 0, false},
		"quota is not a number":   {1, 1, math.NaN(), 0, false},
		"counter without measure": {math.Inf(1), 1, 1, 0, false},
	} {
		got, known := quotaShare(c.used, c.elapsed, c.quota)
		if math.Abs(got-c.want) > 1e-12 || known != c.known || math.IsNaN(got) {
			t.Errorf("%s: %v %v, want %v %v", name, got, known, c.want, c.known)
		}
	}
}

func FuzzSharesStayShares(f *testing.F) {
	f.Add(0.0, 0.0, 1.0, 2.0)
	f.Add(math.MaxFloat64, -math.MaxFloat64, math.MaxFloat64, math.MaxFloat64)
	f.Fuzz(func(t *testing.T, a, b, c, d float64) {
		for _, share := range []func() (float64, bool){
			func() (float64, bool) {
				return busyShare(map[string]cpuTime{"cpu0": {a, b}}, map[string]cpuTime{"cpu0": {c, d}})
			},
			func() (float64, bool) { return quotaShare(a, b, c) },
		} {
			if s, known := share(); !(s >= 0 && s <= 1) || !known && s != 0 {
				t.Errorf("%v %v of %v %v %v %v", s, known, a, b, c, d)
			}
		}
	})
}
