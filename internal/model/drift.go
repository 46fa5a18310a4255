package model

import "math"

// Change says whether the database serves the same concurrency faster or slower
// than it used to.
type Change int8

// The closed set of changes.
const (
	Slower    Change = -1
	Unchanged Change = 0
	Faster    Change = 1
)

// String is "slower", "unchanged" or "faster".
func (c Change) String() string {
	switch c {
	case Slower:
		return "slower"
	case Faster:
		return "faster"
	default:
		return "unchanged"
	}
}

// Thresholds of [Drift], in standard deviations of the measured noise unless
// said otherwise.
const (
	// driftSlack is the log ratio that is no drift worth forgetting a curve
	// for: 5 % less capacity moves the knee by about as much.
	driftSlack = 0.05
	// driftAllowance k is taken from each deviation before it is summed. A CUSUM
	// is fastest for shifts of 2k: one standard deviation.
	driftAllowance = 0.5
	// driftLimit h: the sum that is a change. By Siegmund's approximation with
	// k = 0.5, one side alone and without slack:
	//
	//	h                              5      8      10
	//	windows to a false alarm     930  19,000  141,000
	//	windows to see a 2σ shift    4.1     6.1      7.4
	//	windows to see a 1σ shift   10.3    16.3     20.3
	//
	// With both sides and a saturated window each second, 10 is one false alarm
	// in 20 hours of uninterrupted saturation, before the slack makes it rarer.
	driftLimit = 10.0
	// driftClip bounds one window's deviation, so that no single stall (a
	// checkpoint, a failover) is a change: at least three must agree.
	driftClip = 4.0

	// driftLearn is how many comparisons the noise must rest on before it
	// judges; driftMemory how many it remembers.
	driftLearn  = 10
	driftMemory = 200
	// driftNoiseFloor is the least noise believed: 0.5 % over one second.
	driftNoiseFloor = 0.005
)

// Drift watches for a lasting change of throughput at the same concurrency: a new
// plan, a re-index, another ef_search, a failover to a smaller machine. It is a
// two-sided CUSUM over log ratios of counted to expected throughput, in units of
// the noise that it measures itself. It is a plain value; the zero value is ready
// to use.
type Drift struct {
	Up       float64 `json:"up"`       // evidence for faster, 0 to driftLimit
	Down     float64 `json:"down"`     // evidence for slower
	Variance float64 `json:"variance"` // of log throughput over a window of one second
	Compared int     `json:"compared"` // comparisons so far, counted up to driftMemory
}

// Noise returns the standard deviation of log throughput over a window of one
// second (0.05 ≈ 5 %), as far as windows could be compared; it falls with the
// square root of the window. 0: not known yet.
func (d *Drift) Noise() float64 {
	if d.Compared < driftLearn {
		return 0
	}
	return math.Sqrt(math.Max(d.Variance, driftNoiseFloor*driftNoiseFloor))
}

// observe takes the log ratio of a window of the given seconds to an expectation
// that rests on so many seconds.
func (d *Drift) observe(logRatio, seconds, expectationSeconds float64) Change {
	inverse := 1/seconds + 1/expectationSeconds
	known := d.Compared >= driftLearn
	change := Unchanged
	if known {
		change = d.judge(logRatio, d.Noise()*math.Sqrt(inverse))
	}
	fresh := logRatio * logRatio / inverse
	if known {
		// Beyond 3σ it is a change or a stall, not noise: let it in slowly.
		fresh = math.Min(fresh, 9*math.Max(d.Variance, driftNoiseFloor*driftNoiseFloor))
	}
	d.Compared = min(d.Compared+1, driftMemory)
	d.Variance += (fresh - d.Variance) / float64(d.Compared)
	return change
}

func (d *Drift) judge(logRatio, sigma float64) Change {
	z := math.Max(0, math.Abs(logRatio)-driftSlack) / sigma
	z = math.Copysign(math.Min(z, driftClip), logRatio)
	d.Up = math.Max(0, d.Up+z-driftAllowance)
	d.Down = math.Max(0, d.Down-z-driftAllowance)
	switch {
	case d.Up >= driftLimit:
		d.Up, d.Down = 0, 0
		return Faster
	case d.Down >= driftLimit:
		d.Up, d.Down = 0, 0
		return Slower
	}
	return Unchanged
}
