package pgstat

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// SQLSTATEs that the inventory can live with.
const (
	lockNotAvailable = "55P03" // lock_timeout: a table or index is being rebuilt
	queryCanceled    = "57014" // statement_timeout
)

// ErrNoVector means that pgvector is not installed in the connected database.
// CREATE EXTENSION vector installs it.
var ErrNoVector = errors.New("pgvector is not installed in this database; install it with CREATE EXTENSION vector")

// Vectors is the inventory of pgvector in the connected database.
type Vectors struct {
	Installed bool
	Version   string // e.g. 0.8.0
	Schema    string // of the extension
	// Usable is true when a distance could be computed; else Missing says why.
	Usable bool

	Columns []VectorColumn
	Indexes []VectorIndex

	// Rows is the estimated number of rows of all tables with a vector
	// column, each table once and partitions by their leaves; -1 when none of
	// these tables was ever analyzed.
	Rows float64
	// NeverAnalyzed is how many of these tables Rows leaves out.
	NeverAnalyzed int
	TableBytes    int64 // of these tables, TOAST included, indexes not
	IndexBytes    int64 // of the vector indexes
	// Estimated is true when bytes are those of the last VACUUM or ANALYZE,
	// because a lock kept the reader from measuring.
	Estimated bool
}

// VectorColumn is a stored column of a pgvector type.
type VectorColumn struct {
	Schema, Table, Column string
	Type                  string  // vector, halfvec or sparsevec
	Dimensions            int     // 0 when declared without
	Rows                  float64 // the planner's estimate for the table; -1: never analyzed
	TableBytes            int64   // of the table, TOAST included, indexes not
}

// VectorIndex is an index that holds data, of pgvector or of an extension that
// indexes its types.
type VectorIndex struct {
	Schema, Index, Table string
	Method               string // hnsw, ivfflat; diskann, scann, ivf, vchordrq or vchordg of others
	Bytes                int64
	Valid                bool // false: left behind by a failed CREATE INDEX CONCURRENTLY, or not yet ready
	Building             bool // it is being built, as far as this role may see

	M              int // hnsw: connections per layer
	EFConstruction int // hnsw: candidate list while building
	Lists          int // ivfflat: number of lists
}

// Querier is the part of *pgx.Conn, *pgxpool.Conn, pgx.Tx and pools that
// [CheckVector] needs.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// CheckVector computes one distance, which proves that pgvector is installed,
// that the role may use it, and that its library loads. It depends on no
// search_path and leaves no prepared statement behind. The error is
// [ErrNoVector] when the extension is absent. It takes two round trips.
func CheckVector(ctx context.Context, q Querier) error {
	var (
		version, schema string
		usable          bool
	)
	err := q.QueryRow(ctx, statement("extension"), pgx.QueryExecModeExec).Scan(&version, &schema, &usable)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNoVector
	}
	if err != nil {
		return fmt.Errorf("pgstat: cannot tell whether pgvector is installed: %w", err)
	}
	var distance float64
	if err := q.QueryRow(ctx, distanceIn(schema), pgx.QueryExecModeExec).Scan(&distance); err != nil {
		return vectorError(version, schema, usable, err)
	}
	return checkDistance(version, distance)
}

// CheckVector does the same as the function [CheckVector], over the reader's
// own connection and within Config.FactsTimeout.
func (r *Reader) CheckVector(ctx context.Context) error {
	return r.session(ctx, r.cfg.FactsTimeout, "compute a vector distance", func(ctx context.Context) error {
		var v Vectors
		if err := r.extension(ctx, &v); err != nil {
			return err
		}
		if !v.Installed {
			return ErrNoVector
		}
		return r.distance(ctx, v)
	})
}

// vectors fills the inventory. What the server refuses becomes a sentence.
func (r *Reader) vectors(ctx context.Context, f *Facts) error {
	v := &f.Vectors
	if err := r.extension(ctx, v); err != nil || !v.Installed {
		return err
	}
	err := r.distance(ctx, *v)
	v.Usable = err == nil
	if err != nil {
		if _, ok := refused(err); !ok {
			return err
		}
		f.miss("A vector distance cannot be computed: %v.", err)
	}

	err = r.inventory(ctx, v, true)
	if answer, ok := refused(err); ok && answer.Code == lockNotAvailable {
		v.Estimated = true
		f.miss("Sizes of vector tables and indexes are those of the last VACUUM or ANALYZE, because one of them is locked (by VACUUM FULL, REINDEX or ALTER TABLE, for example). The next look tries again.")
		err = r.inventory(ctx, v, false)
	}
	if answer, ok := refused(err); ok && answer.Code == queryCanceled {
		f.miss("The inventory of vector columns and indexes took too long and was left out: %v.", err)
		return nil
	}
	if err != nil {
		return err
	}
	if v.NeverAnalyzed > 0 {
		f.miss("The number of rows is unknown for %d of the tables with vectors, because they were never analyzed. To count them: ANALYZE;", v.NeverAnalyzed)
	}
	return nil
}

