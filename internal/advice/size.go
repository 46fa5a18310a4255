package advice

import (
	"fmt"
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/pgstat"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Rule names what decided the size.
type Rule string

// The rules.
const (
	ByDemand   Rule = "demand"   // the connections that were asked for, with room above
	ByKnee     Rule = "knee"     // the fewest that keep the cores busy
	ByLocks    Rule = "locks"    // the fewest that keep the contended rows busy
	ByMeasured Rule = "measured" // the knee that the observation itself saw
	ByNothing  Rule = "unknown"  // nothing was seen that a size could rest on
)

// Confidence is how far the evidence narrows the range.
type Confidence string

// The degrees of confidence.
const (
	High   Confidence = "high"
	Medium Confidence = "medium"
	Low    Confidence = "low"
	None   Confidence = "none"
)

// Size is the recommendation, for all instances together and for each.
type Size struct {
	Known bool `json:"known"`
	Max   int  `json:"max"`
	Min   int  `json:"min"`
	Lower int  `json:"lower"` // of max: what the evidence cannot tell apart from it
	Upper int  `json:"upper"`
	// Of min: from half of the recommended one, below which callers often wait for
	// a connection to be opened, to what is in use 5 % of the time, above which
	// connections stand idle; to Upper where callers may have queued unseen.
	MinLower int `json:"min_lower"`
	MinUpper int `json:"min_upper"`

	MaxEach int `json:"max_each"` // for one of the instances
	MinEach int `json:"min_each"`

	Confidence Confidence   `json:"confidence"`
	Rule       Rule         `json:"rule"`
	Bound      sizing.Bound `json:"bound"`   // the wall that moved max
	Ceiling    int          `json:"ceiling"` // of the walls; 0 is unknown
	CeilingBy  sizing.Bound `json:"ceiling_by"`

	Saturated bool     `json:"saturated"` // the server's cores were busy most of the time
	Clipped   bool     `json:"clipped"`   // every open connection was in use: callers may queue unseen
	Why       []string `json:"why"`
}

const (
	// clippedShare of the time without an idle connection means that demand
	// beyond what is open cannot be ruled out.
	clippedShare = 0.2
	// saturatedShare of the time with all cores busy is a saturated server.
	saturatedShare = 0.5
	// leastCores of a server: where fewer compute on average, its cores are not busy
	// most of the time, however many there are.
	leastCores = 2
	// hiddenMost is the share of the connections that may be hidden: beyond it most
	// of the demand was not seen.
	hiddenMost = 0.5
)

// decide is the whole inference: demand where the server has room, the knee where
// it has not or where demand cannot be seen, within the walls.
func decide(d Demand, s Supply, t *tally, walls sizing.Walls, seen Seen) Size {
	allowed := walls.Allowed()
	z := Size{Confidence: None, Rule: ByNothing, Bound: sizing.NoBound, Ceiling: allowed.High, CeilingBy: allowed.HighBy}
	if allowed.High == sizing.NoWall {
		z.Ceiling = 0
	}
	if seen.Samples == 0 || d.Peak == 0 || t.mean.Unknown > hiddenMost*t.mean.open() {
		z.Why = nothingSeen(t, seen)
		return z
	}
	z.Known = true
	z.Clipped = d.Clipped >= clippedShare
	z.Saturated = s.Cores > 0 && s.Saturated >= saturatedShare

	span := Span{}
	switch {
	case s.Measured.Identified:
		z.Rule, span = ByMeasured, Span{s.Measured.Lower, s.Measured.N, s.Measured.Upper}
		z.Why = append(z.Why, "The number of connections changed while it was watched, and throughput with it: "+s.Measured.String()+".")
	case s.Locked.Target > 0 && (s.Cores == 0 || s.Locked.Target <= s.KneePart.Target):
		z.Rule, span = ByLocks, s.Locked
		z.Why = append(z.Why, fmt.Sprintf("%.1f connections wait for rows that others lock, and %.1f do anything else. A queue for a row is as long in the pool as in the server, and costs less there.", t.mean.Row, t.mean.inUse()-t.mean.Row))
	case s.Cores > 0 && (z.Saturated || z.Clipped):
		z.Rule, span = ByKnee, s.KneePart
		z.Why = append(z.Why, kneeWhy(z, d, s))
	case z.Clipped: // cores unknown
		z.Rule, span = ByDemand, Span{unqueued(t), up(d.P99), min(allowed.High, max(up(d.Peak)*2, mostKnee))}
		z.Why = append(z.Why, "Every open connection was in use, and the server's cores are unknown: whether more would be served faster or only queue inside the server cannot be seen from here. The size of today is kept.")
	default:
		z.Rule, span = ByDemand, demandSpan(d)
		kept := "The server kept up, so demand decides, with a third above it for bursts."
		switch {
		case othersCompute(s):
			// Their load lengthens each use, and more or less of it changes all.
			span = Span{max(1, span.Lower/2), span.Target, 2 * span.Upper}
			kept = "Other processes keep the cores busy, which no size of the pool changes, so demand decides, with a third above it for bursts. Each use takes longer beside them: with less of them fewer connections would do, with more of them more."
		case coresInDoubt(s):
			span.Lower = min(span.Lower, unqueued(t))
			kept = fmt.Sprintf("Demand decides, with a third above it for bursts. But %.1f backends compute or want to: whether the server's cores keep up, or callers queue for them inside it, cannot be told without their number.", s.Computing)
		}
		if d.Averaged > 0 {
			z.Why = append(z.Why, fmt.Sprintf("In use on average of %s: at most %.0f in half of these intervals, %.0f in 99 %%, %d in all of them. Bursts within one are averaged away and may have taken more. %s", brief(seconds(d.Averaged)), d.Median, d.P99, up(d.Peak), kept))
		} else {
			z.Why = append(z.Why, fmt.Sprintf("In use at once: half of the time at most %.0f, 99 %% of it at most %.0f, never more than %d. %s", d.Median, d.P99, up(d.Peak), kept))
		}
		if d.Between > 0 {
			z.Why = append(z.Why, "The peak was shorter than the looks are apart: it is known from when the statements began and ended, and what they waited for is not. It may have been higher; look for longer (--for 10m).")
		}
		if over := overKnee(s, t); over && span.Target > s.KneePart.Target {
			span = Span{s.KneePart.Lower, s.KneePart.Target, max(span.Target, s.KneePart.Upper)}
			z.Rule = ByKnee
			z.Why = append(z.Why, fmt.Sprintf("At the peaks the %d cores are busy with fewer: above %d, callers queue inside the server instead of in the pool.", s.Cores, span.Target))
		}
	}
	span.Upper = max(span.Upper, span.Target+up(t.mean.Unknown)) // all that is hidden may be in use
	span.Lower = max(1, min(span.Lower, span.Target))
	z.Max, z.Bound = allowed.Clip(span.Target)
	z.Lower, z.Upper = min(span.Lower, allowed.High), min(span.Upper, allowed.High)
	z.Min = min(z.Max, max(1, up(d.Median)))
	z.MinLower, z.MinUpper = (z.Min+1)/2, min(z.Upper, max(z.Min, up(d.P95)))
	if z.Clipped {
		z.MinUpper = max(z.Min, z.Upper)
	}
	if z.Bound != sizing.NoBound {
		z.Why = append(z.Why, fmt.Sprintf("The evidence asks for %d; %s allows %d.", span.Target, wall(z.Bound), z.Max))
	}
	z.Confidence = confidence(z, d, s, t, seen)
	return z
}

// coresInDoubt tells whether the server may be saturated without it being seen.
func coresInDoubt(s Supply) bool { return s.Cores == 0 && s.Computing > leastCores }

// othersCompute tells whether nearly all that keeps the machine busy is none of the
// server's.
func othersCompute(s Supply) bool {
	return s.Foreign > 0 && s.CPU >= busyMachine && s.Busy < idleServer*float64(s.Cores)
}

// unqueued is how many connections are in use if as many as can be of those that
// compute or want to queue for cores.
func unqueued(t *tally) int {
	return max(1, up(t.mean.inUse()-math.Max(0, t.mean.Computing-leastCores)))
}

func kneeWhy(z Size, d Demand, s Supply) string {
	busy := fmt.Sprintf("%d cores, and %.1f s of waiting for each second of computing", s.Cores, s.Ratio)
	others := ""
	if s.Foreign >= 0.5 {
		others = fmt.Sprintf(", %.1f of them with other processes' work", s.Foreign)
	}
	switch {
	case z.Saturated && d.P95 > float64(s.KneePart.Upper):
		return fmt.Sprintf("The cores are busy %.0f %% of the time%s with %.0f in use: %s are served by %d. The rest queues inside the server, where it slows the others down.", 100*s.Saturated, others, d.Mean, busy, s.KneePart.Target)
	case z.Saturated:
		return fmt.Sprintf("The cores are busy %.0f %% of the time%s: %s are served by %d.", 100*s.Saturated, others, busy, s.KneePart.Target)
	}
	return fmt.Sprintf("Every connection of those at work was in use %.0f %% of the time while cores were free: callers may queue in the service. %s: up to %d connections the server gains from.", 100*d.Clipped, busy, s.KneePart.Target)
}

// demandSpan covers what was seen, with the headroom of a pool that learns.
func demandSpan(d Demand) Span {
	wanted := math.Max(d.P99, math.Min(float64(d.Wanted), math.Max(d.Peak, d.P99)))
	target := max(up(wanted*sizing.Headroom), up(d.Peak))
	return Span{Lower: max(1, up(d.P95)), Target: target, Upper: up(math.Max(float64(target), d.Peak*sizing.Headroom))}
}

// overKnee tells whether the cores were all busy in most of the time in which
// more than the knee was in use.
func overKnee(s Supply, t *tally) bool {
	above, busy := 0, 0
	for i := range t.each {
		c := &t.each[i]
		if c.inUse() > float64(s.KneePart.Target) {
			above++
			if c.Computing+c.Workers >= float64(s.Cores) {
				busy++
			}
		}
	}
	return s.Cores > 0 && above > 0 && 2*busy > above
}

// confidence weighs how wide the range is and what could not be seen.
func confidence(z Size, d Demand, s Supply, t *tally, seen Seen) Confidence {
	grades := []Confidence{High, Medium, Low}
	grade := 0
	switch spread := float64(z.Upper) / float64(max(1, z.Lower)); {
	case spread > 3:
		grade = 2
	case spread > 1.7:
		grade = 1
	}
	if seen.Seconds < 20 || seen.Samples < 100 {
		grade++
	}
	if z.Rule == ByDemand && d.Averaged >= 1 { // the peaks that a pool is for were not seen
		grade++
	}
	if t.mean.Unknown > 0.1*t.mean.open() || coresInDoubt(s) {
		grade = len(grades) - 1
	}
	if z.Rule == ByKnee && float64(z.Max) > 4*d.Peak { // far from what was seen
		grade++
	}
	if z.Rule == ByLocks || s.Cores == 0 && z.Clipped {
		grade++
	}
	return grades[min(grade, len(grades)-1)]
}

// divide shares the size out: each instance gets its part of max rounded up, or
// down where a wall binds. Where demand decides, the parts together are larger than the
// whole, for an idle connection of one instance is of no use to a caller of another.
func (z *Size) divide(instances int, d Demand, walls sizing.Walls) {
	z.MaxEach = (z.Max + instances - 1) / instances
	if z.Rule == ByDemand && !z.Clipped && instances > 1 {
		if alone := model.ErlangCServers(d.Mean/float64(instances), waitShare); alone > z.MaxEach {
			z.MaxEach = alone
			z.Why = append(z.Why, fmt.Sprintf("Each of %d instances needs %d, or more than %.0f %% of its callers would wait: they cannot use each other's idle connections.", instances, alone, 100*waitShare))
		}
	}
	if high := walls.Allowed().High; z.Ceiling > 0 && z.MaxEach*instances > high {
		z.MaxEach = max(1, high/instances)
		if z.Known && instances > high {
			z.Why = append(z.Why, fmt.Sprintf("%d instances cannot have a connection each: %s allows %d together. A pooler in between, or fewer instances.", instances, wall(z.CeilingBy), high))
		}
	}
	z.MinEach = min(z.MaxEach, (z.Min+instances-1)/instances)
	if !z.Known {
		z.MaxEach, z.MinEach = 0, 0
	}
}

// wallsOf are the hard limits of the subject's connections.
func wallsOf(q Question, r *Recording, subject, all *tally) sizing.Walls {
	w := sizing.Walls{ServerMax: r.Facts.Settings.MaxConnections, ServerReserved: r.Facts.Settings.Reserved()}
	if subject != all {
		others := 0.0
		for i := range all.each {
			others = math.Max(others, all.each[i].open()-subject.each[i].open())
		}
		w.ServerOthers = up(others)
	}
	w.Open = up(subject.mean.open())
	if r.Machine.Shared && r.Machine.RAMTotal > 0 {
		w.FreeBytes = max(1, r.Machine.RAMFree) // 0 would be unknown
	}
	for _, limit := range r.Facts.Server.Limits {
		principal := func(g *pgstat.Group) string { return g.Role }
		if limit.OfDatabase {
			principal = func(g *pgstat.Group) string { return g.Database }
		}
		w.Budget = smaller(w.Budget, limitLeft(q, r, limit.Max, limit.Name, principal))
	}
	return w
}

// limitLeft is what the CONNECTION LIMIT of a database or role leaves to the
// subject, beside others that it counts too; 0 where it does not bind, because
// the subject has connections that it does not count.
func limitLeft(q Question, r *Recording, limit int, of string, principal func(*pgstat.Group) string) int {
	if limit <= 0 || of == "" {
		return 0
	}
	most, counted := 0, of == q.Filter.Role || of == q.Filter.Database
	for i := range r.Samples {
		others := 0
		for j := range r.Samples[i].Groups {
			g := &r.Samples[i].Groups[j]
			switch {
			case g.Kind != pgstat.ClientKind && g.Kind != pgstat.HiddenKind:
			case q.Filter.picks(g) && principal(g) != of:
				return 0
			case q.Filter.picks(g):
				counted = true
			case !q.Filter.picks(g) && principal(g) == of:
				others += g.Backends
			}
		}
		most = max(most, others)
	}
	if !counted { // nobody was seen that it would count
		return 0
	}
	return max(1, limit-most)
}

// smaller is the smaller of two limits, of which 0 is none.
func smaller(a, b int) int {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// wall says a bound in words.
func wall(b sizing.Bound) string {
	switch b {
	case sizing.ServerBound:
		return "max_connections, less what is reserved and what others hold,"
	case sizing.MemoryBound:
		return "the free memory of the server"
	case sizing.BudgetBound:
		return "the connection limit of the role or database"
	}
	return string(b)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func up(x float64) int { return int(math.Ceil(x - 1e-9)) }
