package plant

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// maxStages is how many demands a request may have: they are stored inside it.
const maxStages = 6

// Validate says which fields are out of their bounds, each by its path.
func (c *Config) Validate() error {
	_, err := c.complete()
	return err
}

// complete returns a copy with the defaults filled in, or every broken bound.
func (c *Config) complete() (Config, error) {
	out := *c
	v := &check{}
	v.positive("duration", c.Duration)
	v.positive("warmup", c.Warmup)
	v.that(c.Duration == 0 || c.Warmup < c.Duration, "warmup is %s and must be shorter than the duration of %s", c.Warmup, c.Duration)
	defaultTime(&out.SLO, time.Second)
	v.positive("slo", out.SLO)
	defaultTime(&out.Interval, time.Second)
	v.that(out.Interval >= time.Millisecond && out.Interval <= time.Hour, "interval is %s and must be 1ms to 1h", out.Interval)
	defaultInt(&out.MaxQueued, 50_000)
	v.between("max_queued", float64(out.MaxQueued), 1, 10_000_000)
	defaultTime(&out.Series.Every, time.Second)
	v.that(out.Series.Every >= time.Millisecond, "series.every is %s and must be at least 1ms", out.Series.Every)
	defaultInt(&out.Series.Points, 2000)
	v.that(out.Series.Points >= 16 && out.Series.Points <= 100_000 && out.Series.Points%2 == 0, "series.points is %d and must be even, 16 to 100000", out.Series.Points)

	out.completeClasses(v)
	names := make(map[string]bool)
	for _, class := range out.Classes {
		names[class.Name] = true
	}
	out.Arrivals = append([]Arrivals(nil), c.Arrivals...)
	for i := range out.Arrivals {
		out.Arrivals[i].complete(v, fmt.Sprintf("arrivals[%d]", i), names)
	}
	out.Closed = append([]Closed(nil), c.Closed...)
	for i := range out.Closed {
		g, at := &out.Closed[i], fmt.Sprintf("closed[%d]", i)
		v.between(at+".callers", float64(g.Callers), 1, 1_000_000)
		v.that(g.Class == "" || names[g.Class], "%s.class is %q, which is no class", at, g.Class)
		g.Think.complete(v, at+".think")
		v.positive(at+".from", g.From)
		v.that(g.Until == 0 || g.Until > g.From, "%s.until is %s and must be after from (%s)", at, g.Until, g.From)
		v.that(c.Duration > 0 || g.Until > 0, "%s needs an until, or the run a duration", at)
	}
	out.Pool.complete(v)
	out.Server.complete(v, out.Classes)
	v.that(c.Telemetry.Vectors >= 0 && !math.IsInf(c.Telemetry.Vectors, 0), "telemetry.vectors is %v and must be a number, 0 or more", c.Telemetry.Vectors)
	return out, errors.Join(v.errs...)
}

func (c *Config) completeClasses(v *check) {
	classes := append([]Class(nil), c.Classes...)
	if len(classes) == 0 {
		classes = []Class{{Name: "query"}}
	}
	seen := make(map[string]bool)
	rows := make(map[string]int) // by lock
	for i := range classes {
		k, at := &classes[i], fmt.Sprintf("classes[%d]", i)
		v.that(k.Name == "" || !seen[k.Name], "%s.name is %q, as that of another class", at, k.Name)
		seen[k.Name] = true
		if k.Weight == 0 {
			k.Weight = 1
		}
		v.between(at+".weight", k.Weight, 0, 1e9)
		v.positive(at+".patience", k.Patience)
		k.Stages = append([]Stage(nil), k.Stages...)
		if len(k.Stages) == 0 {
			k.Stages = []Stage{{Service: Distribution{Mean: time.Millisecond}}}
		}
		v.that(len(k.Stages) <= maxStages, "%s has %d stages and may have %d", at, len(k.Stages), maxStages)
		locks, alone := 0, time.Duration(0)
		for j := range k.Stages {
			g, at := &k.Stages[j], fmt.Sprintf("%s.stages[%d]", at, j)
			if g.On == "" {
				g.On = CPU
			}
			v.that(g.On == CPU || g.On == IO || g.On == IdleInTransaction || g.On == Client, "%s.on is %q and must be cpu, io, idle_in_transaction or client", at, g.On)
			g.Service.complete(v, at+".service")
			alone += g.Service.Mean
			if g.Lock != "" {
				locks++
				defaultInt(&g.Rows, 1)
				v.between(at+".rows", float64(g.Rows), 1, 1_000_000)
				other, shared := rows[g.Lock]
				v.that(!shared || other == g.Rows, "%s.rows is %d, and another class has %d rows of the lock %s: give both the same number, or the lock another name", at, g.Rows, other, g.Lock)
				rows[g.Lock] = g.Rows
			}
		}
		// Callers who wait for an answer that takes no time would ask for ever at
		// one instant.
		v.that(alone > 0, "%s takes no time: give one of its stages a service with a mean", at)
		v.that(locks <= 1, "%s has %d locking stages and may have 1: with more it could deadlock", at, locks)
	}
	c.Classes = classes
}

