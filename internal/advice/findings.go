package advice

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pgautotune/autotune/internal/pgstat"
)

// Finding is something worth mending, with evidence and remedy.
type Finding struct {
	Kind     string `json:"kind"` // of a closed set, for scripts
	Title    string `json:"title"`
	Evidence string `json:"evidence"`
	Remedy   string `json:"remedy"`
	// Worth orders findings: roughly the connections it concerns, above 1000
	// where an outage is near.
	Worth float64 `json:"worth"`
}

const (
	// notable is the share of the connections in use from which a wait is told of.
	notable = 0.1
	// tightShare of max_connections in use is close to an outage.
	tightShare = 0.8
	// mostIdle is how long a transaction may be idle before it also keeps VACUUM
	// from cleaning up.
	mostIdle = time.Minute
)

// findingsOf are all findings, the most worthwhile first.
func findingsOf(a *Advice, t, all *tally, r *Recording) []Finding {
	found := []Finding{}
	add := func(worth float64, kind, title, evidence, remedy string) {
		found = append(found, Finding{kind, title, evidence, remedy, math.Round(worth*10) / 10})
	}
	loadFindings(a, t, add)
	sizeFindings(a, t, all, add)
	settingFindings(a, t, r, add)
	vectorFindings(a, r, add)
	slices.SortStableFunc(found, func(x, y Finding) int {
		switch {
		case x.Worth > y.Worth:
			return -1
		case x.Worth < y.Worth:
			return 1
		}
		return 0
	})
	return found
}

type adder func(worth float64, kind, title, evidence, remedy string)

// loadFindings are about what connections do while in use.
func loadFindings(a *Advice, t *tally, add adder) {
	m, used := t.mean, t.mean.inUse()
	if m.IdleInTransaction >= notable*used && m.IdleInTransaction >= 0.2 {
		gap := ""
		if t.gapSeen > 0 {
			gap = fmt.Sprintf(", seen idle for %s on average and %s at most", brief(time.Duration(float64(t.gap)/t.gapSeen)), brief(t.oldest[pgstat.IdleInTransaction]))
		}
		add(m.IdleInTransaction, "idle_in_transaction", "connections held idle inside transactions",
			fmt.Sprintf("%.1f of %.1f connections in use are idle in a transaction%s.", m.IdleInTransaction, used, gap),
			fmt.Sprintf("Let callers do their own work before BEGIN or after COMMIT: about %.0f connections would do the same work.", math.Max(1, math.Ceil(used-m.IdleInTransaction))))
	}
	if old := t.oldest[pgstat.IdleInTransaction]; old > mostIdle {
		add(50, "forgotten_transaction", "a transaction was left open",
			fmt.Sprintf("One has been idle for %s. It holds its locks, and VACUUM cannot clean up behind it.", brief(old)),
			"Find it: SELECT pid, application_name, query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' ORDER BY state_change; and set idle_in_transaction_session_timeout.")
	}
	if m.Lock >= notable*used && m.Lock >= 0.2 {
		remedy := "Fewer connections lose nothing here. Update hot rows last in the transaction, spread them over several rows, or batch them."
		if m.Row < m.Lock/2 {
			remedy = "No size cures that. Find who blocks: SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0; and give those who alter tables a lock_timeout. Who waits for an advisory lock holds a connection meanwhile: pg_try_advisory_lock does not."
		}
		add(m.Lock, "locks", "connections wait for each other's locks",
			fmt.Sprintf("%.1f of %.1f connections in use wait for a lock, most for %s.", m.Lock, used, topWait(t, func(c *counts) *float64 { return &c.Lock })), remedy)
	}
	if m.Contention >= notable*used && m.Contention >= 0.2 {
		add(m.Contention, "contention", "backends contend for shared memory",
			fmt.Sprintf("%.1f of %.1f connections in use wait for lightweight locks, most for %s.", m.Contention, used, topWait(t, func(c *counts) *float64 { return &c.Contention })),
			"Fewer connections at once ease it. Beyond that: fewer partitions or indexes per query (lock_manager), larger shared_buffers (buffer_mapping).")
	}
	if m.IO >= notable*used && m.IO >= 0.2 {
		evidence := fmt.Sprintf("%.1f of %.1f connections in use wait for IO, most for %s.", m.IO, used, topWait(t, func(c *counts) *float64 { return &c.IO }))
		if a.Supply.CPU >= busyMachine {
			evidence += " The machine's CPU is busy meanwhile, so the pages come from the kernel's cache."
		} else {
			evidence += " More connections help for as long as the disk serves requests in parallel; from here that limit is unknown."
		}
		add(m.IO, "io", "queries wait for the disk", evidence, "More memory (shared_buffers, or RAM for the kernel's cache), or an index that reads fewer pages.")
	}
	if a.Supply.Foreign >= 0.5 {
		add(15, "foreign", "other processes use the server's cores",
			fmt.Sprintf("The machine's CPU is %.0f %% busy, and backends account for %.1f of its %d cores; callers on the same machine count as others.", 100*a.Supply.CPU, a.Supply.CPU*float64(a.Supply.Cores)-a.Supply.Foreign, a.Supply.Cores),
			"Give PostgreSQL a machine of its own. Until then the ratio, and with it the range, is uncertain: look again when it is quiet.")
	}
	if a.Size.Saturated && a.Supply.Foreign == 0 {
		over := math.Max(0, a.Demand.P95-float64(a.Size.Max))
		evidence := fmt.Sprintf("All %d cores were busy %.0f %% of the time, %.1f of them with the server's work and its callers', with %.1f backends that compute or want to", a.Supply.Cores, 100*a.Supply.Saturated, a.Supply.Busy, a.Supply.Computing)
		if m.IO >= notable {
			evidence += fmt.Sprintf(" and %.1f that read", m.IO)
		}
		evidence += "."
		add(10+over, "saturated", "the server is saturated; no size cures that",
			evidence, "The right size keeps response times fair, but only faster queries (indexes, a smaller hnsw.ef_search), fewer of them, or more cores add throughput.")
	}
}

