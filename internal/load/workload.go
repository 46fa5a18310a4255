package load

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Workload is one kind of request. Do makes the n-th one and returns when the
// service would answer its own caller; it is safe for concurrent use, and an
// error means that the request failed.
type Workload interface {
	Do(ctx context.Context, p Pool, n uint64) error
}

// neighbours is how many rows a search asks for.
const neighbours = 10

// queryCount is how many different queries a search cycles through: enough that
// the pages they touch are those of the whole index.
const queryCount = 2000

// search is one nearest-neighbour query over a table.
type search struct {
	sql     string
	queries []string // vectors as text, made beforehand: the generator must not be the bottleneck
	want    int      // rows it must return
}

func newSearch(d *Dataset, table string, rows int) search {
	s := search{
		sql:     fmt.Sprintf("select id from %s order by v <-> $1::vector limit %d", d.Table(table), neighbours),
		queries: make([]string, queryCount),
		want:    min(neighbours, rows),
	}
	for i := range s.queries {
		s.queries[i] = d.Mixture.Text(Queries, uint64(i))
	}
	return s
}

// querier is a pool or a transaction of it.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func (s *search) on(ctx context.Context, q querier, n uint64) error {
	rows, err := q.Query(ctx, s.sql, s.queries[n%uint64(len(s.queries))])
	if err != nil {
		return err
	}
	defer rows.Close()
	found := 0
	for rows.Next() {
		found++
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if found < s.want {
		return fmt.Errorf("the search found %d rows instead of %d", found, s.want)
	}
	return nil
}

// IndexSearch asks for the nearest rows by the HNSW index.
type IndexSearch struct{ search search }

// NewIndexSearch prepares searches of d's items.
func NewIndexSearch(d *Dataset) *IndexSearch {
	return &IndexSearch{newSearch(d, "items", d.Vectors)}
}

// Do searches once.
func (w *IndexSearch) Do(ctx context.Context, p Pool, n uint64) error { return w.search.on(ctx, p, n) }

// UsesIndex tells whether the planner takes the index. For a small table a scan
// is cheaper, and then this is an [ExactScan].
func (w *IndexSearch) UsesIndex(ctx context.Context, conn *pgx.Conn) (bool, error) {
	// Without a prepared statement: the parameter has to be planned as a value.
	rows, err := conn.Query(ctx, "explain "+w.search.sql, pgx.QueryExecModeExec, w.search.queries[0])
	if err != nil {
		return false, err
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return strings.Contains(strings.Join(plan, "\n"), indexName), err
}

// HoldingSearch searches in a transaction and keeps it open, idle, while its
// caller works: what a service does that calls a model or another service
// between begin and commit.
type HoldingSearch struct {
	search search
	hold   time.Duration
}

// NewHoldingSearch prepares searches of d's items that hold their connection for
// so long after the search.
func NewHoldingSearch(d *Dataset, hold time.Duration) *HoldingSearch {
	return &HoldingSearch{newSearch(d, "items", d.Vectors), hold}
}

// Do searches once and holds.
func (w *HoldingSearch) Do(ctx context.Context, p Pool, n uint64) error {
	tx, err := p.Begin(ctx)
	if err != nil {
		return err
	}
	// After a commit it does nothing.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := w.search.on(ctx, tx, n); err != nil {
		return err
	}
	if err := pause(ctx, w.hold); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// ExactScan asks for the nearest rows of a small table without an index: all
// computing, no waiting.
type ExactScan struct{ search search }

// NewExactScan prepares scans of d's exact rows.
func NewExactScan(d *Dataset) *ExactScan { return &ExactScan{newSearch(d, "exact", d.Exact)} }

// Do scans once.
func (w *ExactScan) Do(ctx context.Context, p Pool, n uint64) error { return w.search.on(ctx, p, n) }

// Insert adds a vector to the indexed table, each time another one: equal vectors
// share a node of the graph and would cost nearly nothing.
type Insert struct {
	sql     string
	mixture *Mixture
}

// NewInsert prepares inserts into d's items.
func NewInsert(d *Dataset) *Insert {
	return &Insert{"insert into " + d.Table("items") + " (v) values ($1::vector)", d.Mixture}
}

// Do inserts one row.
func (w *Insert) Do(ctx context.Context, p Pool, n uint64) error {
	_, err := p.Exec(ctx, w.sql, w.mixture.Text(Inserts, n))
	return err
}

// HotUpdate adds one to one of a few rows that everybody wants: the callers wait
// for each other's locks, and more connections make that queue longer.
type HotUpdate struct {
	sql  string
	rows uint64
}

// NewHotUpdate prepares updates of d's counters, of which it needs at least one.
func NewHotUpdate(d *Dataset) *HotUpdate {
	return &HotUpdate{"update " + d.Table("counters") + " set n = n + 1 where id = $1", uint64(max(1, d.Counters))}
}

// Do updates one row.
func (w *HotUpdate) Do(ctx context.Context, p Pool, n uint64) error {
	tag, err := p.Exec(ctx, w.sql, int64(scramble(n)%w.rows*quietRows)+1)
	if err == nil && tag.RowsAffected() != 1 {
		return fmt.Errorf("the update changed %d rows instead of 1", tag.RowsAffected())
	}
	return err
}

// pause waits, or returns ctx's error if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
