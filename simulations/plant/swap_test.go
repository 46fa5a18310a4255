package plant_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune/simulations/plant"
)

// A swap reconnects what is in use, and callers wait for it.
func TestASwapCostsConnects(t *testing.T) {
	cfg := plant.Config{Seed: 1, Duration: 20 * time.Second, Closed: []plant.Closed{{Callers: 30}}, Pool: plant.Pool{Budget: 20}}
	still := run(t, cfg, nil, &script{settings: []plant.Setting{{Limit: 20, Max: 20}}})
	swapped := run(t, cfg, nil, &script{settings: []plant.Setting{{Limit: 20, Max: 20}, {Limit: 20, Max: 20}, {Limit: 19, Max: 19}}})
	if swapped.Swaps != 1 || swapped.Connects < still.Connects+19 {
		t.Errorf("%d swaps and %d connects, %d without: each of 19 connections should have been opened again", swapped.Swaps, swapped.Connects, still.Connects)
	}
	if swapped.MaxBackends > 20 {
		t.Errorf("%d backends under a budget of 20", swapped.MaxBackends)
	}
}

// A higher max within the room of the generation costs what it adds; with another min it
// is a swap.
func TestAHigherMaxCostsNoReconnects(t *testing.T) {
	cfg := plant.Config{Seed: 1, Duration: 20 * time.Second, Closed: []plant.Closed{{Callers: 30}}, Pool: plant.Pool{Budget: 20}}
	grown := run(t, cfg, nil, &script{settings: []plant.Setting{{Limit: 10, Max: 10}, {Limit: 10, Max: 10}, {Limit: 20, Max: 20}}})
	if grown.Swaps != 0 || grown.Connects != 20 {
		t.Errorf("%d swaps and %d connects, want none and 20", grown.Swaps, grown.Connects)
	}
	swapped := run(t, cfg, nil, &script{settings: []plant.Setting{{Limit: 10, Max: 10}, {Limit: 10, Max: 10}, {Limit: 20, Max: 20, Min: 5}}})
	if swapped.Swaps != 1 || swapped.Connects < 25 {
		t.Errorf("%d swaps and %d connects, want one and those of before once more", swapped.Swaps, swapped.Connects)
	}
}

func TestValidateNamesTheBrokenBound(t *testing.T) {
	cfg := plant.Config{Server: plant.Server{Sigma: 2}, Arrivals: []plant.Arrivals{{CV: -1}}}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("a contention of 2 and a negative CV were accepted")
	}
	for _, part := range []string{"server.sigma is 2", "arrivals[0].cv is -1"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}
