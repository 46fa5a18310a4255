package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Learner finds the knee of the throughput curve by moving the limit on
// purpose, while callers queue. Only then does throughput say anything about
// capacity: without a queue it equals the arrival rate whatever the limit is.
//
// An episode visits limits one after the other, in steps of two, then finer
// around the best, counts what each completes, and ends at the smallest limit
// that serves the objective. It is started by a queue that stays, and again
// when throughput at the limit is no longer what it was.
//
// Going down it does not stop at the first loss: pgvector's index search on two
// cores gives 3,286/s at 32, 2,841 at 16 and 4,098 at 2 connections. It stops
// where the time a connection is held no longer shrinks with the limit, because
// from there on fewer connections can only serve less.
type Learner struct {
	Episode bool // an episode is under way
	Known   bool // an episode ended with a limit to stay at
	Base    int  // the limit before the episode: the last good one

	Duels     int              // limits measured once more to tell two apart
	Refined   int              // limits measured between others
	Scouted   bool             // a limit far above was measured
	BrokenOff time.Duration    // when the queue of an unfinished episode went away; 0: not so
	Relearns  bool             // the episode doubts a knee that was known
	Doubted   bool             // and was broken off: until it goes on, that knee is the best guess
	Resumed   bool             // the episode goes on after that, and its first trial is a check
	Shown     Shown            // by the ups and downs before
	Walled    int              // no limit below this is allowed, at the last look
	Cores     int              // of the server, then; 0: unknown
	Low       int              // below this no limit seemed worth trying when the episode began
	Trials    int              // limits measured in this episode
	Measured  [maxTrials]Trial // in order of N
	Current   Trial            // being measured
	Noise     Noise            // of throughput, pooled over all trials
	Wanders   bool             // the machine's speed changes from look to look
	Strays    Strays           // and from second to second
	Turns     Turns            // of the trial under way, where it takes turns with another
	Pairs     Noise            // of the ratio of two turns
	Counted   float64          // completions of the turns of this episode
	Leveled   float64          // what they would have been at the speed of the first trial
	Begun     time.Duration    // when the current trial began
	From      time.Duration    // measuring starts: before it, the pool settles
	Moved     time.Duration    // when the limit was moved for the current trial
	Left      float64          // in use then, and not come back since
	Entry     Trial            // what has come back meanwhile, at the limit that followed its N
	Poor      bool             // what came back before that, since the limit was moved, was ruin
	BackAt    time.Duration    // when something came back last, since then
	Stuck     int              // the highest limit below that in force at which nothing came back, twice
	StallN    int              // the last such limit
	StallAt   time.Duration    // when

	Memories [memories]Memory // of the loads of earlier episodes
	Recalled int              // 1 + the index of the memory whose limit is being tried; 0: none
	Again    bool             // it disagreed, and is asked once more

	Knee  model.Knee // what the last episode found
	PeakX float64    // the highest throughput behind it, per second
	BestX float64    // throughput measured at the limit it ended at
	RestX float64    // what that was before the first seconds at rest refined it

	BaseSeconds float64 // that BestX rests on, of a short trial less than it took
	BaseCount   float64 // completions that it rests on

	SaturatedSince time.Duration // since when callers have queued without a break
	Saturated      bool
	Came           float64       // arrivals since then
	Served         Trial         // what came back since then
	IdleFor        time.Duration // time without saturation within the current trial
	Short          Shortfall     // of what is counted, against what the trials before promised
	Lull           Trial         // what came back meanwhile
	Asking         float64       // callers, in use and queued, as the current trial began; 0: not looked yet
	Most           int           // the most of them at once since then
	All            bool          // the trial is to serve all of them at once

	Crowd      Trial         // being gathered while the server may be crowded without a queue
	CrowdPeak  int           // the most of it in use at once
	Made       int           // the episode's queue was made: so many were in use before it; 0: it came by itself
	CrowdAt    time.Duration // when a queue may be made again
	CrowdEvery time.Duration

	Store  model.Samples // evidence at the limit it ended at, for drift
	Seen   model.Samples // by limit, at rest and of the trials beside, since the last episode
	Before Trial         // of Seen, at the limit that is being tried beside
	Window Trial         // being gathered for the store
	Glance Trial         // being gathered to see a large change soon
	Far    int           // consecutive glances far off the throughput measured

	// A drift of throughput that led to the same knee was the machine's, not the
	// load's: each such alarm doubles the time until the next is believed.
	Drifted    bool // the episode was started by a drift
	DriftAt    time.Duration
	DriftEvery time.Duration
	// The same of a change seen at a glance: it has to last for longer and longer.
	Alarmed   bool // the episode was started by one
	Patience  time.Duration
	FarSince  time.Duration // since when glances have been far off, all the same way
	FarFaster bool

	Prior     int     // the newest one: how many connections what the backends do makes useful; 0: unknown
	Kind      float64 // the same while resting here, smoothed; 0: not seen yet
	KindTrial Trial   // what came back since it has been far from that
	OtherKind bool    // the episode was started by that

	VerifyAt    time.Duration // when to try another limit again, if callers queue until then
	VerifyEvery time.Duration
	Verify      bool // the episode is only a trial of one other limit
	VerifyUp    bool
	// Such trials in vain since it rests here, each way.
	VainUp, VainDown int
	OverrunAt        time.Duration // when one above may be tried because more callers come
	RestedAt         time.Duration // since when no other limit has been tried
	CallersThen      float64       // in use and queued then, or when the queue began
	// The fewest and the most of them since it rests here, while they queued.
	Fewest, Longest float64
	Grows           bool // the trial was begun because the queue grows
	OtherWay        bool // such a trial was in vain, and the other direction is next
}

