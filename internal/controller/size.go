package controller

import (
	"math"

	"github.com/pgautotune/autotune/internal/sizing"
)

// Size follows limit. Max grows at once, where the limit needs it: within the room of
// the generation for nothing, else by a swap, which reconnects everything. It shrinks,
// and min changes, by a swap that waits until less, or another min, has been right for
// minutes, and for a moment at which nobody queues.

// fit makes the size fit the limit.
func (s *State) fit(cfg Config, o Observation, allowed sizing.Range, d *Decision) {
	d.Max, d.Min = o.Gauges.Max, o.Gauges.Min
	if cfg.FixedSize {
		d.Limit = min(d.Limit, d.Max)
		return
	}
	if d.Max < allowed.Low {
		d.Max, d.Bound = allowed.Low, allowed.LowBy
		if d.Reason == sizing.Steady || d.Reason == sizing.Start {
			d.Reason = sizing.Profile
		}
	}
	if d.Limit > d.Max {
		d.Max = min(allowed.High, s.roomFor(o, d.Limit)*d.Limit)
		if d.Max == allowed.High {
			d.Bound = allowed.HighBy
		}
		d.Limit = min(d.Limit, d.Max)
	}
	s.shrink(o, allowed, d)
	grown := d.Max > o.Gauges.Max && d.Max <= o.Gauges.Room
	d.Swap = d.Max != o.Gauges.Max && !grown || s.minStale(cfg, o, d)
	if d.Swap {
		d.Min = min(d.Min, d.Max)
		if !s.Learn.Episode { // while learning, the load says nothing about what to keep warm
			d.Min = s.warm(cfg, d)
		}
		s.LastSwap, s.EnoughSince, s.StaleSince = o.At, 0, 0
	}
}

// roomFor is how many times the limit max grows to.
func (s *State) roomFor(o Observation, limit int) int {
	switch {
	case limit <= o.Gauges.Room:
		return 1 // it can grow again for nothing
	case s.Learn.Episode:
		return roomToLearn
	}
	return roomAbove
}

// shrink lowers max when less has been enough for a while.
func (s *State) shrink(o Observation, allowed sizing.Range, d *Decision) {
	enough := s.enough(o, allowed, d)
	if 3*enough > 2*d.Max || s.Learn.Episode {
		s.EnoughSince = 0
		return
	}
	if s.EnoughSince == 0 {
		s.EnoughSince = o.At
	}
	after := shrinkAfter
	if !s.Learn.Known {
		after = shrinkUnlearned
	}
	if o.At-s.EnoughSince >= after && s.mayTidy(o) {
		d.Max = enough
		d.Limit = min(d.Limit, d.Max)
		if d.Reason == sizing.Steady {
			d.Reason = sizing.DemandFell
		}
	}
}

// minStale tells whether another min than the generation's has been right for so long
// that it is worth a swap: half of it or double, or what the user or the profile asked for.
func (s *State) minStale(cfg Config, o Observation, d *Decision) bool {
	warm, after := s.warm(cfg, d), staleMin
	asked := d.Min < min(cfg.FloorMin, d.Max) || cfg.MinShare > 0 && warm != d.Min
	if asked {
		after = shrinkAfter
	}
	if s.Learn.Episode || !asked && warm < 2*d.Min+minApart && d.Min < 2*warm+minApart {
		s.StaleSince = 0
		return false
	}
	if s.StaleSince == 0 {
		s.StaleSince = o.At
	}
	return o.At-s.StaleSince >= after && o.Gauges.Queued == 0 && s.mayTidy(o)
}

// mayTidy tells whether the last swap is long enough ago for one that only saves
// connections.
func (s *State) mayTidy(o Observation) bool {
	return s.LastSwap == 0 || o.At-s.LastSwap >= swapGap
}

// enough is the smallest max that would still do: the limit where a knee is
// known, else the demand, with room to move.
func (s *State) enough(o Observation, allowed sizing.Range, d *Decision) int {
	need := d.Limit
	if !s.Learn.Known {
		need = max(int(math.Ceil(math.Min(d.Estimate.DemandUpper, math.MaxInt32))), o.Gauges.InUse, min(d.Limit, 4))
		if d.Estimate.Natural {
			need = max(need, d.Recommendation.Upper)
		}
	}
	n, _ := allowed.Clip(int(math.Ceil(float64(need)*2*sizing.Headroom)) + 1)
	return n
}

// warm is the min that the pool should have.
func (s *State) warm(cfg Config, d *Decision) int {
	if cfg.MinShare > 0 {
		return min(max(cfg.FloorMin, d.Max/cfg.MinShare), d.Max)
	}
	return min(max(cfg.FloorMin, min(d.Recommendation.Min, d.Limit)), d.Max)
}
