package policy

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
)

// hillClimbing is the hill climbing of the .NET thread pool (dotnet/runtime, as
// of commit 04326b6d, PortableThreadPool.HillClimbing; Hellerstein, Morrison and
// Eilebrecht, "Applying Control Theory in the Real World", 2009). It adds a square
// wave of period 4 samples to the number of threads, finds by the Goertzel
// algorithm what of that wave comes back in throughput, scales it by its signal to
// noise, and moves by gain × move² in that direction. Defaults: wave period 4,
// most magnitude 20, multiplier 1, history 8 periods, bias 0.15, target signal to
// noise 3, most change 4 a second and 20 a sample, samples of 10 to 200 ms drawn
// at random, error smoothing 0.01, gain exponent 2, most sample error 15 %; no
// growth above 95 % CPU.
//
// Threads are connections, work items requests; what finds no thread queues there
// as here, so nothing had to be mapped. As there, the least is the CPUs of the
// machine it runs on, the callers', and so is the CPU time it looks at. Left out:
// the injection of a thread every 500 ms while nothing is dequeued at all
// (starvation), which is not part of hill climbing.
type hillClimbing struct {
	limiter
	least int
	rng   *rand.Rand
	cpu   float64 // of the callers' machine, 0–1; 0 when unknown

	// The thread pool's: when to sample, and what was counted since.
	next, from  time.Duration
	completions int

	control   float64
	total     int // samples
	last      int // the count of threads set last
	noise     float64
	heldDone  int // of a sample that was not accurate enough
	heldTime  float64
	counts    [hillSamples]float64 // completions per second
	threads   [hillSamples]float64
	intervals int // ms
}

const (
	hillPeriod     = 4
	hillSamples    = hillPeriod * 8
	hillMagnitude  = 20
	hillMultiplier = 1.0
	hillBias       = 0.15
	hillSignal     = 3.0
	hillPerSecond  = 4.0
	hillPerSample  = 20.0
	hillShortest   = 10  // ms
	hillLongest    = 200 // ms
	hillSmoothing  = 0.01
	hillExponent   = 2.0
	hillError      = 0.15
	hillCPU        = 0.95
	hillRetry      = 10 // ms
)

func newHillClimbing(e Env) (plant.Tuner, error) {
	least := e.clip(e.ClientCPUs)
	h := &hillClimbing{limiter: e.limiter(least), least: least, rng: rand.New(rand.NewPCG(e.Seed, 0x68696c6c))}
	h.drawInterval()
	return h, nil
}

func (h *hillClimbing) drawInterval() {
	h.intervals = hillShortest + h.rng.IntN(hillLongest-hillShortest+1)
}

// Look notes how busy the callers' machine is.
func (h *hillClimbing) Look(o controller.Observation) (plant.Setting, time.Duration) {
	h.cpu = 0
	if o.Host != nil {
		h.cpu = o.Host.CPU
	}
	return h.now, 0
}

// Completed is one work item done. Who gave up waiting did no work. While more are
// at work than shall be, it waits for them, as far as a request tells.
func (h *hillClimbing) Completed(r plant.Sample) int {
	if r.GaveUp {
		return h.now.Limit
	}
	h.completions++
	if r.At < h.next || r.At <= h.from || r.InFlight > h.now.Limit {
		return h.now.Limit
	}
	n, ms := h.update(h.now.Limit, (r.At - h.from).Seconds(), h.completions)
	h.move(n)
	h.completions, h.from = 0, r.At
	h.next = r.At + time.Duration(ms)*time.Millisecond
	return h.now.Limit
}

