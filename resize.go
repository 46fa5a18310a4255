package autotune

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune/internal/controller"
)

// Resize hot-swaps the pool to another size and moves the limit to its max. It
// returns when the new generation is published. On an error the pool is as it was:
// a size outside 0 ≤ Min ≤ Max and 1 ≤ Max ≤ Budget, a server that refuses the
// first new connection, a closed pool, the end of ctx.
func (p *Pool) Resize(ctx context.Context, size Size) error {
	if err := p.checkSize(size); err != nil {
		return err
	}
	return p.swapTo(ctx, func(template *pgxpool.Config, _ Size) (*pgxpool.Config, Size, error) {
		return template, size, nil
	})
}

func (p *Pool) checkSize(size Size) error {
	switch {
	case size.Max < 1 || size.Max > maxCeiling:
		return fmt.Errorf("autotune: a max of %d connections is outside its bounds of 1 to %d", size.Max, maxCeiling)
	case size.Min < 0 || size.Min > size.Max:
		return fmt.Errorf("autotune: a min of %d connections is outside its bounds of 0 to max (%d)", size.Min, size.Max)
	case size.Max > p.cfg.Budget:
		return fmt.Errorf("autotune: a max of %d exceeds the budget of %d server connections: ask for less or raise Config.Budget", size.Max, p.cfg.Budget)
	}
	return nil
}

// Reconfigure changes the configuration beneath the callers: a rotated password,
// another host, a new statement_timeout. f gets a copy with the present MaxConns
// and MinConns. If f or the first connection fails, the pool stays as it was. Callers that
// are still dialling then dial anew, as the changed configuration says.
func (p *Pool) Reconfigure(ctx context.Context, f func(*pgxpool.Config) error) error {
	err := p.swapTo(ctx, func(template *pgxpool.Config, size Size) (*pgxpool.Config, Size, error) {
		next := template.Copy()
		next.MaxConns, next.MinConns = int32(size.Max), int32(size.Min)
		if err := f(next); err != nil {
			return nil, Size{}, err
		}
		if next.HealthCheckPeriod <= 0 {
			return nil, Size{}, fmt.Errorf("autotune: HealthCheckPeriod is %s and must be above 0", next.HealthCheckPeriod)
		}
		size = Size{Max: int(next.MaxConns), Min: int(next.MinConns)}
		return next, size, p.checkSize(size)
	})
	if err == nil {
		p.tuner.serverMoved()
	}
	return err
}

// turn is a mutex that can be waited for as long as a context allows.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}: // even if ctx has ended: it was free
		return nil
	default:
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }

func (t turn) taken() bool { return len(t) > 0 }

// swapTo swaps to what change makes of the present template and size. Close ends it.
func (p *Pool) swapTo(ctx context.Context, change func(*pgxpool.Config, Size) (*pgxpool.Config, Size, error)) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	defer func() {
		if err != nil && p.closed() {
			err = errClosed // whatever it was about to wait for
		}
	}()
	if err := p.swapping.take(ctx); err != nil {
		return fmt.Errorf("autotune: another resize is under way: %w", err)
	}
	defer p.swapping.give()
	if p.closed() {
		return errClosed
	}
	old, size := p.template.Load(), p.Size()
	template, next, err := change(old, size)
	if err != nil {
		return err
	}
	if template == old && next == size {
		p.gate.setLimit(next.Max)
		return nil
	}
	limit := next.Max
	if next == size {
		limit = int(p.gate.limit.Load()) // only the configuration changes
	}
	return p.swap(ctx, template, next, limit)
}

// SetLimit moves the limit, to n clipped to 1 and max: at once, or at the end of a
// swap that is under way. Connections beyond it are not taken away, but not given
// out again.
func (p *Pool) SetLimit(n int) {
	_ = p.swapping.take(context.Background())
	defer p.swapping.give()
	p.gate.setLimit(min(max(n, 1), p.Size().Max))
}

// Freeze keeps the controller from moving anything until Thaw, but for taking back a
// limit that it was only trying. It goes on looking. Freeze returns when a move that
// is under way has ended: at once, or with the end of a swap.
func (p *Pool) Freeze() {
	p.tuner.frozen.Store(true)
	_ = p.swapping.take(context.Background()) // whoever comes after sees the flag
	p.swapping.give()
}

// Thaw lets the controller move the pool again.
func (p *Pool) Thaw() { p.tuner.frozen.Store(false) }

