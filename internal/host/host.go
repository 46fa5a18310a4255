package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// minWindow is the shortest time CPU use is computed over. The kernel counts in
// ticks of 10 ms, so a tenth of a second is the least that can tell 10 % from
// 0 %.
const minWindow = 100 * time.Millisecond

// Reading is one look at the machine.
type Reading struct {
	// CPU is the busy share, 0–1, since the look before, of the cores this
	// process may run on, whoever kept them busy. With a CPU quota it is that
	// or the used share of the quota, whichever is larger: the scarcer binds.
	// It is meaningless unless CPUKnown.
	CPU float64
	// CPUKnown is false on the first look, and when the clock or the counters
	// went back.
	CPUKnown bool

	// Cores is how many cores this process may keep busy: those of its CPU
	// affinity, or its cgroup's quota rounded up if that is less. It is at
	// least 1.
	Cores int
	// Quota is the cgroup's CPU quota in cores, such as 0.5; 0 is none.
	Quota float64

	RAMTotal int64 // bytes this process may use: the machine's, or the cgroup's limit; 0 when unknown
	RAMFree  int64 // bytes of RAMTotal that can be had without swapping or being killed
	// RAMLimited is true when a cgroup's limit makes either of them less than
	// the machine's.
	RAMLimited bool
}

// Reader takes looks at the machine. It is safe for concurrent use, but CPU is
// measured from look to look, so give each loop its own.
type Reader struct {
	// Effects, replaced in tests.
	now      func() time.Time
	files    fs.FS
	cpuTimes func(context.Context) (map[string]cpuTime, error)
	ram      func(context.Context) (total, available int64, err error)
	ramLimit func() (uint64, error)

	of *other // whose limits count; nil: ours

	mu   sync.Mutex
	last look
	cpu  float64 // what the last pair of looks gave
	ok   bool    // cpu is known
}

// look is what the next one is compared with.
type look struct {
	at      time.Time
	cores   map[string]cpuTime
	quota   float64
	used    float64 // CPU seconds of the group with the quota; NaN when unknown
	present bool
}

// New makes a reader. It reads nothing yet.
func New() *Reader {
	return &Reader{
		now:      time.Now,
		files:    os.DirFS("/"),
		cpuTimes: machineCPU,
		ram:      machineRAM,
		ramLimit: memlimit.FromCgroup,
	}
}

// other is another process whose limits count, as it was when the reader was made.
type other struct {
	cgroup string          // what /proc/PID/cgroup says
	own    bool            // which is what ours says
	cores  map[string]bool // that it may run on; nil: all
}

// NewOf makes a reader that looks with the eyes of another process of this machine:
// what its cgroup and its CPU affinity allow, not ours. What cannot be read of them
// is no limit.
func NewOf(pid int) *Reader {
	r := New()
	r.lookAs(pid)
	return r
}

func (r *Reader) lookAs(pid int) {
	own, _ := fs.ReadFile(r.files, "proc/self/cgroup")
	theirs, err := fs.ReadFile(r.files, fmt.Sprintf("proc/%d/cgroup", pid))
	r.of = &other{cgroup: string(theirs), own: err == nil && string(own) == string(theirs), cores: allowedCores(pid)}
}

// Same tells whether two readers look with the same eyes.
func (r *Reader) Same(as *Reader) bool {
	if r.of == nil || as.of == nil {
		return r.of == as.of
	}
	return r.of.cgroup == as.of.cgroup && r.of.own == as.of.own && maps.Equal(r.of.cores, as.of.cores)
}

// group is the control group whose limits count.
func (r *Reader) group() cgroup {
	if r.of == nil {
		return findCgroup(r.files)
	}
	return groupNamed(r.files, r.of.cgroup, r.of.own)
}

// allowed are the cores that count; nil: all.
func (r *Reader) allowed() map[string]bool {
	if r.of == nil {
		return allowedCores(os.Getpid())
	}
	return r.of.cores
}

