package host

import (
	"context"
	"math"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	gb      = 1 << 30
	v2Mount = "proc/self/mountinfo: 30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"
)

// tree is a machine's files from "path: content" lines.
func tree(lines ...string) fstest.MapFS {
	files := fstest.MapFS{}
	for _, line := range lines {
		path, content, _ := strings.Cut(line, ": ")
		files[path] = &fstest.MapFile{Data: []byte(content + "\n")}
	}
	return files
}

func TestCgroupLimits(t *testing.T) {
	const (
		v1Mount = "proc/self/mountinfo: 31 23 0:1 / /cg/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct\n" +
			"32 23 0:2 / /cg/memory rw - cgroup cgroup rw,memory\n33 23 0:3 / /cg/unified rw - cgroup2 cgroup2 rw"
	)
	for name, c := range map[string]struct {
		files   fstest.MapFS
		quota   float64
		seconds float64 // with a quota
		left    int64   // -1: no limit
	}{
		"no cgroups at all": {tree("etc/hosts: x"), 0, 0, -1},
		"v2 without limits": {tree("proc/self/cgroup: 0::/app", v2Mount, "sys/fs/cgroup/app/cpu.max: max 100000",
			"sys/fs/cgroup/app/memory.max: max", "sys/fs/cgroup/app/memory.current: 1"), 0, 0, -1},
		"v2 with limits": {tree("proc/self/cgroup: 0::/app", v2Mount, "sys/fs/cgroup/app/cpu.max: 50000 100000",
			"sys/fs/cgroup/app/cpu.stat: usage_usec 2500000\nuser_usec 1", "sys/fs/cgroup/app/memory.max: 1000",
			"sys/fs/cgroup/app/memory.current: 900", "sys/fs/cgroup/app/memory.stat: anon 1\ninactive_file 300"), 0.5, 2.5, 400},
		"the tightest ancestor binds": {tree("proc/self/cgroup: 0::/pod/app", v2Mount,
			"sys/fs/cgroup/pod/cpu.max: 100000 100000", "sys/fs/cgroup/pod/cpu.stat: usage_usec 7000000",
			"sys/fs/cgroup/pod/app/cpu.max: 400000 100000", "sys/fs/cgroup/pod/app/cpu.stat: usage_usec 1",
			"sys/fs/cgroup/pod/memory.max: 2000", "sys/fs/cgroup/pod/memory.current: 1990",
			"sys/fs/cgroup/pod/app/memory.max: 1000", "sys/fs/cgroup/pod/app/memory.current: 100"), 1, 7, 10},
		"inside a container, the group named as the machine sees it": {tree("proc/self/cgroup: 0::/../../kubepods/pod1/app", v2Mount,
			"sys/fs/cgroup/cpu.max: 150000 100000", "sys/fs/cgroup/cpu.stat: usage_usec 1000000"), 1.5, 1, -1},
		"the mount shows a part of the tree": {tree("proc/self/cgroup: 0::/docker/abc/sub",
			"proc/self/mountinfo: 30 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
			"sys/fs/cgroup/sub/cpu.max: 20000 10000", "sys/fs/cgroup/sub/cpu.stat: usage_usec 1000000"), 2, 1, -1},
		"v1 without limits": {tree("proc/self/cgroup: 3:cpu,cpuacct:/app\n4:memory:/app\n0::/", v1Mount,
			"cg/cpu,cpuacct/app/cpu.cfs_quota_us: -1", "cg/cpu,cpuacct/app/cpu.cfs_period_us: 100000",
			"cg/memory/app/memory.limit_in_bytes: 9223372036854771712", "cg/memory/app/memory.usage_in_bytes: 5"), 0, 0, -1},
		"v1 with limits": {tree("proc/self/cgroup: 3:cpu,cpuacct:/app\n4:memory:/app\n0::/", v1Mount,
			"cg/cpu,cpuacct/app/cpu.cfs_quota_us: 300000", "cg/cpu,cpuacct/app/cpu.cfs_period_us: 100000",
			"cg/cpu,cpuacct/app/cpuacct.usage: 4500000000", "cg/memory/app/memory.limit_in_bytes: 1000",
			"cg/memory/app/memory.usage_in_bytes: 1500"), 3, 4.5, 0},
		"rubbish": {tree("proc/self/cgroup: ::\nnonsense\n0::/app", "proc/self/mountinfo: - -\n1 2 3\n30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
			"sys/fs/cgroup/app/cpu.max: NaN 0", "sys/fs/cgroup/app/memory.max: -5", "sys/fs/cgroup/app/memory.current: Inf"), 0, 0, -1},
	} {
		t.Run(name, func(t *testing.T) {
			g := findCgroup(c.files)
			quota, level := g.quota()
			if quota != c.quota {
				t.Errorf("quota %v, want %v", quota, c.quota)
			}
			if quota > 0 {
				if got := g.cpuSeconds(level); math.Abs(got-c.seconds) > 1e-9 || math.IsNaN(got) {
					t.Errorf("%v CPU seconds, want %v", got, c.seconds)
				}
			}
			left, known := g.ramLeft(16 * gb)
			if !known {
				left = -1
			}
			if left != c.left {
				t.Errorf("%d bytes left, want %d", left, c.left)
			}
		})
	}
}

