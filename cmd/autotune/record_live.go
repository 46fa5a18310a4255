package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/pgstat"
	"github.com/pgautotune/autotune/simulations/trace"
)

// lookEvery is how often the database is looked at within an interval.
const lookEvery = time.Second

// liveColumns are what a recording of a database knows.
var liveColumns = []string{"t_s", "dur_s", "rate_rps", "service_ms_mean", "active", "idle", "idle_in_transaction", "hidden", "others"}

// live records a database until the time is over or ctx is done, which is a good end.
func (f *recordFlags) live(ctx context.Context, s *session) error {
	const try = "Try: autotune record --help"
	dsn, ok := connString(f.dsn, s.env)
	if !ok {
		return usagef("Name it: autotune record postgres://user@host/database, or set DATABASE_URL", "record: no database given")
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil { // its text has no password in it
		return usagef(try, "record: the connection string cannot be used: %v", err)
	}
	if err := f.free(); err != nil {
		return err
	}
	show := newScreen(s.stderr, s.env)
	defer show.clear()
	reader := pgstat.Open(pgstat.Config{ConnConfig: cfg, Database: f.database, User: f.user, ApplicationName: f.application,
		AnyUser: f.user == "", AnyApplication: f.application == ""})
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = reader.Close(closing) // the process ends, and the connection with it
	}()
	facts, err := reader.Facts(ctx)
	if err != nil {
		return err
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
	rec := &recording{w: w, narrowed: f.user != "" || f.application != "", start: start, begun: start, before: first}
	rec.look(first)
	err = f.sample(ctx, show, reader, rec)
	if err == nil && rec.seen.Sub(rec.begun) >= lookEvery*9/10 { // the last interval, cut short
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
		notes = append(notes, fmt.Sprintf("%s could not be taken, the last because: %v. Intervals without a look are left out.", plural(rec.missed, "look"), rec.why))
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

// sample looks once a second and writes a row for each interval.
func (f *recordFlags) sample(ctx context.Context, show *screen, reader *pgstat.Reader, rec *recording) error {
	var over <-chan time.Time
	if f.length > 0 {
		t := time.NewTimer(f.length)
		defer t.Stop()
		over = t.C
	}
	tick := time.NewTicker(min(lookEvery, f.interval))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil // interrupted: what is written is a whole trace
		case <-over:
			return nil
		case <-tick.C:
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
			continue
		}
		rec.look(a)
		show.draw(rec.line(f.length, a))
		if time.Since(rec.begun) >= f.interval-lookEvery/10 {
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
	start    time.Time

	begun  time.Time       // the interval
	before pgstat.Activity // at its begin
	looks  int
	sum    struct{ active, idle, inTransaction, hidden, others float64 }
	latest pgstat.Activity // the last look
	seen   time.Time       // when it was
	last   float64         // rate of the interval before, for the screen

	missed int
	why    error
}

func (r *recording) look(a pgstat.Activity) {
	b := a.Ours
	r.looks++
	r.latest, r.seen = a, time.Now()
	r.sum.active += float64(b.OnCPU + b.IO + b.Lock + b.LWLock + b.OtherWait)
	r.sum.idle += float64(b.Idle)
	r.sum.inTransaction += float64(b.IdleInTransaction)
	r.sum.hidden += float64(b.Unknown)
	r.sum.others += float64(a.Others.Total())
}

// end writes the interval up to now and begins the next.
func (r *recording) end(a pgstat.Activity, now time.Time) error {
	i := trace.UnknownInterval()
	n := float64(r.looks)
	i.T = math.Round(r.begun.Sub(r.start).Seconds()*1e3) / 1e3
	i.Dur = math.Round(now.Sub(r.begun).Seconds()*1e3) / 1e3
	i.Hidden, i.Others = r.sum.hidden/n, r.sum.others/n
	if r.sum.hidden == 0 { // else some of what is hidden is active, nobody knows how much
		i.Active, i.Idle, i.IdleInTransaction = r.sum.active/n, r.sum.idle/n, r.sum.inTransaction/n
	}
	// Each look is a transaction of its own, which a pool would not have made.
	done := float64(a.Transactions - r.before.Transactions - int64(r.looks))
	if !r.narrowed && a.Transactions >= r.before.Transactions && a.StatsReset.Equal(r.before.StatsReset) {
		i.Rate = max(0, done) / i.Dur
		if busy := i.Active + i.IdleInTransaction; i.Rate > 0 && busy > 0 {
			i.ServiceMean = 1000 * busy / i.Rate
		}
	}
	r.last = i.Rate
	r.begun, r.before, r.looks = now, a, 0
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
