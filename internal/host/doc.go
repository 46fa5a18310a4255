// Package host reads the machine this process runs on: CPU and RAM, as far as
// this process may use them. It decides nothing.
//
// What it reads describes the *service's* machine. It describes the database
// too only if both share one, which [SharesMachine] answers; a controller that
// sizes for the cores of the wrong machine is worse than one that knows none.
//
// gopsutil.go is the only file that knows gopsutil: to move from v3 (which ended
// with 3.24.5) to v4 is to change that file. cgroup.go knows the limits that
// gopsutil does not, and cpu.go is the pure arithmetic of CPU time.
package host
