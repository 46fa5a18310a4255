package controller

import (
	"encoding/binary"
	"math"
	"reflect"
	"testing"
	"time"
)

// FuzzStep feeds the controller observations made of arbitrary bytes, NaN and
// overflow included: whatever it is told, the decision stays within the walls, is
// made of finite numbers, and is the same when it is asked again.
func FuzzStep(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("an ordinary observation is not made of text, but why not"))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 248, 127, 128, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		next := func() uint64 {
			var b [8]byte
			n := copy(b[:], data)
			data = data[n:]
			return binary.LittleEndian.Uint64(b[:])
		}
		small := func(n uint64) int { return int(next() % n) }
		cfg := Config{Floor: 1 + small(20), Users: 100, Interval: time.Second}
		cfg.Ceiling = cfg.Floor + small(200)
		cfg.Budget = cfg.Ceiling + small(50)
		cfg.FixedSize, cfg.Guideline = small(4) == 0, small(4) == 0
		cfg.ProfileFloor, cfg.MinShare, cfg.FloorMin = small(120), small(6), small(30)
		var state State
		var at time.Duration
		for range 8 {
			at += time.Duration(small(3e9))
			o := Observation{At: at}
			if small(8) == 0 {
				o.At = time.Duration(next()) // back, or far ahead
			}
			fill(reflect.ValueOf(&o.Counters).Elem(), next)
			fill(reflect.ValueOf(&o.Gauges).Elem(), next)
			o.WaitP99, o.Frozen = time.Duration(next()), small(16) == 0
			if small(3) > 0 {
				o.Server = new(Server)
				fill(reflect.ValueOf(o.Server).Elem(), next)
			}
			if small(3) > 0 {
				o.Host = new(Host)
				fill(reflect.ValueOf(o.Host).Elem(), next)
			}
			before := state
			s1, d1 := Step(cfg, state, o)
			_, d2 := Step(cfg, before, o)
			if !reflect.DeepEqual(d1, d2) && !hasNaN(reflect.ValueOf(d1)) {
				t.Fatalf("asked twice, it decided %+v and %+v", d1, d2)
			}
			if hasNaN(reflect.ValueOf(d1)) {
				t.Fatalf("not a finite number in %+v of %+v", d1, o)
			}
			most := max(cfg.Ceiling, sane(o).Gauges.Max) // by hand it may have been set higher, and comes down in its time
			if d1.Action != Hold && d1.Action != Freeze && (d1.Max < 1 || d1.Max > most || d1.Limit > cfg.Ceiling || d1.Limit < 1 || d1.Limit > d1.Max || d1.Min < 0 || d1.Min > d1.Max) {
				t.Fatalf("%s to limit %d, max %d, min %d with floor %d and ceiling %d, of %+v", d1.Action, d1.Limit, d1.Max, d1.Min, cfg.Floor, cfg.Ceiling, o)
			}
			state = s1
		}
	})
}

// fill puts arbitrary numbers into every field, half of them of a likely size.
func fill(v reflect.Value, next func() uint64) {
	for i := range v.NumField() {
		n := next()
		if n&1 == 0 {
			n = (n >> 1) % 1000
		}
		switch f := v.Field(i); f.Kind() {
		case reflect.Struct:
			fill(f, next)
		case reflect.Int, reflect.Int64:
			f.SetInt(int64(n))
		case reflect.Float64:
			if n < 1000 {
				f.SetFloat(float64(n) / 10)
			} else {
				f.SetFloat(math.Float64frombits(n))
			}
		case reflect.Bool:
			f.SetBool(n&2 == 0)
		}
	}
}

func hasNaN(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Float64:
		return math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0)
	case reflect.Struct:
		for i := range v.NumField() {
			if hasNaN(v.Field(i)) {
				return true
			}
		}
	}
	return false
}
