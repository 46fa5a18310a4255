// Package load makes work for a pool: real vectors in real tables, a few kinds
// of request as a service would make them, clients or arrivals that make them,
// and a record of how they went. The demo and the benchmarks share it.
//
// In order of use: a [Mixture] draws clustered vectors; a [Dataset] puts them
// into tables of its own; a [Workload] is one request on a [Pool], tuned or not;
// a [Shape] says how requests follow one another ([Closed] clients, or [Open]
// arrivals whose response time counts from when they were due); [Run] drives them
// for a while; a [Recorder] counts, and can be read while it does.
//
// What is random is seeded: the same seed gives the same vectors, queries and
// arrivals.
package load
