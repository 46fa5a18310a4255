package controller_test

import (
	"math"
	"math/rand/v2"
	"sort"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/model"
)

// curve is a measured or computed throughput curve, X(n) per second.
type curve func(n float64) float64

// table interpolates measured points, straight in logs of n and X; outside of
// them it goes on in proportion below and flat above.
func table(points map[int]float64) curve {
	var ns []int
	for n := range points {
		ns = append(ns, n)
	}
	sort.Ints(ns)
	return func(n float64) float64 {
		if n <= float64(ns[0]) {
			return points[ns[0]] * n / float64(ns[0])
		}
		for i := 1; i < len(ns); i++ {
			if a, b := float64(ns[i-1]), float64(ns[i]); n <= b {
				part := math.Log(n/a) / math.Log(b/a)
				return math.Exp((1-part)*math.Log(points[ns[i-1]]) + part*math.Log(points[ns[i]]))
			}
		}
		return points[ns[len(ns)-1]]
	}
}

// plant is the smallest pool and database a controller can be tried on: callers
// in a closed loop, a curve, and counting noise. It is not a simulation of
// PostgreSQL (see simulations/); it tells whether the controller finds the knee
// of the curve it is given.
type plant struct {
	curve   curve
	callers int
	peak    int     // of them in the window that ends
	noise   float64 // relative, of the throughput of one second
	drift   float64 // relative, of throughput that wanders over about five seconds, as beside other tenants
	wander  float64 // where it is now
	rng     *rand.Rand

	at         time.Duration
	limit, max int
	min, room  int
	dial       time.Duration // until new connections are open
	opened     int           // the highest limit yet
	opening    int           // of them
	openedAt   time.Duration
	pace       time.Duration // instead: that each takes to open, one after the other, from a cold pool; 0: not so
	conns      float64       // that are open then
	c          controller.Counters
	moves      int
	swaps      int
	served     float64
	server     controller.Server
}

func newPlant(c curve, callers, start int, noise float64, seed uint64) *plant {
	return &plant{curve: c, callers: callers, noise: noise, rng: rand.New(rand.NewPCG(seed, 1)), limit: start, max: start,
		server: controller.Server{MaxConnections: 500, Reserved: 3}}
}

// run drives the controller for d and returns the state it is left in.
func (p *plant) run(cfg controller.Config, s controller.State, d time.Duration, seen func(controller.Observation, controller.Decision)) controller.State {
	until := p.at + d
	for p.at < until {
		o := p.observe()
		var dec controller.Decision
		s, dec = controller.Step(cfg, s, o)
		if seen != nil {
			seen(o, dec)
		}
		if dec.Limit != p.limit {
			p.moves++
		}
		if dec.Swap {
			p.swaps++
			p.max, p.min = dec.Max, dec.Min
		} else if dec.Max <= p.room {
			p.max = dec.Max
		}
		p.limit = min(dec.Limit, p.max)
		if p.limit > p.opened {
			p.opening, p.opened, p.openedAt = p.limit-p.opened, p.limit, p.at+p.dial
		}
		next := cfg.Interval
		if dec.Next > 0 {
			next = min(next, dec.Next)
		}
		p.advance(next)
	}
	return s
}

func (p *plant) observe() controller.Observation {
	server := p.server
	inUse, peak := p.inUse(), max(p.peak, p.callers)
	p.peak = 0
	o := controller.Observation{At: p.at, Counters: p.c, Server: &server, Gauges: controller.Gauges{
		Limit: p.limit, Max: p.max, Min: p.min, Room: p.room, InUse: inUse, Idle: max(0, p.limit-inUse), Connecting: p.dialling(), Queued: p.callers - inUse, Budget: 500, Peak: peak}}
	if reach := int(p.conns) + atOnce; p.pace > 0 && reach < p.limit {
		o.Gauges.Reach = reach
	}
	return o
}

// atOnce is how many connections are opened at once where they have a pace.
const atOnce = 4

// inUse is how many connections serve.
func (p *plant) inUse() int {
	n := min(p.limit, p.callers)
	if p.pace > 0 {
		n = min(n, int(p.conns))
	}
	return n
}

// dialling is how many connections are being opened.
func (p *plant) dialling() int {
	if p.pace > 0 {
		return min(atOnce, max(0, min(p.limit, p.callers)-int(p.conns)))
	}
	if p.at < p.openedAt {
		return p.opening
	}
	return 0
}

func (p *plant) advance(dt time.Duration) {
	p.at += dt
	p.peak = max(p.peak, p.callers)
	sec := dt.Seconds()
	n := float64(p.inUse())
	if p.pace > 0 && int(p.conns) < min(p.limit, p.callers) {
		p.conns += sec / p.pace.Seconds()
	}
	if p.drift > 0 { // an Ornstein-Uhlenbeck process
		keep := math.Exp(-sec / 5)
		p.wander = keep*p.wander + p.drift*math.Sqrt(1-keep*keep)*p.rng.NormFloat64()
	}
	x := p.curve(n) * (1 + p.noise/math.Sqrt(sec)*p.rng.NormFloat64()) * math.Exp(p.wander)
	done := math.Max(0, x*sec)
	p.served += done
	whole := int64(p.served) - p.c.Completions
	p.c.Completions += whole
	p.c.Arrivals += whole
	if n > 0 {
		level := &p.c.Levels[model.LevelOf(int(n))]
		level.Time += dt
		level.Left += whole
	}
	queued := float64(p.callers) - n
	p.c.InUseTime += time.Duration(n * float64(dt))
	p.c.ServiceTime += time.Duration(n * float64(dt))
	p.c.WaitTime += time.Duration(queued * float64(dt))
	if queued > 0 {
		p.c.SaturatedTime += dt
		p.c.Waited += whole
	}
	s := n / math.Max(x, 1e-9)
	p.c.ServiceTimeSq += float64(whole) * s * s
}

func config() controller.Config {
	return controller.Config{Floor: 1, Ceiling: 200, Budget: 200, Users: 100, Interval: time.Second}
}

// Measured on two cores with PostgreSQL 17 and pgvector 0.8, 20,000 × 128-d
// HNSW, pgbench: pure search, and the same with 10 ms held idle in the transaction.
var (
	pureSearch    = table(map[int]float64{1: 1913, 2: 4098, 4: 4084, 8: 3113, 16: 2841, 32: 3286, 64: 3289, 100: 2801, 150: 1691})
	holdingSearch = table(map[int]float64{1: 85, 2: 170, 4: 340, 8: 698, 16: 1353, 32: 2286, 64: 1903, 100: 2026, 150: 2267})
)