// sizeFindings are about how many connections there are.
func sizeFindings(a *Advice, t, all *tally, add adder) {
	spare := math.Inf(1)
	for i := range t.each {
		spare = math.Min(spare, t.each[i].Idle)
	}
	if keep := float64(max(a.Size.Max, a.Size.Min)); len(t.each) > 0 && spare >= 3 && t.peak > keep {
		without := "a smaller max, or closing what is idle, leaves them out"
		if a.Size.Known {
			without = fmt.Sprintf("a max of %d leaves them out", a.Size.Max)
		}
		title, evidence := "more connections than were in use at once", fmt.Sprintf("At least %.0f of %.0f connections were idle at every look.", spare, t.peak)
		if idle := t.oldest[pgstat.Idle]; idle > 0 && idle.Seconds() >= a.Seen.Seconds { // else each may have had its turn
			title = "idle connections that nobody used"
			evidence = fmt.Sprintf("At least %.0f of %.0f connections were idle at every look, one for %s.", spare, t.peak, brief(idle))
		}
		add(spare/2, "unused", title, evidence,
			"Each takes 2–14 MB and a place of max_connections: "+without+".")
	}
	usable := a.Server.MaxConnections - a.Server.Reserved
	if usable > 0 && all.peak >= tightShare*float64(usable) {
		add(1000, "headroom", "max_connections is nearly used up",
			fmt.Sprintf("%.0f of the %d connections that ordinary roles can have are open.", all.peak, usable),
			"Shrink the pools with idle connections first (see the applications); raise max_connections only with the memory for it.")
	} else if others := all.peak - t.peak; usable > 0 && a.Size.CeilingBy == "server" && a.Size.Bound == "server" && others > 0 {
		add(500, "headroom", "others hold the connections that this service needs",
			fmt.Sprintf("%.0f of %d are held by others.", others, usable), "Shrink their pools, or raise max_connections.")
	}
	if a.Size.Known && a.Guideline > 2*a.Size.Max && a.Vectors.Rows >= 1 {
		add(2, "guideline", "the vector guideline asks for more than the server can use",
			fmt.Sprintf("By the number of vectors alone it would be %d; what was seen asks for %s.", a.Guideline, span(a.Size.Lower, a.Size.Upper)),
			"Take the measured size. The guideline knows neither the cores nor the load.")
	}
}

