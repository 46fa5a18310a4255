package host

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// allowedCores returns the cores a process may run on (taskset, cpuset), by the
// names machineCPU uses; nil when unknown, which means all.
func allowedCores(pid int) map[string]bool {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(pid, &set); err != nil || set.Count() == 0 {
		return nil
	}
	names := make(map[string]bool, set.Count())
	for i := 0; len(names) < set.Count(); i++ {
		if set.IsSet(i) {
			names["cpu"+strconv.Itoa(i)] = true
		}
	}
	return names
}
