package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pgautotune/autotune/internal/pgstat"
	"github.com/pgautotune/autotune/internal/redact"
	"github.com/pgautotune/autotune/simulations/trace"
)

// How often the database is looked at within an interval: a fast service is in use
// for moments, which few looks would miss and then have no service time for.
const (
	lookEvery = 100 * time.Millisecond
	// lookSeldom is for a server with so many backends that a look is dear.
	lookSeldom = time.Second
	// lookShare of one core is what looking may cost the server.
	lookShare = 0.004
	// paceEvery is how often that is asked again.
	paceEvery = 10 * time.Second
)

// liveColumns are what a recording of a database knows.
var liveColumns = []string{"t_s", "dur_s", "rate_rps", "service_ms_mean", "active", "idle", "idle_in_transaction", "hidden", "others"}

// live records a database until the time is over or ctx is done, which is a good end.
func (f *recordFlags) live(ctx context.Context, s *session) error {
	const try = "Try: autotune record --help"
	dsn, ok := connString(f.dsn, s.env)
	if !ok {
		return usagef("Name it: autotune record postgres://user@host/database, or set DATABASE_URL", "record: no database given")
	}
	cfg, err := redact.ParsePool(dsn) // takes out the pool_* settings, which a server would refuse
	if err != nil {                   // its text has no password in it
		return usagef(try, "record: the connection string cannot be used: %v", err)
	}
	if err := f.free(); err != nil {
		return err
	}
	show := newScreen(s.stderr, s.env)
	defer show.clear()
	reader := pgstat.Open(pgstat.Config{ConnConfig: cfg.ConnConfig, Database: f.database, User: f.user, ApplicationName: f.application,
		AnyUser: f.user == "", AnyApplication: f.application == "", ConnectTimeout: pgstat.Patience(cfg.ConnConfig)})
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = reader.Close(closing) // the process ends, and the connection with it
	}()
	facts, err := reader.Facts(ctx)
	if err != nil {
		return unreachable(err)
	}
	first, err := reader.Read(ctx)
	if err != nil {
		return err
	}
	if facts.Server.Pooler {
		show.note("a pooler stands in between: what is counted are its connections")
	}
	if !facts.Server.SeesAll {
		show.note("%s may not see what other roles' connections do; GRANT pg_read_all_stats TO it to see all", facts.Server.Role)
	}
	start := time.Now()
	h := trace.Header{Version: trace.Version, Kind: trace.Intervals, T0: start.UTC().Format(time.RFC3339Nano), ServiceKind: trace.Observed,
		Source: "pg_stat_activity and pg_stat_database, PostgreSQL " + facts.Server.Version, Note: f.liveNote()}
	w, err := trace.Create(f.out, h, liveColumns...)
	if err != nil {
		return err
	}
	rec := &recording{w: w, elsewhere: f.database != "" && f.database != pgstat.DatabaseOf(cfg.ConnConfig), narrowed: f.user != "" || f.application != "", start: start, begun: start, before: first}
	rec.look(first)
	err = f.sample(ctx, show, reader, rec)
	if err == nil && rec.seen.Sub(rec.begun) >= shortestInterval*9/10 { // the last interval, cut short
		err = rec.end(rec.latest, rec.seen)
	}
	show.clear()
	if e := w.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	var notes []string
	if rec.missed > 0 {
		notes = append(notes, fmt.Sprintf("%s could not be taken, the last because: %v. A row lasts until the look that follows, so that one covers each gap.", plural(rec.missed, "look"), rec.why))
	}
	if rec.unserved > 0 {
		notes = append(notes, fmt.Sprintf("The mean service time is unknown in %d of %s: no look found a connection in use, though transactions ended.", rec.unserved, plural(int(w.Rows()), "row")))
	}
	return f.finish(s, recordResult{Format: "the live database", Rows: w.Rows(), Header: h, Notes: append(notes, h.Note)})
}

func (f *recordFlags) liveNote() string {
	note := "rate_rps counts the transactions of all clients of the database that ended; service_ms_mean is (active + idle_in_transaction) / rate_rps, by Little's law."
	if f.user != "" || f.application != "" {
		note = "The server counts transactions by database and not by user or application: with these filters rate_rps and service_ms_mean are unknown."
	}
	return note
}

// pace is the time from look to look, by what the server says that a census costs
// it, which is no less than a look. A census is a transaction of its own, too.
func (r *recording) pace(ctx context.Context, reader *pgstat.Reader) time.Duration {
	c, err := reader.Census(ctx, 0)
	r.own++
	if err != nil {
		return lookSeldom // it cannot be known
	}
	r.spent = append(r.spent, c.Spent)
	r.spent = r.spent[max(0, len(r.spent)-20):]
	// The lower quartile: longer ones waited for a core, which costs nobody.
	sorted := slices.Sorted(slices.Values(r.spent))
	return min(lookSeldom, max(lookEvery, time.Duration(float64(sorted[len(sorted)/4])/lookShare)))
}