func (a *Arrivals) complete(v *check, at string, classes map[string]bool) {
	v.that(a.Class == "" || classes[a.Class], "%s.class is %q, which is no class", at, a.Class)
	v.between(at+".rate", a.Rate, 0, 1e8)
	v.that(a.Rate == 0 || len(a.Profile) == 0, "%s has a rate and a profile: one of them", at)
	v.that(a.Rate != 0 || len(a.Profile) > 0, "%s has neither a rate nor a profile: nobody would come", at)
	if a.CV == 0 {
		a.CV = 1
	}
	v.between(at+".cv", a.CV, 0.05, 20)
	for i, s := range a.Profile {
		v.between(fmt.Sprintf("%s.profile[%d].rate", at, i), s.Rate, 0, 1e8)
		v.that(s.At >= 0 && (i == 0 || s.At > a.Profile[i-1].At), "%s.profile[%d].at is %s and must be after the step before", at, i, s.At)
	}
	if a.Diurnal != nil {
		d := *a.Diurnal
		defaultTime(&d.Period, 24*time.Hour)
		v.that(d.Period > 0, "%s.diurnal.period is %s and must be above 0", at, d.Period)
		v.between(at+".diurnal.amplitude", d.Amplitude, 0, 1)
		a.Diurnal = &d
	}
	for i, f := range a.Flash {
		v.that(f.Factor > 0 && f.Factor <= 1e4, "%s.flash[%d].factor is %v and must be above 0, at most 10000", at, i, f.Factor)
		v.that(f.At >= 0 && f.Rise >= 0 && f.Hold >= 0 && f.Fall >= 0, "%s.flash[%d] has a negative time", at, i)
		v.that(f.Rise != 0 || f.Hold != 0 || f.Fall != 0, "%s.flash[%d] lasts no time: give it a rise, a hold or a fall", at, i)
	}
	if a.Bursts != nil {
		b := *a.Bursts
		v.that(b.MeanHigh >= time.Millisecond && b.MeanLow >= time.Millisecond, "%s.bursts.mean_high and mean_low are %s and %s and must be at least 1ms", at, b.MeanHigh, b.MeanLow)
		if b.High == 0 && b.MeanHigh > 0 {
			on := float64(b.MeanHigh) / float64(b.MeanHigh+b.MeanLow)
			b.High = (1 - (1-on)*b.Low) / on
		}
		v.between(at+".bursts.high", b.High, 0, 1e4)
		v.between(at+".bursts.low", b.Low, 0, 1e4)
		a.Bursts = &b
	}
	v.positive(at+".from", a.From)
	v.that(a.Until == 0 || a.Until > a.From, "%s.until is %s and must be after from (%s)", at, a.Until, a.From)
}

