package policy

import "math"

// logLinear is a histogram of whole microseconds in the bins that Envoy uses
// (Circonus' log-linear histogram, libcircllhist): 90 to a power of ten, two
// significant digits, counted evenly over a bin.
type logLinear struct {
	bins  [1 + decades*perDecade]uint32 // the first is for 0
	count int
}

const (
	perDecade = 90
	decades   = 10 // up to 10^10 µs, nearly three hours
)

func (l *logLinear) add(us int64) {
	l.bins[bin(us)]++
	l.count++
}

func (l *logLinear) clear() { *l = logLinear{} }

// bin is the one of a value: 10 … 99 times a power of ten, in order.
func bin(us int64) int {
	if us <= 0 {
		return 0
	}
	us = min(us, int64(math.Pow10(decades))-1)
	decade, scale := 0, int64(1)
	for us/scale >= 10 {
		decade, scale = decade+1, 10*scale
	}
	return 1 + decade*perDecade + int(10*us/scale) - 10
}

// edge is the lower end of a bin, and how wide it is.
func edge(i int) (low, width float64) {
	if i == 0 {
		return 0, 0
	}
	decade, digits := (i-1)/perDecade, (i-1)%perDecade+10
	width = math.Pow10(decade - 1)
	return float64(digits) * width, width
}

// quantile is the value below which the share q of the values lie; 0 of none.
func (l *logLinear) quantile(q float64) float64 {
	want, seen := q*float64(l.count), 0.0
	for i, n := range l.bins {
		if n == 0 {
			continue
		}
		if seen+float64(n) >= want {
			low, width := edge(i)
			return low + width*math.Max(0, want-seen)/float64(n)
		}
		seen += float64(n)
	}
	return 0
}
