package host

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

func TestRealReadingsAreInRange(t *testing.T) {
	r := New()
	first, err := r.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first.CPUKnown {
		t.Error("one look cannot know how busy the CPU was")
	}
	deadline := time.Now().Add(10 * time.Second)
	for look := first; ; {
		if look.Cores < 1 || look.Cores > runtime.NumCPU() {
			t.Fatalf("%d cores of %d", look.Cores, runtime.NumCPU())
		}
		if look.RAMTotal < 64<<20 || look.RAMFree <= 0 || look.RAMFree > look.RAMTotal {
			t.Fatalf("RAM %d free of %d", look.RAMFree, look.RAMTotal)
		}
		if !(look.CPU >= 0 && look.CPU <= 1) {
			t.Fatalf("CPU %v", look.CPU)
		}
		if look.CPUKnown {
			t.Log(look)
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("CPU stays unknown")
		}
		if look, err = r.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBurningCPURaisesTheShare(t *testing.T) {
	r := New()
	window := func() float64 {
		if _, err := r.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-time.After(3 * minWindow) // the length of the measurement
		look, err := r.Read(t.Context())
		if err != nil || !look.CPUKnown {
			t.Fatalf("%v, %v", look, err)
		}
		return look.CPU
	}
	calm := window()

	var stop atomic.Bool
	var all sync.WaitGroup
	for range runtime.NumCPU() {
		all.Go(func() {
			for !stop.Load() {
			}
		})
	}
	defer all.Wait()
	defer stop.Store(true)
	burning := window()
	t.Logf("calm %.2f, burning %.2f", calm, burning)
	// Others use the machine as well, so the calm one may be anything.
	if burning < 0.8 || burning < calm-0.1 {
		t.Errorf("all cores burn, but CPU went from %.2f to %.2f", calm, burning)
	}
}

// fake is a machine of one's own making.
type fake struct {
	*Reader
	clock time.Time
	times map[string]cpuTime
	err   error
}

func newFake(files fstest.MapFS) *fake {
	f := &fake{clock: time.Unix(1e9, 0)}
	f.Reader = &Reader{
		now:      func() time.Time { return f.clock },
		files:    files,
		cpuTimes: func(context.Context) (map[string]cpuTime, error) { return f.times, f.err },
		ram:      func(context.Context) (int64, int64, error) { return 16 * gb, 12 * gb, nil },
		ramLimit: func() (uint64, error) { return 0, memlimit.ErrNoLimit },
	}
	return f
}

func (f *fake) look(t *testing.T, after time.Duration, busy, total float64) Reading {
	t.Helper()
	f.clock = f.clock.Add(after)
	f.times = map[string]cpuTime{"cpu0": {busy, total}}
	r, err := f.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLooksFromOneToTheNext(t *testing.T) {
	f := newFake(nil)
	for _, step := range []struct {
		name        string
		after       time.Duration
		busy, total float64
		want        float64
		known       bool
	}{
		{"first", 0, 10, 100, 0, false},
		{"too soon", 99 * time.Millisecond, 10.09, 100.09, 0, false},
		{"a second", 901 * time.Millisecond, 10.5, 101, 0.5, true},
		{"too soon to be other", 10 * time.Millisecond, 10.51, 101.01, 0.5, true},
		{"another second", 990 * time.Millisecond, 10.75, 102, 0.25, true},
		{"counters start over", time.Second, 0, 1, 0, false},
		{"and go on", time.Second, 1, 2, 1, true},
		{"the clock is set back", -time.Hour, 1.5, 3, 0.5, true},
		{"and goes on from there", time.Second, 1.5, 4, 0, true},
	} {
		got := f.look(t, step.after, step.busy, step.total)
		if math.Abs(got.CPU-step.want) > 1e-9 || got.CPUKnown != step.known {
			t.Errorf("%s: %v %v, want %v %v", step.name, got.CPU, got.CPUKnown, step.want, step.known)
		}
	}
}

func TestAQuotaBindsWhenItIsScarcer(t *testing.T) {
	files := func(usec string) fstest.MapFS {
		return tree("proc/self/cgroup: 0::/", "proc/self/mountinfo: 30 23 0:26 / /cg rw - cgroup2 cgroup2 rw",
			"cg/cpu.max: 50000 100000", "cg/cpu.stat: usage_usec "+usec, "cg/memory.max: 1073741824", "cg/memory.current: 73741824")
	}
	f := newFake(files("0"))
	f.ramLimit = func() (uint64, error) { return gb, nil }
	f.look(t, 0, 0, 0)
	f.files = files("400000") // 0.4 of the 0.5 s allowed; the machine is half busy
	got := f.look(t, time.Second, 1, 2)
	if want := (Reading{CPU: 0.8, CPUKnown: true, Cores: 1, Quota: 0.5, RAMTotal: gb, RAMFree: 1e9, RAMLimited: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	f.files = files("450000") // others took the machine
	if got := f.look(t, time.Second, 1.9, 3); math.Abs(got.CPU-0.9) > 1e-9 {
		t.Errorf("CPU %v, want 0.9", got.CPU)
	}
	f.files = files("1") // moved to another group
	if got := f.look(t, time.Second, 2.1, 4); math.Abs(got.CPU-0.2) > 1e-9 || !got.CPUKnown {
		t.Errorf("CPU %v, want that of the machine, 0.2", got.CPU)
	}
}

func TestWhatCannotBeReadIsUnknown(t *testing.T) {
	f := newFake(nil)
	f.look(t, 0, 0, 0)
	f.look(t, time.Second, 1, 1)
	broken := errors.New("no CPU today")
	f.err, f.clock = broken, f.clock.Add(time.Second)
	got, err := f.Read(t.Context())
	if !errors.Is(err, broken) || got.CPUKnown || got.RAMTotal != 16*gb || got.RAMFree != 12*gb || got.Cores < 1 {
		t.Errorf("%+v, %v", got, err)
	}
	f.err = nil
	if got := f.look(t, time.Second, 5, 10); got.CPUKnown {
		t.Errorf("the look before failed, but CPU is %v", got.CPU)
	}
	if got := f.look(t, time.Second, 5.5, 11); !got.CPUKnown || got.CPU != 0.5 {
		t.Errorf("%+v", got)
	}
}

func TestACgroupLimitAboveTheMachineIsNone(t *testing.T) {
	f := newFake(nil)
	f.ramLimit = func() (uint64, error) { return math.MaxUint64, nil }
	if got := f.look(t, 0, 0, 0); got.RAMTotal != 16*gb || got.RAMFree != 12*gb || got.RAMLimited {
		t.Errorf("%+v", got)
	}
}

func BenchmarkRead(b *testing.B) {
	r := New()
	for b.Loop() {
		r.mu.Lock()
		r.last.at = time.Time{} // as if a window had passed
		r.mu.Unlock()
		if _, err := r.Read(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
