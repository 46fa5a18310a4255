package advice

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pgautotune/autotune/internal/pgstat"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Schema names the form of Advice as JSON.
const Schema = "autotune.recommend/v1"

// Advice is the answer.
type Advice struct {
	Schema   string   `json:"schema"`
	Question Question `json:"question"`
	Source   string   `json:"source"`
	Server   Server   `json:"server"`
	Seen     Seen     `json:"seen"`

	Size      Size   `json:"size"`
	Batch     *Batch `json:"batch,omitempty"`
	Guideline int    `json:"guideline"` // what the vector-count rule says for max
	Today     Today  `json:"today"`
	// Databases are those in which somebody was found whom the question is about.
	Databases []string `json:"databases"`

	Demand       Demand        `json:"demand"`
	Supply       Supply        `json:"supply"`
	Applications []Application `json:"applications"`
	Vectors      Vectors       `json:"vectors"`
	Memory       Memory        `json:"memory"`

	Findings   []Finding `json:"findings"`
	Unseen     []string  `json:"unseen"`
	Experiment string    `json:"experiment,omitempty"` // what would settle what observation cannot
}

// Server is who was looked at.
type Server struct {
	PostgreSQL     string  `json:"postgresql"`
	Pooler         bool    `json:"pooler"`
	MaxConnections int     `json:"max_connections"`
	Reserved       int     `json:"reserved"`
	Machine        Machine `json:"machine"`
}

// Seen is how much was observed.
type Seen struct {
	Seconds float64  `json:"seconds"`
	Samples int      `json:"samples"`
	PerS    *float64 `json:"transactions_per_second"` // of the subject's databases; nil when unknown
	Service *float64 `json:"service_ms"`              // mean, by Little's law; nil when unknown, or too short to be seen
	// Shared is whether others than the subject are in these two figures: the
	// server counts by database.
	Shared   bool     `json:"shared,omitempty"`
	Activity Activity `json:"activity"`
	Waits    []Wait   `json:"waits"` // the most frequent, at most 5
	// Cost is what the looking cost the server, as a share of one core.
	Cost float64 `json:"cost"`
}

// Activity is the mean number of connections by what they did.
type Activity struct {
	Computing         float64 `json:"computing"`
	IO                float64 `json:"io"`
	Commit            float64 `json:"commit"`
	Lock              float64 `json:"lock"`
	Contention        float64 `json:"contention"`
	Other             float64 `json:"other"`
	IdleInTransaction float64 `json:"idle_in_transaction"`
	Turning           float64 `json:"turning"`
	Idle              float64 `json:"idle"`
	Unknown           float64 `json:"unknown"`
}

// Wait is a wait event and the mean number of connections in it.
type Wait struct {
	Event string  `json:"event"`
	Mean  float64 `json:"mean"`
}

// Today is the present size, as far as the server shows it.
type Today struct {
	Open int `json:"open"` // connections at the last look
	Peak int `json:"peak"` // most at once
}

// Application is one line of the table of who uses the server.
type Application struct {
	Application string  `json:"application"`
	Role        string  `json:"role"`
	Database    string  `json:"database"`
	Open        float64 `json:"open"`
	InUse       float64 `json:"in_use"`
	Computing   float64 `json:"computing"`
	Share       float64 `json:"share"` // of all computing, 0–1
	Max         int     `json:"max"`   // of its own; 0 is unknown
}

