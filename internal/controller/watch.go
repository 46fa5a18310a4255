package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// watch looks, at the limit an episode ended at, for a change of the curve, and
// now and then tries another limit.
func (l *Learner) watch(cfg Config, at time.Duration, w window, limit, low, high int, callers float64, est model.Estimate) move {
	if l.Longest == 0 {
		l.Fewest = callers
	}
	l.Fewest, l.Longest = math.Min(l.Fewest, callers), math.Max(l.Longest, callers)
	if est.Varied >= limit && l.saturatedFor(at) < varyingAfter { // the load's ups and downs tell small changes
		if t, far := l.glanceVarying(at, w); far {
			return l.changed(cfg, at, t, limit, low, high, callers, est)
		}
		ratio := l.overrun(at)
		l.Grows = l.untried(at, callers)
		if (ratio < overrun || at < l.OverrunAt) && !l.Grows {
			return move{soon: watchLook}
		}
		// More ask than this limit ever served. Whether the server could do
		// more is not seen from here: it takes a trial above.
		l.VerifyUp = false
		return l.verify(at, l.Served, limit, min(max(ratio, l.nextStep()), overrunMost), low, high, est)
	}
	if t, far := l.glance(at, w, limit, est.Prior); far {
		return l.changed(cfg, at, t, limit, low, high, callers, est)
	}
	if t, other := l.otherKind(at, w, limit, est); other {
		m := l.begin(at, limit, low)
		l.OtherKind = true
		l.Current, l.Window = t, Trial{}
		l.Current.N = limit
		if l.Current.Completions > 0 {
			m = l.file(cfg, at, low, high, callers, est)
		}
		m.reason = sizing.CapacityChanged
		return m
	}
	soon := watchLook
	if l.Far > 0 { // there may be something to see: what the backends do too
		soon = fastLook
	}
	l.Window.add(w)
	if l.Window.Seconds < 0.45 || l.Window.Completions < 30 && l.Window.Seconds < 5 {
		return move{soon: soon}
	}
	t := l.Window
	l.Window = Trial{}
	if x, _, ok := l.Store.Near(at, t.concurrency()); ok {
		l.Strays.add(&t, x)
	}
	if l.Store.Add(at, t.concurrency(), t.Completions, t.Seconds) != model.Unchanged && at >= l.DriftAt {
		m := l.begin(at, limit, low)
		l.Drifted = true
		m.reason = sizing.CapacityChanged
		return m
	}
	l.Seen.Add(at, float64(limit), t.Completions, t.Seconds)
	if m := l.goBack(cfg.Objective, at, t, limit, low, high); m.limit > 0 {
		return m
	}
	if l.Grows = l.growing(at, callers); at < l.VerifyAt && !l.Grows {
		return move{soon: soon}
	}
	if l.Grows { // what the objective gives away lies above
		l.VerifyUp = l.OtherWay
	}
	return l.verify(at, t, limit, l.nextStep(), low, high, est)
}

// glance notices a large change soon: two short windows in a row that are both
// far from the throughput measured: by a factor, by five standard errors, or as
// another load that is remembered would be. It returns the second one, which has nothing
// of the load before. Windows are counted in completions: one ends with 30, or when as
// many were due and some seconds have passed, so that a stall is one window. The first
// second of a queue does not count: queues begin where completions happen to be few.
func (l *Learner) glance(at time.Duration, w window, limit, prior int) (t Trial, far bool) {
	if l.saturatedFor(at) < glanceAfter {
		l.Glance, l.Far = Trial{}, 0
		return t, false
	}
	l.Glance.add(w)
	if most := math.Max(5, math.Min(30/l.BestX, glanceMost)); l.Glance.Seconds < 0.18 || l.Glance.Completions < 30 && l.Glance.Seconds < most {
		return t, false
	}
	t, l.Glance = l.Glance, Trial{}
	apart, doubt := l.apart(&t)
	explained := l.explained(prior, t.rate())
	if l.near(t, limit, apart, doubt, explained) {
		l.Far = 0
		return t, l.settleBase(t)
	}
	if faster := t.rate() > l.BestX; l.Far == 0 || faster != l.FarFaster { // the first of those that way
		l.Far, l.FarFaster, l.FarSince = 0, faster, at
	}
	l.Far++
	lasted := at-l.FarSince >= l.patience(explained) || apart > math.Log(beyondWander)
	return t, l.Far >= farGlances && lasted
}

// near tells whether a window may be of the load at rest: it is neither far by a factor and
// three standard errors, nor by a smaller one and five, nor as another load would be.
func (l *Learner) near(t Trial, limit int, apart, doubt float64, explained bool) bool {
	large := farRatio
	if explained {
		large = farLeast
	}
	if !(apart <= math.Max(math.Log(large), farDoubts*doubt)) {
		return false
	}
	return apart <= math.Log(farLeast) || apart <= 5*doubt && !l.another(t, limit, apart, doubt)
}

// patience is for how long windows have to be far off.
func (l *Learner) patience(explained bool) time.Duration {
	switch {
	case explained:
		return 0
	case l.Wanders:
		return max(l.Patience, patienceLeast)
	}
	return l.Patience
}

// explained tells whether what the backends do has changed as throughput has: they wait
// several times as much for each that computes, and less comes back, or the other way
// round. No machine does that.
func (l *Learner) explained(prior int, rate float64) bool {
	if prior == 0 || l.Kind == 0 {
		return false
	}
	if rate < l.BestX {
		return float64(prior) >= kindRatio*l.Kind
	}
	return kindRatio*float64(prior) <= l.Kind
}

