// Package ingest makes traces from what others write: load generators, poolers,
// proxies, monitoring and published data sets.
//
// [Import] finds out what a file is ([Formats] lists what can be read), reads it
// and writes a trace. What a source knows decides what the trace says: whether
// stamps are of arrivals or of completions, whether the recorded callers waited for
// their answers (a closed loop), whether service times hold the contention of the
// run, to what quantum times were rounded. What it does not know stays unknown.
//
// Files: ingest.go is the way of an import, sink.go and superpose.go
// collect, sort and add up rows, lines.go and times.go read text; every other file is one
// source, but for nested.go, of otel.go, and prometheus_columns.go and prometheus_rows.go.
package ingest
