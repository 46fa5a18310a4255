// Package model is what autotune believes about one pool and the database
// behind it. It is pure: no clock, no IO, no randomness, and time is always an
// argument, so the same evidence gives the same belief.
//
// There are two beliefs, and each has an online half and an off-line half.
//
//	DEMAND  how many connections do callers ask for?
//	  Window ──▶ Demand ──▶ Rates          demand.go     λ, S, a = λS, burstiness
//	             Histogram                 histogram.go  concurrency, decaying
//	             ErlangCServers            erlang.go     erlangs → connections
//
//	SUPPLY  how many connections does the database reward?
//	  levels of use    ──▶ Occupancy     occupancy.go  the curve in the pool's ups and downs
//	  saturated Window ──▶ Samples       samples.go    evidence per n, drift
//	  []Point          ──▶ FitCapacity   capacity.go   model, peak and knee
//	                         ├─ usl.go        contention and coherence, smooth
//	                         ├─ mmc.go        c servers, sharp
//	                         ├─ bounded.go    straight, flat, decline, cliff
//	                         ├─ selection.go  which model the evidence prefers
//	                         ├─ unimodal.go   what the data say without a model
//	                         └─ knee.go       the knee, its interval, or what is missing
//
// The online half ([Demand], [Histogram], [Occupancy], [Samples]) is called at every look.
// Its types are plain values of fixed size: they hold no pointer, map or slice,
// copy by assignment, compare with ==, survive JSON, and allocate nothing. The
// off-line half allocates and takes milliseconds; call it when the evidence has
// changed.
//
// No type here is safe for concurrent use.
package model
