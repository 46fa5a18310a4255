package ingest

import (
	"math"

	"github.com/pgautotune/autotune/simulations/trace"
)

// superpose adds up the intervals that describe the same time: those of the threads
// of a load generator, each with a log of its own, or of several pools, of which two may
// be the same in everything. They are in order of time. Of those that overlap in part it
// says so: a simulation takes each only until the next one begins.
func (s *sink) superpose() []trace.Interval {
	out := s.intervals[:0]
	begin, added, overlap := 0, 0, 0 // begin: the first of out that begins when the present one does
	for _, i := range s.intervals {
		if len(out) > 0 && nanoseconds(out[begin].T) != nanoseconds(i.T) {
			if last := out[len(out)-1]; nanoseconds(last.T+known(last.Dur)) > nanoseconds(i.T) {
				overlap++
			}
			begin = len(out)
		}
		same := -1
		for k := begin; k < len(out); k++ {
			if a, b := out[k].Dur, i.Dur; a == b || math.IsNaN(a) && math.IsNaN(b) {
				same = k
			}
		}
		if same < 0 {
			if begin < len(out) {
				overlap++
			}
			out = append(out, i)
			continue
		}
		add(&out[same], &i)
		added++
	}
	if added > 0 {
		s.note("%d intervals were added to others of the same time.", added)
	}
	if overlap > 0 {
		s.note("%d intervals end after the next one begins, at a time of their own: a simulation takes each only until the next. Of threads or pools that were recorded beside each other, import one at a time.", overlap)
	}
	return out
}

// add adds the requests and connections of b to a.
func add(a, b *trace.Interval) {
	n, m := requests(a), requests(b)
	a.ServiceMean, a.ServiceCV = pool(n, a.ServiceMean, a.ServiceCV, m, b.ServiceMean, b.ServiceCV)
	a.WaitMean, _ = pool(n, a.WaitMean, 0, m, b.WaitMean, 0)
	a.IaCV = math.NaN() // of the sum, neither says
	for _, f := range [][2]*float64{{&a.Rate, &b.Rate}, {&a.Arrivals, &b.Arrivals}, {&a.Active, &b.Active}, {&a.Idle, &b.Idle},
		{&a.IdleInTransaction, &b.IdleInTransaction}, {&a.Hidden, &b.Hidden}, {&a.Waiting, &b.Waiting}, {&a.Limit, &b.Limit}} {
		switch x, y := *f[0], *f[1]; {
		case math.IsNaN(x):
			*f[0] = y
		case !math.IsNaN(y):
			*f[0] = x + y
		}
	}
	// These are of the server, which is one.
	for _, f := range [][2]*float64{{&a.Others, &b.Others}, {&a.CPU, &b.CPU}} {
		if math.IsNaN(*f[0]) || *f[1] > *f[0] {
			*f[0] = *f[1]
		}
	}
}

// requests are those of an interval, or as many a second: a weight.
func requests(i *trace.Interval) float64 {
	if math.IsNaN(i.Arrivals) {
		return i.Rate
	}
	return i.Arrivals
}

// pool is the mean and the coefficient of variation of n times and m other ones.
func pool(n, mean, cv, m, mean2, cv2 float64) (float64, float64) {
	switch {
	case !(m > 0) || math.IsNaN(mean2):
		return mean, cv
	case !(n > 0) || math.IsNaN(mean):
		return mean2, cv2
	}
	both := (n*mean + m*mean2) / (n + m)
	square := (n*mean*mean*(1+cv*cv) + m*mean2*mean2*(1+cv2*cv2)) / (n + m)
	if !(both > 0) {
		return both, math.NaN()
	}
	return both, math.Sqrt(max(0, square-both*both)) / both
}
