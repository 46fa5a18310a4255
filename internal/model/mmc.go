package model

import "math"

// ClosedMMC is a closed queue: n connections circulate for ever between a
// station of c servers (the cores of the database) with exponential service
// time, and a delay without queueing (network, disk, the caller's own work while
// it holds the connection). It is the machine-repair model, and its knee is as
// sharp as a queue allows: without delay X = min(n, c)/s.
type ClosedMMC struct {
	Servers int     `json:"servers"` // c
	Service float64 `json:"service"` // s, seconds at a server
	Delay   float64 `json:"delay"`   // z, seconds per cycle away from the servers
}

// Throughput is X(n) per second, exact for whole n and linear between them; 0
// for n ≤ 0.
func (m ClosedMMC) Throughput(n float64) float64 {
	if !(n > 0) || m.Servers < 1 || !(m.Service > 0) {
		return 0
	}
	r := mmcRatio{c: m.Servers, r: m.Delay / m.Service}
	return r.at(n) / m.Service
}

func (m ClosedMMC) fill(xs []float64) {
	r := mmcRatio{c: m.Servers, r: m.Delay / m.Service}
	r.fill(xs)
	for i := range xs {
		xs[i] /= m.Service
	}
}

// IdleServers is the share of its time, 0 to 1, that a server is idle while n connections
// circulate and so many of them are at the servers on the average, served or waiting for
// it, the rest being away without queueing. That is all that more connections could give.
// It is that of [ClosedMMC] with the delay at which as many are there; by the product
// form (Baskett, Chandy, Muntz, Palacios 1975) it holds for delays of any distribution,
// and for service of any where the servers are shared, as cores are. 1 for n ≤ 0.
func IdleServers(n, at float64, servers int) float64 {
	c := float64(servers)
	if !(n > 0) || !(at > 0) || servers < 1 {
		return 1
	}
	if n <= c || at >= n { // nobody waits for a server, or nobody is away
		return 1 - math.Min(math.Min(at, n), c)/c
	}
	// X·r connections are away (Little), more the longer that takes. X is at most c, and
	// at least c·at/n, because who comes to the servers shares them with n others at most.
	low, high, x := (n-at)/c, (n-at)*n/(at*c), c
	for range 40 {
		r := (low + high) / 2
		if x = (mmcRatio{c: servers, r: r}).at(n); x*r < n-at {
			low = r
		} else {
			high = r
		}
	}
	return math.Max(0, 1-x/c)
}

// mmcRatio is the shape of a closed M/M/c queue: time in units of the service
// time, r = z/s.
type mmcRatio struct {
	c int
	r float64
}

// at is the throughput per service time at n.
func (q mmcRatio) at(n float64) float64 {
	low := math.Floor(n)
	if low < 1 {
		return n / (1 + q.r)
	}
	walk := q.start()
	below := walk.upTo(int(low))
	if low == n {
		return below
	}
	return below + (n-low)*(walk.upTo(int(low)+1)-below)
}

// fill writes the throughput per service time at n = 1, 2, …
func (q mmcRatio) fill(xs []float64) {
	walk := q.start()
	for i := range xs {
		xs[i] = walk.upTo(i + 1)
	}
}

// mmcWalk evaluates X(n) for rising n in O(1) a step.
//
// The normalizing constants G(n) of the product form have the generating function
// Σ xᵏ/(min(1,c)·…·min(k,c)) · e^(rx). Multiplied by (1 − x/c), with T = 1+r and
// p = 1/T, it gives the recursion
//
//	G(n) = G(n−1)/c + B(n),  B(n) = Tⁿ/n! · E(n),  E(n) = E[(1 − K/c)⁺], K ~ Bin(n, p)
//
// in which every term is positive, so nothing cancels. X(n) = G(n−1)/G(n), and
// only the share b = B/G is carried, so nothing overflows either. E falls by
// p/c · P(K < c) a step, and P(K < c) by p · P(K = c−1). Up to n = c nobody
// queues and X = n/T exactly.
type mmcWalk struct {
	c      float64
	t, p   float64
	n      int
	x      float64 // X(n)
	b      float64 // B(n)/G(n)
	e      float64 // E(n)
	below  float64 // P(K < c) with n trials
	pmf    float64 // P(K = c−1) with n trials; 0 while logPMF is in charge
	logPMF float64 // its logarithm, while it is too small for pmf
	full   bool    // b is spent: X = c from here on
}

// mmcTiny is the logarithm below which P(K = c−1) is carried as one: with many
// servers and much delay it starts below the smallest float64 and grows.
const mmcTiny = -600

func (q mmcRatio) start() mmcWalk {
	c, t := float64(q.c), 1+q.r
	p := 1 / t
	w := mmcWalk{c: c, t: t, p: p, n: q.c, x: c / t, b: 1 - p, e: 1 - p}
	// State after c trials: K < c fails only if all c succeed; K = c−1 in
	// c·p^(c−1)·(1−p) of the cases.
	w.below = -math.Expm1(c * math.Log(p))
	w.logPMF = math.Log(c) + (c-1)*math.Log(p) + math.Log1p(-p)
	if w.logPMF > mmcTiny {
		w.pmf = math.Exp(w.logPMF)
	}
	w.full = !(w.b > mmcSpent)
	return w
}

// mmcSpent is the share B/G below which the servers count as always busy. The
// error that it leaves in X is of the same size.
const mmcSpent = 1e-12

