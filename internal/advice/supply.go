package advice

import (
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/pgstat"
)

// Supply is how many connections the server can make use of.
type Supply struct {
	Cores       int    `json:"cores"` // 0 when unknown
	CoresSource string `json:"cores_source"`
	// CPU is the mean busy share of the server's machine, 0–1; negative when
	// unknown.
	CPU float64 `json:"cpu"`

	Computing float64 `json:"computing"` // mean backends of the whole server that compute or want to
	Busy      float64 `json:"busy"`      // mean cores that they keep busy
	// Foreign is how many cores something else than the server's backends keeps
	// busy, its callers for one, on a machine without a free core; 0 where that is
	// unknown.
	Foreign   float64 `json:"foreign,omitempty"`
	Saturated float64 `json:"saturated"` // share of the time, 0–1, with all cores busy

	// Ratio is the time a connection waits (for disk, its caller, the network)
	// over the time it computes, with what the sampling leaves open.
	Ratio     float64 `json:"ratio"`
	RatioLow  float64 `json:"ratio_low"`
	RatioHigh float64 `json:"ratio_high"`

	// Knee is the fewest connections that give 97 % of what the cores can, for
	// the whole server and, of these, the subject's part. 0 is unknown.
	Knee     Span `json:"knee"`
	KneePart Span `json:"knee_part"`

	// Locked is the same where a row is the bottleneck instead of the cores; 0 is
	// no such thing.
	Locked Span `json:"locked,omitzero"`

	// Measured is the knee that the observation saw, because concurrency
	// changed meanwhile.
	Measured model.Knee `json:"measured,omitzero"`
}

// Span is a number of connections with what the evidence cannot tell apart from it.
type Span struct {
	Lower  int `json:"lower"`
	Target int `json:"target"`
	Upper  int `json:"upper"`
}

const (
	// kneeShare of the peak throughput is enough, as in model.Balanced.
	kneeShare = 0.97

	// busyMachine is the share of its CPU from which a machine counts as fully
	// used: the rest is lost to the gaps between a wake-up and running.
	busyMachine = 0.9

	// idleServer is the share of the cores below which the server and its callers do
	// not make a busy machine theirs: no number of connections changes it.
	idleServer = 0.25

	// idleDoubt is how much more than the measured CPU time a census may say, which
	// counts who is ready to run as running.
	idleDoubt = 1.5

	// mostKnee ends the search for a knee: beyond it lie only servers whose
	// connections wait nearly all the time, where sampling says little.
	mostKnee = 10_000
)

// capacity is a supply, with what it takes to tell whose it is.
type capacity struct {
	supply  Supply
	central split
	view    view
}

// capacityOf reads the capacity of the server from what all its clients do.
func capacityOf(all *tally, apps []application, server *tally, samples []Sample, cores int, source string) capacity {
	s := Supply{Cores: cores, CoresSource: source, CPU: meanCPU(samples), Computing: all.mean.Computing + all.mean.Workers + server.mean.Workers}
	if cores <= 0 {
		return capacity{supply: s}
	}
	// IO that keeps a core busy is a read from the page cache, not from a device.
	ioComputes := s.CPU >= busyMachine
	perSecond := rate(samples)
	away := false
	central := reading(apps, server, view{ioComputes: ioComputes, turns: 1, late: true, perSecond: perSecond})
	switch {
	case s.CPU < 0:
		// What comes from the server's own address may be a proxy beside it, whose
		// callers are elsewhere; only the low end takes them for local.
		central = reading(apps, server, view{ioComputes: ioComputes, away: true, perSecond: perSecond})
	case central.busy(cores) > s.CPU*float64(cores)*idleDoubt+1:
		// Callers on this machine turn around without computing: they think.
		away = true
		central = reading(apps, server, view{ioComputes: ioComputes, away: away, perSecond: perSecond})
	}
	s.Ratio, s.Busy = central.ratio(cores), central.busy(cores)
	relative := central.error(cores)
	s.RatioLow, s.RatioHigh = s.Ratio*(1-relative), s.Ratio*(1+relative)
	// What waits for IO may compute in truth (page cache), or the reverse; short
	// waits for each other may be a delay instead of a queue; a caller on the same
	// machine may have been late several times in a transaction, or never, and what it
	// costs the cores is shared with others the more of them there are.
	low := reading(apps, server, view{ioComputes: true, turns: 2, late: true, away: away})
	high := reading(apps, server, view{contentionWaits: true, together: true, away: away || s.CPU < 0, perSecond: 3 * perSecond}) // busy machines wake up late
	s.RatioLow = math.Min(s.RatioLow, low.ratio(cores)*(1-relative))
	s.RatioHigh = math.Max(s.RatioHigh, high.ratio(cores)*(1+relative))

	if s.CPU >= busyMachine && s.Busy < busyMachine*float64(cores) {
		// Others keep the machine busy, and backends that seem to compute wait for
		// them: beside one other process on a core, half of the time.
		s.Foreign = math.Max(0, s.CPU*float64(cores)-s.Busy)
		s.RatioHigh *= 2
	}
	// Turning around counts as computing where callers sit on this machine, and so
	// their CPU time looks like the server's. Where backends themselves, with what
	// they read from the kernel's cache, fill less than half of the cores, the
	// callers or others have the rest.
	if own := s.Computing + all.mean.IO; s.CPU >= busyMachine && own < float64(cores)/2 {
		s.Foreign = math.Max(s.Foreign, s.CPU*float64(cores)-own)
	}
	s.Saturated = all.share(func(i int, c *counts) bool {
		return central.computing[i] >= float64(cores)
	})
	switch {
	case s.CPU >= busyMachine && s.Busy < idleServer*float64(cores): // others keep them busy
	case s.CPU >= busyMachine:
		s.Saturated = math.Max(s.Saturated, s.CPU)
	case s.CPU >= 0: // all cores cannot have been busy for longer than that
		s.Saturated = math.Min(s.Saturated, s.CPU/busyMachine)
	}
	effective := math.Max(1, float64(cores)*central.perConnection())
	s.Knee = Span{kneeAt(effective, s.RatioLow), kneeAt(effective, s.Ratio), kneeAt(effective, s.RatioHigh)}
	// The top is flat: one connection more or less than computed is within what
	// 3 % of throughput can tell apart, and a caller's turnaround needs a spare.
	s.Knee.Upper = max(s.Knee.Upper, s.Knee.Target+int(math.Ceil(effective)))

	return capacity{s, central, view{ioComputes: ioComputes, turns: 1, late: true, away: away || s.CPU < 0}}
}