// Advise answers the question from the recording.
func Advise(q Question, r *Recording) *Advice {
	q.Instances = max(1, q.Instances)
	a := &Advice{Schema: Schema, Question: q, Source: r.Source, Guideline: sizing.Guideline(r.Facts.Vectors.Rows, 0)}
	a.Server = Server{r.Facts.Server.Version, r.Facts.Server.Pooler, r.Facts.Settings.MaxConnections, r.Facts.Settings.Reserved(), r.Machine}
	a.Unseen = append(append([]string{}, r.Facts.Missing...), r.Unseen...)

	all := tallyOf(r.Samples, isClient)
	subject := all
	if !q.Filter.Any() {
		subject = tallyOf(r.Samples, func(g *pgstat.Group) bool { return isClient(g) && q.Filter.picks(g) })
	}
	server := tallyOf(r.Samples, func(g *pgstat.Group) bool { return !isClient(g) })
	databases := databasesOf(r.Samples, q.Filter)
	shared := others(r.Samples, databases, q.Filter) > othersShare*subject.mean.inUse()
	a.Databases = append([]string{}, databases...)
	a.see(subject, r, databases, shared)

	cores, source := coresOf(q, r)
	everybody := tallyApplications(r.Samples)
	apps := slices.DeleteFunc(slices.Clone(everybody), func(x application) bool {
		return !q.Filter.Picks(x.name, x.role, x.database)
	})
	a.Demand = demandOf(subject)
	a.Demand.Averaged = r.Averaged.Seconds()
	a.Demand.Clipped = clipped(apps)
	shares := capacityOf(all, everybody, server, r.Samples, cores, source)
	if a.Supply = shares.whole(); !q.Filter.Any() {
		a.Supply = shares.of(apps)
	}
	a.Supply.Locked = lockedAt(subject)
	if !shared {
		a.Supply.Measured = measuredKnee(subject, r.Samples, databases)
	}

	walls := wallsOf(q, r, subject, all)
	a.Size = decide(a.Demand, a.Supply, subject, walls, a.Seen)
	if why := nobodyPicked(q.Filter, everybody, all.hidden); why != "" {
		a.Size.Why = []string{why}
	}
	a.Size.divide(q.Instances, a.Demand, walls)
	if q.Workers > 0 {
		a.Batch = batchOf(q.Workers, a, walls)
	}
	a.Applications = applications(r, everybody, all, shares, q)
	a.Vectors, a.Memory = vectorsOf(&r.Facts), memoryOf(&r.Facts, r.Machine, a.Size.Max)
	a.Experiment = experiment(a)
	a.Findings = findingsOf(a, subject, all, r)
	a.unseen(r, subject)
	return a
}

// coresOf is how many cores the server has, and who says so.
func coresOf(q Question, r *Recording) (int, string) {
	switch {
	case q.ServerCPUs > 0:
		return q.ServerCPUs, "told by --server-cpus"
	case r.Machine.Shared && r.Machine.Cores > 0:
		return r.Machine.Cores, "counted: the server runs on this machine"
	case r.Machine.Cores > 0:
		return r.Machine.Cores, "from the recording"
	}
	return 0, "unknown: PostgreSQL does not tell; --server-cpus would"
}

// see fills in what was observed of the subject, whose databases may be shared with
// others.
func (a *Advice) see(t *tally, r *Recording, databases []string, shared bool) {
	s := &a.Seen
	s.Samples = len(r.Samples)
	m := t.mean
	s.Activity = Activity{m.Computing, m.IO, m.Commit, m.Lock, m.Contention, m.Client + m.Other, m.IdleInTransaction, m.Turning, m.Idle, m.Unknown}
	for event, n := range t.waits {
		s.Waits = append(s.Waits, Wait{event, n})
	}
	slices.SortFunc(s.Waits, func(x, y Wait) int { return cmp.Or(cmp.Compare(y.Mean, x.Mean), cmp.Compare(x.Event, y.Event)) })
	s.Waits = s.Waits[:min(5, len(s.Waits))]
	if s.Samples == 0 {
		return
	}
	a.Today = Today{Open: int(math.Round(t.each[len(t.each)-1].open())), Peak: int(math.Round(t.peak))}
	s.Seconds = (r.Samples[s.Samples-1].At - r.Samples[0].At).Seconds()
	var spent []time.Duration
	for i := range r.Samples {
		spent = append(spent, r.Samples[i].Spent)
	}
	if s.Seconds <= 0 {
		return
	}
	// The lower quartile: longer ones waited for a core, which costs nobody.
	slices.Sort(spent)
	s.Cost = spent[len(spent)/4].Seconds() * float64(s.Samples) / s.Seconds
	// Our own looks are transactions, too.
	own := 0.0
	if slices.Contains(databases, r.Database) {
		own = float64(s.Samples)
	}
	if done := transactions(r.Samples, databases) - own; done > 0 {
		perS := done / s.Seconds
		s.PerS = &perS
		// By Little's law, over everybody in these databases: the counter does not
		// tell whose transactions they are.
		inDatabases := tallyOf(r.Samples, func(g *pgstat.Group) bool { return isClient(g) && slices.Contains(databases, g.Database) })
		s.Shared = shared
		if used := inDatabases.mean.inUse(); used*float64(s.Samples) >= leastUsed && inDatabases.hidden == 0 {
			ms := used / perS * 1000
			s.Service = &ms
		}
	}
}

