// Package trace reads and writes autotune-trace v1: what callers asked of a
// connection pool, as a text file that a person can read and any tool can make.
//
// The first line says what follows:
//
//	#autotune-trace {"version":1,"kind":"events","service_kind":"base"}
//
// After it comes CSV with a line of column names, or a JSON object a line; all of
// it plain or gzipped. Which of these it is, is seen in the content and not in the
// name. There are three kinds:
//
//   - events: one request a row, in order of arrival ([Event]);
//   - intervals: rates and means over a stretch of time a row ([Interval]);
//   - capacity: how fast the database was from a time on ([Capacity]).
//
// Times are in seconds from the start and never fall, durations in milliseconds,
// rates per second. An empty field is unknown, which is NaN for numbers and "" for
// text. Columns that this package does not know are ignored.
//
// A [Reader] streams: its memory does not grow with the file, whatever the file
// holds. What it cannot read it names by file, line and reason ([Error]).
//
// Between a trace and a simulation stands a [Plan]: it spreads times that were
// recorded too coarsely, draws arrivals from intervals, and scales. Everything it
// does to a trace, it can say in words.
//
// Files, in order of use: header.go and rows.go are the format, reader.go and
// number.go read it, writer.go writes it; plan.go says what to do to a trace, and
// spread.go, multiply.go, arrivals.go and deflate.go do it.
package trace