func (d *Distribution) complete(v *check, at string) {
	if d.Kind == "" {
		d.Kind = Exponential
	}
	if d.Kind == Exponential || d.Kind == Deterministic {
		v.that(d.CV == 0 || d.Kind == Exponential && d.CV == 1, "%s.cv is %v, and the kind is %s (the default is exponential), which has a cv of its own: choose lognormal, gamma or hyperexponential, or leave the cv out", at, d.CV, d.Kind)
	}
	if d.CV == 0 {
		d.CV = 1
	}
	v.positive(at+".mean", d.Mean)
	switch d.Kind {
	case Exponential, Deterministic:
	case Lognormal, Gamma:
		v.between(at+".cv", d.CV, 0.01, 20)
	case Hyperexponential:
		v.between(at+".cv", d.CV, 1, 20)
	default:
		v.that(false, "%s.kind is %q and must be exponential, deterministic, lognormal, gamma or hyperexponential", at, d.Kind)
	}
}

func (p *Pool) complete(v *check) {
	defaultInt(&p.Budget, 200)
	v.between("pool.budget", float64(p.Budget), 1, 20_000)
	v.positive("pool.acquire_timeout", p.AcquireTimeout)
	defaultTime(&p.ConnectRetry, 2*time.Second)
	defaultTime(&p.MaxLifetime, time.Hour)
	defaultTime(&p.MaxIdle, 30*time.Minute)
	defaultTime(&p.HealthCheck, time.Minute)
	v.that(p.HealthCheck > 0, "pool.health_check is %s and must be above 0, as pgxpool demands", p.HealthCheck)
	defaultTime(&p.SwapTimeout, 5*time.Second)
	defaultTime(&p.DrainTimeout, time.Second)
	v.positive("pool.swap_timeout", p.SwapTimeout)
	v.positive("pool.drain_timeout", p.DrainTimeout)
}

func (s *Server) complete(v *check, classes []Class) {
	defaultInt(&s.Cores, 4)
	v.between("server.cores", float64(s.Cores), 1, 4096)
	if s.Law == "" {
		s.Law = Beyond
	}
	v.that(s.Law == Beyond || s.Law == USL, "server.law is %q and must be beyond or usl", s.Law)
	v.between("server.sigma", s.Sigma, 0, 1)
	v.between("server.kappa", s.Kappa, 0, 1)
	for i, p := range s.Curve {
		v.that(p.X > 0 && p.N >= 1 && (i == 0 || p.N > s.Curve[i-1].N), "server.curve[%d] is n %d, x %v: n must rise from 1 and x be above 0", i, p.N, p.X)
	}
	if s.CurveDemand == 0 {
		s.CurveDemand = meanCPU(classes)
	}
	v.that(len(s.Curve) == 0 || s.CurveDemand > 0, "server.curve_demand is %s and must be above 0 for a curve", s.CurveDemand)
	v.that(s.CliffN >= 0, "server.cliff_n is %d and must be 0 or more", s.CliffN)
	v.that(s.CliffN <= 0 || s.CliffFactor > 0 && s.CliffFactor <= 1, "server.cliff_factor is %v and must be above 0, at most 1", s.CliffFactor)
	v.that(s.IOChannels >= 0, "server.io_channels is %d and must be 0 or more", s.IOChannels)
	defaultInt(&s.MaxConnections, 500)
	defaultInt(&s.Reserved, 3)
	v.that(s.MaxConnections > s.Reserved, "server.max_connections is %d and must be above reserved (%d)", s.MaxConnections, s.Reserved)
	defaultTime(&s.ConnectLatency, time.Millisecond)
	defaultTime(&s.ConnectCPU, 2500*time.Microsecond)
	defaultTime(&s.ColdCPU, time.Millisecond)
	defaultTime(&s.CloseLatency, time.Millisecond)
	defaultInt(&s.ColdQueries, 1)
	for _, d := range []*time.Duration{&s.ConnectLatency, &s.ConnectCPU, &s.ColdCPU, &s.CloseLatency} {
		*d = max(*d, 0)
	}
	s.Reserved = max(s.Reserved, 0)
	s.completeDrift(v)
	for i, w := range s.Wander {
		v.that(w.CV > 0 && w.CV <= 1, "server.wander[%d].cv is %v and must be above 0, at most 1", i, w.CV)
		v.that(w.Memory >= 10*time.Millisecond, "server.wander[%d].memory is %s and must be 10ms or more", i, w.Memory)
	}
	for i, o := range s.Others {
		v.that(o.At >= 0 && (i == 0 || o.At >= s.Others[i-1].At), "server.others[%d].at is %s and must not be before the one before", i, o.At)
		v.that(o.Runnable >= 0 && o.Connections >= o.Runnable, "server.others[%d] has %d runnable of %d connections", i, o.Runnable, o.Connections)
	}
	for i, r := range s.Restarts {
		v.that(r.Down > 0, "server.restarts[%d].down is %s and must be above 0", i, r.Down)
		v.that(r.At >= 0 && (i == 0 || r.At >= s.Restarts[i-1].At+s.Restarts[i-1].Down), "server.restarts[%d].at is %s and must be after the one before is over", i, r.At)
	}
}

