package model

import "math"

// worth is what an objective maximizes, in logs, at the i-th point: throughput,
// or power.
func (u unimodal) worth(o Objective, i int) float64 {
	if o == Latency {
		return 2*u.logX[i] - math.Log(u.n[i])
	}
	return u.logX[i]
}

func (u unimodal) worthAt(o Objective, n float64) float64 {
	if o == Latency {
		return 2*u.at(n) - math.Log(n)
	}
	return u.at(n)
}

func (u unimodal) bestIndex(o Objective) int {
	if o != Latency {
		return u.top
	}
	best := 0
	for i := range u.n {
		if u.worth(o, i) > u.worth(o, best) {
			best = i
		}
	}
	return best
}

// peak returns the peak of a model, or that of the points where they put the
// model's more than half a per cent, and more than the noise, below it.
func (u unimodal) peak(n int, x float64) (int, float64) {
	top := u.logX[u.top]
	if u.at(float64(n)) < top-math.Max(u.noise, 0.005) {
		return ceilN(u.n[u.top]), math.Exp(top)
	}
	return n, x
}

// bracket is what the points alone say of a knee.
type bracket struct {
	seen int // smallest n seen within tolerance of the best seen
	low  int // largest n seen that is clearly too small; 0: none
	high int // smallest n seen that is clearly enough
	// chord is the smallest n that is within tolerance even if throughput runs
	// straight between the points. A capacity curve is concave up to its top, so
	// the truth can only be better.
	chord int
}

// bracket finds the interval in which the points put the knee. Points closer to
// the tolerance than the noise decide nothing.
func (u unimodal) bracket(o Objective) bracket {
	top := u.bestIndex(o)
	if o == Latency { // the best may lie on either side of the best point seen
		b := bracket{seen: ceilN(u.n[top]), high: math.MaxInt}
		b.chord = b.seen
		if top > 0 {
			b.low = int(u.n[top-1])
		}
		if top < len(u.n)-1 {
			b.high = ceilN(u.n[top+1])
		}
		return b
	}
	least := u.logX[top] + math.Log1p(-o.tolerance())
	var b bracket
	for i := 0; i <= top; i++ {
		x := u.logX[i]
		if x < least-u.noise {
			b.low = int(u.n[i])
		}
		if x >= least && b.seen == 0 {
			b.seen = ceilN(u.n[i])
		}
		if x >= math.Min(least+u.noise, u.logX[top]) {
			b.high = ceilN(u.n[i])
			break
		}
	}
	b.chord = b.high
	for n := b.low + 1; n < b.high; n++ {
		if u.at(float64(n)) >= least-u.noise {
			b.chord = n
			break
		}
	}
	return b
}

func ceilN(n float64) int { return max(1, int(math.Ceil(n))) }

// kneeGap is how far apart the two sides of a bracket may be for the seen n to be
// taken as it is: up to 30 % more connections cost little latency, and that n has
// proved itself.
const kneeGap = 1.3

// admit decides between the knee k of a model and the points. The points fix the
// interval, the model places the knee inside, but never where the loss could
// exceed the tolerance should the model be wrong between the points. A model
// whose knee lies outside of the interval is refuted there.
func (b bracket) admit(o Objective, k int) int {
	switch {
	case k <= b.low || k > b.high:
		return b.seen
	case o == Latency:
		if float64(max(k, b.seen)) > kneeGap*float64(min(k, b.seen)) {
			return b.seen
		}
		return k
	case b.low > 0 && float64(b.high) <= kneeGap*float64(b.low):
		return b.high
	default:
		return max(k, b.chord)
	}
}

// A model is trusted between and beyond single points when its error is no more
// than modelMisfit times the noise that the points show without it, for then what
// it misses is noise. Even so it is refuted where the points put its knee more
// than modelRefuted times its error below the tolerance: the highest of ten noisy
// points is 1.5 standard deviations of luck, and the point at the knee has its own.
const (
	modelMisfit  = 2.0
	modelRefuted = 3.0
)

