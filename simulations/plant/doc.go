// Package plant simulates callers, a connection pool and a PostgreSQL server in
// virtual time, event by event, so that a controller can be judged on worlds
// that no machine at hand provides. [Run] is the entrance, [Config] the world,
// [Tuner] what decides the size.
//
// # Callers
//
// Open callers come as a renewal process of unit mean whose time passes at the
// rate of the moment (steps, ramps, day, flash crowds, Markov-modulated bursts);
// with CV 1 and a constant rate that is a Poisson process. Closed callers think
// between requests. A caller may give up waiting: that is demand, not failure.
// All that a request will ask for is drawn when it arrives, from streams of their
// own, so that contenders with the same seed meet the same requests.
//
// # The server
//
// A request is a sequence of stages. On the CPU all n runnable backends are
// served at once, each at the rate C(n)/n, with C in cores' worth of work:
//
//	beyond  C(n) = f·b / (1 + σ(n−b) + κ(n−b)n),  b = min(n, cores)
//	usl     C(n) = f·n / (1 + σ(n−1) + κn(n−1))
//	curve   C(n) = f·X(n)·D, of a measured throughput X at a mean CPU demand D
//
// f is the drift, times a speed that may wander from moment to moment; above cliff_n
// active backends C is multiplied by cliff_factor; runnable backends of other clients
// count in n and take their share. Since all
// jobs progress alike, one counter v of the service per job suffices: a job of
// demand d that comes at v ends when the counter reaches v + d, whoever comes and
// goes, and an event costs O(log n). IO is a station of k channels in order of
// asking; a row lock is kept to the end of its request.
//
// # The pool
//
// One queue in order of asking, in front of all generations; a permit goes from
// its releaser to the first in the queue; idle connections are used last in,
// first out; a connection is dialled for a caller that finds none idle, and costs
// a latency and CPU of the server, and its first queries more. A hot-swap moves
// one connection at a time under the budget, as the façade does. Counters and
// gauges of an observation have the definitions of the live observer; the census
// of the server is as old as the live one; a look is put off while a swap runs.
//
// # Why to believe it
//
// Clocks are whole nanoseconds. At the end of each run the integral of the number
// present and the sum of the times measured by each request are compared, for the
// system, the queue, the connections and the CPU: Little's law, to the nanosecond.
// Requests and work are counted twice too. What differs makes the run an error.
// The tests compare with M/M/1, M/M/c, M/G/1 in order and shared, mean value
// analysis of a closed loop, and the recurrence of a queue with c servers.
//
// # What it is not
//
// The kernel's scheduler is not fair to the nanosecond; locks are of rows, not of
// buffers (contention inside the server is σ and κ); the cache is one step, and
// nothing is slow to warm; the network has no queue; plans do not change but by
// drift. Warming the first generation ends when a swap begins. Only the newest
// generation is reaped.
package plant
