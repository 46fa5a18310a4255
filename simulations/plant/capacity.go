package plant

import "math"

// capacity is how much work the server does in all, in cores' worth, for n
// runnable backends. See the package comment for the laws.
type capacity struct {
	cores        int
	law          Law
	sigma, kappa float64
	curve        []Point
	curveDemand  float64 // s
	factor       float64
	speed        float64 // of the moment, as it wanders
	cliffN       int
	cliffFactor  float64

	table []float64 // per job, by n; without the cliff
}

func newCapacity(s *Server) capacity {
	return capacity{cores: s.Cores, law: s.Law, sigma: s.Sigma, kappa: s.Kappa, curve: s.Curve,
		curveDemand: s.CurveDemand.Seconds(), factor: 1, speed: 1, cliffN: s.CliffN, cliffFactor: s.CliffFactor}
}

// total is the work done per unit of time for n ≥ 1 runnable backends.
func (c *capacity) total(n int) float64 {
	x := float64(n)
	switch {
	case len(c.curve) > 0:
		return c.factor * c.measured(x) * c.curveDemand
	case c.law == USL:
		return c.factor * x / (1 + c.sigma*(x-1) + c.kappa*x*(x-1))
	}
	busy := math.Min(x, float64(c.cores))
	over := x - busy
	return c.factor * busy / (1 + c.sigma*over + c.kappa*over*x)
}

// measured reads the curve.
func (c *capacity) measured(n float64) float64 {
	p := c.curve
	if n <= float64(p[0].N) {
		return p[0].X * n / float64(p[0].N)
	}
	for i := 1; i < len(p); i++ {
		if a, b := float64(p[i-1].N), float64(p[i].N); n <= b {
			share := math.Log(n/a) / math.Log(b/a)
			return math.Exp((1-share)*math.Log(p[i-1].X) + share*math.Log(p[i].X))
		}
	}
	return p[len(p)-1].X
}

// perJob is the rate at which each of n runnable backends is served, when active
// backends use the cache.
func (c *capacity) perJob(n, active int) float64 {
	for n >= len(c.table) {
		k := len(c.table)
		c.table = append(c.table, c.total(max(k, 1))/float64(max(k, 1)))
	}
	r := c.table[n] * c.speed
	if c.cliffN > 0 && active > c.cliffN {
		r *= c.cliffFactor
	}
	return r
}

// change applies a drift.
func (c *capacity) change(d *Drift) {
	set(&c.factor, d.Factor)
	set(&c.cores, d.Cores)
	set(&c.sigma, d.Sigma)
	set(&c.kappa, d.Kappa)
	set(&c.cliffN, d.CliffN)
	set(&c.cliffFactor, d.CliffFactor)
	c.table = c.table[:0]
}

func set[T any](to *T, value *T) {
	if value != nil {
		*to = *value
	}
}
