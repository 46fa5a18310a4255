package model

import (
	"math"
	"time"
)

// Occupancy learns the capacity curve from the pool's own ups and downs. Over a
// minute throughput equals the arrival rate and says nothing of capacity; but at
// the instants at which n connections are in use, connections come back at the
// rate X(n) that the server gives to n, whoever is queued or not. The connections
// given back out of n, divided by the time at n, estimate it (for a queue whose
// departures depend on the number in service, exactly; for Poisson arrivals and
// processor sharing, whatever the distribution of service, too).
//
// The levels alternate within milliseconds, so whatever else the machine does
// meets all of them alike: the comparison is paired by nature. It takes a load
// that varies; a closed loop at its limit is at one level only.
//
// It is a plain value; the zero value never forgets.
type Occupancy struct {
	HalfLife time.Duration
	Last     time.Duration
	Seconds  [LevelCount]float64
	Left     [LevelCount]float64
}

// Add takes in what came between two looks, the later of them at the given time.
// Counters that fell are ignored.
func (o *Occupancy) Add(at time.Duration, last, now *Levels) {
	keep := 1.0
	if o.HalfLife > 0 && at > o.Last {
		keep = math.Exp2(-float64(at-o.Last) / float64(o.HalfLife))
	}
	o.Last = max(o.Last, at)
	for i := range o.Seconds {
		o.Seconds[i] *= keep
		o.Left[i] *= keep
		if dt, left := now[i].Time-last[i].Time, now[i].Left-last[i].Left; dt >= 0 && left >= 0 {
			o.Seconds[i] += dt.Seconds()
			o.Left[i] += float64(left)
		}
	}
}

// Observed is the time at all levels together, decayed, in seconds.
func (o *Occupancy) Observed() (seconds float64) {
	for _, s := range o.Seconds {
		seconds += s
	}
	return seconds
}

// Forget drops all evidence.
func (o *Occupancy) Forget() {
	o.Seconds, o.Left = [LevelCount]float64{}, [LevelCount]float64{}
}

// LeftAt is how many connections were given back, decayed, at levels from n up.
func (o *Occupancy) LeftAt(n int) (left float64) {
	for i := LevelOf(max(n, 1)); i < LevelCount; i++ {
		left += o.Left[i]
	}
	return left
}

// RateAt is how many connections are given back a second while from n up to less than m
// are in use; 0 where they never were.
func (o *Occupancy) RateAt(n, m int) float64 {
	left, seconds := 0.0, 0.0
	end := LevelCount // of the entries below that of m
	if m <= sampleMax {
		end = LevelOf(m)
	}
	for i := LevelOf(max(n, 1)); i < end; i++ {
		left += o.Left[i]
		seconds += o.Seconds[i]
	}
	if seconds <= 0 {
		return 0
	}
	return left / seconds
}

const (
	// levelLeft is how many connections must have come back out of a level, or
	// of neighbours together, to make a point: 14 % standard error.
	levelLeft = 50
	// levelTogether: requests that are served together tend to end together, so
	// of those given back out of n in use only so many out of n tell anything
	// new. A single excursion to 100 is one event, not a hundred.
	levelTogether = 8.0
	// levelTime is the least time at a level, in seconds, that is not chance.
	levelTime = 1e-3
	// kneeDecline is how many standard errors throughput beyond the knee must
	// have fallen for that to be a fall.
	kneeDecline = 2.5
)