// upTo is X(n). Calls must not go back below an n already asked for, except
// where n ≤ c.
func (w *mmcWalk) upTo(n int) float64 {
	if n <= int(w.c) {
		return float64(n) / w.t
	}
	for w.n < n && !w.full {
		next := math.Max(0, w.e-w.p/w.c*w.below)
		fresh := w.t / float64(w.n+1) * next / w.e * w.b // B(n+1)/G(n)
		w.x = 1 / (1/w.c + fresh)
		w.b, w.e = fresh*w.x, next
		w.below = math.Max(0, w.below-w.p*w.pmf)
		w.n++
		grow := float64(w.n) / (float64(w.n) - w.c + 1) * (1 - w.p)
		if w.logPMF > mmcTiny {
			w.pmf *= grow
		} else if w.logPMF += math.Log(grow); w.logPMF > mmcTiny {
			w.pmf = math.Exp(w.logPMF)
		}
		if w.b < mmcSpent || w.e < mmcSpent {
			w.full = true
		}
	}
	if w.full {
		return w.c
	}
	return w.x
}

// FitClosedMMC fits servers, service time and delay to the error of log X. c is
// scanned over whole numbers up to maxServers (0: up to the largest n, beyond
// which c shows in no data); for each, z/s by golden section; s follows in
// closed form.
func FitClosedMMC(points []Point, maxServers int) (ClosedMMC, error) {
	return fitClosedMMC(clean(points), maxServers, true)
}

// fitClosedMMC scans c up to most; withDelay false fixes z at 0.
func fitClosedMMC(pts []Point, most int, withDelay bool) (ClosedMMC, error) {
	if len(pts) < 2 || withDelay && len(pts) < 3 {
		return ClosedMMC{}, ErrTooFewPoints
	}
	last := int(math.Floor(pts[len(pts)-1].N))
	if most <= 0 || most > last {
		most = max(last, 1)
	}
	xs := make([]float64, last+2) // up to the whole number above the largest n
	best, bestMisfit := mmcRatio{}, math.Inf(1)
	try := func(c int) {
		q, m := fitDelay(pts, c, withDelay, xs)
		if m < bestMisfit {
			best, bestMisfit = q, m
		}
	}
	// Coarse steps of 15 % first, then every c between the neighbours of the best.
	var tried []int
	for c := 1; c <= most; c = max(c+1, int(float64(c)*1.15)) {
		tried = append(tried, c)
		try(c)
	}
	low, high := 1, most
	for _, c := range tried {
		if c < best.c {
			low = c + 1
		}
		if c > best.c {
			high = c - 1
			break
		}
	}
	for c := low; c <= high; c++ {
		try(c)
	}
	if math.IsInf(bestMisfit, 1) {
		return ClosedMMC{}, ErrNoFit
	}
	return best.scaled(pts)
}

// refitClosedMMC fits again after a few points have been left out: c within an
// eighth, on five steps, and z/s near where they were.
func refitClosedMMC(pts []Point, near ClosedMMC) (ClosedMMC, error) {
	if len(pts) < 2 {
		return ClosedMMC{}, ErrTooFewPoints
	}
	xs := make([]float64, int(math.Floor(pts[len(pts)-1].N))+2)
	best, bestMisfit := mmcRatio{}, math.Inf(1)
	step := max(1, near.Servers/16)
	for c := max(1, near.Servers-2*step); c <= near.Servers+2*step; c += step {
		// Keep the knee c(1+r) where it was while c moves.
		r := float64(near.Servers)/float64(c)*(1+near.Delay/near.Service) - 1
		q, m := mmcRatio{c: c}, 0.0
		if near.Delay > 0 && r > 0 {
			u := math.Log1p(r)
			u, m = goldenSection(math.Max(0, u-0.25), u+0.25, 0.01, func(u float64) float64 {
				return mmcRatio{c: c, r: math.Expm1(u)}.misfit(pts, xs)
			})
			q.r = math.Expm1(u)
		} else {
			m = q.misfit(pts, xs)
		}
		if m < bestMisfit {
			best, bestMisfit = q, m
		}
	}
	if math.IsInf(bestMisfit, 1) {
		return ClosedMMC{}, ErrNoFit
	}
	return best.scaled(pts)
}

// scaled is the curve of this shape that is closest to the points.
func (q mmcRatio) scaled(pts []Point) (ClosedMMC, error) {
	service := 1 / bestScale(pts, q.at, logError)
	if !finite(service) || service <= 0 {
		return ClosedMMC{}, ErrNoFit
	}
	return ClosedMMC{Servers: q.c, Service: service, Delay: q.r * service}, nil
}

// misfit is that of the best scale; xs is scratch space.
func (q mmcRatio) misfit(pts []Point, xs []float64) float64 {
	q.fill(xs)
	return shapeMisfit(pts, xs)
}

// fitDelay finds z/s for a fixed c, with xs as scratch space.
func fitDelay(pts []Point, c int, withDelay bool, xs []float64) (mmcRatio, float64) {
	cost := func(u float64) float64 { return mmcRatio{c: c, r: math.Expm1(u)}.misfit(pts, xs) }
	none := cost(0)
	if !withDelay {
		return mmcRatio{c: c}, none
	}
	// The knee lies near c(1+r); more delay than puts it at twice the largest
	// n shows in no data. u = log(1+r).
	most := math.Log1p(2 * pts[len(pts)-1].N / float64(c))
	const steps = 8
	best, bestCost := 0.0, none
	for i := 1; i <= steps; i++ {
		if v := cost(most * float64(i) / steps); v < bestCost {
			best, bestCost = most*float64(i)/steps, v
		}
	}
	u, v := goldenSection(math.Max(0, best-most/steps), math.Min(most, best+most/steps), 1e-3, cost)
	if none <= v {
		return mmcRatio{c: c}, none
	}
	return mmcRatio{c: c, r: math.Expm1(u)}, v
}
