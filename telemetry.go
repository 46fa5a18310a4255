package autotune

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/host"
	"github.com/pgautotune/autotune/internal/pgstat"
)

// How long a reading of the world beside the pool serves.
const (
	activityEvery  = time.Second      // costs the server 0.2–0.8 ms
	activitySoon   = time.Second / 5  // while the controller looks ten times a second, because it learns
	activityServes = 5 * time.Second  // older than this is blindness
	factsEvery     = 5 * time.Minute  // the inventory changes by index builds, not by queries
	factsRetry     = 15 * time.Second // after a failure
	vectorEvery    = time.Minute      // pgvector's capability, where the profile asks for it
)

// telemetry reads the server and the host for the tuner, over a connection of
// its own and never through the pool: a tuner that waits in the queue it is to
// shorten starves with it. Reads run beside the loop, one at a time, so that a
// server that answers slowly blinds the loop and does not stop it.
type telemetry struct {
	pool    *Pool
	reader  *pgstat.Reader
	host    *host.Reader
	running sync.WaitGroup

	serverErrors, hostErrors atomic.Int64 // readings that failed, cumulative

	mu     sync.Mutex
	busy   bool        // guarded by mu
	seen   world       // guarded by mu
	vector vectorCheck // guarded by mu
}

// world is what was last known beside the pool.
type world struct {
	activity   pgstat.Activity
	activityAt time.Time // zero: never
	open       int       // connections of this pool then
	facts      pgstat.Facts
	factsAt    time.Time // zero: never
	factsNext  time.Time
	err        error // of the last read of the server; nil after a good one

	host      host.Reading
	hostAt    time.Time // zero: never
	hostOK    bool
	sharedBox bool
	sharedWhy string
}

// vectorCheck is the outcome of the last check of pgvector.
type vectorCheck struct {
	at   time.Time // zero: never checked
	err  error
	lost bool // it worked once, and no longer does
}

func newTelemetry(p *Pool) *telemetry {
	t := &telemetry{pool: p, host: host.New()}
	t.reader = t.open()
	return t
}

func (t *telemetry) open() *pgstat.Reader {
	template := t.pool.template.Load()
	return pgstat.Open(pgstat.Config{ConnConfig: template.ConnConfig, BeforeConnect: template.BeforeConnect, Logger: t.pool.log})
}

// refresh starts a round of reading if one is due and none is under way, and
// returns what is known now. keen is whether the controller looks fast, to learn.
func (t *telemetry) refresh(ctx context.Context, keen bool) world {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	every := activityEvery
	if keen {
		every = activitySoon
	}
	if !t.busy && now.Sub(t.seen.activityAt) >= every {
		t.busy = true
		t.running.Go(func() { t.read(ctx) })
	}
	w := t.seen
	if now.Sub(w.activityAt) > max(activityServes, 2*t.pool.cfg.Interval+activityEvery) { // a look gets what the last one asked for
		w.activityAt = time.Time{}
	}
	return w
}

func (t *telemetry) read(ctx context.Context) {
	t.mu.Lock()
	w, reader := t.seen, t.reader
	t.mu.Unlock()

	t.look(ctx, reader, &w)

	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy = false
	if t.reader == reader { // else the pool has moved to another server meanwhile
		t.seen = w
	}
}

// look is one round of reading. What stands at the other end may answer anything:
// a panic over it costs the sight, never the service.
func (t *telemetry) look(ctx context.Context, reader *pgstat.Reader, w *world) {
	defer func() {
		if r := recover(); r != nil {
			w.err = fmt.Errorf("autotune: a bug in reading the server: %v", r)
			t.pool.log.Error("reading the server failed", "panic", r)
		}
	}()
	if time.Since(w.hostAt) >= activityEvery {
		w.hostAt = time.Now()
		countError(ctx, &t.hostErrors, t.readHost(ctx, w))
	}
	before, _, _ := t.pool.budget.snapshot()
	began := time.Now()
	activity, err := reader.Read(ctx)
	after, _, _ := t.pool.budget.snapshot()
	countError(ctx, &t.serverErrors, err)
	if w.err = err; err == nil {
		w.activity, w.activityAt, w.open = activity, began, max(before, after)
		if !time.Now().Before(w.factsNext) {
			t.readFacts(ctx, reader, w)
		}
		if t.pool.profile.checkVector && time.Since(t.vectorKnown().at) >= vectorEvery {
			t.noteVector(reader.CheckVector(ctx))
		}
	}
}

func (t *telemetry) readHost(ctx context.Context, w *world) error {
	h, err := t.host.Read(ctx)
	if err == nil || h.Cores > 0 {
		w.host, w.hostOK = h, true
	}
	return err
}

// countError counts a reading that failed, unless it was the pool that ended it.
func countError(ctx context.Context, counter *atomic.Int64, err error) {
	if err != nil && ctx.Err() == nil {
		counter.Add(1)
	}
}

