package trace

import "math"

// Event is one request. Unknown numbers are NaN, unknown texts "".
type Event struct {
	T        float64 // when it asked for a connection, in seconds from the start
	Service  float64 // how long it held the connection, in ms
	Wait     float64 // asking → getting, in ms
	InUse    float64 // connections in use when it got its own, itself included
	Cost     float64 // what it asked for, in units of the source: tokens, passages
	Deadline float64 // how long it would have waited, in ms
	Weight   float64 // how many requests it stands for

	Class   string // what kind of request
	Status  string // ok, or how it ended
	Session string // whose it was
	Pool    string // which pool it went through
}

// Interval is what happened over a stretch of time. Unknown numbers are NaN.
type Interval struct {
	T   float64 // its begin, in seconds from the start
	Dur float64 // its length, in s; unknown: until the next

	Rate        float64 // arrivals per second; with Arrivals and Dur either gives the other
	Arrivals    float64 // requests that asked for a connection
	IaCV        float64 // coefficient of variation of the times between arrivals
	ServiceMean float64 // in ms
	ServiceCV   float64 // coefficient of variation
	WaitMean    float64 // asking → getting, in ms

	// Connections, as a mean over the interval or at its end.
	Active            float64 // a query is running
	Idle              float64 // open and unused
	IdleInTransaction float64 // a transaction is open and the caller works elsewhere
	Hidden            float64 // the recording role may not see what they do
	Others            float64 // of other clients of the server
	Waiting           float64 // callers queued for a connection
	Limit             float64 // most connections in use at once

	CPU float64 // busy share of the database's cores, 0–1
}

// Capacity is how fast the database was from a time on. Unknown numbers are NaN.
type Capacity struct {
	T           float64 // from when on, in seconds from the start
	Factor      float64 // speed, 1 is that of the scenario
	Servers     float64 // cores
	Sigma       float64 // contention of the Universal Scalability Law
	Kappa       float64 // coherency of the Universal Scalability Law
	CliffN      float64 // connections at which the working set spills out of the cache
	CliffFactor float64 // service times beyond the cliff, times this
	ConnectMs   float64 // a new connection, in ms
}

// column is a name and where its values go: a number or a text.
type column struct {
	name   string
	number *float64
	text   *string
}

func (e *Event) columns() []column {
	return []column{
		{"t_s", &e.T, nil}, {"service_ms", &e.Service, nil}, {"wait_ms", &e.Wait, nil}, {"inuse", &e.InUse, nil},
		{"class", nil, &e.Class}, {"cost", &e.Cost, nil}, {"deadline_ms", &e.Deadline, nil}, {"status", nil, &e.Status},
		{"session", nil, &e.Session}, {"pool", nil, &e.Pool}, {"weight", &e.Weight, nil},
	}
}

func (i *Interval) columns() []column {
	return []column{
		{"t_s", &i.T, nil}, {"dur_s", &i.Dur, nil}, {"rate_rps", &i.Rate, nil}, {"arrivals", &i.Arrivals, nil},
		{"ia_cv", &i.IaCV, nil}, {"service_ms_mean", &i.ServiceMean, nil}, {"service_ms_cv", &i.ServiceCV, nil},
		{"wait_ms_mean", &i.WaitMean, nil}, {"active", &i.Active, nil}, {"idle", &i.Idle, nil},
		{"idle_in_transaction", &i.IdleInTransaction, nil}, {"hidden", &i.Hidden, nil}, {"others", &i.Others, nil},
		{"waiting", &i.Waiting, nil}, {"limit", &i.Limit, nil}, {"cpu_util", &i.CPU, nil},
	}
}

func (c *Capacity) columns() []column {
	return []column{
		{"t_s", &c.T, nil}, {"capacity_factor", &c.Factor, nil}, {"servers", &c.Servers, nil}, {"sigma", &c.Sigma, nil},
		{"kappa", &c.Kappa, nil}, {"cliff_n", &c.CliffN, nil}, {"cliff_factor", &c.CliffFactor, nil}, {"connect_ms", &c.ConnectMs, nil},
	}
}

// Columns lists the columns of a kind, in their usual order.
func Columns(k Kind) (names []string) {
	for _, c := range new(rows).columns(k) {
		names = append(names, c.name)
	}
	return names
}

// rows has room for one row of any kind.
type rows struct {
	event    Event
	interval Interval
	capacity Capacity
}

func (r *rows) columns(k Kind) []column {
	switch k {
	case Events:
		return r.event.columns()
	case Intervals:
		return r.interval.columns()
	default:
		return r.capacity.columns()
	}
}

// forget makes a row unknown.
func forget(columns []column) {
	for _, c := range columns {
		if c.number != nil {
			*c.number = math.NaN()
		} else {
			*c.text = ""
		}
	}
}

// unknown is a row of which nothing is known.
func unknown[R any](r R, columns func(*R) []column) R {
	forget(columns(&r))
	return r
}

// UnknownEvent is an Event of which nothing is known: fill in what is.
func UnknownEvent() Event { return unknown(Event{}, (*Event).columns) }

// UnknownInterval is an Interval of which nothing is known.
func UnknownInterval() Interval { return unknown(Interval{}, (*Interval).columns) }

// UnknownCapacity is a Capacity of which nothing is known.
func UnknownCapacity() Capacity { return unknown(Capacity{}, (*Capacity).columns) }

// Column is where the value of a numeric column lies; nil for another name.
func (i *Interval) Column(name string) *float64 { return numeric(i.columns(), name) }

// Number is where the value of a numeric column lies; nil for another name.
func (e *Event) Number(name string) *float64 { return numeric(e.columns(), name) }

// Text is where the value of a column of text lies; nil for another name.
func (e *Event) Text(name string) *string {
	for _, c := range e.columns() {
		if c.name == name {
			return c.text
		}
	}
	return nil
}

func numeric(columns []column, name string) *float64 {
	for _, c := range columns {
		if c.name == name {
			return c.number
		}
	}
	return nil
}
