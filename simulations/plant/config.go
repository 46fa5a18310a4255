package plant

import "time"

// Config is one simulated world: who calls, what a request asks of the server,
// the pool between them, and for how long. The zero value of a field means its
// default; [Config.Validate] names what is out of its bounds.
//
// Where 0 means a default but "none" is sensible too, a negative value is none.
type Config struct {
	Seed     uint64        `yaml:"seed"`     // of every random stream; a scenario leaves it out: its runs have the seeds 1 to --seeds
	Duration time.Duration `yaml:"duration"` // virtual time; 0: until the source ends and the last request is done
	Warmup   time.Duration `yaml:"warmup"`   // requests that arrive before count in no figure of the result; below Duration
	SLO      time.Duration `yaml:"slo"`      // response time within which a request counts as goodput; default 1 s

	Arrivals []Arrivals `yaml:"arrivals"` // open arrivals, superposed
	Closed   []Closed   `yaml:"closed"`   // callers in a closed loop, beside them
	Classes  []Class    `yaml:"classes"`  // kinds of request; default: one of 1 ms of CPU, exponential

	Pool      Pool      `yaml:"pool"`
	Server    Server    `yaml:"server"`
	Telemetry Telemetry `yaml:"telemetry"`

	Interval  time.Duration `yaml:"interval"`   // usual time between two looks; default 1 s
	MaxQueued int           `yaml:"max_queued"` // callers queued beyond which new ones are turned away, as canceled; default 50,000
	Series    Series        `yaml:"series"`
}

// Arrivals is one open stream of requests: a renewal process of the given
// variability, run in an operational time that passes at the rate of the moment.
// The rate is Rate or the profile's, times the diurnal factor, the flash crowds'
// and the bursts'.
type Arrivals struct {
	Class   string   `yaml:"class"`   // default: drawn by the weights of the classes
	Rate    float64  `yaml:"rate"`    // requests per second; above 0, unless there is a profile
	CV      float64  `yaml:"cv"`      // of the times between arrivals; default 1 (Poisson); below 1 gamma, above it hyperexponential; 0.05 to 20
	Profile []Step   `yaml:"profile"` // rate by time, instead of Rate
	Repeat  bool     `yaml:"repeat"`  // begin the profile again at the last step's instant
	Diurnal *Diurnal `yaml:"diurnal"`
	Flash   []Flash  `yaml:"flash"`
	Bursts  *Bursts  `yaml:"bursts"`

	From  time.Duration `yaml:"from"`
	Until time.Duration `yaml:"until"` // 0: to the end
}

// Step is a value that holds from an instant on. With Ramp, it moves in a
// straight line from there to the next step's value.
type Step struct {
	At   time.Duration `yaml:"at"`
	Rate float64       `yaml:"rate"`
	Ramp bool          `yaml:"ramp"`
}

// Diurnal multiplies a rate by 1 + Amplitude·sin(2π(t+Phase)/Period).
type Diurnal struct {
	Amplitude float64       `yaml:"amplitude"` // 0 to 1
	Period    time.Duration `yaml:"period"`    // default 24 h
	Phase     time.Duration `yaml:"phase"`
}

// Flash is a crowd: the rate rises in a straight line to Factor times itself
// within Rise, stays for Hold and falls back within Fall.
type Flash struct {
	At     time.Duration `yaml:"at"`
	Factor float64       `yaml:"factor"` // above 0
	Rise   time.Duration `yaml:"rise"`
	Hold   time.Duration `yaml:"hold"`
	Fall   time.Duration `yaml:"fall"` // the three together above 0
}

// Bursts switches between two states of exponentially distributed length (a
// Markov-modulated process): the rate is multiplied by High or by Low.
type Bursts struct {
	High     float64       `yaml:"high"`      // factor while on; default such that the mean factor is 1
	Low      float64       `yaml:"low"`       // factor while off; default 0
	MeanHigh time.Duration `yaml:"mean_high"` // mean length of on
	MeanLow  time.Duration `yaml:"mean_low"`  // mean length of off
}

// Closed is a group of callers that each send a request, wait for its end, think
// and send the next.
type Closed struct {
	Callers int           `yaml:"callers"`
	Class   string        `yaml:"class"` // default: drawn by the weights of the classes
	Think   Distribution  `yaml:"think"` // mean 0: at once; after a request that was not answered, 1 ms at least
	From    time.Duration `yaml:"from"`
	Until   time.Duration `yaml:"until"` // no new request from then on; 0: to the end
}

