package controller

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

// shown is a state whose ups and downs saw each of so many connections in use for as long,
// and x(n) of n come back a second; none of those of which it is 0.
func shown(most int, each time.Duration, x func(n int) float64) (s State) {
	var now model.Levels
	for n := 1; n <= most; n++ {
		if x(n) > 0 {
			level := &now[model.LevelOf(n)]
			level.Time += each
			level.Left += int64(each.Seconds() * x(n))
		}
	}
	s.Occupancy.Add(time.Second, &model.Levels{}, &now)
	s.At = time.Minute
	return s
}

// queueing lets callers queue without end, who wait for each other or do not.
func (s *State) queueing(open bool) {
	s.Learn.Saturated, s.Learn.SaturatedSince = true, s.At-15*time.Second
	s.Learn.Fewest, s.Learn.Longest = 100, 110
	if open {
		s.Learn.Longest = 700
	}
}

// Sixty callers meet a cold pool: while its connections are being opened, few come back
// out of as many as are in use, which says nothing of the server.
func TestWhatIsInUseBeforeConnectionsAreOpenIsNoEvidence(t *testing.T) {
	var s State
	var c Counters
	at := time.Duration(0)
	step := func(connecting int) {
		at += 100 * time.Millisecond
		c.Arrivals += 20
		c.Completions += 20
		c.InUseTime += time.Second
		c.ServiceTime += time.Second
		level := &c.Levels[model.LevelOf(10)]
		level.Time += 100 * time.Millisecond
		level.Left += 20
		s, _ = Step(Config{Floor: 1, Ceiling: 200, Budget: 200, Interval: time.Second}, s, Observation{At: at, Counters: c,
			Gauges: Gauges{Limit: 100, Max: 100, InUse: 10, Connecting: connecting, Budget: 200}, Server: &Server{MaxConnections: 500}})
	}
	for range 5 {
		step(4)
	}
	if seen := s.Occupancy.Observed(); seen != 0 {
		t.Errorf("%.1f s of a pool that is being opened count as evidence", seen)
	}
	for _, connecting := range []int{0, 0, 1, 0} { // one that has lived long enough is replaced
		step(connecting)
	}
	if seen := s.Occupancy.Observed(); seen < 0.35 || seen > 0.45 {
		t.Errorf("%.2f s count as evidence, want the 0.4 since the first were open", seen)
	}
}

// Ten connections give 1.5 % less than twelve, which the objective gives away. Callers who
// come anyhow queue for it without end.
func TestOnAPlateauAnOpenLoadIsServedByTheBest(t *testing.T) {
	for _, c := range []struct {
		open bool
		knee int
	}{{false, 10}, {true, 12}} {
		x := []float64{1: 130, 2: 260, 3: 380, 4: 500, 5: 610, 6: 700, 7: 800, 8: 880, 9: 940, 10: 985, 11: 994, 12: 1000, 13: 999, 14: 996, 15: 990, 16: 985, 17: 980, 18: 978}
		s := shown(18, 100*time.Second, func(n int) float64 { return x[n] })
		s.Limit, s.Learn.Known = 15, true
		s.queueing(c.open)
		if e := s.estimate(Config{}, window{}, false); !e.Natural || e.Knee.N != c.knee {
			t.Errorf("open %t: natural %t at %d, want it at %d", c.open, e.Natural, e.Knee.N, c.knee)
		}
	}
}

// The limit that an open load queues at gives 2 % more than the knee: it stays, because
// that is what ends the queue. Callers who wait for each other lose nothing that the
// objective does not give, and where the limit gives less nobody does.
func TestTheUpsAndDownsTakeNothingFromAnOpenLoadThatQueues(t *testing.T) {
	for _, c := range []struct {
		open bool
		at14 float64
		end  int
	}{{false, 1000, 10}, {true, 1000, 14}, {true, 975, 10}} {
		x := map[int]float64{10: 980, 14: c.at14}
		s := shown(14, 100*time.Second, func(n int) float64 { return x[n] })
		s.queueing(c.open)
		o := Observation{At: s.At, Gauges: Gauges{Limit: 14, Max: 100}}
		d := Decision{Limit: 14}
		s.natural(o, model.Estimate{Natural: true, Knee: model.Knee{N: 10, Lower: 8, Upper: 16, Identified: true}}, 1, 100, &d)
		if d.Limit != c.end {
			t.Errorf("open %t, 14 give %.0f: the limit goes to %d, want %d", c.open, c.at14, d.Limit, c.end)
		}
	}
}

// Four connections serve as much as twelve. Eight were chosen by an earlier look: with a
// quarter of the evidence that was luck, with half of it there is nothing to gain.
func TestWhatLittleEvidenceDecidedIsLookedAtAgain(t *testing.T) {
	for _, c := range []struct {
		to   int     // where the ups and downs put it
		seen float64 // share of the evidence then
		end  int
	}{{8, 0.2, 4}, {8, 0.5, 8}, {0, 0.2, 8}, {6, 0.2, 8}} {
		s := shown(12, 10*time.Second, func(n int) float64 { return 200 * float64(min(n, 4)) })
		s.Limit = 8
		s.Learn.Known = true
		s.NaturalTo, s.NaturalSeen = c.to, c.seen*s.Occupancy.Behind(4)
		d := Decision{Limit: 8}
		s.natural(Observation{At: s.At, Gauges: Gauges{Limit: 8, Max: 100}}, s.estimate(Config{}, window{}, false), 1, 100, &d)
		if d.Limit != c.end {
			t.Errorf("put at %d by %g of the evidence: the limit goes to %d, want %d", c.to, c.seen, d.Limit, c.end)
		}
	}
}

// Out of eight in use less comes back than out of four. Where two of ten backends wait for
// row locks, these may be why as many are in use.
func TestLevelsOfALoadThatWaitsForLocksShowNoFall(t *testing.T) {
	for _, c := range []struct {
		locks   int
		natural bool
	}{{0, true}, {2, false}} {
		s := shown(8, 20*time.Second, func(n int) float64 { return float64(500*min(n, 4) - 100*max(0, n-4)) })
		s.Limit = 20
		for range 30 {
			s.see(Observation{Server: &Server{Ours: Backends{OnCPU: 6, IO: 2, Lock: c.locks}}})
		}
		if e := s.estimate(Config{}, window{}, false); e.Natural != c.natural {
			t.Errorf("%d of %d wait for a lock: the ups and downs are believed: %t", c.locks, 8+c.locks, e.Natural)
		}
	}
}
