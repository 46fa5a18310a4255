package host

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// allowedCores returns the cores this process may run on (taskset, cpuset), by
// the names machineCPU uses; nil when unknown, which means all.
func allowedCores() map[string]bool {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &set); err != nil || set.Count() == 0 {
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
