package trace

import (
	"container/heap"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pools is the exact queue that a recorded run of connection pools went through:
// one first-come-first-served queue with c connections for each pool.
type pools struct {
	connections int
	busy        map[string]*ends
}

// wait is how long a request waits, in s.
func (p *pools) wait(e *Event) float64 {
	busy := p.busy[e.Pool]
	if busy == nil {
		busy = &ends{}
		p.busy[e.Pool] = busy
	}
	begin := e.T
	if busy.Len() == p.connections {
		begin = max(begin, heap.Pop(busy).(float64))
	}
	heap.Push(busy, begin+e.Service/1000)
	return begin - e.T
}

// waits replays a trace through pools of c connections: the waits recorded and
// replayed, in ms.
func waits(t *testing.T, r *Reader, c int) (recorded, replayed []float64) {
	t.Helper()
	p := &pools{c, map[string]*ends{}}
	for {
		var e Event
		if err := r.Event(&e); err == io.EOF {
			return recorded, replayed
		} else if err != nil {
			t.Fatal(err)
		}
		recorded, replayed = append(recorded, e.Wait), append(replayed, 1000*p.wait(&e))
	}
}

func summary(waits []float64) (mean, p95, p99 float64) {
	slices.Sort(waits)
	for _, w := range waits {
		mean += w / float64(len(waits))
	}
	at := func(q float64) float64 { return waits[int(q*float64(len(waits)-1))] }
	return mean, at(0.95), at(0.99)
}

func TestAHandMadePoolReplaysToItsWaits(t *testing.T) {
	// Two connections each. In pool a the third waits for the first to end, the
	// fourth for the second; pool b is on its own.
	r, err := NewReader(strings.NewReader(`#autotune-trace {"version":1,"kind":"events","service_kind":"observed","pool_max_per_pool":2}
t_s,service_ms,wait_ms,pool
0,1000,0,a
0.1,2000,0,a
0.2,500,800,a
0.3,10,0,b
1.3,700,200,a
1.4,1000,700,a
9,1,0,a
`), "x")
	if err != nil {
		t.Fatal(err)
	}
	recorded, replayed := waits(t, r, r.Header().PoolMax)
	for i := range recorded {
		if math.Abs(recorded[i]-replayed[i]) > 1e-6 {
			t.Errorf("request %d waits %v ms instead of %v", i+1, replayed[i], recorded[i])
		}
	}
}

// The Cloud Analytics Benchmark recorded arrivals, service times and waits of
// clients whose pools have 10 connections each: ground truth for a queue.
func TestTheCABGroundTruthReplaysToTheMeasuredWaits(t *testing.T) {
	for name, want := range map[string][3]float64{
		"cab-shared-8s": {2863, 31514, 50171},
		"cab-shared-4s": {14871, 133351, 199436},
	} {
		open := func() *Reader {
			path := filepath.Join("..", "..", "..", "shared", "traces", name+".events.csv.gz")
			r, err := Open(path)
			if err != nil {
				t.Skipf("the development traces are not here: %v", err)
			}
			t.Cleanup(func() { _ = r.Close() })
			return r
		}
		r := open()
		recorded, replayed := waits(t, r, r.Header().PoolMax)
		if len(recorded) != 5508 {
			t.Errorf("%s has %d queries", name, len(recorded))
		}
		// A caller that found a free connection waited too, for it to be dialled
		// or for the driver: 5 ms in the mean, which no queue explains.
		unqueued := 0.0
		for i := range recorded {
			if replayed[i] == 0 {
				unqueued += recorded[i] / float64(len(recorded))
			}
		}
		a1, a2, a3 := summary(recorded)
		b1, b2, b3 := summary(replayed)
		near := func(what string, got, want, within float64) {
			if math.Abs(got/want-1) > within {
				t.Errorf("%s: %s is %v instead of %v", name, what, got, want)
			}
		}
		near("measured mean", a1, want[0], 0.001)
		near("replayed mean", b1+unqueued, a1, 0.001)
		near("replayed p95", b2, a2, 0.001)
		near("replayed p99", b3, a3, 0.001)
		near("measured p95", a2, want[1], 0.001)
		near("measured p99", a3, want[2], 0.001)
		t.Logf("%s: measured %.0f / %.0f / %.0f, replayed %.0f / %.0f / %.0f ms, without a queue %.1f", name, a1, a2, a3, b1, b2, b3, unqueued)
		for _, c := range []int{9, 11} { // the check is sharp
			_, wrong := waits(t, open(), c)
			if mean, _, _ := summary(wrong); math.Abs(mean/a1-1) < 0.1 {
				t.Errorf("%s: %d connections give the same mean, %v", name, c, mean)
			}
		}
	}
}
