package load

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Recorder counts requests and how long they took. It is written by all clients
// and read by anybody at the same time; each client writes to a shard that it
// shares with few others.
type Recorder struct {
	shards []shard

	mu       sync.Mutex
	failures []Failure // guarded by mu
}

type shard struct {
	arrived, failed, abandoned atomic.Int64
	times                      histogram // of what was completed
}

// Failure is one way in which requests failed.
type Failure struct {
	Text  string
	Count int64
}

// maxFailures bounds how many different texts are kept; the rest count together.
const maxFailures = 8

const otherFailures = "other errors"

// NewRecorder returns one with all at zero.
func NewRecorder() *Recorder {
	return &Recorder{shards: make([]shard, 2*runtime.GOMAXPROCS(0))}
}

func (r *Recorder) shard(client int) *shard { return &r.shards[client%len(r.shards)] }

func (r *Recorder) fail(client int, err error) {
	r.shard(client).failed.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	text := err.Error()
	same := func(f Failure) bool { return f.Text == text }
	i := slices.IndexFunc(r.failures, same)
	if i < 0 && len(r.failures) >= maxFailures {
		text = otherFailures
		i = slices.IndexFunc(r.failures, same)
	}
	if i < 0 {
		i = len(r.failures)
		r.failures = append(r.failures, Failure{Text: text})
	}
	r.failures[i].Count++
}

// Failures returns the ways in which requests failed, in order of their first.
func (r *Recorder) Failures() []Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.failures)
}

// Tally is what a [Recorder] had counted at one instant.
type Tally struct {
	At        time.Time
	Arrived   int64 // requests begun
	Completed int64
	Failed    int64
	Abandoned int64 // cut off, when the run was canceled or its grace was over
	Times     Times // response times of those completed
}

// Tally reads the recorder. Requests that end meanwhile may be in one number and
// not yet in another, but never in none for good.
func (r *Recorder) Tally() *Tally {
	t := &Tally{At: time.Now()}
	for i := range r.shards {
		s := &r.shards[i]
		t.Times.add(&s.times) // ends first and arrivals last: Pending is never below 0
		t.Failed += s.failed.Load()
		t.Abandoned += s.abandoned.Load()
	}
	for i := range r.shards {
		t.Arrived += r.shards[i].arrived.Load()
	}
	t.Completed = t.Times.Count()
	return t
}

// Pending is the number of requests that have begun and not ended.
func (t *Tally) Pending() int64 { return t.Arrived - t.Completed - t.Failed - t.Abandoned }

// Since is what was counted between an earlier tally and this one.
func (t *Tally) Since(earlier *Tally) *Tally {
	d := *t
	d.Arrived -= earlier.Arrived
	d.Completed -= earlier.Completed
	d.Failed -= earlier.Failed
	d.Abandoned -= earlier.Abandoned
	d.Times.subtract(&earlier.Times)
	return &d
}
