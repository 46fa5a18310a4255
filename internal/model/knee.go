package model

import (
	"fmt"
	"math"
)

// Objective says what the knee shall be best for.
type Objective uint8

// The closed set of objectives.
const (
	// Balanced: the smallest n within 3 % of the peak. Published vector-database
	// curves are flat over a wide range of n while their tail latency grows 1.3
	// to 20 times, so 3 % of throughput buys most of the latency.
	Balanced Objective = iota
	// Throughput: the smallest n within 0.5 % of the peak.
	Throughput
	// Latency: the n with the highest power X/R = X²/n (Giessler; Kleinrock),
	// where a further caller costs others more than it gains.
	Latency
)

var objectives = [...]Objective{Balanced, Throughput, Latency}

// tolerance is the share of the peak that an objective gives away.
func (o Objective) tolerance() float64 {
	if o == Throughput {
		return 0.005
	}
	return 0.03
}

// Missing names the evidence that keeps a knee from being identified.
type Missing string

// The closed set of missing evidence; the empty string means none.
const (
	MissingPoints Missing = "points" // too few different n
	MissingSpan   Missing = "span"   // the n seen lie too close together
	MissingBelow  Missing = "below"  // already flat, or falling, at the smallest n seen
	MissingAbove  Missing = "above"  // still rising at the largest n seen
	MissingBend   Missing = "bend"   // the rise does not stand out of the noise
)

// What a knee needs to count as identified. The Haas data set the scale: fits on
// n ≤ 16 place the knee wrongly with great confidence, one step before it.
const (
	kneePoints = 4
	kneeSpan   = 6.0
	// kneeBeyond: a plateau counts once it has been seen to this multiple of the
	// knee; a fall counts at once.
	kneeBeyond = 1.25
	// kneeRise is the slope of log X on log n above which throughput still
	// rises: 0.1 is 7 % for a doubling.
	kneeRise = 0.1
	// kneeNoise: a rise within so many standard deviations of the noise, or of
	// the model's error, is none.
	kneeNoise = 3.0
)

// Knee is the smallest n that serves an objective, and how sure that is.
type Knee struct {
	// N is the knee, in connections, within the span of n seen. If it is not
	// Identified, N is only the best of what was seen.
	N int `json:"n"`
	// Lower and Upper span the knees that the evidence cannot tell apart:
	// leaving out parts of the points, taking rival models, moving the tolerance
	// by the noise.
	Lower int `json:"lower"`
	Upper int `json:"upper"`

	Identified bool    `json:"identified"`
	Missing    Missing `json:"missing,omitempty"`

	SeenMin float64 `json:"seen_min"` // smallest n seen
	SeenMax float64 `json:"seen_max"` // largest n seen
}

// String says in one sentence what is known of the knee, or what must be seen
// before it is known.
func (k Knee) String() string {
	switch k.Missing {
	case "":
		return fmt.Sprintf("knee at %d (%d–%d)", k.N, k.Lower, k.Upper)
	case MissingPoints: // how many are too few depends on what is read: a fit, trials, the ups and downs
		return "knee not identified: too few different n seen; must see more"
	case MissingSpan:
		return fmt.Sprintf("knee not identified: only seen between %.4g and %.4g; must see a wider span", k.SeenMin, k.SeenMax)
	case MissingBelow:
		return fmt.Sprintf("knee not identified: throughput is already flat at %.4g, the smallest seen; must see below", k.SeenMin)
	case MissingAbove:
		if float64(k.N) < k.SeenMax {
			return fmt.Sprintf("knee not identified: best at %d so far, but only seen up to %.4g; must see further above", k.N, k.SeenMax)
		}
		return fmt.Sprintf("knee not identified: throughput still rises at %.4g, the largest seen; must see above", k.SeenMax)
	default:
		return "knee not identified: the rise of throughput does not stand out of its noise; must observe longer"
	}
}

// missing names what keeps n from being an identified knee; "" when nothing does.
// rms is the log error of the model that placed it.
func missing(data unimodal, o Objective, n int, rms float64) Missing {
	last := len(data.n) - 1
	first, end := data.n[0], data.n[last]
	if len(data.n) < kneePoints {
		return MissingPoints
	}
	if end < kneeSpan*first {
		return MissingSpan
	}
	value := func(i int) float64 { return data.worth(o, i) }
	at := data.worthAt(o, float64(n))
	// Nobody can see below 1 connection, so flat from there is a knee at 1.
	if first > 1 && n <= int(math.Ceil(first)) {
		return MissingBelow
	}
	top := value(data.bestIndex(o))
	enough := math.Max(-math.Log1p(-math.Max(o.tolerance(), 0.02)), 2*data.noise)
	fell := value(last) < top-enough
	if o == Latency {
		if !fell {
			return MissingAbove
		}
	} else if !fell && (end < kneeBeyond*float64(n) || data.riseBeyond(float64(n)) > kneeRise) {
		return MissingAbove
	}
	if n > 1 && at-value(0) < kneeNoise*math.Max(data.noise, rms) {
		return MissingBend
	}
	return ""
}
