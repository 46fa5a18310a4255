package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Callers that never queue because the limit is above all of them may still be too
// many for the server, and nothing that the pool counts by itself can show it:
// throughput is what they ask for, and a closed loop has no ups and downs. Where
// there is reason to suspect it, the limit goes below what is in use for a trial,
// and the queue that makes is learned from. What was in use is the first trial, so
// that a server which likes them all gets its limit back; and then it takes twice as
// long until the next attempt.

const (
	crowdedFor      = 2 * time.Second  // a few looks at the server agree
	standingFor     = 10 * time.Second // a load that varies would have shown it
	aboveFor        = 30 * time.Second // a load that varies would have come down to where it shows
	crowdedServices = 20               // times the service time: so would chance arrivals
	crowdedLeast    = 4                // connections in use
	crowdedQueue    = 0.5              // of the time somebody queues: rather that than a queue that stays
	crowdFirst      = time.Minute      // until the next attempt after one that was in vain
	crowdMost       = 32 * time.Minute
)

// crowd tells whether the server may be crowded although nobody queues for long. With the
// cores known: twice as many connections in use as the prior finds useful, the cores
// busy twice over, and no ups and downs that would show whether it does harm. With
// the cores unknown: most backends compute, and the number in use stands still, or does
// not come down to where it would show.
func (s *State) crowd(w window, est model.Estimate) bool {
	if w.saturated >= crowdedQueue || w.inUse < crowdedLeast {
		return false
	}
	if s.Server.Cores > 0 {
		return est.Crowded && w.inUse >= 2*float64(est.Prior) && w.inUse > 1.2*float64(est.Varied)
	}
	return s.Computing >= 0.5*w.inUse && (est.Above || s.Learn.standing(w))
}

// standing tells whether as many connections were in use at the highest moment of
// this crowd as in the mean, give or take what chance arrivals would make it vary by, the
// square root, which they do within so many service times. Then callers come back soon.
func (l *Learner) standing(w window) bool {
	mean := (l.Crowd.InUse + w.InUseTime.Seconds()) / (l.Crowd.Seconds + w.Elapsed.Seconds())
	return float64(max(l.CrowdPeak, w.Peak))-mean < math.Sqrt(mean)
}

// suspect gathers what a crowd completes, and makes a queue when that is known.
func (l *Learner) suspect(at time.Duration, w window, crowded bool, limit, low, high int, est model.Estimate) move {
	if !crowded || at < l.CrowdAt {
		l.Crowd, l.CrowdPeak = Trial{}, 0
		return move{}
	}
	l.Crowd.add(w)
	l.CrowdPeak = max(l.CrowdPeak, w.Peak)
	long := crowdedFor
	if est.Prior == 0 {
		long = max(standingFor, crowdedServices*est.Service)
		if !l.standing(w) {
			long = max(long, aboveFor)
		}
	}
	if l.Crowd.Seconds < long.Seconds() || l.Crowd.Completions < trialCompletions && l.Crowd.Seconds < trialHard {
		return move{}
	}
	seen := l.Crowd
	seen.N = int(math.Round(seen.InUse / seen.Seconds))
	l.Crowd, l.CrowdPeak = Trial{}, 0
	if seen.N <= low || seen.N > high {
		return move{}
	}
	l.beginFrom(at, limit, low, seen)
	l.Made = seen.N
	n := int(float64(seen.N) / verifyStep)
	if est.Prior > 0 {
		n = min(n, beyondPrior(est.Prior))
	}
	return l.try(at, min(max(n, low), seen.N-1), est.Service, sizing.Learning)
}

// crowdBeats tells whether what was in use before the queue was made completed as much
// as this trial, at which the queue went away: if not, the smaller limit serves them
// all, and that is why.
func (l *Learner) crowdBeats(t *Trial) bool {
	m := l.at(l.Made)
	return m == nil || t.rate() <= m.rate()
}

// worthMaking tells whether a limit serves as much as those did who were in use before
// the queue was made, beyond a standard error: nobody had to queue there, so it is for
// the smaller limit to be proved.
func (l *Learner) worthMaking(o model.Objective, n int) bool {
	t, m := l.at(n), l.at(l.Made)
	if n >= l.Made || t == nil || m == nil {
		return n < l.Made
	}
	gain, doubt := l.gain(t, m)
	if o == model.Latency { // throughput over response time: see [Learner.verified]
		return 2*(gain-doubt) > math.Log(float64(n)/float64(l.Made))
	}
	return gain-doubt > math.Log(1-give(o))
}

// inVain takes the limit back to where it was when there was no queue: the crowd
// is served best, or has gone.
func (l *Learner) inVain(at time.Duration) move {
	l.Made = 0
	l.CrowdEvery = doubled(l.CrowdEvery, crowdFirst, crowdMost)
	l.CrowdAt = at + l.CrowdEvery
	return move{limit: l.Base, reason: sizing.Steady}
}