// Shown is what the pool's ups and downs showed of a load: see [model.Estimate].
type Shown struct {
	Least, Varied, Plateau int
	Peak                   float64 // per second
}

// maxTrials bounds an episode: 9 doublings span 1 to 500, the rest is refinement.
const maxTrials = 20

// A trial ends when its throughput is known to trialNoise or it took as long as
// it may; a service time of seconds needs longer for the same count.
const (
	trialLeast       = 0.3   // seconds
	trialMost        = 0.8   // seconds, given trialCompletions
	trialHard        = 6.0   // seconds, given trialSlow
	trialSlow        = 40.0  // completions: 16 %, which tells a limit from its double
	trialEnd         = 60.0  // seconds, whatever was counted
	trialCompletions = 60    // 13 % standard error for exponential service, less for a closed loop
	trialNoise       = 0.04  // relative standard error; what decides is measured again
	verifyNoise      = 0.018 // of a trial of one other limit at rest: there is time
	confirmed        = 0.8   // seconds after which the top of a climb is believed not to rise any more, and a memory to be of another load
	refinements      = 4     // in one episode: more would chase the noise of the best
	duels            = 3     // in one episode
	duelMost         = 2.4   // seconds that a limit is measured for at most, to tell it from its rival
	tolerance        = 0.03  // of the peak throughput that "balanced" gives for a smaller limit
	trialPoor        = 0.7   // of the best so far, or the best of it: clearly apart, no need to know by how much

	// A change by this factor in consecutive windows is believed at once; a
	// smaller one has to stand out of the noise (see model.Drift).
	farRatio      = 1.5
	farLeast      = 1.2
	farDoubts     = 3.0 // standard errors that it is at least: 30 slow requests scatter by 18 % alone
	overrun       = 1.2 // times the throughput at rest: arrivals that a varying load's knee was not made for
	overrunMost   = 4.0 // times the limit at which it is met
	outrunAfter   = time.Second
	outrunTimes   = 1.5             // arrivals to what was served since callers began to queue
	outrunGrowth  = 4               // times the callers, in the same time, that asks for a trial at rest
	swellsFor     = 3 * time.Second // of it, where nothing else has been tried
	glanceMost    = 300.0           // seconds until 30 slow requests are due
	baseSeconds   = 5.0             // of evidence for the throughput that changes are seen against
	farGlances    = 2
	patienceLeast = time.Second
	patienceMost  = 8 * time.Second
	beyondWander  = 4.0 // a change by this factor is no machine's and needs no patience
	storeHalfLife = 2 * time.Minute

	// What the backends do is another kind of work where this many times as many
	// connections make sense, or as few; seen so for three censuses, against what
	// they did over the last of such a time, in seconds.
	kindRatio  = 4
	kindFor    = 3.0
	kindMemory = 20.0

	// stillRising is the slope of log X on log n above which throughput still
	// rises: 2 % for a doubling, a little less than the tolerance.
	stillRising = 0.03
	// nearlyLinear is the slope over a large step above which the next trial is
	// above and not in between: a curve that bends halfway has 0.5, and above
	// the bend a trial costs little.
	nearlyLinear = 0.5
	// openSlope is how much steeper than between the last two trials the rate per
	// connection may become below them: at the dip of pgvector's search between 32
	// and 2 connections it does by 0.4.
	openSlope = 0.6

	// Where so many backends are on a core, or ready to be, for each core at a limit, and
	// the cores are idle for so little of the time, a higher limit can give hardly
	// anything, and nothing worth trying it. The one without the other says less: what is
	// seen on a core may wait for memory, and callers who wait come back together.
	busyCores, busyIdle = 2.0, 0.05
	fullCores, fullIdle = 3.0, 0.01

	farBeyond = 4 // times the prior, with the cores busy twice over, a limit is oversized beyond doubt

	// resumeWithin is how long the trials of an unfinished episode serve: the
	// half-life of what is stored of a finished one.
	resumeWithin = storeHalfLife

	// stallLeast, or stallServices service times, without one connection coming back
	// end a trial: whoever holds them waits for something else, perhaps for another
	// connection. Where it happens twice, no limit so low is tried again for stuckFor.
	stallLeast    = time.Second
	stallServices = 10
	stuckFor      = 10 * time.Minute

	// insideLeast is the share of the callers, and of those whom the limit lets in, from
	// which the queue has not gone but only moved into the server, as that of a closed
	// loop does: how many come back is as good a measure as with a queue.
	insideLeast = 0.85

	// coldFor is how long callers queue because connections are being opened until it is
	// learned from those that are.
	coldFor = time.Second

	settleLeast = 100 * time.Millisecond
	settleMost  = 1500 * time.Millisecond
	// turnoverMost is how long it is waited for that what was in use at the limit
	// before has come back, and as many as are in use at this one: slow requests say for
	// seconds what that limit gave, and of those that are let in together the short ones
	// come back first.
	turnoverMost = 10 * time.Second
	// While more than one connection of dialShare is being opened, and more than one at
	// all, which takes the server's CPU and its time, a limit does not show what it serves.
	dialShare = 8
	dialMost  = 3 * time.Second
)

