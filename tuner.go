package autotune

import (
	"context"
	"errors"
	"io"
	"maps"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/redact"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Decision is what the controller decided at one look, and why.
type Decision = controller.Decision

// tuner is the one loop of the project: observe, step, act, explain. Everything
// that thinks is in controller.Step; everything that waits or does IO is here.
type tuner struct {
	pool      *Pool
	observer  *observer
	telemetry *telemetry
	cfg       controller.Config
	state     controller.State
	frozen    atomic.Bool
	kick      chan struct{}
	calm      atomic.Bool // the knee is known: a queue is no news
	keen      bool        // the last look asked for one so soon that it learns
	cancel    context.CancelFunc
	done      sync.WaitGroup

	recent    recent // acquires of the last minute, for Health
	changes   changes
	last      atomic.Pointer[look]
	verdicts  map[Verdict]int64 // decisions by verdict; never changed, replaced
	lastWake  atomic.Int64
	swapRetry time.Time     // no swap before this, after one failed
	swapPause time.Duration // doubles with each failure
	blind     bool          // an episode of blindness has been reported
	broken    bool          // a panic has ended the tuning
	journal   io.Writer     // nil: none, or ended
}

// look is one pass of the loop, for whoever asks.
type look struct {
	at          time.Time
	observation Observation
	decision    Decision
	world       world
	curve       []CurvePoint
	verdicts    map[Verdict]int64
}

// Verdict is what a decision does and why: how decisions are counted.
type Verdict struct {
	Action controller.Action
	Reason sizing.Reason
}

// wakeEvery is the least time between any look and one that a queue brought about: a
// queue is worth a look at once, a thousand queued callers are not worth more.
const wakeEvery = 100 * time.Millisecond

func newTuner(p *Pool) *tuner {
	return &tuner{pool: p, observer: &observer{pool: p, start: time.Now()}, telemetry: newTelemetry(p), cfg: p.controllerConfig(), kick: make(chan struct{}, 1), verdicts: map[Verdict]int64{}}
}

func (t *tuner) start(ctx context.Context) {
	ctx, t.cancel = context.WithCancel(ctx)
	t.done.Go(func() { t.pool.warmStart(ctx) })
	t.done.Go(func() { t.loop(ctx) })
}

// stop ends the loop. The pool stays as it is and works on.
func (t *tuner) stop() {
	t.cancel()
	t.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	t.telemetry.close(ctx)
}

// serverMoved makes the controller forget the server it knew.
func (t *tuner) serverMoved() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	t.telemetry.move(ctx)
}

// wake asks for a look soon, because callers queue.
func (t *tuner) wake() {
	if t.calm.Load() {
		return
	}
	now := t.pool.now()
	last := t.lastWake.Load()
	if now-last < int64(wakeEvery) || !t.lastWake.CompareAndSwap(last, now) {
		return
	}
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

func (t *tuner) loop(ctx context.Context) {
	t.openJournal()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-t.kick:
		}
		next := t.step(ctx)
		if ctx.Err() != nil {
			return
		}
		timer.Reset(next)
	}
}

// survive recovers from a panic, which ends the tuning, never the service: the pool
// stays as it is. obs is what was seen: a look that ended in a panic is in no journal.
func (t *tuner) survive(obs *Observation) {
	if r := recover(); r != nil {
		t.broken = true
		t.frozen.Store(true)
		t.pool.log.Error("tuner stopped: a bug in the controller; the pool stays as it is", "panic", r, "observation", *obs, "stack", string(debug.Stack()))
	}
}

