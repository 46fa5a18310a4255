package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

// Trial is what was counted at one limit while callers queued.
type Trial struct {
	N           int     // the limit
	Seconds     float64 // measured
	Completions float64
	InUse       float64 // integral of in use, connection seconds
	Looks       int
	Running     float64 // sum over Censuses of the backends on a core, or ready to be
	Censuses    float64
	Paired      bool    // relative to another limit, in turns with it
	SumXX       float64 // sum over looks of (completions in the look)²/its seconds
	Service     float64 // sum of the service times, s
	ServiceSq   float64 // sum of their squares, s²
}

// Noise is how much throughput scatters from look to look beyond what counting few
// completions does, pooled over trials: a single trial has too few looks to know, and
// one of ten completions a second says nothing about one of a thousand. It starts as
// an assumption, worth noiseLooks looks.
type Noise struct {
	Sum   float64 // of squared relative deviations, × seconds, less those of counting
	Looks float64 // degrees of freedom behind it, those of few completions for little
}

const (
	noisePrior = 0.04 // relative, over one second: what a two-core machine that is not quiet shows
	noiseLooks = 4
	noiseMost  = 2000 // looks remembered: half an hour of trials at rest
)

// perSecond is the relative standard deviation of throughput over one second.
func (n Noise) perSecond() float64 {
	return math.Sqrt((n.Sum + noiseLooks*noisePrior*noisePrior) / (n.Looks + noiseLooks))
}

// learn adds a trial's own scatter.
func (n *Noise) learn(t Trial) {
	if x := t.rate(); t.Looks > 1 && x > 0 {
		// Σ dt(xᵢ−x)² = Σ dt·xᵢ² − T·x², with dt·xᵢ² = completions²/dt.
		looks := float64(t.Looks - 1)
		scatter := math.Max(0, t.SumXX-t.Seconds*x*x) / (x * x)
		poisson := max(1, t.spread()*t.spread()) / x // of one second; what a shared server gives back is no more even
		weight := noisePrior * noisePrior / (noisePrior*noisePrior + poisson)
		n.add(weight*math.Max(0, scatter-looks*poisson), weight*looks)
	}
}

// add adds what so many looks say.
func (n *Noise) add(sum, looks float64) {
	n.Sum += sum
	n.Looks += looks
	if n.Looks > noiseMost { // a noisy neighbour of yesterday is gone
		n.Sum *= noiseMost / n.Looks
		n.Looks = noiseMost
	}
}

func (t *Trial) rate() float64 {
	if t.Seconds <= 0 {
		return 0
	}
	return t.Completions / t.Seconds
}

// busy tells whether at least so many backends were on a core, or ready to be, for each of
// so many cores, and these idle for no more than such a share of the time; not where that
// is unknown.
func (t *Trial) busy(cores int, backends, idle float64) bool {
	if t.Censuses == 0 || cores == 0 {
		return false
	}
	running := t.Running / t.Censuses
	return running >= backends*float64(cores) && model.IdleServers(t.concurrency(), running, cores) <= idle
}

// mostlyBusy tells whether the cores had little time to spare.
func (t *Trial) mostlyBusy(cores int) bool { return t.busy(cores, busyCores, busyIdle) }

// fullyBusy tells whether they had none.
func (t *Trial) fullyBusy(cores int) bool { return t.busy(cores, fullCores, fullIdle) }

// concurrency is how many connections were in use on the average.
func (t *Trial) concurrency() float64 {
	if t.Seconds <= 0 {
		return 0
	}
	return t.InUse / t.Seconds
}

func (t *Trial) add(w window) {
	dt := w.Elapsed.Seconds()
	t.Seconds += dt
	t.Completions += float64(w.Completions)
	t.InUse += w.InUseTime.Seconds()
	t.Looks++
	t.SumXX += float64(w.Completions) * float64(w.Completions) / dt
	t.Service += w.ServiceTime.Seconds()
	t.ServiceSq += w.ServiceTimeSq
}

// join adds what was counted at the same limit another time.
func (t *Trial) join(other *Trial) {
	t.Seconds += other.Seconds
	t.Completions += other.Completions
	t.InUse += other.InUse
	t.Looks += other.Looks
	t.SumXX += other.SumXX
	t.Service += other.Service
	t.ServiceSq += other.ServiceSq
	t.Paired = t.Paired || other.Paired
	t.Running += other.Running
	t.Censuses += other.Censuses
}

