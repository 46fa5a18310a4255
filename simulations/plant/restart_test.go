package plant_test

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
)

// What a server that went away had done, is done; what was open, is lost.
func TestATransactionThatIsOpenAtARestartFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		on     plant.Resource
		failed int64
	}{
		{"its COMMIT is still to come", plant.IdleInTransaction, 4},
		{"its answer is on the way", plant.Client, 0},
	} {
		last := plant.Stage{On: c.on, Service: plant.Distribution{Mean: time.Second, Kind: plant.Deterministic}}
		cfg := plant.Config{Duration: 10 * time.Second, Server: free(4),
			Classes: []plant.Class{{Name: "a", Stages: []plant.Stage{{Service: plant.Distribution{Mean: ms, Kind: plant.Deterministic}}, last}}}}
		cfg.Server.Restarts = []plant.Restart{{At: 500 * ms, Down: 100 * ms}}
		r := run(t, cfg, &given{requests: make([]plant.Request, 4)}, fix(4))
		if r.Failed != c.failed || r.Completions != 4-c.failed {
			t.Errorf("%s: %d of 4 failed, %d were answered", c.name, r.Failed, r.Completions)
		}
	}
}

// Of 16 connections the others have 12, until all are lost; then whoever comes first has
// his again, and the pool is the quicker one.
func TestOthersLoseTheirConnectionsAtARestartToo(t *testing.T) {
	k := &taken{}
	run(t, plant.Config{Seed: 1, Duration: 9 * time.Second, Closed: []plant.Closed{{Callers: 20, From: time.Second}}, Server: plant.Server{
		MaxConnections: 20, Others: []plant.Others{{Connections: 12, Runnable: 4}}, Restarts: []plant.Restart{{At: 4 * time.Second, Down: 500 * ms}}}}, nil, k)
	if k.first != 12 || k.before != 6 {
		t.Errorf("others have %d connections, want 12, and %d after the restart, want 6", k.first, k.before)
	}
}