// Decision returns the controller's last decision; the zero Decision before it.
func (p *Pool) Decision() Decision {
	if l := p.tuner.last.Load(); l != nil {
		return l.decision
	}
	return Decision{}
}

// Snapshot is the pool at one instant, for metrics and pages. Counters are
// cumulative since the pool was opened, gauges hold for the instant.
type Snapshot struct {
	Size   Size // max and min of the current generation
	Limit  int  // most connections in use at once
	Budget int  // most server connections of all generations

	InUse, Queued, Idle, Connecting int // gauges
	Open, OpenPeak                  int // server connections of all generations: now, and the most there ever were

	Arrivals, Completions, Canceled, Failed, Waited int64
	WaitTime, ServiceTime                           time.Duration
	ConnectTime                                     time.Duration // acquires waited for a connection to be opened, beyond WaitTime
	InUseTime                                       time.Duration // integral of in use over time
	SaturatedTime                                   time.Duration // during which somebody was queued
	Connects                                        int64         // server connections opened
	Swaps, SwapsFailed                              int64
	SwapTime                                        time.Duration
	Searches                                        Searches

	Waits    Histogram // queued at the limit, of all that were let in; 0 for who did not queue
	Services Histogram // held, of those given back; the last few shorter than 10 µs come with the next

	Decision    Decision
	Observation Observation       // behind the decision
	LookedAt    time.Time         // of the last look of the controller; zero: none yet
	Decisions   map[Verdict]int64 // cumulative, one at each look; not to be changed
	Sight       Sight
	Interval    time.Duration // between two looks
	Manual      bool          // the controller is off
	Frozen      bool
	Resizing    bool // a resize is under way, and the controller waits for it
}

// Snapshot reads the pool. It costs microseconds and never waits for callers.
func (p *Pool) Snapshot() Snapshot {
	f := p.count(p.now(), p.gate.peek)
	g, t := &f.gate, &f.totals
	c := p.counters()
	open, peak, budget := p.budget.snapshot()
	s := Snapshot{
		Size: p.Size(), Limit: int(max(0, g.limit)), Budget: budget,
		InUse: int(g.inUse), Queued: int(g.queued), Idle: int(c.idle), Connecting: int(c.constructing),
		Open: open, OpenPeak: peak,
		Arrivals: f.arrivals(), Completions: t.completed,
		Canceled: f.canceled(), Failed: f.failed, Waited: g.stat.waited,
		WaitTime: time.Duration(g.stat.waitNanos), ServiceTime: t.service,
		ConnectTime: p.connectTime(&c), InUseTime: t.inUse, SaturatedTime: time.Duration(g.stat.busyNanos),
		Connects: f.opens, Swaps: p.swaps.Load(), SwapsFailed: p.swapsFailed.Load(), SwapTime: time.Duration(p.swapNanos.Load()),
		Searches: p.searches.snapshot(),
		Waits:    Histogram{counts: g.stat.waits, Sum: g.grantedWait()},
		Services: Histogram{counts: p.ledger.services(), Sum: t.service},
		Sight:    p.tuner.telemetry.sight(), Interval: p.cfg.Interval, Manual: p.cfg.Manual,
		Frozen: p.tuner.frozen.Load(), Resizing: p.swapping.taken(),
	}
	letIn := t.granted() + f.failed + f.canceledLate
	s.Waits.counts[0] += max(0, letIn-g.stat.waits.total())
	if l := p.tuner.last.Load(); l != nil {
		s.Decision, s.Observation, s.LookedAt, s.Decisions = l.decision, l.observation, l.at, l.verdicts
	}
	return s
}

var errClosed = errors.New("autotune: the pool is closed")

// controllerConfig is what the pure controller is told of the Config.
func (p *Pool) controllerConfig() controller.Config {
	return controller.Config{
		Floor: p.cfg.Floor, Ceiling: p.cfg.Ceiling, Budget: p.cfg.Budget,
		Objective: objectives[p.cfg.Objective], WaitObjective: p.cfg.WaitObjective,
		ProfileFloor: p.profile.floorMax, MinShare: p.profile.minShare, FloorMin: max(p.profile.floorMin, p.profile.userMin),
		Guideline: p.profile.floorMax > 0, FixedSize: p.profile.fixedSize,
		Users: p.cfg.ConcurrentUsers, Interval: p.cfg.Interval,
	}
}
