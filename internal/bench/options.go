package bench

import (
	"fmt"
	"io"
	"time"

	"github.com/pgautotune/autotune"
)

// Options say what to run. [Defaults] and [Quick] are the two sets to start from.
type Options struct {
	DSN        string // the database to use; "": a throwaway server
	Workloads  []string
	Contenders []string

	Rounds    int           // slices of each contender in each workload
	Slice     time.Duration // length of a slice
	Uncounted time.Duration // of which the first is not counted
	Calm      time.Duration // longest wait for a quiet machine before each
	Cold      time.Duration // most that a tuned pool runs alone first, from cold; a limiter a third of it
	Settled   time.Duration // how long its limit must have stayed put to end that early
	Phase     time.Duration // length of a phase of the shift, for contenders that learn
	Phases    int           // of the shift

	Clients    int     // of the closed loops
	OpenShare  float64 // arrival rate of the open loops, as a share of what the best fixed size gave in the closed loop
	Vectors    int     // rows to search
	Dimensions int
	Seed       uint64
	Runs       int // whole runs, of which the result is the median
	Quick      bool

	// Most is the time after which no further round is begun; 0: none.
	Most time.Duration

	JournalDir string    // where the tuned pools' journals go; "": nowhere
	Progress   Progress  // nil: none
	Log        io.Writer // what slow set-up prints; nil: nothing

	// Opened, when set, is told of each tuned pool, by a name of letters,
	// digits, dots and dashes; what it returns is called before the pool closes.
	Opened func(name string, pool *autotune.Pool) (closing func())
}

// Progress is called before each slice: how much of the plan is done, 0–1, and
// what comes now.
type Progress func(done float64, doing string)

// The fixed parts of the method.
const (
	hold        = 10 * time.Millisecond // that a holding search keeps its transaction open
	exactRows   = 2_000                 // a small table: 0.4 ms to scan at 128 dimensions
	counterRows = 4                     // that all updates contend for
	sampleEvery = 100 * time.Millisecond
	keepsUp     = 0.97 // of the best throughput: what serves an open load; below it a backlog grows

	// mostGenerator is the share of the machine's CPU above which the generator
	// itself probably limits what is measured.
	mostGenerator = 0.40

	// mostOthers is the share of the CPU that other programs may take before the
	// result favours large pools, see rest.
	mostOthers = 0.15

	// mostScatter is how much of its median a fixed size may scatter from round to
	// round before differences of a few percent mean nothing.
	mostScatter = 0.15

	// A limit that stays put for so long has settled, and should have begun to by
	// settleBy: from cold, and after each change of the load.
	settledFor = 3 * time.Second
	settleBy   = 15 * time.Second
)

// Defaults is the full benchmark, of up to 20 minutes.
func Defaults() Options {
	return Options{
		Workloads: workloadNames(), Contenders: defaultContenders(),
		Rounds: 3, Slice: 900 * time.Millisecond, Uncounted: 180 * time.Millisecond, Calm: 4 * time.Second,
		Cold: settleBy + settledFor, Settled: settledFor, Phase: settleBy + settledFor, Phases: 4,
		Clients: 150, OpenShare: 0.8, Vectors: 20_000, Dimensions: 128, Seed: 1, Runs: 1,
	}
}

// Quick is the benchmark of a minute, all included: fewer vectors, two workloads, fewer
// contenders and shorter slices, so coarser figures. There is time for one tuned pool to
// learn, not for two.
func Quick() Options {
	o := Defaults()
	o.Quick = true
	o.Workloads = []string{"search", "holding"}
	o.Contenders = []string{"autotune-4", "fixed-4", "fixed-32", "fixed-100"}
	o.Rounds, o.Slice, o.Uncounted = 2, 700*time.Millisecond, 150*time.Millisecond
	o.Cold, o.Settled = 12*time.Second, 2*time.Second
	o.Vectors = 4_000
	o.Most = 55 * time.Second
	return o
}

// Validate names every option that is out of its bounds.
func (o *Options) Validate() error {
	for _, f := range []struct {
		name      string
		v         float64
		low, high float64
	}{
		{"number of rounds", float64(o.Rounds), 1, 1000},
		{"length of a slice, in seconds,", o.Slice.Seconds(), 0.2, 600},
		{"length of the cold phase, in seconds,", o.Cold.Seconds(), 1, 3600},
		{"number of clients", float64(o.Clients), 1, 10_000},
		{"number of vectors", float64(o.Vectors), 100, 10_000_000},
		{"number of runs", float64(o.Runs), 1, 100},
		{"share of the open loops", o.OpenShare, 0.01, 1},
	} {
		if !(f.v >= f.low && f.v <= f.high) {
			return fmt.Errorf("the %s is %g, outside its bounds of %g to %g", f.name, f.v, f.low, f.high)
		}
	}
	if o.Uncounted >= o.Slice {
		return fmt.Errorf("a slice of %v leaves nothing to count after its first %v", o.Slice, o.Uncounted)
	}
	return nil
}