// update takes a sample of the completions of some seconds at a count of threads,
// and returns the count from now on and how many ms to sample next.
func (h *hillClimbing) update(count int, elapsed float64, completions int) (int, int) {
	if count != h.last { // somebody else set it
		h.control += float64(count - h.last)
		h.set(count)
	}
	elapsed += h.heldTime
	completions += h.heldDone
	// Each thread but the one that reports may be amid an item that counts here
	// or there: too much of an error is not measured away.
	if h.total > 0 && float64(count-1)/float64(completions) >= hillError {
		h.heldTime, h.heldDone = elapsed, completions
		return count, hillRetry
	}
	h.heldTime, h.heldDone = 0, 0
	h.counts[h.total%hillSamples] = float64(completions) / elapsed
	h.threads[h.total%hillSamples] = float64(count)
	h.total++

	ratio, confidence := h.analyse()
	move := math.Min(1, math.Max(-1, ratio)) * math.Min(1, math.Max(0, confidence))
	gain := hillPerSecond * elapsed
	move = math.Min(math.Copysign(math.Pow(math.Abs(move), hillExponent)*gain, move), hillPerSample)
	if move > 0 && h.cpu > hillCPU {
		move = 0
	}
	h.control += move

	magnitude := h.magnitude()
	h.control = math.Max(float64(h.least), math.Min(float64(h.end-magnitude), h.control))
	n := int(h.control + float64(magnitude*(h.total/(hillPeriod/2)%2)))
	n = max(min(n, h.end), h.least)
	if n != count {
		h.set(n)
	}
	if ratio < 0 && n == h.least { // cannot go lower: try higher only now and then
		return n, int(0.5 + float64(h.intervals)*10*math.Min(-ratio, 1))
	}
	return n, h.intervals
}

// magnitude of the wave: as much as stands out from the noise.
func (h *hillClimbing) magnitude() int {
	return max(min(int(0.5+h.control*h.noise*hillSignal*hillMultiplier*2), hillMagnitude), 1)
}

func (h *hillClimbing) set(n int) {
	h.last = n
	h.drawInterval()
}

// analyse returns how much of the wave of threads comes back in throughput, in
// phase and less the bias, and how far to trust that.
func (h *hillClimbing) analyse() (ratio, confidence float64) {
	n := min(h.total-1, hillSamples) / hillPeriod * hillPeriod
	if n <= hillPeriod {
		return 0, 0
	}
	var done, threads float64
	for i := range n {
		j := (h.total - n + i) % hillSamples
		done += h.counts[j]
		threads += h.threads[j]
	}
	done, threads = done/float64(n), threads/float64(n)
	if done <= 0 || threads <= 0 {
		return 0, 0
	}
	bands := float64(n) / hillPeriod
	back := h.wave(&h.counts, n, hillPeriod) / complex(done, 0)
	noise := cmplx.Abs(h.wave(&h.counts, n, float64(n)/(bands+1)) / complex(done, 0))
	if p := float64(n) / (bands - 1); p <= float64(n) {
		noise = math.Max(noise, cmplx.Abs(h.wave(&h.counts, n, p)/complex(done, 0)))
	}
	sent := h.wave(&h.threads, n, hillPeriod) / complex(threads, 0)
	if h.noise == 0 {
		h.noise = noise
	} else {
		h.noise = hillSmoothing*noise + (1-hillSmoothing)*h.noise
	}
	if cmplx.Abs(sent) > 0 {
		ratio = real((back - hillBias*sent) / sent)
	}
	confidence = 1
	if most := math.Max(h.noise, noise); most > 0 {
		confidence = cmplx.Abs(sent) / most / hillSignal
	}
	return ratio, confidence
}

// wave is the component of a period in the last n samples, by Goertzel's
// algorithm.
func (h *hillClimbing) wave(samples *[hillSamples]float64, n int, period float64) complex128 {
	w := 2 * math.Pi / period
	cos := math.Cos(w)
	var q1, q2 float64
	for i := range n {
		q1, q2 = 2*cos*q1-q2+samples[(h.total-n+i)%hillSamples], q1
	}
	return complex(q1-q2*cos, q2*math.Sin(w)) / complex(float64(n), 0)
}
