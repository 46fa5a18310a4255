// Package advice turns what was seen of a server from outside into a pool size
// that can be defended: how many connections, why, how sure, and what would settle
// what observation alone cannot know. It is pure: it reads nothing and draws
// nothing; internal/survey looks, cmd/autotune prints. docs/recommend.md explains
// the methods and their limits.
//
// In order of use: recording.go is what was seen; tally.go adds it up for one
// subject (the server, or one application); demand.go says how many connections
// are asked for, supply.go how many the server can use, locks.go the same where
// rows are the bottleneck; advise.go decides between them; size.go bounds and
// divides; findings.go says what is worth mending, vectors.go prices the memory.
package advice
