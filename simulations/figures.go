package simulations

import (
	"math"
	"slices"
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
)

// Converged is defined by these: the earliest time from which, for two minutes,
// at most one of ten windows has less than 95 % of the goodput that the best fixed size
// had in the same window, with the same requests. A window is 10 s, or longer
// where that would hold fewer than 200 requests, whose noise would hide 5 %.
const (
	windowLength   = 10 * time.Second
	windowRequests = 200
	convergedShare = 0.95
	convergedFor   = 2 * time.Minute
	convergedMiss  = 10 // one window of so many may be worse
)

// figures are what is kept of a run.
type figures struct {
	arrivals, completions, canceled, failed int64

	goodput    float64 // within the SLO, per second, after the warm-up
	throughput float64
	wholeGood  float64 // within the SLO, per second, from the first second on
	p99, wait  time.Duration
	meanLimit  float64
	endLimit   int

	// Of the second half of the run, when a policy knows all that it will know.
	changesPerMinute float64
	swapsPer10       float64
	connects         int64

	seconds []int64       // completions within the SLO, by interval of the series
	every   time.Duration // length of an interval

	result *plant.Result // of runs that are drawn
}

func measure(r *plant.Result) figures {
	f := figures{arrivals: r.Arrivals, completions: r.Completions, canceled: r.Canceled, failed: r.Failed,
		goodput: r.Goodput, throughput: r.Throughput, p99: r.Response.P99, wait: r.Wait.P99,
		meanLimit: r.MeanLimit, connects: r.Connects}
	var good int64
	for _, i := range r.Series {
		f.seconds = append(f.seconds, i.WithinSLO)
		good += i.WithinSLO
		f.endLimit = i.Limit
	}
	if len(r.Series) > 0 {
		f.every = r.Series[0].Length
	}
	if s := r.Span.Seconds(); s > 0 {
		f.wholeGood = float64(good) / s
	}
	f.moved(r)
	return f
}

// moved counts the changes of the second half of a run, and the most swaps within any
// 10 minutes of it; or of all of it, on the average, where they were too many to be
// kept.
func (f *figures) moved(r *plant.Result) {
	if int64(len(r.Moves)) < r.LimitChanges {
		f.changesPerMinute = float64(r.LimitChanges) / r.Elapsed.Minutes()
		f.swapsPer10 = 10 * float64(r.Swaps) / r.Elapsed.Minutes()
		return
	}
	half := r.Elapsed / 2
	var swaps []time.Duration
	for i, m := range r.Moves {
		if m.At < half || i == 0 {
			continue
		}
		before := r.Moves[i-1]
		if m.Limit != before.Limit {
			f.changesPerMinute++
		}
		if m.Max != before.Max {
			swaps = append(swaps, m.At)
		}
	}
	if minutes := half.Minutes(); minutes > 0 {
		f.changesPerMinute /= minutes
	}
	first := 0
	for i, at := range swaps {
		for at-swaps[first] > 10*time.Minute {
			first++
		}
		f.swapsPer10 = max(f.swapsPer10, float64(i-first+1))
	}
}

// converged is when f came as close to the best fixed size, and false if never.
func (f *figures) converged(best *figures) (time.Duration, bool) {
	if f.every <= 0 || best.every <= 0 {
		return 0, false
	}
	// Of two runs that took differently long until all were served, one has longer
	// intervals.
	every := max(f.every, best.every)
	f, best = f.coarser(every), best.coarser(every)
	if f.every != best.every {
		return 0, false
	}
	mine, theirs, length := f.windows(best)
	need := max(1, int(math.Ceil(float64(convergedFor)/float64(length))))
	need = min(need, len(mine))
	if need == 0 {
		return 0, false
	}
	for from := 0; from+need <= len(mine); from++ {
		missed := 0
		for i := from; i < from+need; i++ {
			if float64(mine[i]) < convergedShare*float64(theirs[i]) {
				missed++
			}
		}
		if missed <= need/convergedMiss {
			// A window that missed is not yet converged.
			if float64(mine[from]) < convergedShare*float64(theirs[from]) {
				continue
			}
			return time.Duration(from) * length, true
		}
	}
	return 0, false
}

// coarser is f with intervals as long as every, where that is a multiple of its own.
func (f *figures) coarser(every time.Duration) *figures {
	if f.every == every || every%f.every != 0 {
		return f
	}
	n := int(every / f.every)
	out := &figures{every: every}
	for i := 0; i < len(f.seconds); i += n {
		var sum int64
		for _, v := range f.seconds[i:min(i+n, len(f.seconds))] {
			sum += v
		}
		out.seconds = append(out.seconds, sum)
	}
	return out
}

