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
// pgxpool.Pool underneath, a generation. A higher max is granted in place. All else
// takes a hot-swap, and is rare: the next generation is built and checked, callers use
// both while connections move over one by one, and the old one drains. No query
// fails, waits for a swap or runs twice because of it, and the server
// connections of all generations together never exceed the budget.
//
// # How it goes on
//
// Once a second, and more often while callers queue: observe the pool's counters,
// the server's pg_stat_activity over a connection of its own, and the host;
// estimate what callers demand and what throughput the server gives at which
// number of connections; size within the bounds; decide when and how far to move;
// actuate; explain. Every [Decision] has a reason from a closed set and the
// numbers behind it. What decides is pure: the same observations give the same
// decisions, live and in a replay of the Journal. If it cannot see, or ends, the
// pool stays at its last good size and works on as an ordinary pgxpool.
//
// # Where it starts
//
// At the size the pool would have had: pool_max_conns of the connection string
// or Config.Pool.MaxConns, which then is the ceiling as well (a MaxConns in code
// only where it is not pgxpool's default: say Ceiling), or pgxpool's default. With
// a queue it learns the knee of the throughput curve, the fewest
// connections that give nearly all of the peak, and keeps the limit there.
// Without a queue it moves the limit only where the load's own ups and downs have
// shown that fewer serve more, or where the server is crowded.
//
// # Words
//
// In use is given and not yet back, queued is asked and not yet given,
// utilization is in use / limit. Service time is how long a connection is held,
// wait time is from asking to getting, and the knee is the fewest connections in use
// that give nearly all of the peak throughput.
//
// Everything not said here is as in pgxpool. Transactions, rows, batches and
// hijacked connections belong to the generation they came from and end there.
package autotune
