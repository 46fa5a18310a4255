package advice

import (
	"fmt"
	"strings"
)

// unseen adds what this observation could not show, in plain words.
func (a *Advice) unseen(r *Recording, t *tally) {
	say := func(format string, args ...any) { a.Unseen = append(a.Unseen, fmt.Sprintf(format, args...)) }
	if a.Supply.Cores == 0 {
		say("How many cores the server has. PostgreSQL does not tell, and it does not run on this machine as far as can be proved. Tell with --server-cpus N.")
	}
	if a.Size.Clipped && a.Size.Rule != ByMeasured {
		say("How long callers queue inside the service: a server sees connections, not who waits for one.")
	}
	if a.Size.Saturated && a.Size.Rule == ByKnee {
		say("How throughput changes with the number of connections: the cores were seen busy at one concurrency only, so the knee is computed, not measured.")
	}
	if a.Demand.Averaged > 0 && a.Seen.Samples > 0 {
		say("Bursts shorter than %s, which the samples are means of. A live look (autotune recommend --for 5m) sees them.", brief(seconds(a.Demand.Averaged)))
	}
	if t.mean.IO > notable*t.mean.inUse() && a.Supply.CPU < 0 {
		say("Whether the disk serves more requests in parallel, and whether IO is really the disk or the kernel's cache.")
	}
	if a.Seen.PerS == nil && a.Seen.Samples > 1 {
		say("Transactions per second, and with them the service time.")
	}
	if a.Seen.Seconds < 20 && a.Seen.Samples > 0 {
		say("What happens less often than every %.0f s. Rare bursts need a longer look: --for 5m.", a.Seen.Seconds)
	}
	if !r.Facts.Vectors.Installed && r.Facts.Settings.MaxConnections > 0 {
		say("Vectors: pgvector is not installed in this database.")
	}
}

// experiment is what would settle the range; "" where nothing is open.
func experiment(a *Advice) string {
	z := a.Size
	if !z.Known {
		return ""
	}
	const how = " for 30 s each while `autotune watch` runs; it sees the throughput of each and names the knee."
	set := "et the pool to "
	if a.Question.Instances > 1 {
		set = "et the pool of each instance to "
	}
	switch {
	case z.Rule == ByMeasured:
		return ""
	case z.Rule == ByDemand && (a.Supply.Cores == 0 && z.Clipped || coresInDoubt(a.Supply)):
		return "Tell the cores with --server-cpus. Or s" + set + a.steps(z.Max/2, z.Max, z.Max*2, z.Max*4) + how
	case z.Rule == ByKnee || z.Rule == ByLocks:
		return "S" + set + a.steps(z.Lower/2, z.Lower, z.Max, z.Upper, z.Upper*3) + how
	}
	return ""
}

// steps lists numbers of connections to try, without repeats: of one instance, and
// together never more than the walls allow.
func (a *Advice) steps(numbers ...int) string {
	var list []string
	last := 0
	for _, n := range numbers {
		if a.Size.Ceiling > 0 {
			n = min(n, a.Size.Ceiling)
		}
		if n = max(1, n/a.Question.Instances); n > last {
			list = append(list, fmt.Sprint(n))
			last = n
		}
	}
	return strings.Join(list, ", ")
}

// quoted is an identifier as SQL takes it.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
