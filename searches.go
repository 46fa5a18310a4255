package autotune

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

// Searches counts the vector searches that callers ran, cumulatively: statements
// with a distance operator of pgvector (<->, <=>, <#>, <+>, <~>, <%>), in batches
// too. Statements that the caller prepared under a name of its own are not
// recognised, because pgx is then given the name only.
type Searches struct {
	Succeeded int64
	Failed    int64 // an error of the server, statement_timeout and the deadline of the caller included
	Canceled  int64 // the caller went away: neither of both
}

type searchCounters struct{ succeeded, failed, canceled atomic.Int64 }

func (c *searchCounters) count(err error) {
	switch {
	case err == nil:
		c.succeeded.Add(1)
	case errors.Is(err, context.Canceled):
		c.canceled.Add(1)
	default:
		c.failed.Add(1)
	}
}

func (c *searchCounters) snapshot() Searches {
	return Searches{Succeeded: c.succeeded.Load(), Failed: c.failed.Load(), Canceled: c.canceled.Load()}
}

// isSearch tells whether a statement has a distance operator: a "<", one of six
// characters and ">". In front of a placeholder or a column nothing else in SQL
// looks like that, but for the operators <-> of points and <=> of nobody.
func isSearch(sql string) bool {
	for {
		i := strings.IndexByte(sql, '<')
		if i < 0 || i+2 >= len(sql) {
			return false
		}
		if sql[i+2] == '>' && strings.IndexByte("-=#+~%", sql[i+1]) >= 0 {
			return true
		}
		sql = sql[i+1:]
	}
}

// TraceQueryStart implements [pgx.QueryTracer]: pgx calls it before each
// statement, and the answer to it comes before the next one on the connection.
func (t *tracer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if s := socketOf(conn); s != nil {
		s.searching = s.isHeld() && isSearch(data.SQL) // not held: a check of pgvector as the connection opens
	}
	return t.QueryTracer.TraceQueryStart(ctx, conn, data)
}

// TraceQueryEnd implements [pgx.QueryTracer].
func (t *tracer) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	if s := socketOf(conn); s != nil && s.searching {
		s.searching = false
		t.pool.searches.count(data.Err)
	}
	t.QueryTracer.TraceQueryEnd(ctx, conn, data)
}

// TraceBatchQuery implements [pgx.BatchTracer] for one statement of a batch.
func (t *tracer) TraceBatchQuery(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchQueryData) {
	if isSearch(data.SQL) {
		t.pool.searches.count(data.Err)
	}
	t.BatchTracer.TraceBatchQuery(ctx, conn, data)
}
