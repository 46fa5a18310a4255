// Package bench measures tuned pools against fixed ones on a real PostgreSQL
// with pgvector. It is the live proof: real queries, a real server, no model.
//
// Machines are noisy, and a server that was slow for ten seconds must not decide
// who wins. So all contenders alternate in short slices within one run, in an
// order that rotates from round to round, and are compared round by round. What
// learns (the tuned pools, and failsafe-go's limiter) first runs alone, from
// cold, and keeps what it learned over the rounds; a fixed pool is opened and
// warmed before its slice and closed after it, so that no other pool's idle
// connections weigh on it; and the next begins when the machine has come to rest.
//
// In order of use: [Options] say what to run, [NewPlan] how long that takes,
// [Plan.Run] does it and gives a [Result], which is the JSON document; WriteText
// makes the tables of it and WritePlots the pictures.
//
// The files, in that order: options.go, workloads.go, contenders.go, plan.go;
// database.go is the server and its vectors, run.go what is done for each
// workload, field.go who takes part in it, subject.go a contender's pool
// (limiter.go failsafe-go's), cold.go the time alone, slice.go a turn, shift.go
// the load that changes, watch.go follows a limit and tells when it has settled;
// statistics.go, result.go, notes.go, text.go and plots.go are what is made of the
// figures.
package bench