// windows are the goodput of two runs in windows, which are long enough for the
// requests of best.
func (f *figures) windows(best *figures) (mine, theirs []int64, length time.Duration) {
	n := min(len(f.seconds), len(best.seconds))
	var all int64
	for _, v := range best.seconds[:n] {
		all += v
	}
	size := max(1, int(math.Ceil(float64(windowLength)/float64(f.every))))
	if all > 0 {
		size = max(size, int(math.Ceil(windowRequests*float64(n)/float64(all))))
	}
	for i := 0; i+size <= n; i += size {
		var a, b int64
		for j := i; j < i+size; j++ {
			a, b = a+f.seconds[j], b+best.seconds[j]
		}
		mine, theirs = append(mine, a), append(theirs, b)
	}
	return mine, theirs, time.Duration(size) * f.every
}

// Outcome is a policy in a scenario, over all seeds.
type Outcome struct {
	Policy string `json:"policy"`
	Start  int    `json:"start,omitempty"` // connections it began with; 0: its own
	// StartNamed is whether the start came with the policy's name, and is none of the
	// scenario's.
	StartNamed bool `json:"start_named,omitempty"`

	Goodput    float64 `json:"goodput_rps"` // requests within the SLO, after the warm-up; mean over the seeds
	Throughput float64 `json:"throughput_rps"`
	Regret     float64 `json:"regret"`       // share of the best fixed size's goodput that is missing, 0–1; below 0: it did better
	RegretMax  float64 `json:"regret_worst"` // of the worst seed
	RegretAll  float64 `json:"regret_whole"` // from the first second on, the warm-up included
	P99Ms      float64 `json:"p99_ms"`       // response time; median of the seeds
	P99Ratio   float64 `json:"p99_ratio"`    // to that of the best fixed size; median of the seeds
	WaitP99Ms  float64 `json:"wait_p99_ms"`  // median of the seeds

	Converged        bool    `json:"converged"`   // with every seed
	ConvergedS       float64 `json:"converged_s"` // of the slowest seed; the run's length where never
	ChangesPerMinute float64 `json:"limit_changes_per_minute"`
	SwapsPer10       float64 `json:"swaps_per_10_minutes"`
	MeanLimit        float64 `json:"mean_limit"`
	Limits           []int   `json:"limits_at_end"` // of each seed
	Canceled         int64   `json:"canceled"`      // all seeds
	Failed           int64   `json:"failed"`
	Connects         int64   `json:"connects"`

	// The seeds that were worst, to look at.
	WorstSeed uint64 `json:"worst_seed"`
}

// compare makes an outcome of a policy's runs and those of the best fixed size,
// seed by seed.
func compare(policy string, start int, runs, best []figures, length time.Duration) Outcome {
	o := Outcome{Policy: policy, Start: start, Converged: true, RegretMax: math.Inf(-1), WorstSeed: 1}
	n := float64(len(runs))
	var ratios, p99, waits []float64
	var good, goodBest, all, allBest float64
	for i := range runs {
		r, b := &runs[i], &best[i]
		good, goodBest = good+r.goodput, goodBest+b.goodput
		all, allBest = all+r.wholeGood, allBest+b.wholeGood
		o.Throughput += r.throughput / n
		o.ChangesPerMinute += r.changesPerMinute / n
		o.SwapsPer10 += r.swapsPer10 / n
		o.MeanLimit += r.meanLimit / n
		o.Limits = append(o.Limits, r.endLimit)
		o.Canceled, o.Failed, o.Connects = o.Canceled+r.canceled, o.Failed+r.failed, o.Connects+r.connects
		if regret := missing(r.goodput, b.goodput); regret > o.RegretMax {
			o.RegretMax, o.WorstSeed = regret, uint64(i+1)
		}
		p99, waits = append(p99, ms(r.p99)), append(waits, ms(r.wait))
		if b.p99 > 0 {
			ratios = append(ratios, float64(r.p99)/float64(b.p99))
		}
		at, ok := r.converged(b)
		if !ok {
			o.Converged, at = false, length
		}
		o.ConvergedS = max(o.ConvergedS, at.Seconds())
	}
	o.Goodput = good / n
	o.Regret, o.RegretAll = missing(good, goodBest), missing(all, allBest)
	o.P99Ms, o.P99Ratio, o.WaitP99Ms = median(p99), median(ratios), median(waits)
	return o
}

func missing(have, best float64) float64 {
	if best <= 0 {
		return 0
	}
	return 1 - have/best
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Clone(v)
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