// Knee is the smallest number in use that gives the objective's share of the peak
// throughput, with the levels that the evidence cannot tell from it. It is
// identified only when levels beyond it were seen to serve less: on a plateau more
// connections do no harm, and where throughput still rises at the highest level
// seen, more may serve more. Where less was seen beyond it and nothing below,
// [MissingBelow], a smaller one may be better still. peak is the throughput at the top, best at the knee,
// per second. least is the smallest level that gives four fifths of the peak: below
// it nothing is worth trying. All are 0 where nothing is known.
//
// demand is what callers ask for, per second, which the knee gives if the peak does:
// else a queue grows for the share that the objective gives away.
func (o *Occupancy) Knee(objective Objective, demand float64) (k Knee, peak, best float64, least int) {
	c := o.curve()
	if c.count < 2 {
		k.Missing = MissingPoints
		return k, 0, 0, 0
	}
	top := c.top()
	peak = c.x(top)
	k.SeenMin, k.SeenMax = c.n[0], c.n[c.count-1]
	choice, worth := top, math.Inf(-1)
	if objective == Latency {
		for i := range c.count {
			if w := 2*c.logX[i] - math.Log(c.n[i]); w > worth {
				choice, worth = i, w
			}
		}
	} else {
		// With little evidence the highest of several is too high: a standard
		// error is allowed for.
		for choice = 0; choice < top && c.logX[choice] < c.logX[top]+math.Log(1-objective.tolerance())-c.together(choice, top); choice++ {
		}
		for choice < top && c.x(choice) < demand {
			choice++
		}
	}
	k.N = int(math.Round(c.n[choice]))
	k.Lower, k.Upper = k.N, k.N
	for i := range c.count {
		slack := 2*c.together(i, top) - math.Log(1-objective.tolerance())
		if c.logX[i] >= c.logX[top]-slack && (i >= choice || c.x(i) >= demand) {
			n := int(math.Round(c.n[i]))
			k.Lower, k.Upper = min(k.Lower, n), max(k.Upper, n)
		}
	}
	last := c.count - 1
	fall := c.logX[top] - c.logX[last]
	falls := top != last && fall >= kneeDecline*c.together(top, last) && fall >= -math.Log(1-objective.tolerance())
	switch unseen := c.n[0] > 1 && c.n[0] > c.n[choice]/2; {
	case unseen && falls:
		k.Missing = MissingBelow
	case unseen:
		k.Missing = MissingSpan
	case !falls:
		k.Missing = MissingAbove
	default:
		k.Identified = true
	}
	least = 1 // a point may stand for several levels: just above the last that gives less
	for i := 0; c.logX[i] < c.logX[top]+math.Log(0.8)-2*c.error(top); i++ {
		least = int(c.n[i]) + 1
	}
	return k, peak, c.x(choice), least
}

// Plateau is the smallest level that gave the objective's share of the peak itself,
// without the standard error that [Occupancy.Knee] allows it, and what it gave per
// second. Both are 0 where none of it is a plateau: the highest level seen is so near
// that a rise in proportion up to it would not have shown.
func (o *Occupancy) Plateau(objective Objective) (n int, x float64) {
	c := o.curve()
	top := c.top()
	if c.count < 2 {
		return 0, 0
	}
	choice := 0
	for c.logX[choice] < c.logX[top]+math.Log(1-objective.tolerance()) {
		choice++
	}
	last := c.count - 1
	if math.Log(c.n[last]/c.n[choice]) < 2*c.together(choice, last) {
		return 0, 0
	}
	return int(math.Round(c.n[choice])), c.x(choice)
}

// Given is the throughput of n connections in use, per second, as the smoothed levels
// have it; 0 where nothing is known.
func (o *Occupancy) Given(n int) float64 {
	c := o.curve()
	if c.count == 0 {
		return 0
	}
	return c.x(c.at(n))
}

// Behind is how many connections that came back, each telling something new, the
// throughput of n connections in use rests on; 0 where nothing is known.
func (o *Occupancy) Behind(n int) float64 {
	c := o.curve()
	if c.count == 0 {
		return 0
	}
	return c.weight[c.at(n)]
}

// levelCurve is the unimodal curve that fits the levels best, as in [smooth], but
// without allocating: it is made at every look.
type levelCurve struct {
	count  int
	n      [LevelCount]float64
	logX   [LevelCount]float64
	weight [LevelCount]float64 // connections given back behind logX, neighbours pooled with it included
}

func (c *levelCurve) x(i int) float64     { return math.Exp(c.logX[i]) }
func (c *levelCurve) error(i int) float64 { return 1 / math.Sqrt(c.weight[i]) }

