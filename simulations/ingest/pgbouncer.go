package ingest

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgautotune/autotune/simulations/trace"
)

// PgBouncer tells what went through it in two ways. Every stats_period (60 s) it
// logs rates and means of the period that ends then:
//
//	2026-03-01 12:00:00.123 UTC [7] LOG stats: 5 xacts/s, 9 queries/s, … in 1 B/s,
//	out 2 B/s, xact 1200 us, query 300 us, wait 4 us
//
// And SHOW STATS has totals for each database, which psql shows again and again
// under \watch, with the time above each table.
//
// In transaction pooling a transaction holds a connection, so that it is a request.
//
// The wait of the log is the mean of an assignment of a connection since 1.23. Before,
// it was the µs that all waited in a second. A line does not tell which: parses/s are
// there since 1.21. So it is believed below the line of the start, which has the
// version, and in lines with logins, which are newer.
var (
	bouncerStart = regexp.MustCompile(`process up: PgBouncer (\d+)\.(\d+)`)
	bouncerStats = regexp.MustCompile(`^(.*?)\s*(?:\[(\d+)\] )?(?:LOG )?(?:@\S+ )?stats: (\d+) xacts/s, .*\bxact (\d+) us, query (\d+) us,? wait (?:time )?(\d+) us`)
	watchStamp   = regexp.MustCompile(`^(?:.*\t)?\s*(\S.*?\d)\s*(?:(AM|PM)\s*)?([A-Z]{3,5})?\s*\(every [0-9.]+s\)\s*$`)
)

func isPgBouncer(head string) bool {
	for line := range strings.SplitSeq(head, "\n") {
		if bouncerStats.MatchString(line) || strings.Contains(line, "total_xact_count") && strings.Contains(line, "|") {
			return true
		}
	}
	return false
}

func readPgBouncer(in *input, out *sink) error {
	out.begin(trace.Header{Kind: trace.Intervals, ServiceKind: trace.Observed, Source: "PgBouncer SHOW STATS"},
		[]string{"t_s", "dur_s", "rate_rps", "service_ms_mean", "wait_ms_mean"})
	out.note("A request is a transaction, as in transaction pooling; whether the recorded callers are a closed loop is unknown.")
	b := &bouncer{in: in, out: out}
	for text, err := in.next(); err == nil; text, err = in.next() {
		if err := b.line(text); err != nil {
			return err
		}
	}
	if err := in.rest(); err != nil {
		return err
	}
	if err := b.endTable(); err != nil {
		return err
	}
	return b.writeLog()
}

// bouncer reads both forms.
type bouncer struct {
	in  *input
	out *sink

	periods []period // of the log
	means   bool     // its waits are those of an assignment

	stamp   int64          // of the table that is read, ns; 0 unknown
	columns map[string]int // of it; nil outside of one
	sums    totals
	last    totals
	lastAt  int64
	tables  int
}

type period struct {
	process             string // several may write to one log
	end                 int64
	rate, service, wait float64
}

// totals are cumulative, in transactions and µs.
type totals struct{ transactions, time, wait float64 }