// leastUsed is how many connections the looks together must have found in use for a
// mean service time: with fewer it is chance.
const leastUsed = 5

// othersShare of the connections in use may be those of others for the transactions of
// a database to count as the subject's: no more than its capacity is known to.
const othersShare = 0.03

// others is how many connections in use in these databases the filter does not pick,
// on average: the server counts transactions by database alone.
func others(samples []Sample, databases []string, f Filter) float64 {
	return tallyOf(samples, func(g *pgstat.Group) bool {
		return isClient(g) && !f.picks(g) && slices.Contains(databases, g.Database)
	}).mean.inUse()
}

// databasesOf are those in which the filter found somebody.
func databasesOf(samples []Sample, f Filter) (names []string) {
	for i := range samples {
		for j := range samples[i].Groups {
			g := &samples[i].Groups[j]
			if isClient(g) && f.picks(g) && !slices.Contains(names, g.Database) {
				names = append(names, g.Database)
			}
		}
	}
	slices.Sort(names)
	return names
}

// application is one that uses the server.
type application struct {
	name, role, database string
	tally                *tally
}

// tallyApplications adds up each application.
func tallyApplications(samples []Sample) (list []application) {
	for i := range samples {
		for j := range samples[i].Groups {
			g := &samples[i].Groups[j]
			is := func(x application) bool {
				return x.name == g.Application && x.role == g.Role && x.database == g.Database
			}
			if isClient(g) && !slices.ContainsFunc(list, is) {
				list = append(list, application{name: g.Application, role: g.Role, database: g.Database})
			}
		}
	}
	for i := range list {
		x := &list[i]
		x.tally = tallyOf(samples, func(g *pgstat.Group) bool {
			return isClient(g) && x.name == g.Application && x.role == g.Role && x.database == g.Database
		})
	}
	return list
}

// clipped is the share of the time in which a caller found every open connection
// of its own application in use: others' idle connections are of no use to it. Beside
// others, one that never has a second connection is no pool (a dump, a shell): nobody
// queues for it.
func clipped(apps []application) float64 {
	used, sum := 0.0, 0.0
	pools := slices.ContainsFunc(apps, func(x application) bool { return x.tally.peak > 1 })
	for _, x := range apps {
		if pools && x.tally.peak <= 1 {
			continue
		}
		n := x.tally.mean.inUse()
		used += n
		sum += n * demandOf(x.tally).Clipped
	}
	if used == 0 {
		return 0
	}
	return sum / used
}

// applications is who uses the server, the busiest first, with a max for each.
func applications(r *Recording, apps []application, all *tally, shares capacity, q Question) []Application {
	list := []Application{}
	for _, app := range apps {
		t := app.tally
		x := Application{Application: app.name, Role: app.role, Database: app.database,
			Open: t.mean.open(), InUse: t.mean.inUse(), Computing: t.mean.Computing + t.mean.Workers}
		x.Share = x.Computing / math.Max(1e-9, all.mean.Computing+all.mean.Workers)
		d, s := demandOf(t), shares.of([]application{app})
		s.Locked = lockedAt(t)
		if size := decide(d, s, t, wallsOf(q, r, t, all), Seen{Seconds: 60, Samples: len(r.Samples)}); size.Known {
			x.Max = size.Max
		}
		list = append(list, x)
	}
	slices.SortStableFunc(list, func(x, y Application) int {
		return cmp.Or(cmp.Compare(y.InUse, x.InUse), cmp.Compare(y.Open, x.Open), cmp.Compare(x.Application, y.Application))
	})
	return list[:min(20, len(list))]
}

func plural(n float64, thing string) string {
	if math.Round(n) == 1 {
		return fmt.Sprintf("%.0f %s", n, thing)
	}
	return fmt.Sprintf("%.0f %ss", n, thing)
}
