package autotune

import (
	"reflect"
	"time"
	"unsafe"

	"github.com/jackc/pgx/v5/pgxpool"
)

// poolCounters are the figures of a pgxpool.Stat that only the pool underneath
// knows, summed over generations.
type poolCounters struct {
	idle, constructing, acquired     int32 // currently
	lifetimeDestroyed, idleDestroyed int64 // cumulative
	dialWaited                       int64 // cumulative: acquires that had to wait inside, nearly always for a dial
	dialWaitTime                     time.Duration
}

func (c *poolCounters) add(s *pgxpool.Stat) {
	c.idle += s.IdleConns()
	c.constructing += s.ConstructingConns()
	c.acquired += s.AcquiredConns()
	c.lifetimeDestroyed += s.MaxLifetimeDestroyCount()
	c.idleDestroyed += s.MaxIdleDestroyCount()
	c.dialWaited += s.EmptyAcquireCount()
	c.dialWaitTime += s.EmptyAcquireWaitTime()
}

// connectTime is how long callers waited inside the pool underneath.
func (p *Pool) connectTime(c *poolCounters) time.Duration {
	return p.ownWaits.callers(c.dialWaitTime)
}

// counters sums over the generations that live and those that are closed.
func (p *Pool) counters() poolCounters {
	p.gensMu.Lock()
	defer p.gensMu.Unlock()
	c := p.buried
	for _, gen := range p.alive {
		c.add(gen.pool.Stat())
	}
	return c
}

// forgetGeneration keeps the figures of a generation that is closed.
func (p *Pool) forgetGeneration(gen *generation) {
	// Its last connection may have left by Hijack a moment ago. What is held
	// without being acquired now is hijacked for certain, and nobody will look
	// at this generation again.
	p.hijackMu.Lock()
	p.releaseHijacked(gen, p.ledger.heldBy(gen)) // it is closed: nothing of it is acquired
	p.ledger.forget(gen, p.now())
	p.hijackMu.Unlock()
	p.gensMu.Lock()
	defer p.gensMu.Unlock()
	for i, g := range p.alive {
		if g == gen {
			p.alive = append(p.alive[:i], p.alive[i+1:]...)
			p.buried.add(gen.pool.Stat())
			p.buried.idle, p.buried.constructing, p.buried.acquired = 0, 0, 0
			return
		}
	}
}

func (p *Pool) generationsAlive() []*generation {
	p.gensMu.Lock()
	defer p.gensMu.Unlock()
	return append([]*generation(nil), p.alive...)
}

// Stat returns a snapshot of the statistics, cumulative over all generations.
// Waiting for the limit counts as waiting for the pool.
func (p *Pool) Stat() *pgxpool.Stat {
	g := p.gate.peek()
	c := p.counters()
	t, opens := p.ledger.totals(p.now())
	granted := raise(&p.granted, t.granted())
	waited := int64(g.grantedWait() + p.connectTime(&c))
	return newStat(map[string]int64{
		"constructingResources": int64(c.constructing),
		"acquiredResources":     min(t.held, int64(c.acquired)), // without the hijacked, and without those being warmed
		"idleResources":         int64(c.idle),
		"maxResources":          int64(p.Size().Max),
		"acquireCount":          granted,
		"acquireDuration":       waited,
		"emptyAcquireCount":     min(granted, g.stat.waited+c.dialWaited),
		"emptyAcquireWaitTime":  waited,
		"canceledAcquireCount":  g.stat.canceled + p.ledger.canceledLate.Load(),
		"newConnsCount":         opens,
		"lifetimeDestroyCount":  c.lifetimeDestroyed,
		"idleDestroyCount":      c.idleDestroyed,
	})
}

// statFields finds the fields of pgxpool.Stat and of the puddle.Stat in it by
// their names. pgxpool.Stat can only be filled from outside through unsafe, and
// the method has to return that very type to be a drop-in. If a future pgx names
// a field otherwise, that figure stays 0 and a test fails.
var statFields = func() map[string][]int {
	fields := map[string][]int{}
	outer := reflect.TypeFor[pgxpool.Stat]()
	for i := range outer.NumField() {
		f := outer.Field(i)
		if f.Type.Kind() == reflect.Pointer {
			for j := range f.Type.Elem().NumField() {
				fields[f.Type.Elem().Field(j).Name] = []int{i, j}
			}
		} else {
			fields[f.Name] = []int{i}
		}
	}
	return fields
}()

// newStat builds a pgxpool.Stat with the given values, by field name.
func newStat(values map[string]int64) *pgxpool.Stat {
	stat := new(pgxpool.Stat)
	outer := reflect.ValueOf(stat).Elem()
	for i := range outer.NumField() {
		if f := outer.Field(i); f.Kind() == reflect.Pointer {
			writable(f).Set(reflect.New(f.Type().Elem()))
		}
	}
	for name, v := range values {
		path, ok := statFields[name]
		if !ok {
			continue
		}
		f := outer.Field(path[0])
		if len(path) == 2 {
			f = writable(f).Elem().Field(path[1])
		}
		writable(f).SetInt(v)
	}
	return stat
}

func writable(f reflect.Value) reflect.Value {
	return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
}