// otherKind tells whether what the backends do has become another kind of work than that
// whose knee was learned, and returns what was served since: they wait for their callers
// now and computed then, or the other way round, so that several times as many
// connections make sense, or as few. Throughput at one limit may be the same for both.
func (l *Learner) otherKind(at time.Duration, w window, limit int, est model.Estimate) (t Trial, other bool) {
	prior := float64(est.Prior)
	if prior == 0 {
		return t, false
	}
	if l.Kind == 0 {
		l.Kind = prior
	}
	apart := math.Abs(math.Log(prior / l.Kind))
	wrong := prior >= kindRatio*float64(limit) || kindRatio*prior <= float64(limit)
	if !wrong || apart < math.Log(kindRatio) {
		l.Kind *= math.Pow(prior/l.Kind, min(1, w.Elapsed.Seconds()/kindMemory))
		l.KindTrial = Trial{}
		return t, false
	}
	l.KindTrial.add(w)
	if l.KindTrial.Seconds < kindFor || at < l.DriftAt {
		return t, false
	}
	t, l.KindTrial = l.KindTrial, Trial{}
	return t, true
}

// glanceVarying is glance for a load that varies. Its queues select moments, so the
// whole of a queue is taken together, and has to be far by the factor and by five
// standard errors. It returns the latest of it where that differs by the factor and is
// enough to go by: the queue is older than the change, and its mean that of neither load.
func (l *Learner) glanceVarying(at time.Duration, w window) (t Trial, far bool) {
	if l.saturatedFor(at) < glanceAfter {
		l.Window = Trial{}
		return t, false
	}
	l.Window.add(w)
	if l.Window.Seconds < glanceAfter.Seconds() || l.Window.Completions < 30 {
		return t, false
	}
	apart, doubt := l.apart(&l.Window)
	if apart <= math.Log(farLeast) || apart <= 5*doubt {
		return t, false
	}
	if t.add(w); t.Completions < 30 || math.Abs(math.Log(t.rate()/l.Window.rate())) < math.Log(farLeast) {
		t = l.Window
	}
	return t, true
}

// apart is how far a window is from the throughput at rest, as a log ratio, and
// the standard error of that: within the window, and over minutes.
func (l *Learner) apart(t *Trial) (apart, doubt float64) {
	apart = math.Abs(math.Log(math.Max(t.Completions, 0.5) / t.Seconds / l.BestX))
	within := math.Max(l.glanceError(t), t.spread()/math.Sqrt(math.Max(t.Completions, 1)))
	base := 1 / math.Sqrt(math.Max(l.BaseCount, 1))
	return apart, math.Hypot(base, math.Max(within, l.Store.Drift.Noise()/math.Sqrt(t.Seconds)))
}

// glanceError is the relative standard error of a window's throughput. Where the machine's
// speed wanders, it does not average out within a window as short as a look.
func (l *Learner) glanceError(t *Trial) float64 {
	if !l.Wanders {
		return l.error(t)
	}
	return math.Hypot(l.Noise.perSecond()/math.Sqrt(min(t.Seconds, fastLook.Seconds())), t.counting())
}

// beyond tells whether a window is so far from the throughput at rest that no machine is
// the reason.
func (l *Learner) beyond(t *Trial) bool {
	apart, _ := l.apart(t)
	return apart > math.Log(beyondWander)
}

// changed starts learning afresh, with what the new load was seen to give at the
// limit in force.
func (l *Learner) changed(cfg Config, at time.Duration, t Trial, limit, low, high int, callers float64, est model.Estimate) move {
	m := l.begin(at, limit, low)
	l.Alarmed = true
	l.Current = t
	l.Current.N = limit
	l.Window = Trial{}
	// Where it is no machine's change, and looks like a load that is remembered, a trial
	// at the limit of that says more than some more of this one, at which callers wait.
	recalled := l.beyond(&t) && l.recall(l.Current, low, high) >= 0
	if l.Current.Completions > 0 && (recalled || l.done(cfg.Objective)) {
		m = l.file(cfg, at, low, high, callers, est)
	}
	m.reason = sizing.CapacityChanged
	return m
}

// settleBase refines the throughput to compare with by the first seconds at rest:
// a trial is short, and may have met the machine at a good or a bad moment. It
// ends there, so that a slow loss is not taken for a new normal. It tells whether they
// have led so far from the trial that this was of another load.
func (l *Learner) settleBase(t Trial) (far bool) {
	if l.BaseSeconds >= baseSeconds {
		return false
	}
	x := (l.BestX*l.BaseSeconds + t.Completions) / (l.BaseSeconds + t.Seconds)
	l.PeakX *= x / l.BestX
	l.BestX = x
	l.BaseSeconds += t.Seconds
	l.BaseCount += t.Completions
	return l.RestX > 0 && l.BestX > 0 && math.Abs(math.Log(l.BestX/l.RestX)) > math.Log(farRatio)
}

// another tells whether a window at a limit, a log ratio apart from the throughput
// measured there, is better explained by another load that is remembered: by a
// log likelihood ratio of 4, odds of 50 to 1, for each of two windows.
func (l *Learner) another(t Trial, limit int, apart, doubt float64) bool {
	for i := range l.Memories {
		if x, ok := l.Memories[i].at(limit); ok {
			other := math.Log(t.rate() / x)
			if apart*apart-other*other > 2*4*doubt*doubt {
				return true
			}
		}
	}
	return false
}
