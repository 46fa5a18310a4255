package host

import (
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// cgroup is where the limits of this process's control group can be read, for
// v1, v2 and machines with both. The zero value is a process without limits.
//
// A limit of any ancestor binds too, so each list of folders goes from the
// process's own group up to the mount.
type cgroup struct {
	files   fs.FS
	cpu     levels
	cpuacct levels // v1 only: v2 has the times beside the quota
	memory  levels
}

type levels struct {
	folders []string
	v2      bool
}

// findCgroup reads proc/self/cgroup (which group) and proc/self/mountinfo (where
// groups are mounted) below files, which is the root folder of the machine.
// What is not there, or not as expected, is a limit that does not exist.
func findCgroup(files fs.FS) cgroup {
	own, err := fs.ReadFile(files, "proc/self/cgroup")
	if err != nil {
		return cgroup{}
	}
	return groupNamed(files, string(own), true)
}

// groupNamed finds the group that the text of a /proc/PID/cgroup names. Where it is
// out of the mount's sight, the mount itself is the group of a process of our own,
// and another's cannot be read.
func groupNamed(files fs.FS, text string, own bool) cgroup {
	mounts, err := fs.ReadFile(files, "proc/self/mountinfo")
	if err != nil {
		return cgroup{}
	}
	find := func(controller string) levels {
		return findLevels(files, controller, text, string(mounts), own)
	}
	return cgroup{files: files, cpu: find("cpu"), cpuacct: find("cpuacct"), memory: find("memory")}
}

func findLevels(files fs.FS, controller, named, mounts string, own bool) levels {
	// hierarchy:controllers:path, with 0::path for v2. A controller that v1
	// has is not in v2.
	var group string
	v2 := true
	for line := range strings.Lines(named) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		if slices.Contains(strings.Split(f[1], ","), controller) {
			group, v2 = f[2], false
			break
		}
		if f[0] == "0" && f[1] == "" {
			group = f[2]
		}
	}
	if group == "" {
		return levels{}
	}
	// … root mountpoint options [tags] - type source superoptions
	for line := range strings.Lines(mounts) {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		if v2 && r[0] != "cgroup2" || !v2 && (r[0] != "cgroup" || !slices.Contains(strings.Split(r[2], ","), controller)) {
			continue
		}
		root, mount := l[3], path.Clean(strings.Trim(l[4], "/"))
		// The mount shows the tree below root. Inside of a container the group
		// may be named as the machine sees it, out of the mount's sight: then
		// the mount itself is the container's group.
		folder, seen := mount, false
		if rel, ok := strings.CutPrefix(group, strings.TrimSuffix(root, "/")); ok && (rel == "" || rel[0] == '/') && !strings.Contains(rel, "/..") {
			folder, seen = path.Join(mount, rel), true
		}
		if info, err := fs.Stat(files, folder); err != nil || !info.IsDir() {
			folder, seen = mount, false
		}
		if !seen && !own {
			return levels{}
		}
		found := levels{v2: v2}
		for ; ; folder = path.Dir(folder) {
			found.folders = append(found.folders, folder)
			if folder == mount || folder == "." {
				return found
			}
		}
	}
	return levels{}
}

// quota returns how many cores' worth of time the group may use, and the folder
// whose quota that is; 0 when there is none. It may be a fraction.
func (g cgroup) quota() (cores float64, level int) {
	for i, folder := range g.cpu.folders {
		var limit, period float64
		if g.cpu.v2 {
			f := strings.Fields(g.text(folder, "cpu.max"))
			if len(f) != 2 {
				continue
			}
			limit, period = number(f[0]), number(f[1]) // "max" is NaN
		} else {
			limit = number(g.text(folder, "cpu.cfs_quota_us")) // -1 is none
			period = number(g.text(folder, "cpu.cfs_period_us"))
		}
		if here := limit / period; finite(here) && limit > 0 && period > 0 && (cores == 0 || here < cores) {
			cores, level = here, i
		}
	}
	return cores, level
}

// cpuSeconds returns the cumulative CPU time of the group at that level, NaN
// when unknown.
func (g cgroup) cpuSeconds(level int) float64 {
	if g.cpu.v2 {
		return number(g.field(g.cpu.folders[level], "cpu.stat", "usage_usec")) / 1e6
	}
	if level >= len(g.cpuacct.folders) {
		return math.NaN()
	}
	return number(g.text(g.cpuacct.folders[level], "cpuacct.usage")) / 1e9
}

// ramLimit returns the tightest memory limit below total, or total.
func (g cgroup) ramLimit(total int64) int64 {
	name := "memory.limit_in_bytes"
	if g.memory.v2 {
		name = "memory.max"
	}
	for _, folder := range g.memory.folders {
		if limit := number(g.text(folder, name)); finite(limit) && limit > 0 && limit < float64(total) {
			total = int64(limit)
		}
	}
	return total
}

// ramLeft returns how many bytes the group may still take before a limit below
// total stops it; known is false when no such limit exists. The page cache that
// nobody has used lately counts as free, as it does in Kubernetes' working set.
func (g cgroup) ramLeft(total int64) (left int64, known bool) {
	names := [...]string{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
	if g.memory.v2 {
		names = [...]string{"memory.max", "memory.current", "inactive_file"}
	}
	for _, folder := range g.memory.folders {
		limit, used := number(g.text(folder, names[0])), number(g.text(folder, names[1]))
		if !finite(limit) || !finite(used) || limit <= 0 || limit > float64(total) {
			continue // v1 writes "none" as a number above any machine
		}
		if cache := number(g.field(folder, "memory.stat", names[2])); finite(cache) {
			used = max(used-cache, 0)
		}
		here := int64(max(limit-used, 0))
		if !known || here < left {
			left, known = here, true
		}
	}
	return left, known
}

// text returns a file of a folder without the space around it, "" when it
// cannot be read.
func (g cgroup) text(folder, name string) string {
	b, err := fs.ReadFile(g.files, path.Join(folder, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// field returns the value of a "name value" line.
func (g cgroup) field(folder, file, name string) string {
	for line := range strings.Lines(g.text(folder, file)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			return f[1]
		}
	}
	return ""
}

// number is NaN for what is not a number.
func number(s string) float64 {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return math.NaN()
	}
	return x
}