// move is what the learner wants after a look.
type move struct {
	limit  int // 0: no say
	reason sizing.Reason
	soon   time.Duration // when to look again, 0: at the usual time
	turn   bool          // between the two limits of a trial under way
	// forget is whether the pool's ups and downs were another load's.
	forget bool
}

// observe takes one window into account. limit is the pool's, low and high the
// walls that bind it, callers the number in the pool (in use + queued).
func (l *Learner) observe(cfg Config, at time.Duration, w window, crowded bool, limit, low, high int, callers float64, est model.Estimate) move {
	l.Prior = est.Prior
	if l.Episode {
		return l.trial(cfg, at, w, low, high, callers, est)
	}
	if m := l.suspect(at, w, crowded, limit, low, high, est); m.limit > 0 {
		return m
	}
	if !l.Saturated {
		m := move{}
		if w.saturated > 0 {
			m.soon = fastLook
		}
		return m
	}
	if l.Known {
		return l.watch(cfg, at, w, limit, low, high, callers, est)
	}
	swells := l.swells(at, callers)
	if est.Natural || est.Varied >= limit+limit/2 && l.saturatedFor(at) < varyingAfter && !l.outrun(at) && !swells { // the curve around here is known without trying
		return move{soon: watchLook}
	}
	if l.saturatedFor(at) < saturatedFor {
		return move{soon: fastLook}
	}
	n := l.first(w, limit, low, est)
	if w.reach > 0 && n >= w.reach && l.saturatedFor(at) < coldFor { // it may be a queue for connections that open this moment
		return move{soon: fastLook}
	}
	m := l.begin(at, limit, low)
	if n != limit {
		m = l.try(at, n, est.Service, sizing.Learning)
	}
	return m
}

// first is the limit that a new episode measures first: the one in force, unless that is
// oversized beyond doubt, or the pool is still so cold that a queue is let in only as
// connections open. It is then learned from what there is, before all those are opened
// that may do harm.
func (l *Learner) first(w window, limit, low int, est model.Estimate) int {
	n := limit
	if m := beyondPrior(est.Prior); est.Prior > 0 && est.Crowded && limit >= farBeyond*est.Prior && m >= low {
		n = m
	}
	if w.reach > 0 {
		n = min(n, max(w.reach, low))
	}
	return n
}

// queue notes since when callers have queued without a break. limit is the one that was
// filled: where it has just been raised, the one before, because the rest is dialled.
func (l *Learner) queue(at time.Duration, w window, limit int) {
	saturated := w.saturated > 0.8 && w.inUse > 0.7*float64(limit)
	if saturated && !l.Saturated {
		l.SaturatedSince, l.Came, l.Served, l.CallersThen = at-w.Elapsed, 0, Trial{}, 0
	}
	l.Saturated = saturated
	if !saturated {
		l.VerifyAt += w.Elapsed // it is the time with a queue that counts
	}
	l.Came += float64(w.Arrivals)
	l.Served.add(w)
}

// outrun tells whether so many more have come since callers began to queue than were served
// that it is no burst of a load that varies: its ups and downs were another load's.
func (l *Learner) outrun(at time.Duration) bool {
	served := l.Served.Completions
	return l.saturatedFor(at) >= outrunAfter && l.Came >= outrunTimes*served && l.moreCame(served, 5)
}

// moreCame tells whether more have come since callers began to queue than served, by so
// many standard errors.
func (l *Learner) moreCame(served, errors float64) bool {
	return l.Came-served >= errors*math.Sqrt(l.Came)
}

// saturatedFor is for how long callers have queued without a break.
func (l *Learner) saturatedFor(at time.Duration) time.Duration {
	if !l.Saturated {
		return 0
	}
	return at - l.SaturatedSince
}
