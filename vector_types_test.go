package autotune_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgvector/pgvector-go"
	pgxvector "github.com/pgvector/pgvector-go/pgx"
)

func TestVectorTypesRegisteredInAfterConnectSurviveSwaps(t *testing.T) {
	leakFree(t)
	p := open(t, pgtest.DSN(t), 2, func(cfg *autotune.Config) { cfg.Pool.AfterConnect = pgxvector.RegisterTypes })
	ctx := within(t)
	mustExec(t, p, "create table items (id int, embedding vector(3))")
	for i := range 4 {
		in := pgvector.NewVector([]float32{1, 2, float32(i)})
		if _, err := p.CopyFrom(ctx, pgx.Identifier{"items"}, []string{"id", "embedding"}, pgx.CopyFromRows([][]any{{i, in}})); err != nil {
			t.Fatalf("copying a vector in binary needs its type: %v", err)
		}
		var out pgvector.Vector
		var distance float64
		err := p.QueryRow(ctx, "select embedding, embedding <-> $1 from items order by embedding <-> $1 limit 1", in).Scan(&out, &distance)
		if err != nil || distance != 0 || fmt.Sprint(out.Slice()) != fmt.Sprint(in.Slice()) {
			t.Errorf("%v came back as %v, distance %v, %v", in, out, distance, err)
		}
		if err := p.Resize(ctx, autotune.Size{Max: 1 + i%2, Min: 1}); err != nil {
			t.Fatal(err)
		}
	}
}