// settingFindings are about settings and privileges.
func settingFindings(a *Advice, t *tally, r *Recording, add adder) {
	s := r.Facts.Settings
	if s.MaxConnections == 0 {
		return // the source has no settings
	}
	if r.Facts.Server.Pooler {
		add(20, "pooler", "a pooler stands between here and the server",
			"The backend's pid is not that of the handshake. What is seen are the pooler's connections, not its clients.",
			"This max is for default_pool_size (PgBouncer). Clients may have many more connections to the pooler; watch cl_waiting in SHOW POOLS.")
	}
	if r.Facts.Server.InRecovery {
		add(2, "standby", "this is a standby",
			"It is read only.", "Roles, privileges, statistics and indexes are changed on the primary, and come from there.")
	}
	if !r.Facts.Server.SeesAll {
		worth := 1.0
		if t.hidden > 0 {
			worth = 100
		}
		add(worth, "privilege", "a privilege is missing",
			"What the backends of other roles do is hidden from this one.",
			fmt.Sprintf("GRANT pg_read_all_stats TO %s;", quoted(r.Facts.Server.Role)))
	}
	if free := a.Memory.Free; free > 0 && a.Memory.Total > free {
		add(300, "memory", "the recommended connections may take more memory than is free",
			fmt.Sprintf("%d × %s = %s at worst, of %s free.", a.Size.Max, Bytes(a.Memory.Each), Bytes(a.Memory.Total), Bytes(free)), "Lower work_mem or hnsw.scan_mem_multiplier.")
	}
	if s.StatementTimeout == 0 {
		add(3, "statement_timeout", "no statement_timeout",
			"A statement that hangs holds its connection for ever; a few of them empty the pool."+forRole(r),
			"Set it for the service: ALTER ROLE … SET statement_timeout = '30s' (300s for vector work).")
	}
	if s.IdleInTransactionTimeout == 0 && t.mean.IdleInTransaction > 0 {
		add(2.5, "idle_timeout", "no idle_in_transaction_session_timeout",
			"A caller that dies inside a transaction keeps its locks until TCP notices."+forRole(r),
			"ALTER ROLE … SET idle_in_transaction_session_timeout = '60s'.")
	}
	if s.TCPKeepalivesIdle == 0 && !r.Facts.Server.UnixSocket && !r.Facts.Server.Pooler {
		add(1, "keepalives", "TCP keepalives are those of the operating system",
			"tcp_keepalives_idle is 0: a client that vanishes is noticed after two hours, usually.",
			"ALTER SYSTEM SET tcp_keepalives_idle = 60; and interval 30, count 3. Where that is refused, in the provider's settings.")
	}
}

// forRole says whose settings were seen: they may be set for each role.
func forRole(r *Recording) string {
	if role := r.Facts.Server.Role; role != "" {
		return " This is so for " + quoted(role) + "; others may have a setting of their own."
	}
	return ""
}

func vectorFindings(a *Advice, r *Recording, add adder) {
	v := r.Facts.Vectors
	if !v.Installed {
		return
	}
	if v.NeverAnalyzed > 0 {
		add(4, "analyze", "vector tables were never analyzed",
			fmt.Sprintf("%s: the planner and this report do not know how many rows there are.", plural(float64(v.NeverAnalyzed), "table")), "ANALYZE;")
	}
	ram := a.Memory.ServerRAM
	switch {
	case ram > 0 && v.IndexBytes > ram:
		add(200, "index_memory", "the vector indexes are larger than the machine's memory",
			fmt.Sprintf("%s against %s of RAM: a search reads from disk at random.", Bytes(v.IndexBytes), Bytes(ram)),
			"An index of halfvec takes half of one of vector, and one of binary_quantize a 32nd for the vectors in it; else more RAM.")
	case r.Facts.Settings.SharedBuffers > 0 && v.IndexBytes > r.Facts.Settings.SharedBuffers:
		add(8, "index_buffers", "the vector indexes are larger than shared_buffers",
			fmt.Sprintf("%s against %s: pages come from the kernel's cache at best, and throughput may drop where the working set spills.", Bytes(v.IndexBytes), Bytes(r.Facts.Settings.SharedBuffers)),
			"Raise shared_buffers (a quarter of RAM is usual), or index as halfvec what is not yet.")
	}
	for _, i := range v.Indexes {
		if !i.Valid && !i.Building {
			add(5, "invalid_index", "an index is not valid",
				fmt.Sprintf("%s on %s.%s is never used, as a CREATE INDEX CONCURRENTLY that failed leaves one.", i.Index, i.Schema, i.Table), "REINDEX INDEX CONCURRENTLY, or drop it; unless it is being built: SELECT * FROM pg_stat_progress_create_index;")
		}
	}
}

// topWait is the most frequent wait event of those that count in a field.
func topWait(t *tally, field func(*counts) *float64) string {
	var c counts
	best, most := "an event unknown", 0.0
	for event, n := range t.waits {
		if c.waiting(event) == field(&c) && (n > most || n == most && event < best) {
			best, most = event, n
		}
	}
	return best
}

// span is a range in words.
func span(low, high int) string {
	if low == high {
		return fmt.Sprint(low)
	}
	return fmt.Sprintf("%d–%d", low, high)
}

// brief is a duration with two digits that matter.
func brief(d time.Duration) string {
	switch {
	case d >= 2*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.1f ms", float64(d)/1e6)
}

// Bytes is a number of bytes in the units of PostgreSQL.
func Bytes(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	x, i := float64(n), 0
	for x >= 1024 && i < len(units)-1 {
		x /= 1024
		i++
	}
	if i == 0 || x >= 10 {
		return fmt.Sprintf("%.0f %s", x, units[i])
	}
	return fmt.Sprintf("%.1f %s", x, units[i])
}
