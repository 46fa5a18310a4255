package plant

import (
	"fmt"
	"math"
	"time"
)

// tally counts what becomes of the requests, for the result and its checks.
type tally struct {
	from int64 // requests that arrived before do not count
	slo  int64

	present  area // from arrival to end
	queue    area // queued at the gate
	held     area // holding a connection
	runnable area // on CPU or ready for it

	all struct{ arrivals, completions, canceled, failed int64 } // warm-up included

	arrivals, completions, canceled, away, failedN, within, waitedN int64
	wait, service, response, gaveUpAfter                            histogram

	looks, changes, swaps, failedSwaps int64
	swapTime                           int64
	backends                           int
	backendsAt                         int64
	backendsTime                       float64
	mostBackends                       int
	limit, max                         int
	limitAt                            int64
	limitTime                          float64
	moves                              []Move
	moveFirst                          int // the oldest of moves, once it is full

	width  int64 // of an interval of the series, ns
	points int
	series []Interval
	window window
}

// window is the interval of the series that is under way.
type window struct {
	Interval
	waits, responses            coarse
	held, queue, backends, from float64 // of the integrals, at its beginning
}

const movesKept = 10_000

func (t *tally) open(c *Config) {
	t.from, t.slo = int64(c.Warmup), int64(c.SLO)
	t.width, t.points = int64(c.Series.Every), c.Series.Points
	t.series = make([]Interval, 0, t.points)
}

func (t *tally) arrived(at int64) {
	t.all.arrivals++
	t.window.Arrivals++
	if at >= t.from {
		t.arrivals++
	}
}

func (t *tally) completed(at, got, now int64, whole, waited bool) {
	if !whole {
		t.failed(at)
		return
	}
	t.all.completions++
	w := &t.window
	w.Completed++
	wait, response := got-at, now-at
	w.waits.add(wait)
	w.responses.add(response)
	if response <= t.slo {
		w.WithinSLO++
	}
	if at < t.from {
		return
	}
	t.completions++
	if response <= t.slo {
		t.within++
	}
	if waited {
		t.waitedN++
	}
	t.wait.add(wait)
	t.service.add(now - got)
	t.response.add(response)
}

func (t *tally) failed(at int64) {
	t.all.failed++
	t.window.Failed++
	if at >= t.from {
		t.failedN++
	}
}

func (t *tally) gaveUp(at, after int64) {
	t.all.canceled++
	t.window.Canceled++
	if at >= t.from {
		t.canceled++
		t.gaveUpAfter.add(after)
	}
}

func (t *tally) turnedAway(at int64) {
	t.gaveUp(at, 0)
	if at >= t.from {
		t.away++
	}
}

// opened books the number of server connections.
func (t *tally) opened(now int64, n int) {
	t.backendsTime += float64(t.backends) * float64(now-t.backendsAt)
	t.backends, t.backendsAt = n, now
	t.mostBackends = max(t.mostBackends, n)
}

// moved books a limit.
func (t *tally) moved(now int64, limit, size int) {
	t.limitTime += float64(t.limit) * float64(now-t.limitAt)
	if t.limit != 0 {
		t.changes++
	}
	t.limit, t.limitAt = limit, now
	t.note(now, size)
}

// resized books a max that changed after the last limit was booked.
func (t *tally) resized(now int64, size int) {
	if size != t.max {
		t.note(now, size)
	}
}

// note keeps limit and max as they are now.
func (t *tally) note(now int64, size int) {
	t.max = size
	m := Move{At: time.Duration(now), Limit: t.limit, Max: size}
	if len(t.moves) < movesKept {
		t.moves = append(t.moves, m)
		return
	}
	t.moves[t.moveFirst] = m
	t.moveFirst = (t.moveFirst + 1) % movesKept
}

func (t *tally) swapped(took int64) {
	t.swaps++
	t.swapTime += took
}

// tick ends an interval of the series, unless the series is full: then intervals last
// twice as long from now on, that which is under way too.
func (p *plant) tick() {
	if t := &p.tally; len(t.series) == t.points {
		t.halve()
		return
	}
	p.endInterval()
}

func (p *plant) endInterval() {
	t := &p.tally
	w := &t.window
	for _, a := range []*area{&t.held, &t.queue} {
		a.advance(p.now)
	}
	t.opened(p.now, t.backends)
	i := w.Interval
	i.At = time.Duration(p.now)
	i.Length = time.Duration(p.now - int64(w.from))
	i.WaitP99, i.ResponseP99 = w.waits.quantile(0, 0.99), w.responses.quantile(0, 0.99)
	if dt := float64(i.Length); dt > 0 {
		i.InUse = (t.held.mean - w.held) / dt
		i.Queued = (t.queue.mean - w.queue) / dt
		i.Backends = (t.backendsTime - w.backends) / dt
	}
	i.Limit, i.Max = p.gate.limit, p.pool.newest().max
	*w = window{held: t.held.mean, queue: t.queue.mean, backends: t.backendsTime, from: float64(p.now)}
	t.series = append(t.series, i)
}