// Distribution of a time.
type Distribution struct {
	Kind Kind          `yaml:"kind"` // default exponential
	Mean time.Duration `yaml:"mean"`
	CV   float64       `yaml:"cv"` // standard deviation over mean, of lognormal, gamma and hyperexponential only; default 1
}

// Kind of a distribution.
type Kind string

// The kinds of distributions.
const (
	Exponential      Kind = "exponential"
	Deterministic    Kind = "deterministic"
	Lognormal        Kind = "lognormal"
	Gamma            Kind = "gamma"
	Hyperexponential Kind = "hyperexponential" // two phases of balanced means; CV at least 1
)

// Class is a kind of request: the demands that it makes one after the other
// while it holds one connection.
type Class struct {
	Name     string        `yaml:"name"`
	Weight   float64       `yaml:"weight"`   // share of the requests whose stream names no class; default 1, and 0 is the default: to draw none, let each stream name its class
	Stages   []Stage       `yaml:"stages"`   // 1 to 6, with a mean of the service above 0 in one at least; default: 1 ms of CPU, exponential
	Patience time.Duration `yaml:"patience"` // gives up waiting for a connection after this; default the pool's acquire timeout
}

// Stage is one demand of a request.
type Stage struct {
	On      Resource     `yaml:"on"`      // default cpu
	Service Distribution `yaml:"service"` // of the time it would take alone
	// Lock makes the stage begin with a row lock of this name, given in the
	// order of asking and kept to the end of the request, as PostgreSQL keeps
	// it to the end of the transaction. Rows is how many rows the requests
	// spread over evenly; default 1, the hot row, and the same in all classes
	// that have the lock. One locking stage a class.
	Lock string `yaml:"lock"`
	Rows int    `yaml:"rows"`
}

// Resource is where a demand is served.
type Resource string

// The resources.
const (
	CPU               Resource = "cpu"                 // shared by all that are runnable
	IO                Resource = "io"                  // Server.IOChannels at once, in order of asking
	IdleInTransaction Resource = "idle_in_transaction" // the caller works elsewhere, in a transaction
	Client            Resource = "client"              // the caller or the network, between transactions: the backend is idle
)

// Pool is the pool and what opening a connection costs on its side. The size
// comes from the [Tuner].
type Pool struct {
	// Plain is an ordinary pgxpool: min is opened at the start all at once, and
	// the size never changes. Else it is the façade: a gate, a budget, and
	// generations that replace each other one connection at a time.
	Plain bool `yaml:"plain"`

	Budget         int           `yaml:"budget"`          // most server connections of all generations; default 200; 1 to 20,000
	AcquireTimeout time.Duration `yaml:"acquire_timeout"` // queueing and dialling together; default none
	ConnectRetry   time.Duration `yaml:"connect_retry"`   // an acquire retries for this long while the server is away; default 2 s; negative: never
	MaxLifetime    time.Duration `yaml:"max_lifetime"`    // of a connection; default 1 h; negative: for ever
	MaxIdle        time.Duration `yaml:"max_idle"`        // before the reaper closes it; default 30 min; negative: for ever
	HealthCheck    time.Duration `yaml:"health_check"`    // period of the reaper; default 1 min
	SwapTimeout    time.Duration `yaml:"swap_timeout"`    // default 5 s
	DrainTimeout   time.Duration `yaml:"drain_timeout"`   // default 1 s
}

