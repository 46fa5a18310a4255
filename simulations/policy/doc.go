// Package policy holds the contenders of the simulation: autotune's own
// controller, fixed sizes, and algorithms of others, written here from their
// published rules.
//
// [New] makes one by its name, [Names] lists them, [Describe] says in a line what
// each does and where its rule is published.
//
// # How a limiter becomes a pool
//
// AIMD, Vegas, Gradient2, failsafe-go's limiter, Envoy's gradient and Vector's ARC
// limit concurrency in front of a service and refuse what is beyond the limit. A
// pool does not refuse: its callers queue. All of them are mapped in one way:
//
//   - The limit is the limit of connections in use; the pool underneath is opened
//     with max at the ceiling and min 0, so that no limit is kept from its effect
//     and none costs a swap.
//   - What was a refusal becomes waiting in the queue. It is not reported to the
//     algorithm; few of them hear of refusals anyway.
//   - A round trip (RTT) is the service time, from getting the connection to giving
//     it back: the limiter sits where the pool's gate sits. Time in the queue is
//     the pool's, not the database's.
//   - A caller that gives up waiting (acquire timeout) is the algorithm's drop
//     signal where it has one: AIMD, Vegas and Gradient2 get a dropped sample whose
//     round trip is the time waited, at a concurrency of the limit (it queued, so
//     the limit was reached); ARC gets back pressure. failsafe-go and Envoy count
//     only what was let in, and hear nothing of it.
//
// That reading of a timeout is the one a user of these libraries gets who wraps a
// pool with them, and it is a trap: a timeout says that callers want more, and is
// taken to mean that there is too much.
//
// Where a request went before it finished is not told to a policy, so "the limiter
// was full" (ARC, failsafe-go) is taken as: callers queued when it finished, or it
// got the last connection that the present limit allows.
//
// Parameters are each project's defaults, except for the upper bound, which is
// [Env.Ceiling], and the start, which is [Env.Start] where that is set. The default
// lower bound of AIMD and Gradient2 (20) is kept only where no start is set: who
// chooses one, would not keep a bound made for request threads, and it is 1. That
// of Envoy (3) is kept always, because it is a part of its rule.
//
// Policies draw randomness only from [Env.Seed]: the same samples and looks give
// the same limits. Completed allocates nothing; it runs once for each simulated
// request.
package policy
