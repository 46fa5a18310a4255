package host

import (
	"context"
	"fmt"
	"math"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/mem"
	"github.com/shirou/gopsutil/v3/process"
)

// machineCPU returns the cumulative CPU time of each core, by its name (cpu0 and
// so on).
func machineCPU(ctx context.Context) (map[string]cpuTime, error) {
	cores, err := cpu.TimesWithContext(ctx, true)
	if err != nil {
		return nil, fmt.Errorf("host: reading CPU times: %w", err)
	}
	times := make(map[string]cpuTime, len(cores))
	for _, c := range cores {
		// Guest time is in User and Nice already. Stolen time counts as busy:
		// whoever has it, this machine does not.
		busy := c.User + c.Nice + c.System + c.Irq + c.Softirq + c.Steal
		times[c.CPU] = cpuTime{busy: busy, total: busy + c.Idle + c.Iowait}
	}
	return times, nil
}

// machineRAM returns the RAM of the machine and what is available of it without
// swapping, in bytes.
func machineRAM(ctx context.Context) (total, available int64, err error) {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("host: reading RAM: %w", err)
	}
	return signed(m.Total), signed(min(m.Available, m.Total)), nil
}

// processName returns the name of the program that runs as pid, in the pid
// numbering of this process.
func processName(ctx context.Context, pid int) (string, error) {
	if pid <= 0 || pid > math.MaxInt32 {
		return "", fmt.Errorf("host: %d is not a process id", pid)
	}
	p, err := process.NewProcessWithContext(ctx, int32(pid))
	if err != nil {
		return "", fmt.Errorf("host: process %d: %w", pid, err)
	}
	name, err := p.NameWithContext(ctx)
	if err != nil {
		return "", fmt.Errorf("host: name of process %d: %w", pid, err)
	}
	return name, nil
}

func signed(bytes uint64) int64 { return int64(min(bytes, math.MaxInt64)) }
