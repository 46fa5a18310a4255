package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

// A service often alternates between a few kinds of load: the hour of the
// searches and the hour of the imports. The curve of each is kept, so that a load
// that comes back costs one trial, not an episode. Which load it is shows in the
// throughput at the limit in force; whether that was right, in the throughput at
// the limit remembered for it. A memory that is contradicted there is not
// believed, and the episode goes on as if there were none.

const (
	memories = 4 // kinds of load kept; the one not used for longest makes room

	// sameLoad is how far apart two throughputs at one limit may be and still
	// be one load's: noise of a short trial and slow drift of the machine are
	// within 25 %, other queries seldom are.
	sameLoad = 1.25
	// wanderLoad is the same on a machine whose speed wanders: there the trials of one
	// moment are that far from those of another, or from the mean speed at which they
	// are kept.
	wanderLoad = 1.6
)

// Memory is what an episode learned of one kind of load.
type Memory struct {
	Trials int                // measured; 0: nothing is remembered here
	N      [maxTrials]int32   // rising
	X      [maxTrials]float64 // per second
	Knee   model.Knee
	PeakX  float64 // per second
	BestX  float64 // per second, at the knee
	Prior  int     // what the backends did, as [Learner.Prior]
	Used   time.Duration
}

// at is the throughput that the remembered curve has at limit n: straight in logs
// between its trials, in proportion somewhat below them. ok is false beyond, where
// it says nothing.
func (m *Memory) at(n int) (x float64, ok bool) {
	for i := range m.Trials {
		switch above := int(m.N[i]); {
		case above == n:
			return m.X[i], m.X[i] > 0
		case above < n:
			continue
		case i == 0: // at worst in proportion; a trial at its limit tells whether it is that load
			return m.X[0] * float64(n) / float64(above), 4*n >= above && m.X[0] > 0
		}
		a, b := float64(m.N[i-1]), float64(m.N[i])
		part := math.Log(float64(n)/a) / math.Log(b/a)
		return m.X[i-1] * math.Pow(m.X[i]/m.X[i-1], part), m.X[i-1] > 0 && m.X[i] > 0
	}
	return 0, false
}

// remember files what this episode learned, in place of what was known of the
// same load.
func (l *Learner) remember(at time.Duration) {
	if l.Trials < 2 || !(l.BestX > 0) {
		return
	}
	place := 0
	for i := range l.Memories {
		m := &l.Memories[i]
		if m.Trials > 0 && l.resembles(m) {
			place = i
			break
		}
		if p := &l.Memories[place]; p.Trials > 0 && (m.Trials == 0 || m.Used < p.Used) {
			place = i
		}
	}
	m := &l.Memories[place]
	*m = Memory{Trials: l.Trials, Knee: l.Knee, PeakX: l.PeakX, BestX: l.BestX, Prior: l.Prior, Used: at}
	for i := range l.Trials {
		m.N[i], m.X[i] = int32(l.Measured[i].N), l.Measured[i].rate()
	}
}

// correct moves the remembered limit of this load to the one in force, which a
// trial of another limit found to be better.
func (l *Learner) correct(at time.Duration) {
	for i := range l.Memories {
		if m := &l.Memories[i]; m.Trials > 0 && l.resembles(m) {
			m.Knee, m.PeakX, m.BestX, m.Used = l.Knee, l.PeakX, l.BestX, at
			return
		}
	}
}

// resembles tells whether the trials of this episode are of the load remembered:
// on the whole no further apart than one load's are.
func (l *Learner) resembles(m *Memory) bool {
	sum, n := 0.0, 0
	for i := range l.Trials {
		if x, ok := m.at(l.Measured[i].N); ok && l.Measured[i].Completions > 0 {
			sum += math.Abs(math.Log(l.Measured[i].rate() / x))
			n++
		}
	}
	return n > 0 && sum <= float64(n)*l.alike()
}

// alike is how far apart two throughputs may be and still be one load's, as a log ratio.
func (l *Learner) alike() float64 {
	if l.Wanders {
		return math.Log(wanderLoad)
	}
	return math.Log(sameLoad)
}

// recall is the index of the remembered load whose throughput at a trial's limit
// is the nearest to it, −1 when none is near, or its limit is outside the walls.
func (l *Learner) recall(t Trial, low, high int) int {
	found, least := -1, l.alike()
	for i := range l.Memories {
		m := &l.Memories[i]
		if m.Trials == 0 || m.Knee.N < low || m.Knee.N > high {
			continue
		}
		x, ok := m.at(t.N)
		if l.OtherKind {
			switch apart := math.Log(float64(max(m.Prior, 1)) / float64(max(l.Prior, 1))); {
			case math.Abs(apart) > math.Log(kindRatio):
				continue
			case !ok && found < 0: // tried far from here only; a trial at its limit tells
				found = i
				continue
			}
		}
		if ok && t.Completions > 0 {
			if apart := math.Abs(math.Log(t.rate() / x)); apart < least {
				found, least = i, apart
			}
		}
	}
	return found
}

// agrees tells whether a trial at the remembered limit is of the load remembered.
func (l *Learner) agrees(m *Memory, now *Trial) bool {
	return math.Abs(math.Log(now.rate()/m.BestX)) < l.alike()
}

// adopt ends an episode at the limit remembered for this load, whose throughput
// was just measured, if that agrees; ok is false otherwise. What the limit in
// force gives is taken from now, what the others give, from then, in proportion.
func (l *Learner) adopt(at time.Duration, m *Memory, now Trial) (mv move, ok bool) {
	if !l.agrees(m, &now) {
		return move{}, false
	}
	scale := now.rate() / m.BestX
	m.Used = at
	l.Trials = m.Trials
	for i := range m.Trials { // as if measured for a second each
		l.Measured[i] = Trial{N: int(m.N[i]), Seconds: 1, Completions: m.X[i] * scale}
	}
	l.Knee, l.PeakX, l.BestX = m.Knee, m.PeakX*scale, now.rate()
	l.Episode = false
	l.rest(at, now.Seconds)
	l.heed(at, m.Knee.N)
	return move{limit: m.Knee.N, reason: l.came(m.Knee.N), soon: watchLook}, true
}