func (t *telemetry) readFacts(ctx context.Context, reader *pgstat.Reader, w *world) {
	facts, err := reader.Facts(ctx)
	countError(ctx, &t.serverErrors, err)
	if err != nil {
		w.err, w.factsNext = err, time.Now().Add(factsRetry)
		return
	}
	first := w.factsAt.IsZero()
	w.facts, w.factsAt, w.factsNext = facts, time.Now(), time.Now().Add(factsEvery)
	w.sharedBox, w.sharedWhy = host.SharesMachine(ctx, host.Database{
		Address: facts.Server.Address, UnixSocket: facts.Server.UnixSocket, BackendPID: facts.Server.BackendPID})
	eyes := host.New()
	if w.sharedBox {
		eyes = host.NewOf(facts.Server.BackendPID) // what the server may use, not what we may
	}
	if !eyes.Same(t.host) {
		t.host = eyes
		_ = t.readHost(ctx, w) // the next look counts what cannot be read
	}
	if first {
		t.pool.log.Info("server seen", "version", facts.Server.Version, "max_connections", facts.Settings.MaxConnections,
			"reserved", facts.Settings.Reserved(), "others", w.activity.Others.Total(),
			"pgvector", facts.Vectors.Version, "vectors", facts.Vectors.Rows, "vector_index_bytes", facts.Vectors.IndexBytes,
			"same_machine", w.sharedBox, "because", w.sharedWhy, "pooler", facts.Server.Pooler)
		for _, missing := range facts.Missing {
			t.pool.log.Warn("not seen", "what", missing)
		}
	}
}

// noteVector records what a check of pgvector said. A loss is news; so is the
// return.
func (t *telemetry) noteVector(err error) {
	if err != nil && !pgstat.TellsOfVector(err) {
		return
	}
	t.mu.Lock()
	v := &t.vector
	news := v.at.IsZero() || (err != nil) != (v.err != nil)
	v.lost = err != nil && (v.lost || !v.at.IsZero() && v.err == nil)
	v.err, v.at = err, time.Now()
	t.mu.Unlock()
	switch {
	case news && err != nil:
		t.pool.log.Warn("pgvector cannot be used", "error", err)
	case news:
		t.pool.log.Info("pgvector works")
	}
}

// now asks the server for its activity at once.
func (t *telemetry) now(ctx context.Context) (pgstat.Activity, error) {
	return t.current().Read(ctx)
}

// current is the reader of the server that the pool uses now.
func (t *telemetry) current() *pgstat.Reader {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reader
}

// known is what the last round of reading found.
func (t *telemetry) known() world {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen
}

func (t *telemetry) vectorKnown() vectorCheck {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.vector
}

// move points the telemetry at the server of a new configuration.
func (t *telemetry) move(ctx context.Context) {
	t.mu.Lock()
	old := t.reader
	t.reader = t.open()
	t.seen = world{host: t.seen.host, hostAt: t.seen.hostAt, hostOK: t.seen.hostOK}
	t.mu.Unlock()
	_ = old.Close(ctx)
}

func (t *telemetry) close(ctx context.Context) {
	t.running.Wait()
	_ = t.current().Close(ctx)
}

// server is the controller's view of the world; nil when it is out of sight. What looks
// like this pool's own beyond the connections it has are those of other processes of the
// service, which take room on the server like anybody's.
func (w *world) server() *controller.Server {
	if w.activityAt.IsZero() || w.factsAt.IsZero() {
		return nil
	}
	a, f := &w.activity, &w.facts
	siblings := max(0, a.Ours.Total()-w.open)
	s := &controller.Server{
		Ours: controller.Backends{
			OnCPU: a.Ours.OnCPU, IO: a.Ours.IO, Lock: a.Ours.Lock, LWLock: a.Ours.LWLock, OtherWait: a.Ours.OtherWait,
			IdleInTransaction: a.Ours.IdleInTransaction, Idle: a.Ours.Idle, Unknown: a.Ours.Unknown,
		},
		Others: a.Others.Total() + siblings, Partial: a.Partial,
		MaxConnections: f.Settings.MaxConnections, Reserved: f.Settings.Reserved(),
		Vectors: controller.VectorFacts{Installed: f.Vectors.Installed, Rows: f.Vectors.Rows, IndexBytes: f.Vectors.IndexBytes, SharedBuffer: f.Settings.SharedBuffers},
	}
	for _, limit := range []int{f.Server.RoleConnectionLimit, f.Server.DatabaseConnectionLimit} {
		if beside := s.Reserved + a.Others.Total(); limit >= 0 && limit+beside < s.MaxConnections {
			s.MaxConnections = limit + beside // this wall holds for us and our siblings alone
		}
	}
	if w.sharedBox && w.hostOK {
		s.Cores, s.MemoryBytes = w.host.Cores, w.host.RAMTotal
	}
	return s
}

func (w *world) hostView() *controller.Host {
	if !w.hostOK {
		return nil
	}
	h := &controller.Host{Cores: w.host.Cores, RAMTotal: w.host.RAMTotal, RAMFree: w.host.RAMFree, SharedBox: w.sharedBox}
	if w.host.CPUKnown {
		h.CPU = w.host.CPU
	}
	return h
}