// The database may be in another group than we are: its limits count, not ours, and
// where they are out of sight there are none.
func TestAnotherProcessHasItsOwnLimits(t *testing.T) {
	ours := []string{"proc/self/cgroup: 0::/app", v2Mount, "sys/fs/cgroup/app/cpu.max: 100000 100000",
		"sys/fs/cgroup/app/memory.max: 1000", "sys/fs/cgroup/app/memory.current: 900"}
	theirs := []string{"sys/fs/cgroup/pg/cpu.max: 400000 100000", "sys/fs/cgroup/pg/memory.max: 9000", "sys/fs/cgroup/pg/memory.current: 2000"}
	for name, c := range map[string]struct {
		file        string
		quota       float64
		left, total int64
	}{
		"the same":              {"proc/7/cgroup: 0::/app", 1, 100, 1000},
		"another":               {"proc/7/cgroup: 0::/pg", 4, 7000, 9000},
		"out of sight":          {"proc/7/cgroup: 0::/../pg", 0, gb, 16 * gb},
		"gone":                  {"proc/8/cgroup: 0::/pg", 0, gb, 16 * gb},
		"without any limit":     {"proc/7/cgroup: 0::/free", 0, gb, 16 * gb},
		"not as it is expected": {"proc/7/cgroup: nonsense", 0, gb, 16 * gb},
	} {
		t.Run(name, func(t *testing.T) {
			r := New()
			r.files = tree(append(append([]string{c.file, "sys/fs/cgroup/free/cpu.max: max 100000"}, ours...), theirs...)...)
			r.ramLimit = func() (uint64, error) { return 1000, nil } // ours
			r.ram = func(context.Context) (int64, int64, error) { return 16 * gb, gb, nil }
			r.lookAs(7)
			again := &Reader{files: r.files}
			if again.lookAs(7); !again.Same(r) || r.Same(New()) {
				t.Error("the same eyes are others, or others the same")
			}
			got, err := r.Read(t.Context())
			if err != nil || got.Quota != c.quota || got.RAMFree != c.left || got.RAMTotal != c.total {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func FuzzFindCgroup(f *testing.F) {
	f.Add("0::/app", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "50000 100000")
	f.Add("3:cpu:/a\n0::/../..", "30 23 0:26 /x // rw - cgroup2 c rw,cpu", "max")
	f.Fuzz(func(t *testing.T, own, mounts, limit string) {
		g := findCgroup(fstest.MapFS{
			"proc/self/cgroup":           {Data: []byte(own)},
			"proc/self/mountinfo":        {Data: []byte(mounts)},
			"sys/fs/cgroup/cpu.max":      {Data: []byte(limit)},
			"sys/fs/cgroup/app/cpu.max":  {Data: []byte(limit)},
			"sys/fs/cgroup/app/cpu.stat": {Data: []byte(limit)},
		})
		quota, level := g.quota()
		if !(quota >= 0) || math.IsInf(quota, 0) {
			t.Errorf("quota %v", quota)
		}
		if quota > 0 {
			g.cpuSeconds(level)
		}
		if left, _ := g.ramLeft(gb); left < 0 || left > gb {
			t.Errorf("%d bytes left of %d", left, gb)
		}
	})
}
