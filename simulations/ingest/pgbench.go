package ingest

import (
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pgautotune/autotune/simulations/trace"
)

// The logs of pgbench --log, as its manual describes them. A transaction:
//
//	client_id transaction_no time script_no time_epoch time_us [ schedule_lag ] [ retries ]
//
// where time is in µs, from the scheduled start with --rate, and the stamp is that
// of the completion. Aggregated, with times in µs and sums of squares of them:
//
//	interval_start transactions sum_latency sum_latency_2 min_latency max_latency
//	[ sum_lag sum_lag_2 min_lag max_lag [ skipped
//	[ retried retries serialization_failures deadlock_failures ] ] ]

func isPgbench(head string) bool {
	f := strings.Fields(firstLine(head))
	return isPgbenchTransaction(f) || isPgbenchAggregate(f)
}

// since is a time that is one of a log: from 2001 on.
func since(text string) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && n > 1e9 && n < latest
}

func isPgbenchTransaction(f []string) bool {
	return len(f) >= 6 && len(f) <= 8 && since(f[4]) && len(f[5]) <= 6
}

func isPgbenchAggregate(f []string) bool {
	return (len(f) == 6 || len(f) == 10 || len(f) == 11 || len(f) == 15) && since(f[0])
}

func readPgbench(in *input, out *sink) error {
	text, err := in.next()
	if err != nil {
		return emptyFile(in, err)
	}
	if isPgbenchAggregate(strings.Fields(text)) {
		return readPgbenchAggregate(in, out, text)
	}
	return readPgbenchTransactions(in, out, text)
}

func emptyFile(in *input, err error) error {
	if err == io.EOF {
		return in.problem("the file is empty")
	}
	return err
}

func readPgbenchTransactions(in *input, out *sink, text string) error {
	columns := len(strings.Fields(text))
	throttled := columns > 6
	open := throttled
	names := []string{"t_s", "service_ms", "class", "status", "session"}
	if throttled {
		names = []string{"t_s", "service_ms", "wait_ms", "class", "status", "session"}
		out.note("Column 7 was taken for the schedule lag of --rate; with --max-tries and without --rate it would be retries.")
	}
	if out.begun && out.header.Kind == trace.Events && *out.header.OpenLoop != open {
		return in.problem("the line has %d fields, and of this and the file before only one has the schedule lag of --rate: they are not of one run; import each alone", columns)
	}
	out.begin(trace.Header{Kind: trace.Events, ServiceKind: trace.Observed, OpenLoop: &open, Source: "pgbench --log"}, names)
	counts := numbering{}
	for err := error(nil); err == nil; text, err = in.next() {
		f := strings.Fields(text)
		if len(f) != columns || !isPgbenchTransaction(f) {
			if columns != len(f) {
				return in.problem("the line has %d fields and the first one %d; a transaction of pgbench --log has 6 to 8, always as many", len(f), columns)
			}
			return in.problem("the line is not a transaction of pgbench --log")
		}
		seconds, _ := strconv.ParseInt(f[4], 10, 64)
		micros, ok := number(f[5])
		if !ok {
			return in.problem("column 6 is %.20q, which is not a number of microseconds", f[5])
		}
		done := seconds*int64(time.Second) + int64(micros*1000)
		e := trace.UnknownEvent()
		e.Session, e.Class, e.Status = "client"+f[0], "script"+f[3], "ok"
		if took, ok := number(f[2]); ok { // completed: the stamp is its end
			lag := 0.0
			if throttled {
				if lag, ok = number(f[6]); !ok || lag > took {
					return in.problem("column 7 is %.20q, which is not a lag within the %v µs that it took", f[6], took)
				}
				e.Wait = lag / 1000
			}
			e.Service = (took - lag) / 1000
			done -= int64(took * 1000)
		} else if e.Status = f[2]; strings.Trim(e.Status, "abcdefghijklmnopqrstuvwxyz") != "" {
			return in.problem("column 3 is %.20q, which is neither a latency nor skipped or failed", f[2])
		}
		if done < 0 {
			return in.problem("the transaction took longer than since 1970")
		}
		if err := out.event(done, &e); err != nil {
			return err
		}
		counts.add(f[0], f[1], out)
	}
	if err := in.rest(); err != nil {
		return err
	}
	noteSample(out)
	return nil
}