// sample looks about ten times a second and writes a row for each interval.
func (f *recordFlags) sample(ctx context.Context, show *screen, reader *pgstat.Reader, rec *recording) error {
	var over <-chan time.Time
	if f.length > 0 {
		t := time.NewTimer(f.length)
		defer t.Stop()
		over = t.C
	}
	pace := rec.pace(ctx, reader)
	timer := time.NewTimer(pace)
	defer timer.Stop()
	paced, pause := time.Now(), time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil // interrupted: what is written is a whole trace
		case <-over:
			return nil
		case <-timer.C:
		}
		// Not in step with callers that have a period, whom looks at even times
		// would find always, or never, in use.
		timer.Reset(time.Duration(float64(pace) * (0.75 + 0.5*rand.Float64())))
		if time.Since(paced) >= paceEvery {
			paced = time.Now()
			pace = rec.pace(ctx, reader)
		}
		a, err := reader.Read(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if rec.missed == 0 {
				show.note("the database cannot be read, the trace has a gap: %v", err)
			}
			rec.missed, rec.why = rec.missed+1, err
			pause = pgstat.NextPause(pause)
			timer.Reset(max(pause, pace))
			continue
		}
		pause = 0
		rec.look(a)
		show.draw(rec.line(f.length, a))
		if time.Since(rec.begun) >= f.interval-pace/2 {
			if err := rec.end(a, rec.seen); err != nil {
				return err
			}
		}
	}
}

// recording gathers looks into intervals.
type recording struct {
	w        *trace.Writer
	narrowed bool // to a user or an application
	// elsewhere is whether the looks are made in another database than the one that
	// is recorded, whose transactions they are then none of.
	elsewhere bool
	start     time.Time

	begun  time.Time       // the interval
	before pgstat.Activity // at its begin
	looks  int
	blind  bool    // something was hidden
	own    int     // transactions of the recording itself
	owed   float64 // own ones taken off that the server had not counted yet
	sum    struct{ active, idle, inTransaction, hidden, others float64 }
	latest pgstat.Activity // the last look
	seen   time.Time       // when it was
	last   float64         // rate of the interval before, for the screen

	spent    []time.Duration // of the last censuses
	unserved int             // rows with a rate and without a service time
	missed   int
	why      error
}

func (r *recording) look(a pgstat.Activity) {
	b := a.Ours
	r.looks++
	r.own++
	r.latest, r.seen = a, time.Now()
	r.sum.active += float64(b.OnCPU + b.IO + b.Lock + b.LWLock + b.OtherWait)
	r.sum.idle += float64(b.Idle)
	r.sum.inTransaction += float64(b.IdleInTransaction)
	r.sum.hidden += float64(b.Unknown)
	r.blind = r.blind || a.Hidden > 0 // one that is only starting is not in use
	r.sum.others += float64(a.Others.Total())
}

// end writes the interval up to now and begins the next.
func (r *recording) end(a pgstat.Activity, now time.Time) error {
	i := trace.UnknownInterval()
	n := float64(r.looks)
	i.T = math.Round(r.begun.Sub(r.start).Seconds()*1e3) / 1e3
	i.Dur = math.Round(now.Sub(r.begun).Seconds()*1e3) / 1e3
	i.Hidden, i.Others = r.sum.hidden/n, r.sum.others/n
	if !r.blind { // else some of what is hidden is active, nobody knows how much
		i.Active, i.Idle, i.IdleInTransaction = r.sum.active/n, r.sum.idle/n, r.sum.inTransaction/n
	}
	// Each look is a transaction of its own, which a pool would not have made.
	// The server counts them up to a second late, and in some rows fewer of them
	// than there were looks: the rest is taken off in the next.
	own := r.own
	if r.elsewhere {
		own = 0
	}
	done := float64(a.Transactions-r.before.Transactions-int64(own)) - r.owed
	r.owed = 0
	if !r.narrowed && a.Transactions >= r.before.Transactions && a.StatsReset.Equal(r.before.StatsReset) {
		i.Rate = max(0, done) / i.Dur
		r.owed = max(0, -done)
		if busy := i.Active + i.IdleInTransaction; i.Rate > 0 && busy > 0 {
			i.ServiceMean = 1000 * busy / i.Rate
		} else if i.Rate > 0 && busy == 0 { // and not hidden
			r.unserved++
		}
	}
	r.last = i.Rate
	r.begun, r.before, r.looks, r.own, r.blind = now, a, 0, 0, false
	r.sum.active, r.sum.idle, r.sum.inTransaction, r.sum.hidden, r.sum.others = 0, 0, 0, 0, 0
	if err := r.w.Interval(&i); err != nil {
		return err
	}
	return r.w.Flush()
}

// line is the progress on a terminal.
func (r *recording) line(length time.Duration, a pgstat.Activity) string {
	elapsed := time.Since(r.start).Round(time.Second)
	text := fmt.Sprintf("recording for %v", elapsed)
	if length > 0 {
		text = fmt.Sprintf("%s %v of %v", bar(elapsed.Seconds()/length.Seconds(), 24), elapsed, length)
	}
	rate := "unknown"
	if r.last >= 0 {
		rate = fmt.Sprintf("%.1f/s", r.last)
	}
	b := a.Ours
	return fmt.Sprintf("%s   %s   active %d   idle %d   %s", text, plural(int(r.w.Rows()), "row"), b.Total()-b.Idle-b.IdleInTransaction-b.Unknown, b.Idle, rate)
}
