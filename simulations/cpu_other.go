//go:build !unix

package simulations

import "time"

// ownCPU is the CPU time of this process so far; this system is not asked.
func ownCPU() (time.Duration, bool) { return 0, false }