func (b *bouncer) line(text string) error {
	if m := bouncerStats.FindStringSubmatch(text); m != nil {
		end, ok := date(m[1])
		if !ok {
			return b.in.problem("the line of stats begins with %.40q, which is %s", m[1], undated(m[1]))
		}
		var v [3]float64
		for i, k := range []int{3, 4, 6} {
			v[i], _ = strconv.ParseFloat(m[k], 64)
		}
		if len(b.periods) == maxIntervals {
			return b.in.problem("there are more than %d periods", maxIntervals)
		}
		wait := v[2] / 1000
		if !b.means && !strings.Contains(text, " client logins/s,") {
			wait = math.NaN()
			b.out.note("How long transactions waited is unknown where the log does not tell that PgBouncer is 1.23 or newer (the line of its start, process up, does): the wait in older logs is no mean. SHOW STATS under \\watch has it of every version.")
		}
		b.periods = append(b.periods, period{m[2], end, v[0], v[1] / 1000, wait})
		return nil
	}
	if m := bouncerStart.FindStringSubmatch(text); m != nil {
		major, _ := strconv.Atoi(m[1])
		minor, _ := strconv.Atoi(m[2])
		b.means = major > 1 || major == 1 && minor >= 23
		return nil
	}
	if m := watchStamp.FindStringSubmatch(text); m != nil {
		if err := b.endTable(); err != nil {
			return err
		}
		stamp := strings.Join(strings.Fields(m[1]+" "+m[2]+" "+m[3]), " ")
		at, ok := date(stamp)
		if !ok {
			return b.in.problem("the time %.60q of \\watch is %s; LC_TIME=C makes psql write one that is known", text, undated(stamp))
		}
		b.stamp = at
		return nil
	}
	cells := strings.Split(text, "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	if len(cells) < 4 {
		return nil // rulers, counts of rows, other lines of a log
	}
	if cells[0] == "database" {
		if err := b.endTable(); err != nil {
			return err
		}
		b.columns = map[string]int{}
		for i, c := range cells {
			b.columns[c] = i
		}
		return nil
	}
	if b.columns == nil || cells[0] == "pgbouncer" {
		return nil
	}
	for name, sum := range map[string]*float64{"total_xact_count": &b.sums.transactions, "total_xact_time": &b.sums.time, "total_wait_time": &b.sums.wait} {
		i, ok := b.columns[name]
		if !ok || i >= len(cells) {
			return b.in.problem("the table has no column %s; SHOW STATS of PgBouncer 1.8 or newer has", name)
		}
		v, ok := number(cells[i])
		if !ok {
			return b.in.problem("%s is %.40q, which is not a number", name, cells[i])
		}
		*sum += v
	}
	return nil
}

// endTable makes an interval of a table and the one before it.
func (b *bouncer) endTable() error {
	if b.columns == nil {
		return nil
	}
	if b.stamp == 0 {
		return b.in.problem("a table of SHOW STATS has no time above it; let psql show it under \\watch 10")
	}
	now, at := b.sums, b.stamp
	b.columns, b.sums, b.stamp = nil, totals{}, 0
	b.tables++
	last, began := b.last, b.lastAt
	b.last, b.lastAt = now, at
	if b.tables == 1 || at <= began {
		return nil
	}
	i := trace.UnknownInterval()
	i.Dur = float64(at-began) / 1e9
	n := now.transactions - last.transactions
	if n < 0 || now.time < last.time || now.wait < last.wait {
		b.out.note("PgBouncer's totals began again: the interval in which they did is unknown.")
		return b.out.interval(float64(began)/1e9, &i)
	}
	i.Rate = n / i.Dur
	if n > 0 {
		i.ServiceMean, i.WaitMean = (now.time-last.time)/n/1000, (now.wait-last.wait)/n/1000
	}
	return b.out.interval(float64(began)/1e9, &i)
}

// writeLog makes intervals of the log's periods. Each is as long as since the one
// before, over which PgBouncer takes its means, unless lines are missing in between.
func (b *bouncer) writeLog() error {
	const least = time.Second
	var gaps []time.Duration
	since := make([]time.Duration, len(b.periods)) // the period before of the same process; 0: it is the first
	ends := map[string]int64{}
	for n, p := range b.periods {
		if before, ok := ends[p.process]; ok {
			if since[n] = time.Duration(p.end - before); since[n] >= least {
				gaps = append(gaps, since[n])
			}
		}
		ends[p.process] = p.end
	}
	usual := time.Minute // stats_period, unless it was changed
	if len(gaps) > 0 {
		slices.Sort(gaps)
		usual = gaps[(len(gaps)-1)/2].Round(time.Second)
	}
	for n, p := range b.periods {
		i := trace.UnknownInterval()
		took := since[n].Round(time.Second)
		if took < least || took > usual+usual/2 {
			took = usual
		}
		i.Dur, i.Rate = took.Seconds(), p.rate
		if p.rate > 0 {
			i.ServiceMean, i.WaitMean = p.service, p.wait
		}
		if err := b.out.interval(max(0, float64(p.end)/1e9-i.Dur), &i); err != nil {
			return err
		}
	}
	return nil
}