// of is the supply with the part of the knee that some applications make use of.
func (c capacity) of(apps []application) Supply {
	s := c.supply
	if s.Cores <= 0 {
		return s
	}
	cores, total := float64(s.Cores), c.central.total()
	ours := reading(apps, &tally{each: make([]counts, len(c.central.computing))}, c.view)
	part := ours.places(cores, total) / math.Max(c.central.places(cores, total), 1e-9)
	scale := func(n int) int { return max(1, int(math.Ceil(float64(n)*part-1e-9))) }
	s.KneePart = Span{scale(s.Knee.Lower), scale(s.Knee.Target), scale(s.Knee.Upper)}
	return s
}

// whole is the supply of everybody.
func (c capacity) whole() Supply {
	c.supply.KneePart = c.supply.Knee
	return c.supply
}

// split is the census cut in two: what computes and what waits, sample by sample.
type split struct {
	computing, waiting  []float64
	backends, inBackend float64 // sums: computing backends, the same with their parallel workers
}

// view is how a census is cut, where more than one way may be right.
type view struct {
	ioComputes      bool    // who waits for IO keeps a core busy
	contentionWaits bool    // who waits for a lightweight lock is delayed, not queued
	turns           float64 // how often in a transaction a caller on the same machine is late
	late            bool    // its idle connections are late callers, too
	away            bool    // a caller on the same machine computes no more than one elsewhere
	together        bool    // callers on the same machine that turn around together cost next to nothing
	perSecond       float64 // transactions
}

// wakeUps is what a caller's turnaround on the server's own machine takes though
// nobody computes: two wake-ups of a process, about 50 µs each on a virtual machine.
const wakeUps = 100e-6

// reading cuts the census. Locks are in neither part: like the queue for a core,
// the queue for a row loses nothing when it moves into the pool.
//
// A caller on the server's own machine turns around on the same cores: its work is
// part of the computing. Where it queues for them, its connections look idle, in
// transactions too; as many as between transactions are taken off there.
// A caller elsewhere is a delay.
//
// Each application is cut by itself: who turns around in one says nothing about who
// is late in another.
func reading(apps []application, server *tally, v view) split {
	n := len(server.each)
	s := split{computing: make([]float64, n), waiting: make([]float64, n)}
	for i := range server.each {
		s.computing[i] = server.each[i].Workers
	}
	turned := make([]float64, n) // between two statements of a caller on this machine
	for _, app := range apps {
		s.add(app.tally, v, turned)
	}
	for i, t := range turned {
		s.waiting[i] += math.Min(t, v.perSecond*wakeUps)
	}
	return s
}