// place puts the knee of each objective; believed is where the model alone would
// put it, as far as the points do not refute that. rms is the model's log error.
//
// Points from a clean benchmark show less noise than any model's misfit; there
// the points decide and the model fills the gaps. Points from a live pool scatter
// around a model that fits; there their highest is mostly luck, and the model
// decides.
func place(data unimodal, table []float64, rms float64) (n, believed [len(objectives)]int) {
	g := gridOf(data.n[0], data.n[len(data.n)-1])
	for _, o := range objectives {
		b := data.bracket(o)
		k := kneeOf(table, g, o, 0)
		if rms <= modelMisfit*data.noise && data.allows(o, k, rms) {
			n[o], believed[o] = k, k
			continue
		}
		n[o], believed[o] = b.admit(o, k), k
		if k <= b.low || k > b.high {
			believed[o] = n[o]
		}
	}
	// Who gives away less needs no fewer connections.
	n[Throughput] = max(n[Throughput], n[Balanced])
	believed[Throughput] = max(believed[Throughput], believed[Balanced])
	return n, believed
}

// allows reports whether the points are compatible with a knee at k.
func (u unimodal) allows(o Objective, k int, rms float64) bool {
	least := u.worth(o, u.bestIndex(o)) + math.Log1p(-o.tolerance())
	return u.worthAt(o, float64(k)) >= least-modelRefuted*rms
}

// span is a range of n.
type span struct{ low, high int }

func (s *span) take(n int) { s.low, s.high = min(s.low, n), max(s.high, n) }

// kneeOf is the knee of a tabled curve; shift moves the tolerance in logs.
func kneeOf(table []float64, g grid, o Objective, shift float64) int {
	if o == Latency {
		best, power := g.low, 0.0
		for n := g.low; n <= g.high; n++ {
			if p := table[n-1] * table[n-1] / float64(n); p > power*(1+1e-12) {
				best, power = n, p
			}
		}
		return best
	}
	_, peak := peakOf(table, g)
	least := peak * (1 - o.tolerance()) * math.Exp(math.Min(shift, -math.Log1p(-o.tolerance())))
	for n := g.low; n < g.high; n++ {
		if table[n-1] >= least {
			return n
		}
	}
	return g.high
}

// resamples is how many parts of the points are left out in turn: each point
// when there are no more than this, else every 12th.
const resamples = 12

// resample finds the interval of each knee. It is a jackknife, hence the same
// for the same points: the whole procedure is repeated without each part of the
// points, with the rival models, and with the tolerance moved by the noise.
func resample(pts []Point, data unimodal, best choice, rivals []choice, placed [len(objectives)]int) (s [len(objectives)]span) {
	for o := range s {
		s[o] = span{placed[o], placed[o]}
	}
	take := func(n, believed [len(objectives)]int) {
		for o := range s {
			s[o].take(n[o])
			s[o].take(believed[o])
		}
	}
	take(place(data, tabulate(best.law, pts[len(pts)-1].N), best.rms(pts)))
	last := pts[len(pts)-1].N
	for _, r := range rivals {
		take(place(data, tabulate(r.law, last), r.rms(pts)))
	}
	g := gridOf(pts[0].N, last)
	table := tabulate(best.law, last)
	for _, o := range objectives {
		for _, shift := range [...]float64{-data.noise, data.noise} {
			k := kneeOf(table, g, o, shift)
			if b := data.bracket(o); k > b.low && k <= b.high {
				s[o].take(k)
			}
		}
	}
	if len(pts) <= kneePoints {
		return s
	}
	parts := min(len(pts), resamples)
	rest := make([]Point, 0, len(pts))
	for part := range parts {
		rest = rest[:0]
		for i, p := range pts {
			if i%parts != part {
				rest = append(rest, p)
			}
		}
		l, err := best.fit(rest, best.law)
		if err != nil {
			continue
		}
		again := choice{misfit: misfit(rest, l.Throughput, logError)}
		take(place(smooth(rest), tabulate(l, rest[len(rest)-1].N), again.rms(rest)))
	}
	return s
}
