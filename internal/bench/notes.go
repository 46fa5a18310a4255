package bench

import (
	"fmt"
	"slices"
)

// tell says what is being done, and how much of the plan is behind it.
func (b *bench) tell(what string) {
	if b.o.Progress != nil {
		if b.doing != "" {
			what = b.doing + ": " + what
		}
		b.o.Progress(min(1, b.done.Seconds()/b.total.Seconds()), what)
	}
}

func (b *bench) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(b.result.Notes, text) {
		b.result.Notes = append(b.result.Notes, text)
	}
}

func (b *bench) warn(format string, args ...any) {
	b.result.Warnings = append(b.result.Warnings, fmt.Sprintf(format, args...))
}

// conclude says how to read the figures, and which not to trust.
func (b *bench) conclude() {
	for _, w := range b.result.Workloads {
		if w.GeneratorCPU > mostGenerator {
			b.warn("%s: the load generator took %.0f %% of the machine's CPU; it probably limits the throughput, so sizes differ less here than they would for clients on other machines", w.Name, 100*w.GeneratorCPU)
		}
		if w.OthersCPU > mostOthers {
			b.warn("%s: other programs took %.0f %% of the machine's CPU while the benchmark rested; where they compute, many backends get a larger share of it than few, so large pools look better than they are", w.Name, 100*w.OthersCPU)
		}
		if s := scatter(w.Contenders); s > mostScatter {
			b.warn("%s: a fixed size scattered by %.0f %% of its median from round to round (median of the sizes): the machine was noisy, so smaller differences mean nothing", w.Name, 100*s)
		}
	}
	for _, c := range b.contenders {
		if c.note != "" {
			b.note("%s is %s here", c.name, c.note)
		}
		if c.kind == limited {
			b.note("failsafe is failsafe-go's adaptive limiter in front of a plain pool of %d: AcquirePermit (callers wait), limits 1 to %d, initially %d, all else its default", c.size, c.size, min(limiterStart, c.size))
		}
	}
	if !b.result.Server.Throwaway {
		b.note("the cores and CPU shares are those of this machine, which need not be the server's")
	} else {
		b.note("the server runs on the generator's own machine, with fsync %s and autovacuum off", b.result.Server.Fsync)
	}
	if b.o.Quick {
		b.note("quick: %d vectors, short slices, few workloads and contenders; the figures are coarse, leave out --quick for better ones", b.o.Vectors)
	}
}
