package policy

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
)

func TestBusyRatioFollowsItsThresholds(t *testing.T) {
	server := func(most, used int) *controller.Server {
		return &controller.Server{MaxConnections: most, Others: used - 2, Ours: controller.Backends{OnCPU: 1, Idle: 1}}
	}
	for _, tt := range []struct {
		what   string
		size   int
		inUse  int
		server *controller.Server
		want   int
	}{
		{"busy", 10, 9, server(100, 40), 14},
		{"85 % in use", 20, 17, server(100, 40), 24},
		{"84 % in use", 25, 21, server(100, 40), 25},
		{"little is free", 10, 10, server(100, 80), 10},        // 20 of 100 are the reserve
		{"a little more is free", 10, 10, server(100, 79), 13}, // ⌊¼ × 21/1.5⌋ = 3
		{"a pool of 1", 1, 1, server(100, 40), 1},
		{"idle", 20, 5, server(100, 40), 16},
		{"30 % in use", 20, 6, server(100, 40), 20},
		{"idle at the baseline", 5, 0, server(100, 40), 5},
		{"idle next to the baseline", 7, 0, server(100, 40), 5},
		{"nothing is free", 30, 30, server(100, 96), 5},
		{"nothing is free at the baseline", 5, 5, server(100, 96), 5},
		{"the ceiling", 198, 198, server(1000, 300), 200},
		{"blind", 20, 20, nil, 20},
		{"max_connections unknown", 20, 20, server(0, 40), 20},
	} {
		b := at[*busyRatio](t, "busy-ratio", 0)
		o := controller.Observation{At: busyInterval, Server: tt.server}
		o.Gauges.Limit, o.Gauges.Max, o.Gauges.InUse = tt.size, tt.size, tt.inUse
		if got, _ := b.Look(o); got.Max != tt.want || got.Limit != tt.want {
			t.Errorf("%s: from %d it goes to %+v, want %d", tt.what, tt.size, got, tt.want)
		}
	}
}

func TestBusyRatioChecksEveryFiveMinutes(t *testing.T) {
	b := at[*busyRatio](t, "busy-ratio", 0)
	size, grown := 5, 0
	for s := range 1800 {
		o := controller.Observation{At: time.Duration(s) * time.Second, Server: &controller.Server{MaxConnections: 500}}
		o.Gauges.Limit, o.Gauges.Max, o.Gauges.InUse = size, size, size
		if got, _ := b.Look(o); got.Max != size {
			size, grown = got.Max, grown+1
		}
	}
	if grown != 5 || size != 25 {
		t.Errorf("in half an hour it grew %d times to %d, want 5 times to 25", grown, size)
	}
}
