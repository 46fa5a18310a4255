package advice

import (
	"strings"
	"time"

	"github.com/pgautotune/autotune/internal/pgstat"
)

// counts are backends of one subject at one instant, or their mean over time.
type counts struct {
	// Active backends, by what they wait for.
	Computing  float64 // on CPU, or ready to run
	IO         float64 // data from or to disk
	Commit     float64 // the log on its way to disk or to a standby; several share one flush
	Lock       float64 // rows, tables, advisory locks
	Row        float64 // of these, rows
	Contention float64 // lightweight locks and buffer pins
	Client     float64 // the client to take or send data
	Other      float64

	IdleInTransaction float64
	Turning           float64 // idle, but for no longer than a caller needs to go on
	Idle              float64
	Unknown           float64 // hidden, starting, or track_activities is off
	Workers           float64 // parallel workers that compute; not connections
}

func (c *counts) active() float64 {
	return c.Computing + c.IO + c.Commit + c.Lock + c.Contention + c.Client + c.Other
}

// inUse is how many connections serve a caller.
func (c *counts) inUse() float64 { return c.active() + c.IdleInTransaction }

// open is how many connections there are.
func (c *counts) open() float64 { return c.inUse() + c.Turning + c.Idle + c.Unknown }

func (c *counts) add(g *pgstat.Group) {
	n := float64(g.Backends)
	switch {
	case g.Kind == pgstat.WorkerKind || g.Kind == pgstat.ServerKind:
		if g.State == pgstat.Active && g.Wait == "" {
			c.Workers += n
		}
	case g.State == pgstat.IdleInTransaction:
		c.IdleInTransaction += n
	case g.State == pgstat.Turning:
		c.Turning += n
	case g.State == pgstat.Idle:
		c.Idle += n
	case g.State != pgstat.Active:
		c.Unknown += n
	default:
		*c.waiting(g.Wait) += n
		if g.Wait == "Lock:transactionid" || g.Wait == "Lock:tuple" {
			c.Row += n
		}
	}
}

// waiting is the field for a wait event, "Type:Event".
func (c *counts) waiting(wait string) *float64 {
	kind, event, _ := strings.Cut(wait, ":")
	switch {
	case wait == "":
		return &c.Computing
	case event == "SyncRep", event == "XactSync", strings.HasPrefix(strings.ToUpper(event), "WALSYNC"), strings.EqualFold(event, "WALWrite"), event == "WALWriteLock":
		// IO and the lock of that name (before PostgreSQL 13 WALWriteLock): who holds it
		// writes for all who wait. XactSync is Aurora's, which waits for its storage.
		return &c.Commit
	case kind == "IO", kind == "IPC" && strings.EqualFold(event, "BufferIO"): // by another backend
		return &c.IO
	case kind == "Lock":
		return &c.Lock
	case kind == "LWLock", kind == "BufferPin", kind == "Buffer", event == "SpinDelay", strings.HasSuffix(strings.ToLower(event), "groupupdate"):
		// Of the last, ProcArrayGroupUpdate and XactGroupUpdate, the leader has the lock.
		return &c.Contention
	case kind == "Client":
		return &c.Client
	}
	return &c.Other
}

func (c *counts) fields() []*float64 {
	return []*float64{&c.Computing, &c.IO, &c.Commit, &c.Lock, &c.Row, &c.Contention, &c.Client, &c.Other,
		&c.IdleInTransaction, &c.Turning, &c.Idle, &c.Unknown, &c.Workers}
}

// tally is what one subject did over time.
type tally struct {
	each []counts // a sample each
	mean counts

	local   float64            // share of its clients on the server's machine, 0–1
	hidden  float64            // mean number of hidden backends
	waits   map[string]float64 // mean number of active backends by wait event
	oldest  map[pgstat.State]time.Duration
	peak    float64 // most connections open at once
	between float64 // most of them in use at once between two looks, at least
	gap     time.Duration
	gapSeen float64
}

// tallyOf adds up the groups that pick picks.
func tallyOf(samples []Sample, pick func(*pgstat.Group) bool) *tally {
	t := &tally{waits: map[string]float64{}, oldest: map[pgstat.State]time.Duration{}}
	if len(samples) == 0 {
		return t
	}
	var clients, here, hidden float64
	for i := range samples {
		var c counts
		for j := range samples[i].Groups {
			g := &samples[i].Groups[j]
			if !pick(g) {
				continue
			}
			c.add(g)
			n := float64(g.Backends)
			if g.Kind == pgstat.ClientKind {
				clients += n
				if g.Here {
					here += n
				}
				if g.Between <= n { // a damaged recording may say more
					t.between = max(t.between, g.Between)
				}
				t.oldest[g.State] = max(t.oldest[g.State], g.Oldest)
				if g.State == pgstat.Active && g.Wait != "" {
					t.waits[g.Wait] += n
				}
				if g.State == pgstat.IdleInTransaction && g.Ages > 0 { // a trace does not know
					t.gap += g.Ages
					t.gapSeen += n
				}
			}
			if g.Kind == pgstat.HiddenKind {
				hidden += n
			}
		}
		t.peak = max(t.peak, c.open())
		t.each = append(t.each, c)
	}
	t.mean = meanOf(t.each)
	n := float64(len(samples))
	t.hidden = hidden / n
	for w := range t.waits {
		t.waits[w] /= n
	}
	if clients > 0 {
		t.local = here / clients
	}
	return t
}

func meanOf(each []counts) (mean counts) {
	for i := range each {
		for j, f := range each[i].fields() {
			*mean.fields()[j] += *f / float64(len(each))
		}
	}
	return mean
}

// isClient picks connections and what computes for them.
func isClient(g *pgstat.Group) bool { return g.Kind != pgstat.ServerKind }

// share is the share of the samples that satisfy is.
func (t *tally) share(is func(i int, c *counts) bool) float64 {
	if len(t.each) == 0 {
		return 0
	}
	n := 0
	for i := range t.each {
		if is(i, &t.each[i]) {
			n++
		}
	}
	return float64(n) / float64(len(t.each))
}