// Server is the database. Its CPU serves all runnable backends at once
// (processor sharing), at a rate in all of C(n) cores for n runnable backends. With the
// law "beyond" C(n) = b / (1 + sigma × (n−b) + kappa × (n−b) × n), where b is the smaller
// of n and cores: those beyond the cores cost. With "usl", the Universal Scalability Law,
// C(n) = n / (1 + sigma × (n−1) + kappa × n × (n−1)), of one core's speed.
type Server struct {
	Cores int     `yaml:"cores"` // default 4; 1 to 4,096
	Law   Law     `yaml:"law"`   // default beyond
	Sigma float64 `yaml:"sigma"` // contention; 0 to 1
	Kappa float64 `yaml:"kappa"` // coherency; 0 to 1
	// Curve is throughput measured at a number of busy connections, instead of
	// a law: in requests per second, of a mean demand of CurveDemand CPU each
	// (default: the mean CPU demand of the classes by weight). Between the
	// points it is straight in logs, below the first in proportion, above the
	// last flat.
	Curve       []Point       `yaml:"curve"`
	CurveDemand time.Duration `yaml:"curve_demand"`
	// CliffN is the number of active backends (CPU and IO) above which the
	// working set no longer fits the cache and the capacity is multiplied by
	// CliffFactor; 0: no cliff.
	CliffN      int     `yaml:"cliff_n"`
	CliffFactor float64 `yaml:"cliff_factor"` // above 0, at most 1; with a cliff_n, here or in a drift, it has to be there

	IOChannels     int `yaml:"io_channels"`     // IO served at once; default 0: unbounded
	MaxConnections int `yaml:"max_connections"` // default 500
	Reserved       int `yaml:"reserved"`        // default 3; negative: none

	ConnectLatency time.Duration `yaml:"connect_latency"` // round trips of a connect; default 1 ms; negative: none
	ConnectCPU     time.Duration `yaml:"connect_cpu"`     // CPU of a connect; default 2.5 ms; negative: none
	ColdCPU        time.Duration `yaml:"cold_cpu"`        // more CPU for each of a connection's first queries; default 1 ms; negative: none
	ColdQueries    int           `yaml:"cold_queries"`    // how many are its first; default 1
	CloseLatency   time.Duration `yaml:"close_latency"`   // until a closed connection's backend is gone; default 1 ms; negative: none

	Drift    []Drift   `yaml:"drift"`    // of the capacity over time
	Wander   []Wander  `yaml:"wander"`   // of the speed from moment to moment, superposed
	Others   []Others  `yaml:"others"`   // other clients over time
	Restarts []Restart `yaml:"restarts"` // connections are lost, and refused for a while
}

// Law is how the capacity depends on the runnable backends.
type Law string

// The laws.
const (
	Beyond Law = "beyond" // all cores work; those runnable beyond the cores cost
	USL    Law = "usl"    // the Universal Scalability Law, of one core's speed
)

// Point of a measured curve.
type Point struct {
	N int     `yaml:"n"`
	X float64 `yaml:"x"` // requests per second
}

// Drift changes the server from an instant on. Fields that are nil stay as they
// were. With Ramp, Factor moves in a straight line to the next drift's factor, from
// the present one where it is nil.
type Drift struct {
	At          time.Duration  `yaml:"at"`
	Factor      *float64       `yaml:"factor"` // of the capacity; 1 at the start
	Ramp        bool           `yaml:"ramp"`
	Cores       *int           `yaml:"cores"`
	Sigma       *float64       `yaml:"sigma"`
	Kappa       *float64       `yaml:"kappa"`
	CliffN      *int           `yaml:"cliff_n"`
	CliffFactor *float64       `yaml:"cliff_factor"`
	Connect     *time.Duration `yaml:"connect"` // the connect latency
}

// Wander makes the speed of the server change from moment to moment, as that of a
// shared machine does whose neighbours come and go.
type Wander struct {
	CV     float64       `yaml:"cv"`     // standard deviation of the speed; above 0, at most 1
	Memory time.Duration `yaml:"memory"` // after which it resembles what it was by 1/e; 10 ms or more
}

// Others are the other clients of the server from an instant on. Connections that it
// has not left they try for again, once a second.
type Others struct {
	At          time.Duration `yaml:"at"`
	Runnable    int           `yaml:"runnable"`    // of their backends, always on CPU
	Connections int           `yaml:"connections"` // of theirs, the runnable included
}

// Restart of the server: it is away for Down.
type Restart struct {
	At   time.Duration `yaml:"at"`
	Down time.Duration `yaml:"down"`
}

// Telemetry is what the controller can see beside the pool's own counters.
type Telemetry struct {
	Off       bool    `yaml:"off"`        // the server cannot be read at all
	SharedBox bool    `yaml:"shared_box"` // the database runs on this machine: cores and CPU are known
	Partial   bool    `yaml:"partial"`    // no pg_read_all_stats
	Vectors   float64 `yaml:"vectors"`    // rows with vectors, of pgvector; 0: not installed
}

// Series of the result, for plots. When Points are full, neighbours are merged
// and each point lasts twice as long, so that memory does not grow; the last one lasts
// until the end.
type Series struct {
	Every  time.Duration `yaml:"every"`  // default 1 s
	Points int           `yaml:"points"` // most points kept; default 2,000; even, 16 to 100,000
}
