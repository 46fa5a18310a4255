package dashboard

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/controller"
)

// lookEvery is how often the gauges are read: ten looks make the mean of a second.
const lookEvery = pointEvery / 10

// healthEvery is how often the server is asked while somebody looks at the page.
const healthEvery = 3 * time.Second

// What a source may have beyond [Source].
type (
	timed   interface{ Times() autotune.Times }
	changed interface {
		Changes(after int64) []autotune.Change
	}
	curved     interface{ Curve() []autotune.CurvePoint }
	configured interface{ Settings() *autotune.Config }
)

// sampler looks at the source and makes points of it. One goroutine uses it.
type sampler struct {
	h      *Handler
	before autotune.Snapshot // at the last point
	at     time.Time         // of the last point
	times  autotune.Times    // at the last point
	change int64             // the last change seen
	last   autotune.Decision // of a source without Changes

	inUse, queued, looks float64
	fresh                [][]byte // decisions since the last point
}

func newSampler(h *Handler) *sampler {
	s := &sampler{h: h, before: h.source.Snapshot(), at: time.Now()}
	if t, ok := h.source.(timed); ok {
		s.times = t.Times()
	}
	return s
}

func (s *sampler) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.look()
		if now := time.Now(); now.Sub(s.at) >= pointEvery-lookEvery/2 {
			s.point(now)
			if s.h.stream.watched() && s.h.verdict.due(now, healthEvery) {
				s.h.work.Go(func() { s.h.verdict.get(ctx, now) })
			}
		}
	}
}

// look reads gauges and decisions.
func (s *sampler) look() {
	snap := s.h.source.Snapshot()
	s.inUse += float64(snap.InUse)
	s.queued += float64(snap.Queued)
	s.looks++
	if c, ok := s.h.source.(changed); ok {
		for _, change := range c.Changes(s.change) {
			s.change = change.N
			s.note(change)
		}
		return
	}
	if d := s.h.source.Decision(); d.At != s.last.At {
		g := snap.Observation.Gauges
		if d.Reason != s.last.Reason || d.Action != controller.Hold || d.Limit != g.Limit {
			s.change++
			s.note(autotune.Change{N: s.change, At: snap.LookedAt, Observation: snap.Observation, Decision: d})
		}
		s.last = d
	}
}

func (s *sampler) note(c autotune.Change) {
	if b, err := json.Marshal(entry(c)); err == nil { // it is made of strings and numbers
		s.fresh = append(s.fresh, b)
	}
}

// point makes a point of what was since the last one and publishes it.
func (s *sampler) point(now time.Time) {
	snap := s.h.source.Snapshot()
	p := point{at: now.UnixMilli()}
	seconds := now.Sub(s.at).Seconds()
	rate := func(now, before int64) float32 { return float32(float64(max(0, now-before)) / seconds) }
	p.values = [columns]float32{
		arrivals: rate(snap.Arrivals, s.before.Arrivals), throughput: rate(snap.Completions, s.before.Completions),
		canceled: rate(snap.Canceled, s.before.Canceled), failed: rate(snap.Failed, s.before.Failed),
		inUse: float32(s.inUse / s.looks), queued: float32(s.queued / s.looks),
		limit: float32(snap.Limit), maxConns: float32(snap.Size.Max), open: float32(snap.Open),
	}
	s.percentiles(&p, &snap)
	s.h.stream.publish(p, s.fresh, s.state(&snap, now))
	s.before, s.at, s.fresh = snap, now, nil
	s.inUse, s.queued, s.looks = 0, 0, 0
}

// percentiles fills in the times of the callers since the last point: unknown
// when there were none, or the source does not count them.
func (s *sampler) percentiles(p *point, snap *autotune.Snapshot) {
	unknown := float32(math.NaN())
	p.values[waitP50], p.values[waitP99], p.values[responseP50], p.values[responseP99] = unknown, unknown, unknown, unknown
	t, ok := s.h.source.(timed)
	if !ok {
		if !snap.LookedAt.IsZero() {
			p.values[waitP99] = milliseconds(snap.Observation.WaitP99)
		}
		return
	}
	times := t.Times()
	for column, quantile := range map[int]func() (time.Duration, bool){
		waitP50:     func() (time.Duration, bool) { return times.WaitQuantile(&s.times, 0.50) },
		waitP99:     func() (time.Duration, bool) { return times.WaitQuantile(&s.times, 0.99) },
		responseP50: func() (time.Duration, bool) { return times.ResponseQuantile(&s.times, 0.50) },
		responseP99: func() (time.Duration, bool) { return times.ResponseQuantile(&s.times, 0.99) },
	} {
		if d, any := quantile(); any {
			p.values[column] = milliseconds(d)
		}
	}
	s.times = times
}

func milliseconds(d time.Duration) float32 { return float32(d.Seconds() * 1000) }

// state is what the page shows of now, beside the curves.
type state struct {
	Health  *healthView           `json:"health"` // nil: not asked yet
	Curve   []autotune.CurvePoint `json:"curve"`
	Knee    kneeView              `json:"knee"`
	Limit   int                   `json:"limit"`
	InUse   int                   `json:"inUse"`
	Belief  []fact                `json:"belief"`
	Frozen  bool                  `json:"frozen"`
	Decided string                `json:"decided"` // the last decision's reason in words
}

func (s *sampler) state(snap *autotune.Snapshot, now time.Time) []byte {
	d := &snap.Decision
	st := state{Health: s.h.verdict.known(now), Knee: viewKnee(d, snap.LookedAt.IsZero()), Limit: snap.Limit, InUse: snap.InUse,
		Frozen: snap.Frozen, Belief: belief(snap), Curve: []autotune.CurvePoint{}, Decided: d.Reason.Sentence()}
	if snap.LookedAt.IsZero() {
		st.Decided = "the controller has not looked yet, or is off"
	}
	if c, ok := s.h.source.(curved); ok {
		st.Curve = append(st.Curve, c.Curve()...)
	}
	b, err := json.Marshal(st)
	if err != nil { // a NaN would do this; the page then keeps what it had
		return []byte("null")
	}
	return b
}