// completeDrift follows what the drifts leave the server with, because a field
// that one of them leaves out stays as it was.
func (s *Server) completeDrift(v *check) {
	s.Drift = slices.Clone(s.Drift)
	factor, cliffN, cliffFactor := 1.0, s.CliffN, s.CliffFactor
	for i := range s.Drift {
		d, at := &s.Drift[i], fmt.Sprintf("server.drift[%d]", i)
		v.that(d.At >= 0 && (i == 0 || d.At >= s.Drift[i-1].At), "%s.at is %s and must not be before the one before", at, d.At)
		v.that(d.Factor == nil || *d.Factor > 0 && *d.Factor <= 1e3, "%s.factor must be above 0, at most 1000", at)
		v.that(d.Cores == nil || *d.Cores >= 1 && *d.Cores <= 4096, "%s.cores must be 1 to 4096", at)
		v.that(d.Sigma == nil || *d.Sigma >= 0 && *d.Sigma <= 1, "%s.sigma must be 0 to 1", at)
		v.that(d.Kappa == nil || *d.Kappa >= 0 && *d.Kappa <= 1, "%s.kappa must be 0 to 1", at)
		v.that(d.CliffN == nil || *d.CliffN >= 0, "%s.cliff_n must be 0 or more", at)
		v.that(d.CliffFactor == nil || *d.CliffFactor > 0 && *d.CliffFactor <= 1, "%s.cliff_factor must be above 0, at most 1", at)
		v.that(d.Connect == nil || *d.Connect >= 0, "%s.connect must be 0 or more", at)
		set(&factor, d.Factor)
		set(&cliffN, d.CliffN)
		set(&cliffFactor, d.CliffFactor)
		v.that(d.CliffN == nil || cliffN <= 0 || cliffFactor > 0 && cliffFactor <= 1, "%s.cliff_n is %d, and the cliff_factor is %v and must be above 0, at most 1", at, cliffN, cliffFactor)
		if d.Ramp {
			v.that(i+1 < len(s.Drift) && s.Drift[i+1].Factor != nil, "%s is a ramp, and the next drift has no factor for it to reach", at)
			from := factor
			d.Factor = &from
		}
	}
}

// meanCPU is the mean CPU demand of a request, by the weights of the classes.
func meanCPU(classes []Class) time.Duration {
	var sum, weights float64
	for _, c := range classes {
		weights += c.Weight
		for _, s := range c.Stages {
			if s.On == CPU {
				sum += c.Weight * float64(s.Service.Mean)
			}
		}
	}
	return time.Duration(sum / weights)
}

// check collects broken bounds.
type check struct{ errs []error }

func (v *check) that(ok bool, format string, args ...any) {
	if !ok {
		v.errs = append(v.errs, fmt.Errorf("plant: "+format, args...))
	}
}

func (v *check) between(name string, x, low, high float64) {
	v.that(x >= low && x <= high, "%s is %v and must be %v to %v", name, x, low, high)
}

func (v *check) positive(name string, d time.Duration) {
	v.that(d >= 0, "%s is %s and must be 0 or more", name, d)
}

func defaultTime(d *time.Duration, to time.Duration) {
	if *d == 0 {
		*d = to
	}
}

func defaultInt(n *int, to int) {
	if *n == 0 {
		*n = to
	}
}
