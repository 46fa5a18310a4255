package plant

import (
	"math"
	"math/rand/v2"
	"time"
)

// generator is a [Source] of one open stream. It draws the gaps of a renewal
// process of mean 1 and lets them pass at the rate of the moment, which is kept
// constant over short segments: each ends where a step, a burst or a ramp does,
// or, while the rate moves smoothly, after smooth.
type generator struct {
	cfg    Arrivals
	class  int32
	gap    sampler // of mean 1
	rng    *rand.Rand
	bursts *rand.Rand

	t, until float64 // ns
	rate     float64 // of the segment, per ns
	segment  float64 // its end, ns

	on       bool    // state of the bursts
	switchAt float64 // ns
}

// smooth is how long a rate that moves in a line or a sine is taken as constant.
const smooth = float64(100 * time.Millisecond)

// newGenerator takes completed arrivals. class is the index of their class, or -1. They
// come for the duration of the run at most, 0 for no bound but their own.
func newGenerator(a Arrivals, class int32, seed uint64, index int, duration time.Duration) *generator {
	g := &generator{cfg: a, class: class, rng: stream(seed, streamArrivals+uint64(index)), bursts: stream(seed, streamBursts+uint64(index))}
	kind := Exponential
	if a.CV < 1 {
		kind = Gamma
	} else if a.CV > 1 {
		kind = Hyperexponential
	}
	g.gap = newSampler(Distribution{Kind: kind, Mean: 1, CV: a.CV})
	g.t, g.until = float64(a.From), math.Inf(1)
	if a.Until > 0 {
		g.until = float64(a.Until)
	}
	if duration > 0 { // who never comes, at a rate of 0 for ever, would be looked for without end
		g.until = math.Min(g.until, float64(duration))
	}
	if b := a.Bursts; b != nil {
		// It starts in either state as it would be met at any time.
		g.on = g.bursts.Float64()*float64(b.MeanHigh+b.MeanLow) < float64(b.MeanHigh)
		g.switchAt = g.t + g.stay()
	}
	g.cut()
	return g
}

// stay draws how long the present state of the bursts lasts.
func (g *generator) stay() float64 {
	mean := g.cfg.Bursts.MeanLow
	if g.on {
		mean = g.cfg.Bursts.MeanHigh
	}
	return float64(mean) * g.bursts.ExpFloat64()
}

func (g *generator) Next(r *Request) bool {
	need := g.gap.draw(g.rng)
	for {
		left := 0.0
		if g.rate > 0 {
			left = g.rate * (g.segment - g.t)
		}
		if need > left || g.rate == 0 {
			need -= left
			if g.t = g.segment; g.t >= g.until || math.IsInf(g.t, 1) {
				return false
			}
			g.cut()
			continue
		}
		if g.t += need / g.rate; g.t >= g.until {
			return false
		}
		r.At, r.Class, r.Demand, r.Patience = time.Duration(g.t), g.class, 0, 0
		return true
	}
}

// cut begins a segment at g.t.
func (g *generator) cut() {
	rate, end := g.profile()
	if d := g.cfg.Diurnal; d != nil {
		end = math.Min(end, g.t+smooth)
		middle := (g.t + end) / 2
		rate *= 1 + d.Amplitude*math.Sin(2*math.Pi*(middle+float64(d.Phase))/float64(d.Period))
	}
	for i := range g.cfg.Flash {
		factor, until := g.cfg.Flash[i].factor(g.t)
		rate, end = rate*factor, math.Min(end, until)
	}
	if b := g.cfg.Bursts; b != nil {
		for g.t >= g.switchAt {
			g.on = !g.on
			g.switchAt += g.stay()
		}
		if g.on {
			rate *= b.High
		} else {
			rate *= b.Low
		}
		end = math.Min(end, g.switchAt)
	}
	g.rate, g.segment = math.Max(0, rate)/1e9, math.Min(end, g.until)
}

// profile is the rate per second before its factors, and until when.
func (g *generator) profile() (rate, end float64) {
	p := g.cfg.Profile
	if len(p) == 0 {
		return g.cfg.Rate, math.Inf(1)
	}
	t, base := g.t, 0.0
	if last := float64(p[len(p)-1].At); g.cfg.Repeat && last > 0 {
		base = math.Floor(t/last) * last
		if t -= base; t >= last {
			base, t = base+last, 0
		}
	}
	if t < float64(p[0].At) {
		return 0, base + float64(p[0].At)
	}
	i := 0
	for i+1 < len(p) && t >= float64(p[i+1].At) {
		i++
	}
	if i+1 == len(p) {
		return p[i].Rate, math.Inf(1)
	}
	end = float64(p[i+1].At)
	if !p[i].Ramp {
		return p[i].Rate, base + end
	}
	from, length := float64(p[i].At), end-float64(p[i].At)
	end = math.Min(end, t+smooth)
	share := ((t+end)/2 - from) / length
	return p[i].Rate + share*(p[i+1].Rate-p[i].Rate), base + end
}

// factor at t (ns), and until when it may be taken as constant.
func (f *Flash) factor(t float64) (factor, end float64) {
	at, up := float64(f.At), float64(f.At+f.Rise)
	down, over := up+float64(f.Hold), up+float64(f.Hold+f.Fall)
	switch {
	case t < at:
		return 1, at
	case t < up:
		end = math.Min(up, t+smooth)
		return 1 + (f.Factor-1)*((t+end)/2-at)/float64(f.Rise), end
	case t < down:
		return f.Factor, down
	case t < over:
		end = math.Min(over, t+smooth)
		return 1 + (f.Factor-1)*(over-(t+end)/2)/float64(f.Fall), end
	}
	return 1, math.Inf(1)
}