func (r *Reader) extension(ctx context.Context, v *Vectors) error {
	return r.query(ctx, statement("extension"), nil, func(rows pgx.Rows) error {
		v.Installed = true
		return rows.Scan(&v.Version, &v.Schema, &v.Usable)
	})
}

func (r *Reader) distance(ctx context.Context, v Vectors) error {
	var distance float64
	err := r.query(ctx, distanceIn(v.Schema), nil, func(rows pgx.Rows) error { return rows.Scan(&distance) })
	if err != nil {
		return vectorError(v.Version, v.Schema, v.Usable, err)
	}
	return checkDistance(v.Version, distance)
}

func (r *Reader) inventory(ctx context.Context, v *Vectors, measure bool) error {
	v.Columns, v.Indexes = nil, nil
	v.Rows, v.NeverAnalyzed, v.TableBytes, v.IndexBytes = 0, 0, 0, 0
	tables, seen := 0, make(map[uint32]bool)
	err := r.query(ctx, statement("columns"), []any{measure}, func(rows pgx.Rows) error {
		var (
			c   VectorColumn
			dim *int
			oid uint32
		)
		if err := rows.Scan(&c.Schema, &c.Table, &c.Column, &c.Type, &dim, &oid, &c.Rows, &c.TableBytes); err != nil {
			return err
		}
		if dim != nil {
			c.Dimensions = *dim
		}
		v.Columns = append(v.Columns, c)
		if seen[oid] {
			return nil
		}
		seen[oid] = true
		tables++
		v.TableBytes += c.TableBytes
		if c.Rows < 0 {
			v.NeverAnalyzed++
		} else {
			v.Rows += c.Rows
		}
		return nil
	})
	if err != nil {
		return err
	}
	if tables > 0 && v.NeverAnalyzed == tables {
		v.Rows = -1
	}
	return r.query(ctx, statement("indexes"), []any{measure}, func(rows pgx.Rows) error {
		var (
			x       VectorIndex
			options []string
		)
		if err := rows.Scan(&x.Schema, &x.Index, &x.Table, &x.Method, &x.Bytes, &x.Valid, &x.Building, &options); err != nil {
			return err
		}
		x.options(options)
		v.Indexes = append(v.Indexes, x)
		v.IndexBytes += x.Bytes
		return nil
	})
}

// options fills in the build parameters, with pgvector's documented defaults
// for those not given.
func (x *VectorIndex) options(given []string) {
	switch x.Method {
	case "hnsw":
		x.M, x.EFConstruction = 16, 64
	case "ivfflat":
		x.Lists = 100
	}
	for _, option := range given {
		name, value, _ := strings.Cut(option, "=")
		n, err := strconv.Atoi(value)
		if err != nil {
			continue // an option of a newer pgvector that is not a number
		}
		switch name {
		case "m":
			x.M = n
		case "ef_construction":
			x.EFConstruction = n
		case "lists":
			x.Lists = n
		}
	}
}

// distanceIn is vector_check.sql for an extension that lives in schema.
func distanceIn(schema string) string {
	quoted := pgx.Identifier{schema}.Sanitize()
	return strings.NewReplacer(
		"::public.vector", "::"+quoted+".vector",
		"operator(public.<->)", "operator("+quoted+".<->)",
	).Replace(statement("vector_check"))
}

func vectorError(version, schema string, usable bool, err error) error {
	if !usable {
		quoted := pgx.Identifier{schema}.Sanitize()
		return fmt.Errorf("pgvector %s is installed, but this role may not use its schema (GRANT USAGE ON SCHEMA %s TO the role): %w", version, quoted, err)
	}
	return fmt.Errorf("pgvector %s is installed, but does not work: %w", version, err)
}

// errDistance is a library that computes something else.
var errDistance = errors.New("a wrong distance")

// TellsOfVector tells whether the error of [CheckVector] is about pgvector: not that of
// a lost connection, a timeout, a lock, or a server that is in want of something.
func TellsOfVector(err error) bool {
	if errors.Is(err, ErrNoVector) || errors.Is(err, errDistance) {
		return true
	}
	answer, ok := refused(err)
	return ok && answer.Code != queryCanceled && answer.Code != lockNotAvailable && !strings.HasPrefix(answer.Code, "53") && !strings.HasPrefix(answer.Code, "57P")
}

func checkDistance(version string, got float64) error {
	want := math.Sqrt(27) // three times 3²
	if math.Abs(got-want) > 1e-9 {
		return fmt.Errorf("pgvector %s is installed, but computes %w: %v between [1,2,3] and [4,5,6], which is %v", version, errDistance, got, want)
	}
	return nil
}
