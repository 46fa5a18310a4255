package autotune

import (
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// statAccessors says which field each accessor of pgxpool.Stat reads.
var statAccessors = map[string][]string{
	"AcquireCount":            {"acquireCount"},
	"AcquireDuration":         {"acquireDuration"},
	"AcquiredConns":           {"acquiredResources"},
	"CanceledAcquireCount":    {"canceledAcquireCount"},
	"ConstructingConns":       {"constructingResources"},
	"EmptyAcquireCount":       {"emptyAcquireCount"},
	"IdleConns":               {"idleResources"},
	"MaxConns":                {"maxResources"},
	"TotalConns":              {"constructingResources", "acquiredResources", "idleResources"},
	"NewConnsCount":           {"newConnsCount"},
	"MaxLifetimeDestroyCount": {"lifetimeDestroyCount"},
	"MaxIdleDestroyCount":     {"idleDestroyCount"},
	"EmptyAcquireWaitTime":    {"emptyAcquireWaitTime"},
}

// A future pgx that names a field otherwise, or has another accessor, fails here.
func TestEveryAccessorOfPgxpoolStatIsFilledByFieldName(t *testing.T) {
	values := map[string]int64{}
	for _, fields := range statAccessors {
		for _, f := range fields {
			if values[f] == 0 {
				values[f] = 1 << len(values) // no two sums are the same
			}
		}
	}
	if len(values) != len(statFields) {
		t.Errorf("pgxpool.Stat has %d fields, of which %d are known: %v", len(statFields), len(values), statFields)
	}
	stat := reflect.ValueOf(newStat(values))
	accessors := reflect.TypeFor[*pgxpool.Stat]()
	for i := range accessors.NumMethod() {
		name := accessors.Method(i).Name
		fields, ok := statAccessors[name]
		if !ok {
			t.Errorf("pgxpool.Stat has got a new accessor %s: fill its field in Pool.Stat", name)
			continue
		}
		var want int64
		for _, f := range fields {
			want += values[f]
		}
		if got := stat.MethodByName(name).Call(nil)[0].Int(); got != want {
			t.Errorf("%s is %d, not %d", name, got, want)
		}
	}
}

func TestAnUnknownFieldOfStatIsLeftOut(t *testing.T) {
	if s := newStat(map[string]int64{"renamed": 7, "idleResources": 2}); s.IdleConns() != 2 || s.TotalConns() != 2 || s.AcquireDuration() != time.Duration(0) {
		t.Errorf("idle %d, total %d", s.IdleConns(), s.TotalConns())
	}
}
