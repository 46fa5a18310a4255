package plant

import (
	"math"
	"math/rand/v2"
)

// Streams of random numbers. Each purpose has its own, so that two runs with the
// same seed meet the same arrivals and the same demands, whatever their pools
// do (common random numbers): the difference of two contenders is then theirs.
const (
	streamArrivals uint64 = 1 << 32 // + index of the arrivals
	streamBursts   uint64 = 2 << 32 // + index of the arrivals
	streamDemands  uint64 = 3 << 32
	streamCallers  uint64 = 4 << 32 // + index of the closed caller
	streamBackoff  uint64 = 5 << 32
	streamWander   uint64 = 6 << 32
)

// stream scrambles its two numbers first (with the finalizer of SplitMix64):
// generators whose seeds differ in few bits start alike.
func stream(seed, which uint64) *rand.Rand {
	mix := func(x uint64) uint64 {
		x += 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		return x ^ x>>31
	}
	s := mix(seed)
	return rand.New(rand.NewPCG(mix(s^which), mix(s+which)))
}

// The kinds as numbers, for the switch that every request passes.
const (
	drawFixed uint8 = iota
	drawExponential
	drawLognormal
	drawGamma
	drawHyperexponential
)

var drawn = map[Kind]uint8{Deterministic: drawFixed, Exponential: drawExponential, Lognormal: drawLognormal, Gamma: drawGamma, Hyperexponential: drawHyperexponential}

// sampler draws from a distribution, in nanoseconds.
type sampler struct {
	kind         uint8
	mean         float64
	mu, sigma    float64 // of the logarithm, for lognormal
	shape, scale float64 // for gamma
	p, one, two  float64 // for hyperexponential: with p the mean one, else two
}

// newSampler takes a completed distribution.
func newSampler(d Distribution) sampler {
	s := sampler{kind: drawn[d.Kind], mean: float64(d.Mean)}
	v := d.CV * d.CV
	switch d.Kind {
	case Lognormal:
		s.sigma = math.Sqrt(math.Log1p(v))
		s.mu = math.Log(s.mean) - s.sigma*s.sigma/2
	case Gamma:
		s.shape, s.scale = 1/v, s.mean*v
	case Hyperexponential:
		s.p = (1 + math.Sqrt((v-1)/(v+1))) / 2
		s.one, s.two = s.mean/(2*s.p), s.mean/(2*(1-s.p))
	}
	if s.mean == 0 {
		s.kind = drawFixed
	}
	return s
}

func (s *sampler) draw(r *rand.Rand) float64 {
	switch s.kind {
	case drawExponential:
		return s.mean * r.ExpFloat64()
	case drawLognormal:
		return math.Exp(s.mu + s.sigma*r.NormFloat64())
	case drawGamma:
		return s.scale * gamma(r, s.shape)
	case drawHyperexponential:
		if r.Float64() < s.p {
			return s.one * r.ExpFloat64()
		}
		return s.two * r.ExpFloat64()
	}
	return s.mean
}

// gamma draws from the gamma distribution of the given shape and scale 1, by
// the method of Marsaglia and Tsang (2000); a shape below 1 is raised by one and
// corrected by a power of a uniform number.
func gamma(r *rand.Rand, shape float64) float64 {
	boost := 1.0
	if shape < 1 {
		boost = math.Pow(1-r.Float64(), 1/shape)
		shape++
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := r.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		u := 1 - r.Float64()
		if math.Log(u) < x*x/2+d-d*v+d*math.Log(v) {
			return boost * d * v
		}
	}
}
