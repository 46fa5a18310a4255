//go:build unix

package simulations

import (
	"syscall"
	"time"
)

// ownCPU is the CPU time of this process so far; false if the system does not say.
func ownCPU() (time.Duration, bool) {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return 0, false
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano()), true
}