func (s *split) add(t *tally, v view, turned []float64) {
	lateIdle := v.late && t.oldest[pgstat.Idle] < reused
	local := t.local
	if v.away {
		local = 0
	}
	for i := range t.each {
		c := &t.each[i]
		s.backends += c.Computing
		s.inBackend += c.Computing + c.Workers
		s.computing[i] += c.Computing + c.Workers
		if !v.together {
			s.computing[i] += local * c.Turning
		}
		turned[i] += local * c.Turning
		late := c.Turning
		if lateIdle {
			late += c.Idle
		}
		held := math.Max(0, c.IdleInTransaction-local*v.turns*late)
		s.waiting[i] += c.Commit + c.Client + c.Other + held + (1-local)*c.Turning
		if v.ioComputes {
			s.computing[i] += c.IO
		} else {
			s.waiting[i] += c.IO
		}
		if v.contentionWaits {
			s.waiting[i] += c.Contention
		}
	}
}

// reused is how long no connection of a closed loop is idle, even where its caller
// queues for a core.
const reused = time.Second

// rate is the transactions per second of all databases.
func rate(samples []Sample) float64 {
	if len(samples) < 2 {
		return 0
	}
	seconds := (samples[len(samples)-1].At - samples[0].At).Seconds()
	if seconds <= 0 {
		return 0
	}
	return transactions(samples, databasesOf(samples, Filter{})) / seconds
}

// perConnection is the share of its computing that a connection does itself; the
// rest is done by its parallel workers.
func (s split) perConnection() float64 {
	if s.inBackend <= 0 || s.backends <= 0 {
		return 1
	}
	return s.backends / s.inBackend
}

// busy is the mean number of busy cores. Those ready to run beyond the cores
// queue: they count neither as computing nor as waiting.
func (s split) busy(cores int) float64 {
	sum := 0.0
	for _, c := range s.computing {
		sum += math.Min(c, float64(cores))
	}
	return sum / math.Max(1, float64(len(s.computing)))
}

func (s split) total() float64 { return mean(s.computing) }

// places is how many connections belong to this split at the knee, before
// the spare ones that chance asks for: its share of the cores, and those that wait.
func (s split) places(cores, computing float64) float64 {
	share := 1.0
	if computing > 0 {
		share = mean(s.computing) / computing
	}
	return cores*share + mean(s.waiting)*math.Max(1, cores/math.Max(computing, 0.01))
}

// ratio is waiting over computing, as the model takes it: Σ waiting / Σ busy cores.
func (s split) ratio(cores int) float64 {
	return mean(s.waiting) / math.Max(s.busy(cores), s.least())
}

// least is the computing that may have been missed when none was seen: less than
// one backend in all samples.
func (s split) least() float64 { return 1 / math.Max(1, float64(len(s.computing))) }

// error is the relative error of the ratio at two standard deviations: by leaving
// out tenths of the time (samples close by are alike), and no less than the
// counting error of the busy cores.
func (s split) error(cores int) float64 {
	const blocks = 10
	n := len(s.computing)
	if n < 2*blocks {
		return 1
	}
	whole := s.ratio(cores)
	if whole <= 0 {
		return 0.1
	}
	var sum, sq float64
	for b := range blocks {
		lo, hi := b*n/blocks, (b+1)*n/blocks
		rest := split{
			computing: append(append([]float64{}, s.computing[:lo]...), s.computing[hi:]...),
			waiting:   append(append([]float64{}, s.waiting[:lo]...), s.waiting[hi:]...),
		}
		r := rest.ratio(cores)
		sum += r
		sq += r * r
	}
	variance := math.Max(0, sq/blocks-(sum/blocks)*(sum/blocks)) * (blocks - 1)
	counting := 1 / math.Sqrt(math.Max(1, s.busy(cores)*float64(n)))
	return math.Min(1, 2*math.Max(math.Sqrt(variance)/whole, counting))
}

// kneeAt is the fewest connections that give kneeShare of the peak of a closed
// queue: cores that share their time, and a delay of ratio × the computing. With
// processor sharing the result does not depend on how the times are
// distributed (a product-form network).
func kneeAt(cores, ratio float64) int {
	if !(ratio >= 0) || math.IsInf(ratio, 0) {
		return mostKnee
	}
	whole := int(math.Max(1, math.Round(cores)))
	m := model.ClosedMMC{Servers: whole, Service: 1, Delay: ratio}
	enough := kneeShare * float64(whole)
	lo, hi := 1, mostKnee
	if m.Throughput(mostKnee) < enough {
		return mostKnee
	}
	for lo < hi {
		if mid := (lo + hi) / 2; m.Throughput(float64(mid)) >= enough {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / math.Max(1, float64(len(values)))
}

// meanCPU is -1 when no sample has it.
func meanCPU(samples []Sample) float64 {
	sum, n := 0.0, 0
	for i := range samples {
		if c := samples[i].CPU; c != nil && *c >= 0 && *c <= 1 {
			sum += *c
			n++
		}
	}
	if n == 0 {
		return -1
	}
	return sum / float64(n)
}
