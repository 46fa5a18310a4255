// Package autotune is a connection pool for PostgreSQL that keeps itself at the
// right size and says why. It is a drop-in replacement for [pgxpool.Pool]:
//
//	pool, err := autotune.New(ctx, os.Getenv("DATABASE_URL"))
//	if err != nil {
//		return err
//	}
//	defer pool.Close()
//	rows, err := pool.Query(ctx, "select id from items order by embedding <-> $1 limit 10", v)
//
// # What is tuned
//
// Two things. The limit is how many connections are in use at once. It moves in
// microseconds and costs nothing, so it follows the load and is moved a little
// on purpose to learn what the server rewards. The size is max and min of the
// pgxpool.Pool underneath, a generation. It changes rarely, because only a
// hot-swap can change it: the next generation is built and checked, callers use
// both while connections move over one by one, and the old one drains. No query
// fails, waits for a swap or runs twice because of it, and the server
// connections of all generations together never exceed the budget.
//
// # How it goes on
//
// Six verbs, once a second and more often while callers queue:
//
//   - observe: the pool's own counters, the server's pg_stat_activity over a
//     connection of its own, CPU and RAM of the host;
//   - estimate: what callers demand, and what throughput the server gives at
//     which number of connections;
//   - size: how many connections that asks for, within the bounds;
//   - decide: when and how far to move;
//   - actuate: the limit now, a hot-swap rarely;
//   - explain: every [Decision] has a reason from a closed set and the numbers
//     behind it, in the log, in [Pool.Snapshot] and, for replay, in the Journal.
//
// The three in the middle are pure functions: the same observations give the
// same decisions. If the controller cannot see, or ends, the pool stays at its
// last good size and works on as an ordinary pgxpool.
//
// # Where it starts
//
// At the size the pool would have had: pool_max_conns of the connection string
// or Config.Pool.MaxConns, which then is the ceiling as well, or pgxpool's
// default. With a queue it learns the knee of the throughput curve, the fewest
// connections that give nearly all of the peak, and keeps the limit there.
// Without a queue it leaves the limit alone.
//
// # Words
//
//	arrival rate  callers per second that ask for a connection
//	service time  how long a connection is held
//	offered load  arrival rate × service time, in erlangs
//	wait time     from asking to getting
//	in use        given and not yet back
//	queued        asked and not yet given
//	limit         most connections in use at once
//	size          max and min of the pool underneath
//	budget        most server connections of all generations
//	utilization   in use / limit
//	knee          top of the throughput curve
//	bounds        hard walls: floor, ceiling, and what the server has room for
//	generation    one pgxpool.Pool under the façade
//
// Everything not said here is as in pgxpool. Transactions, rows, batches and
// hijacked connections belong to the generation they came from and end there.
package autotune