// halve merges neighbours of the series; intervals last twice as long from now on.
func (t *tally) halve() {
	for i := 0; i+1 < len(t.series); i += 2 {
		t.series[i/2] = merge(t.series[i], t.series[i+1])
	}
	t.series = t.series[:len(t.series)/2]
	t.width *= 2
}

func merge(a, b Interval) Interval {
	share := float64(a.Length) / float64(max(a.Length+b.Length, 1))
	mean := func(x, y float64) float64 { return share*x + (1-share)*y }
	b.InUse, b.Queued, b.Backends = mean(a.InUse, b.InUse), mean(a.Queued, b.Queued), mean(a.Backends, b.Backends)
	b.Length += a.Length
	b.Arrivals += a.Arrivals
	b.Completed += a.Completed
	b.Canceled += a.Canceled
	b.Failed += a.Failed
	b.WithinSLO += a.WithinSLO
	b.WaitP99, b.ResponseP99 = max(a.WaitP99, b.WaitP99), max(a.ResponseP99, b.ResponseP99)
	return b
}

// finish checks the books and makes the result.
func (p *plant) finish() (*Result, error) {
	t := &p.tally
	if err := p.audit(); err != nil {
		return nil, err
	}
	if p.now > int64(t.window.from) { // the last interval is as long as it is
		if len(t.series) == t.points {
			t.halve()
		}
		p.endInterval()
	}
	t.opened(p.now, t.backends)
	t.limitTime += float64(t.limit) * float64(p.now-t.limitAt)
	over := math.Max(float64(p.now), 1)
	r := &Result{
		Elapsed: time.Duration(p.now), Requests: t.all.arrivals, Events: p.events,
		Arrivals: t.arrivals, Completions: t.completions, Canceled: t.canceled, TurnedAway: t.away,
		Failed: t.failedN, Unfinished: t.arrivals - t.completions - t.canceled - t.failedN, WithinSLO: t.within,
		Wait: t.wait.summary(), Service: t.service.summary(), Response: t.response.summary(), GaveUp: t.gaveUpAfter.summary(),
		Waited: t.waitedN,
		Looks:  t.looks, LimitChanges: t.changes, Swaps: t.swaps, FailedSwaps: t.failedSwaps, SwapTime: time.Duration(t.swapTime),
		Connects: p.pool.connects, MaxBackends: t.mostBackends,
		MeanLimit: t.limitTime / over, MeanInUse: t.held.over(p.now), MeanQueued: t.queue.over(p.now),
		MeanBackends: t.backendsTime / over, MeanRunnable: t.runnable.over(p.now), Work: p.cpu.served / over,
		Series: t.series,
	}
	r.Moves = append(append(r.Moves, t.moves[t.moveFirst:]...), t.moves[:t.moveFirst]...)
	r.Span = time.Duration(p.span())
	if measured := (float64(r.Span) - float64(t.from)) / 1e9; measured > 0 {
		r.Throughput = float64(t.completions) / measured
		r.Goodput = float64(t.within) / measured
	}
	return r, nil
}

// span is the time that rates are over, up to which callers came. Without a
// duration a run goes on until the last is served, which takes a slow pool longer:
// over that time it would have another measure than a quick one.
func (p *plant) span() int64 {
	if p.end != never {
		return p.end
	}
	last := p.lastOpen
	for _, g := range p.cfg.Closed {
		last = max(last, int64(g.Until)) // without a duration, each has one
	}
	if last <= p.tally.from {
		return p.tally.from + second // who counts came at one instant
	}
	return last
}

// audit compares each account with what it must agree with.
func (p *plant) audit() error {
	t := &p.tally
	var n, times [4]int64
	add := func(i int, since int64) {
		n[i]++
		times[i] += p.now - since
	}
	for i := range p.requests {
		q := &p.requests[i]
		if q.state == unused {
			continue
		}
		add(0, q.at)
		switch q.state {
		case asking:
			add(1, q.since)
		case opening, stranded:
		default:
			add(2, q.got)
			if q.state == onCPU {
				add(3, q.since)
			}
		}
	}
	for i, a := range []*area{&t.present, &t.queue, &t.held, &t.runnable} {
		if err := a.balance([]string{"in the pool", "queued", "holding a connection", "on CPU"}[i], p.now, n[i], times[i]); err != nil {
			return err
		}
	}
	if sum := t.all.completions + t.all.canceled + t.all.failed + n[0]; sum != t.all.arrivals {
		return fmt.Errorf("plant: %d requests arrived and %d are accounted for: a bug of the simulation", t.all.arrivals, sum)
	}
	left := p.cpu.left(p.now)
	if gap := math.Abs(p.cpu.joined - p.cpu.served - left); gap > 1e-6*p.cpu.joined+float64(p.events) {
		return fmt.Errorf("plant: %.0f ns of CPU were asked for, %.0f ns served and %.0f ns are left: a bug of the simulation", p.cpu.joined, p.cpu.served, left)
	}
	return nil
}
