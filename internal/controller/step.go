// Package controller decides when and how far the pool moves. Read Step first:
// it is the documented list of what happens at one look.
//
// The package is pure: no clock, no IO, no goroutine, no randomness. The live
// tuner, the simulation and the replay of a journal call the same Step.
package controller

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Step is the controller. The same config, state and observation always give the
// same state and decision. The zero State is where every controller starts.
//
// An observation that cannot be believed (time going back, a counter that fell,
// NaN) changes nothing but the memory of having seen it.
func Step(cfg Config, s State, o Observation) (State, Decision) {
	numbers := o.Counters.ServiceTimeSq >= 0 && !math.IsInf(o.Counters.ServiceTimeSq, 0)
	o = sane(o)
	first := s.Looks == 0
	if first {
		s = start(s, o)
	}
	if !first && (o.At <= s.At || !numbers) { // the next window goes on from the last look that was one
		return s, s.hold(o, s.LastReason)
	}

	// Moved by hand, or a swap failed: what is there counts. But where nothing may be
	// moved, a move of our own that was not made is none of a hand.
	undone := (o.Frozen || o.Server == nil) && (o.Gauges.Limit == s.LimitBefore || o.Gauges.Limit == min(s.Limit, o.Gauges.Max))
	if o.Gauges.Limit != s.Limit && !undone {
		s.Learn.Episode, s.Learn.Known = false, false
	}
	if o.Gauges.Max != s.Max {
		s.EnoughSince, s.LastSwap = 0, o.At
	}

	// Observe: what happened since the last look.
	w, usable := between(cfg, o.At, s.Counters, o.Counters, o.Gauges.Peak, o.Gauges.Limit, s.At)
	usable = usable && !first
	w.dialling, w.reach = o.Gauges.Connecting, o.Gauges.Reach
	s.Opened = s.Opened || w.dialling == 0 && o.Counters.Completions > 0
	// A limit that was just moved makes levels of its own, filling up or draining;
	// a queue that stays makes a single one.
	if usable && s.Limit == s.LimitBefore && s.Opened && s.Learn.saturatedFor(s.At) < steadyQueue && w.ServiceTime >= time.Duration(w.Completions)*shortestQuery {
		s.Occupancy.Add(o.At, &s.Counters.Levels, &o.Counters.Levels)
	}
	if usable {
		s.Holds.add(o.At, w)
		s.Learn.queue(o.At, w, min(o.Gauges.Limit, s.LimitBefore, o.Gauges.filled()))
	} else {
		s.Learn.Saturated = false
	}
	s.Looks++
	s.At, s.Counters = o.At, o.Counters

	// Estimate: demand, from what callers wanted and not from what they got.
	if usable {
		s.estimateDemand(w, o)
	}
	s.see(o)
	est := s.estimate(cfg, w, usable)

	// Size: what the belief asks for within the walls.
	walls := s.walls(cfg, o)
	allowed := walls.Allowed()
	rec := sizing.Recommend(sizing.Input{Estimate: est, Walls: walls, Vectors: s.vectors(), Users: cfg.Users, MinShare: cfg.MinShare, FloorMin: cfg.FloorMin})

	d := s.hold(o, sizing.Steady)
	d.Estimate, d.Recommendation = est, rec

	// Decide.
	switch {
	case o.Frozen:
		d.Action, d.Reason = Freeze, sizing.Operator
		d.Limit = s.takeBack(d)
	case s.Blind:
		return s.freeze(o, d)
	case first:
		d.Reason = sizing.Start
		s.LastReason = d.Reason
		s.fit(cfg, o, allowed, &d)
	case !usable:
		d.Reason = s.LastReason
	default:
		s.decide(cfg, o, w, est, allowed, &d)
	}
	s.remember(d)
	return s, d
}

// remember keeps what was decided, to tell a hand's moves from its own.
func (s *State) remember(d Decision) {
	s.LimitBefore, s.Limit, s.Max, s.LastReason = s.Limit, d.Limit, d.Max, d.Reason
}

// start adopts the pool as it is: its size is the first good one.
func start(s State, o Observation) State {
	s.History = model.NewHistogram(historyHalfLife)
	s.Occupancy.HalfLife = occupancyHalfLife
	s.Limit, s.Max = o.Gauges.Limit, o.Gauges.Max
	s.At = o.At
	s.SeenAt = o.At
	s.PinnedDone = -1 // no count: none may ever have come back
	return s
}