// step is one pass: the six verbs in order. It returns when to look again.
func (t *tuner) step(ctx context.Context) (next time.Duration) {
	next = t.pool.cfg.Interval
	var obs Observation
	defer t.survive(&obs)
	t.lastWake.Store(t.pool.now())
	t.pool.reconcileHijacked()
	t.recent.add(time.Now(), t.pool.acquireTotals())
	if t.pool.cfg.Manual || t.broken {
		return next
	}
	w := t.telemetry.refresh(ctx, t.keen)
	if t.pool.closed() { // meanwhile
		return next
	}
	obs = t.observer.observe(&w)
	obs.Frozen = t.frozen.Load()
	state, d := controller.Step(t.cfg, t.state, obs)
	var curve []CurvePoint
	if l := t.last.Load(); l != nil {
		curve = l.curve
	}
	curve = controller.Curve(curve, &t.state.Learn, &state.Learn)
	t.state = state
	t.calm.Store(state.Learn.Known)
	t.record(obs, d)
	t.act(ctx, obs, d)
	t.verdicts = maps.Clone(t.verdicts) // whoever has the old one may be reading it
	t.verdicts[Verdict{d.Action, d.Reason}]++
	at := time.Now()
	t.last.Store(&look{at: at, observation: obs, decision: d, world: w, curve: curve, verdicts: t.verdicts})
	t.changes.note(at, &obs, &d)
	t.explain(obs, d, w.err)
	if d.Next > 0 {
		next = min(next, d.Next)
	}
	t.keen = d.Next > 0 && d.Next <= activitySoon/2
	return next
}

// act carries a decision out. The limit moves at once; a swap that fails leaves
// everything as it was and is tried again later. If somebody moved the pool by hand
// since the look, the decision is about a pool that is no more: the next look
// decides anew.
func (t *tuner) act(ctx context.Context, obs Observation, d Decision) {
	p := t.pool
	if p.swapping.take(ctx) != nil {
		return
	}
	defer p.swapping.give()
	gen := p.routes.Load().current
	size := gen.size()
	if d.Action == controller.Freeze {
		if d.Reason == sizing.Operator && d.Limit != obs.Gauges.Limit && int(p.gate.limit.Load()) == obs.Gauges.Limit {
			p.gate.setLimit(min(d.Limit, size.Max)) // it was only being tried
		}
		return
	}
	if t.frozen.Load() { // since this look began
		return
	}
	if size.Max != obs.Gauges.Max || int(p.gate.limit.Load()) != obs.Gauges.Limit {
		return
	}
	if !d.Swap && d.Max > size.Max && d.Max <= gen.room {
		p.grow(gen, d.Max, d.Limit)
		return
	}
	if d.Swap && !time.Now().Before(t.swapRetry) {
		err := p.swap(ctx, p.template.Load(), Size{Max: d.Max, Min: d.Min}, d.Limit)
		if err == nil {
			t.swapRetry, t.swapPause = time.Time{}, 0
			return
		}
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return
		}
		t.swapPause = min(max(time.Second, 2*t.swapPause), time.Minute)
		t.swapRetry = time.Now().Add(t.swapPause)
		p.log.Warn("resize failed, pool unchanged", "max", d.Max, "min", d.Min, "error", redact.Error(err), "retry_in", t.swapPause)
	}
	if limit := min(d.Limit, size.Max); limit != int(p.gate.limit.Load()) {
		p.gate.setLimit(limit)
	}
}

// explain logs a decision with the numbers behind it.
func (t *tuner) explain(obs Observation, d Decision, sightErr error) {
	log := t.pool.log.Debug
	blind := "none" // what keeps the server out of sight
	if sightErr != nil {
		blind = redact.Error(sightErr)
	}
	if d.Swap {
		log = t.pool.log.Info
	}
	switch d.Action {
	case controller.Grow, controller.Shrink:
		if !d.Turn {
			log = t.pool.log.Info
		}
	case controller.Freeze:
		if !t.blind {
			t.blind = true
			t.pool.log.Warn("controller frozen", "reason", d.Reason, "limit", obs.Gauges.Limit, "max", obs.Gauges.Max, "error", blind)
			return
		}
	}
	if d.Action != controller.Freeze {
		t.blind = false
	}
	log("decision", "action", d.Action, "reason", d.Reason, "limit", d.Limit, "max", d.Max, "min", d.Min, "bound", d.Bound,
		"in_use", obs.Gauges.InUse, "queued", obs.Gauges.Queued, "old_limit", obs.Gauges.Limit,
		"arrival_rate", d.Estimate.Arrival, "throughput", d.Estimate.Throughput, "service_time", d.Estimate.Service,
		"offered_load", d.Estimate.OfferedLoad, "wait_p99", obs.WaitP99)
}