// times is the trial with so many times its evidence.
func (t Trial) times(f float64) Trial {
	t.Seconds *= f
	t.Completions *= f
	t.InUse *= f
	t.SumXX *= f
	t.Service *= f
	t.ServiceSq *= f
	return t
}

// with is the trial together with what was seen of its limit before, as uneven as it.
func (t Trial) with(before Trial) Trial {
	if t.Completions == 0 || before.Completions == 0 {
		return t
	}
	seconds, completions := t.Seconds+before.Seconds, t.Completions+before.Completions
	t = t.times(completions / t.Completions)
	t.Seconds, t.Completions = seconds, completions
	return t
}

// spread is how unevenly completions come, over Poisson counts: about as their
// service times vary. A saturated server with exponential service gives Poisson
// departures.
func (t *Trial) spread() float64 {
	if t.Completions < 2 || t.Service <= 0 {
		return 1
	}
	mean := t.Service / t.Completions
	return min(max(math.Sqrt(math.Max(0, t.ServiceSq/t.Completions/(mean*mean)-1)), 0.3), 4)
}

// counting is the relative standard error of a trial's throughput that comes of
// counting its completions.
func (t *Trial) counting() float64 {
	return min(t.spread(), spreadMost) / math.Sqrt(math.Max(t.Completions, 1)) // holds from before the trial spread it too
}

const spreadMost = 1.5 // that a trial is counted for

// error is the relative standard error of a trial's throughput: of counting, and of
// the machine.
func (l *Learner) error(t *Trial) float64 {
	if t.Seconds <= 0 {
		return 1
	}
	if t.Paired {
		return math.Hypot(l.Pairs.perSecond()/math.Sqrt(t.Seconds), math.Sqrt2*t.counting())
	}
	machine := l.Noise.perSecond() / math.Sqrt(t.Seconds)
	if l.Verify && l.Wanders { // at rest it has been seen for longer than looks
		machine = math.Max(machine, math.Max(l.Store.Drift.Noise()/math.Sqrt(t.Seconds), l.Strays.over(t.Seconds)))
	}
	return math.Hypot(machine, t.counting())
}

// gain is how much more throughput a trial gave than another, as a log ratio, and its
// standard error.
func (l *Learner) gain(t, than *Trial) (gain, doubt float64) {
	return math.Log(t.rate() / than.rate()), math.Hypot(l.error(t), l.error(than))
}

// keep files a trial in order of N, adding it to one at the same N.
func (l *Learner) keep(t Trial) {
	i := 0
	for i < l.Trials && l.Measured[i].N < t.N {
		i++
	}
	if i < l.Trials && l.Measured[i].N == t.N {
		l.Measured[i].join(&t)
		return
	}
	if l.Trials == maxTrials {
		return
	}
	copy(l.Measured[i+1:l.Trials+1], l.Measured[i:l.Trials])
	l.Measured[i] = t
	l.Trials++
}

// at is the trial of a limit, nil where it was not measured.
func (l *Learner) at(n int) *Trial {
	for i := range l.Trials {
		if l.Measured[i].N == n {
			return &l.Measured[i]
		}
	}
	return nil
}

// notWorse is the largest limit that the trials of an episode which was broken off
// have not shown to serve less than another; without such trials there is no bound.
func (l *Learner) notWorse(at time.Duration) int {
	if l.Trials < 2 || l.BrokenOff == 0 || at-l.BrokenOff >= resumeWithin {
		return math.MaxInt
	}
	best := l.best()
	b := &l.Measured[best]
	for i := best + 1; i < l.Trials; i++ {
		if gain, doubt := l.gain(&l.Measured[i], b); gain < math.Log(1-tolerance)-2*doubt {
			return l.Measured[i-1].N
		}
	}
	return math.MaxInt
}

// contradicts tells whether a trial differs so much from what was measured at or
// next to its limit that the queries must have become other queries.
func (l *Learner) contradicts(t Trial) bool {
	for i := range l.Trials {
		m := &l.Measured[i]
		if near := float64(m.N) / float64(t.N); near > 0.7 && near < 1.4 {
			return math.Abs(math.Log(t.rate()/m.rate())) > math.Log(farRatio)
		}
	}
	return false
}