// hold is the decision to leave everything as it is.
func (s *State) hold(o Observation, reason sizing.Reason) Decision {
	return Decision{At: o.At, Action: Hold, Reason: reason, Limit: o.Gauges.Limit, Max: o.Gauges.Max, Min: o.Gauges.Min, Bound: sizing.NoBound}
}

// walls are the hard limits that hold now.
func (s *State) walls(cfg Config, o Observation) sizing.Walls {
	w := sizing.Walls{Floor: cfg.Floor, Ceiling: cfg.Ceiling, Budget: cfg.Budget, ProfileFloor: cfg.ProfileFloor,
		Open: o.Gauges.InUse + o.Gauges.Idle + o.Gauges.Connecting}
	if cfg.Guideline {
		w.ProfileFloor = max(w.ProfileFloor, sizing.Guideline(s.vectors(), cfg.Users))
	}
	if s.Server.MaxConnections > 0 {
		w.ServerMax, w.ServerReserved = s.Server.MaxConnections, s.Server.Reserved
		w.ServerOthers = s.Server.Others + 1 // the tuner's own
	}
	if o.Host != nil && o.Host.SharedBox && o.Host.RAMTotal > 0 {
		w.FreeBytes = max(1, o.Host.RAMFree) // 0 would be unknown
	}
	return w
}

// freeze keeps the last good size while the server is out of sight. A limit that
// was only being tried is taken back.
func (s *State) freeze(o Observation, d Decision) (State, Decision) {
	d.Reason = sizing.Blind
	d.Limit = s.takeBack(d)
	switch {
	case d.Limit > o.Gauges.Limit:
		d.Action = Grow
	case d.Limit < o.Gauges.Limit:
		d.Action = Shrink
	case o.At-s.SeenAt >= freezeAfter:
		d.Action = Freeze
	}
	s.remember(d)
	return *s, d
}

// takeBack ends a trial that may not go on, and returns the limit that was in force
// before it.
func (s *State) takeBack(d Decision) int {
	s.EnoughSince, s.StaleSince, s.Spare.Since = 0, 0, 0 // nobody looks whether it goes on
	if !s.Learn.Episode {
		return d.Limit
	}
	s.Learn.Doubted = !s.Learn.Verify && s.Learn.Relearns
	s.Learn.Episode, s.Learn.Verify = false, false
	return max(1, min(s.Learn.Base, d.Max))
}

// decide moves the limit and, rarely, the size.
func (s *State) decide(cfg Config, o Observation, w window, est model.Estimate, allowed sizing.Range, d *Decision) {
	limit := o.Gauges.Limit
	low, high := max(1, cfg.Floor), allowed.High
	if cfg.FixedSize {
		high = min(high, o.Gauges.Max)
	}
	if s.coresBusy() {
		low = max(low, s.Server.Cores) // fewer connections than busy cores would leave some idle
	}
	pinned := s.pinned(o, est)
	walled := min(max(low+pinned, s.Learn.stuckBelow(o.At)), high)
	low = max(walled, min(est.Least, high))
	s.Learn.Walled, s.Learn.Cores = walled, s.Server.Cores
	if est.Least > 0 {
		s.Learn.Shown = Shown{est.Least, est.Varied, est.Plateau, est.VariedPeak}
	}
	// Waits are booked when they end, those of slow requests late.
	callers := math.Max(w.inUse+w.WaitTime.Seconds()/w.Elapsed.Seconds(), float64(o.Gauges.InUse+o.Gauges.Queued))

	learning, verifying := s.Learn.Episode, s.Learn.Verify
	m := s.Learn.observe(cfg, o.At, w, s.crowd(w, est), limit, low, high, callers, est)
	if m.limit > 0 {
		d.Limit, d.Reason, d.Turn = m.limit, m.reason, m.turn
	} else {
		s.natural(o, est, low, high, d)
		cutShort := learning && !s.Learn.Episode && (limit < est.Knee.Lower || limit > est.Knee.Upper)
		switch {
		case d.Limit != limit:
		case cutShort: // the limit was only to be tried
			d.Limit = min(max(s.Learn.Base, low), high)
		default:
			s.follow(w, est, o, high, d)
		}
	}
	s.spare(o, w, est, low, d)
	if m.reason == sizing.CapacityChanged || m.forget { // what the ups and downs showed was another load's
		s.Occupancy.Forget()
		s.Holds = Holds{}
		s.Censuses = 0 // what the backends did before says nothing of it
		s.Learn.CrowdEvery = 0
	}
	d.Next = m.soon
	if learning && !s.Learn.Episode && !est.Natural {
		s.judge(d.Limit)
	}
	if verifying && s.Learn.Known && d.Limit != s.Learn.Base {
		s.contradict(cfg, o.At, d.Limit)
	}
	if least := min(pinned+1, high); d.Limit < least { // else nobody is served
		d.Limit, d.Reason = least, sizing.DemandRose
		s.Learn.Episode, s.Learn.Known = false, false
	}
	if !s.Learn.Episode {
		d.Reason = s.attribute(w, o, high, allowed, d)
	}
	if d.Limit > high {
		if 3*high < 2*d.Limit {
			s.Learn.Known = false // it was about a limit that cannot be had now
		}
		d.Limit, d.Bound = high, allowed.HighBy
		if d.Reason == sizing.Steady || d.Reason == sizing.ServerSaturated {
			d.Reason = sizing.Bounded
		}
	}
	s.fit(cfg, o, allowed, d)
	switch {
	case d.Limit > limit || d.Max > o.Gauges.Max:
		d.Action = Grow
	case d.Limit < limit || d.Max < o.Gauges.Max:
		d.Action = Shrink
	}
}

