package plant_test

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/ramp"
	"github.com/pgautotune/autotune/simulations/plant"
)

// A crowd meets a cold pool, and the server opens connections on the cores that it
// serves with. Let in as connections open, the crowd is served by the few that are there
// instead of waiting each for its own.
func TestACrowdIsLetInAsConnectionsOpen(t *testing.T) {
	requests := make([]plant.Request, 100)
	for i := range requests {
		requests[i] = plant.Request{At: time.Second, Demand: 2 * ms}
	}
	cfg := plant.Config{Seed: 1, Duration: 10 * time.Second, Server: plant.Server{Cores: 2, ConnectLatency: ms, ConnectCPU: 10 * ms, ColdCPU: -1}, Pool: plant.Pool{Budget: 100}}
	settings := []plant.Setting{{Limit: 100, Max: 100}}
	all := run(t, cfg, &given{requests: requests}, &script{settings: settings})
	eased := run(t, cfg, &given{requests: requests}, facade{&script{settings: settings}})
	t.Logf("at once %d connects, p50 %s; by the ramp %d, %s", all.Connects, all.Response.P50, eased.Connects, eased.Response.P50)
	if all.Connects != 100 || 2*eased.Connects > all.Connects || 2*eased.Response.P50 > all.Response.P50 {
		t.Error("the ramp did not save half of the connections and half of the time")
	}
	if eased.Completions != 100 {
		t.Errorf("%d of 100 were served", eased.Completions)
	}
}

// Where opening takes long and costs nothing, the ramp gives way instead of adding a
// round of it for each doubling.
func TestTheRampGivesWayWhereNothingOpensForLong(t *testing.T) {
	requests := make([]plant.Request, 100)
	for i := range requests {
		requests[i] = plant.Request{At: time.Second, Demand: 20 * time.Second}
	}
	far := 5 * time.Second
	cfg := plant.Config{Seed: 1, Duration: 40 * time.Second, Server: plant.Server{Cores: 100, ConnectLatency: far, ConnectCPU: -1, ColdCPU: -1}, Pool: plant.Pool{Budget: 100}}
	r := run(t, cfg, &given{requests: requests}, facade{&script{settings: []plant.Setting{{Limit: 100, Max: 100}}}})
	if r.Completions != 100 || r.Wait.Max > far+5*ramp.Patience+10*ms { // 4, 8, 16, 32, 64, 128
		t.Errorf("%d of 100 were served, the last after a wait of %s, where opening takes %s", r.Completions, r.Wait.Max, far)
	}
}
