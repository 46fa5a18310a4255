package policy

import (
	"math"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/plant"
)

// closedLoop is callers who ask again at once, in front of a database that serves
// 100 a second for each connection up to a knee: enough to see a controller act.
// The simulation proper is simulations/plant.
type closedLoop struct {
	callers, knee int
	now           plant.Setting
	at            time.Duration
	c             controller.Counters
	carry         float64
	blind         bool
}

func (p *closedLoop) observe() controller.Observation {
	used := min(p.now.Limit, p.callers)
	o := controller.Observation{At: p.at, Counters: p.c, Gauges: controller.Gauges{
		Limit: p.now.Limit, Max: p.now.Max, Min: p.now.Min, InUse: used, Queued: p.callers - used, Peak: p.callers, Budget: 200}}
	if !p.blind {
		o.Server = &controller.Server{MaxConnections: 500, Reserved: 3}
	}
	return o
}

func (p *closedLoop) advance(d time.Duration) {
	used := min(p.now.Limit, p.callers)
	p.at += d
	p.carry += 100 * math.Min(float64(used), float64(p.knee)) * d.Seconds()
	done := int64(p.carry)
	p.carry -= float64(done)
	p.c.Completions += done
	p.c.Arrivals += done
	p.c.InUseTime += time.Duration(used) * d
	p.c.ServiceTime += time.Duration(used) * d
	if queued := p.callers - used; queued > 0 {
		p.c.WaitTime += time.Duration(queued) * d
		p.c.SaturatedTime += d
		p.c.Waited += done
	}
}

// apply does with a decision what the tuner of the live pool does; written from
// tuner.go, apart from Auto.
func apply(now plant.Setting, d controller.Decision) plant.Setting {
	if d.Action == controller.Freeze {
		return now
	}
	if d.Swap {
		return plant.Setting{Limit: d.Limit, Max: d.Max, Min: d.Min}
	}
	now.Limit = min(d.Limit, now.Max)
	return now
}

func TestAutoDoesWhatTheControllerSaysAndNothingElse(t *testing.T) {
	for _, name := range []string{"auto-4", "auto-100"} {
		p := open(t, name, world()).(*Auto)
		loop := &closedLoop{callers: 160, knee: 8, now: p.Start()}
		cfg := controller.Config{Floor: 1, Ceiling: 200, Budget: 200, Users: 100, Interval: time.Second}
		if p.Config() != cfg {
			t.Fatalf("it was told %+v, want %+v", p.Config(), cfg)
		}
		var s controller.State
		var d controller.Decision
		swaps, frozen := 0, 0
		for loop.at < 5*time.Minute {
			loop.blind = loop.at > 4*time.Minute
			o := loop.observe()
			s, d = controller.Step(cfg, s, o)
			want := apply(loop.now, d)
			got, next := p.Look(o)
			if got != want || p.Decision() != d || p.Calm() != s.Learn.Known {
				t.Fatalf("%s at %s: it does %+v, want %+v of %+v", name, o.At, got, want, d)
			}
			if d.Next > 0 && next != min(d.Next, time.Second) || d.Next == 0 && next != time.Second {
				t.Fatalf("%s at %s: it looks again after %s, the controller wants %s", name, o.At, next, d.Next)
			}
			if d.Swap {
				swaps++
			}
			if d.Action == controller.Freeze {
				frozen++
			}
			loop.now = got
			loop.advance(next)
		}
		if swaps == 0 || frozen == 0 {
			t.Errorf("%s: %d swaps and %d times frozen: this compares little", name, swaps, frozen)
		}
		if loop.now.Limit < 7 || loop.now.Limit > 10 {
			t.Errorf("%s came to %d, the knee is at 8", name, loop.now.Limit)
		}
	}
}

func TestAutoStaysWhereASwapFailed(t *testing.T) {
	p := open(t, "auto-4", world()).(*Auto)
	loop := &closedLoop{callers: 64, knee: 32, now: p.Start()}
	for loop.at < time.Minute {
		got, next := p.Look(loop.observe())
		if got.Max == loop.now.Max { // else the server refuses the new generation
			loop.now = got
		}
		if got.Limit > got.Max || got.Limit < 1 {
			t.Fatalf("at %s it asks for %+v", loop.at, got)
		}
		loop.advance(next)
	}
	if loop.now.Max != 4 || loop.now.Limit > 4 {
		t.Errorf("the pool is at %+v without a swap", loop.now)
	}
}

func TestAutoTakesAProfilesWalls(t *testing.T) {
	e := world()
	e.Start = 10
	e.Auto = controller.Config{ProfileFloor: 100, MinShare: 5, FloorMin: 20, Guideline: true, Interval: 500 * ms}
	p := open(t, "auto", e).(*Auto)
	loop := &closedLoop{callers: 4, knee: 8, now: p.Start()}
	got, next := p.Look(loop.observe())
	if want := (plant.Setting{Limit: 10, Max: 100, Min: 20}); got != want || next != 500*ms {
		t.Errorf("the first look gives %+v and the next in %s, want %+v and 500 ms", got, next, want)
	}
	e.Auto.Floor, e.Start = 30, 0
	if s := open(t, "auto", e).Start(); s.Limit != 30 {
		t.Errorf("with a floor of 30 it starts with %+v", s)
	}
}