// coresBusy tells whether this pool's backends keep all cores of the server busy.
func (s *State) coresBusy() bool {
	return s.Server.Cores > 0 && s.Running >= 0.8*float64(s.Server.Cores)
}

// pinned is how many of the connections in use are held for good. Those of queries
// that take as long come back. Where all are, they may wait for one lock: what else
// asks gets one more connection, and no further one unless that has come back.
func (s *State) pinned(o Observation, est model.Estimate) int {
	n := o.Gauges.Pinned
	switch {
	case stallServices*est.Service > PinnedAfter:
		return 0
	case n > 0 && n >= o.Gauges.InUse:
		if o.Counters.Completions == s.PinnedDone {
			return 0
		}
		s.PinnedDone = o.Counters.Completions
	}
	return n
}

// attribute names what holds throughput back while callers queue at a limit that
// is not being moved, from what the server's backends do.
func (s *State) attribute(w window, o Observation, high int, allowed sizing.Range, d *Decision) sizing.Reason {
	if d.Reason != sizing.Steady || w.saturated < 0.5 {
		return d.Reason
	}
	b := s.Server.Ours
	busy := b.OnCPU + b.IO + b.Lock + b.LWLock + b.OtherWait + b.IdleInTransaction
	switch {
	case busy > 0 && 2*b.Lock > busy:
		return sizing.LockContention
	case busy > 0 && 2*b.IdleInTransaction > busy:
		return sizing.IdleInTransaction
	case d.Limit >= high && (allowed.HighBy == sizing.ServerBound || allowed.HighBy == sizing.MemoryBound):
		d.Bound = allowed.HighBy
		return sizing.Exhausted
	case s.Learn.Known && d.Limit >= high && high == allowed.High && !s.Learn.Knee.Identified && !s.coresBusy(): // what lies above is unknown
		d.Bound = allowed.HighBy
		return sizing.Bounded
	case s.Learn.Known:
		return sizing.ServerSaturated
	}
	return d.Reason
}

// sane replaces what cannot be by what can: absurd gauges by bounds, NaN by 0.
func sane(o Observation) Observation {
	g := &o.Gauges
	for _, v := range [...]*int{&g.Limit, &g.Max, &g.Min, &g.InUse, &g.Idle, &g.Queued, &g.Connecting, &g.Budget, &g.Peak, &g.Room, &g.Reach, &g.Pinned} {
		*v = min(max(*v, 0), math.MaxInt32)
	}
	g.Max = max(g.Max, 1)
	g.Limit = min(max(g.Limit, 1), g.Max)
	g.Min = min(g.Min, g.Max)
	g.Pinned = min(g.Pinned, g.InUse)
	if !(o.Counters.ServiceTimeSq >= 0) || math.IsInf(o.Counters.ServiceTimeSq, 0) {
		o.Counters.ServiceTimeSq = 0
	}
	o.At = max(o.At, 0)
	o.WaitP99 = max(o.WaitP99, 0)
	return o
}

// saneServer does the same for what the server said.
func saneServer(v Server) Server {
	if !(v.Vectors.Rows >= 0) || math.IsInf(v.Vectors.Rows, 0) {
		v.Vectors.Rows = 0
	}
	b := &v.Ours
	for _, n := range [...]*int{&v.Others, &v.MaxConnections, &v.Reserved, &v.Cores,
		&b.OnCPU, &b.IO, &b.Lock, &b.LWLock, &b.OtherWait, &b.IdleInTransaction, &b.Idle, &b.Unknown} {
		*n = min(max(*n, 0), math.MaxInt32)
	}
	return v
}