// at is the index of the lowest point of n connections or more, or of the highest.
func (c *levelCurve) at(n int) (i int) {
	for i < c.count-1 && int(math.Round(c.n[i])) < n {
		i++
	}
	return i
}

// together is the standard error of the difference of two.
func (c *levelCurve) together(i, j int) float64 { return math.Hypot(c.error(i), c.error(j)) }

func (c *levelCurve) top() (top int) {
	for i := range c.count {
		if c.logX[i] > c.logX[top] {
			top = i
		}
	}
	return top
}

func (o *Occupancy) curve() (c levelCurve) {
	var y, w [LevelCount]float64
	var seconds, left, worth, connections float64 // of the levels that are not enough for a point yet
	seen := 0.0                                   // the highest level so far that was in use at all
	for i := range o.Seconds {
		if o.Seconds[i] < levelTime {
			continue
		}
		// A load passes through all levels by itself; those of a few fixed
		// limits have gaps, and what lies in a gap may be anything.
		n := levelN(i)
		if seen > 0 && n > 1.5*seen+1 {
			break
		}
		seen = n
		seconds += o.Seconds[i]
		left += o.Left[i]
		worth += o.Left[i] * math.Min(1, levelTogether/n)
		connections += n * o.Seconds[i]
		if worth < levelLeft {
			continue
		}
		c.n[c.count] = connections / seconds
		y[c.count], w[c.count] = math.Log(left/seconds), worth
		c.count++
		seconds, left, worth, connections = 0, 0, 0, 0
	}
	if c.count == 0 {
		return c
	}
	// The misfit of a rise up to each level, and of a fall from each on.
	var rise, fall [LevelCount + 1]float64
	var blocks levelBlocks
	for i := range c.count {
		blocks.push(y[i], w[i], 1)
		rise[i+1] = blocks.misfit
	}
	blocks = levelBlocks{}
	for i := c.count - 1; i >= 0; i-- {
		blocks.push(y[i], w[i], 1)
		fall[i] = blocks.misfit
	}
	split := 0 // levels of the rise; the rest falls
	for i := range c.count + 1 {
		if rise[i]+fall[i] < rise[split]+fall[split]-1e-12 {
			split = i
		}
	}
	blocks = levelBlocks{}
	for i := range split {
		blocks.push(y[i], w[i], 1)
	}
	blocks.write(&c, 0, 1)
	blocks = levelBlocks{}
	for i := c.count - 1; i >= split; i-- {
		blocks.push(y[i], w[i], 1)
	}
	blocks.write(&c, c.count-1, -1)
	return c
}

// levelBlocks is pool-adjacent-violators for a sequence that shall not fall, one
// value at a time.
type levelBlocks struct {
	count  int
	mean   [LevelCount]float64
	weight [LevelCount]float64
	size   [LevelCount]int
	misfit float64 // weighted sum of squares so far
}

func (b *levelBlocks) push(mean, weight float64, size int) {
	b.mean[b.count], b.weight[b.count], b.size[b.count] = mean, weight, size
	b.count++
	for b.count > 1 && b.mean[b.count-1] < b.mean[b.count-2] {
		i, j := b.count-2, b.count-1
		sum := b.weight[i] + b.weight[j]
		gap := b.mean[i] - b.mean[j]
		b.misfit += b.weight[i] * b.weight[j] / sum * gap * gap
		b.mean[i] = (b.mean[i]*b.weight[i] + b.mean[j]*b.weight[j]) / sum
		b.weight[i] = sum
		b.size[i] += b.size[j]
		b.count--
	}
}

// write fills the curve from one end, in steps of 1 or −1.
func (b *levelBlocks) write(c *levelCurve, from, step int) {
	for i := range b.count {
		for range b.size[i] {
			c.logX[from], c.weight[from] = b.mean[i], b.weight[i]
			from += step
		}
	}
}

// levelN is the number of connections that a level stands for.
func levelN(i int) float64 {
	if i < sampleExact {
		return float64(i + 1)
	}
	return sampleExact * math.Pow(sampleRatio, float64(i-sampleExact+1))
}