// Read takes a look. What could be read is in the Reading even if there is an
// error, which then tells what could not. Looks less than 100 ms apart give the
// CPU of the last pair that was farther apart.
func (r *Reader) Read(ctx context.Context) (Reading, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	group := r.group()
	quota, level := group.quota()
	out := Reading{Cores: r.cores(quota), Quota: quota}

	cpuErr := r.measure(ctx, group, quota, level)
	if cpuErr == nil {
		out.CPU, out.CPUKnown = r.cpu, r.ok
	}
	total, free, ramErr := r.ram(ctx)
	if ramErr == nil {
		limit := r.ramLimit
		if r.of != nil && !r.of.own {
			limit = func() (uint64, error) { return uint64(group.ramLimit(total)), nil }
		}
		out.RAMTotal, out.RAMFree = limitRAM(total, free, group, limit)
		out.RAMLimited = out.RAMTotal < total || out.RAMFree < free
	}
	return out, errors.Join(cpuErr, ramErr)
}

// cores is Reading.Cores. It is not GOMAXPROCS: that is how many threads the
// owner of the process wants Go to run, which may have been set for other
// reasons, and the runtime never goes below 2 for a quota of half a core.
func (r *Reader) cores(quota float64) int {
	n := runtime.NumCPU()
	if allowed := r.allowed(); allowed != nil {
		n = len(allowed) // as of now; NumCPU is as of the start
	}
	if quota > 0 && quota < float64(n) {
		n = int(math.Ceil(quota))
	}
	return max(n, 1)
}

// measure brings r.cpu up to date.
func (r *Reader) measure(ctx context.Context, group cgroup, quota float64, level int) error {
	now := r.now()
	elapsed := now.Sub(r.last.at)
	if r.last.present && elapsed >= 0 && elapsed < minWindow {
		return nil
	}
	times, err := r.cpuTimes(ctx)
	if err != nil {
		r.last, r.ok = look{}, false
		return err
	}
	if allowed := r.allowed(); allowed != nil {
		times = only(times, allowed)
	}
	look := look{at: now, cores: times, quota: quota, used: math.NaN(), present: true}
	if quota > 0 {
		look.used = group.cpuSeconds(level)
	}
	before := r.last
	r.last = look
	if !before.present {
		return nil
	}
	share, known := busyShare(before.cores, look.cores)
	if quota > 0 && quota == before.quota {
		if ofQuota, ok := quotaShare(look.used-before.used, elapsed.Seconds(), quota); ok {
			share, known = max(share, ofQuota), true
		}
	}
	r.cpu, r.ok = share, known
	return nil
}

// only keeps the allowed cores, or all where the names do not match.
func only(times map[string]cpuTime, allowed map[string]bool) map[string]cpuTime {
	kept := make(map[string]cpuTime, len(allowed))
	for name, t := range times {
		if allowed[name] {
			kept[name] = t
		}
	}
	if len(kept) == 0 {
		return times
	}
	return kept
}

// limitRAM narrows the machine's RAM down to the cgroup's. No limit, no cgroup
// and an unreadable one are the same here: the machine is the limit.
func limitRAM(total, free int64, group cgroup, limit func() (uint64, error)) (int64, int64) {
	machine := total
	if bytes, err := limit(); err == nil && bytes > 0 {
		total = min(total, signed(bytes))
	}
	if left, known := group.ramLeft(machine); known {
		free = min(free, left)
	}
	return total, min(free, total)
}

// String is for logs.
func (r Reading) String() string {
	cpu := "unknown"
	if r.CPUKnown {
		cpu = fmt.Sprintf("%.0f%%", 100*r.CPU)
	}
	return fmt.Sprintf("cpu %s of %d cores, %d of %d MB RAM free", cpu, r.Cores, r.RAMFree>>20, r.RAMTotal>>20)
}