// maxClients bounds the clients whose numbering is followed.
const maxClients = 1 << 16

// numbering is the number of each client's last transaction. With --sampling-rate
// lines are left out, and the numbers go on.
type numbering map[string]int64

func (last numbering) add(client, number string, out *sink) {
	n, err := strconv.ParseInt(number, 10, 64)
	before, known := last[client]
	if err != nil || !known && len(last) == maxClients {
		return
	}
	last[strings.Clone(client)] = n
	if known && n > before { // else another run began
		out.followed++
		out.apart += n - before
	}
}

// noteSample tells a sample by the numbers that are missing, in all files so far. A
// line or two may be missing for other reasons.
func noteSample(out *sink) {
	rate := float64(out.followed) / float64(out.apart)
	if !(rate < 0.99) {
		return
	}
	out.header.SampleRate, _ = strconv.ParseFloat(strconv.FormatFloat(rate, 'g', 3, 64), 64)
	out.note("Numbers of transactions are missing, as --sampling-rate leaves them out: sample_rate is what is there of them. Without a rate scale of its inverse, a replay has only the load of the sample.")
}

func readPgbenchAggregate(in *input, out *sink, text string) error {
	columns := len(strings.Fields(text))
	lagging := false // as soon as a file, of any thread, has a lag
	out.begin(trace.Header{Kind: trace.Intervals, ServiceKind: trace.Observed, OpenLoop: &lagging, QuantumS: 1, Source: "pgbench --log --aggregate-interval"},
		[]string{"t_s", "dur_s", "rate_rps", "arrivals", "service_ms_mean", "service_ms_cv", "wait_ms_mean"})
	var rows []trace.Interval
	for err := error(nil); err == nil; text, err = in.next() {
		f := strings.Fields(text)
		if len(f) != columns || !isPgbenchAggregate(f) {
			return in.problem("the line is not an interval of pgbench --aggregate-interval: %d fields, and the first line has %d", len(f), columns)
		}
		var v [15]float64
		for k := range f {
			var ok bool
			if v[k], ok = number(f[k]); !ok {
				return in.problem("column %d is %.20q, which is not a number", k+1, f[k])
			}
		}
		i := trace.UnknownInterval()
		i.T, i.Arrivals = v[0], v[1]
		done := v[1]
		if columns == 11 { // until PostgreSQL 14 skipped ones, which have no latency, are counted
			done -= v[10]
		} else if columns == 15 { // from 15 on neither they nor failed ones are
			i.Arrivals += v[10] + v[13] + v[14]
		}
		if done > 0 {
			service := max(0, v[2]-v[6]) / done
			i.ServiceMean = service / 1000
			if v[6] == 0 && service > 0 { // the variance of latency − lag is not known
				i.ServiceCV = math.Sqrt(max(0, v[3]/done-service*service)) / service
			}
			if v[6] > 0 {
				i.WaitMean, *out.header.OpenLoop = v[6]/done/1000, true
			}
		}
		rows = append(rows, i)
		if len(rows) > maxIntervals {
			return in.problem("there are more than %d intervals", maxIntervals)
		}
	}
	if err := in.rest(); err != nil {
		return err
	}
	out.note("Arrivals are transactions counted when they completed.")
	for k := range rows {
		switch {
		case k+1 < len(rows):
			rows[k].Dur = rows[k+1].T - rows[k].T
		case k > 0:
			rows[k].Dur = rows[k-1].Dur
		}
		if !(rows[k].Dur > 0) {
			if len(rows) == 1 {
				return in.problem("one interval alone does not tell how long it is")
			}
			return in.problem("interval %d does not begin after the one before it", k+2)
		}
		rows[k].Rate = rows[k].Arrivals / rows[k].Dur
		if err := out.interval(rows[k].T, &rows[k]); err != nil {
			return err
		}
	}
	return nil
}
