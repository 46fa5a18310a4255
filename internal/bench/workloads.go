package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pgautotune/autotune/internal/load"
)

// workload is one line of the matrix.
type workload struct {
	name  string
	about string
	make  func(*load.Dataset) load.Workload

	writes bool   // adds vectors: gets a dataset of its own, so that the others search what they were promised
	openOf string // arrivals at a share of what this workload's closed loop gave; "": a closed loop
	shift  bool   // alternates between index and holding searches; see shift.go
}

// allWorkloads are in order of use: what others depend on first, what changes the
// data last.
func allWorkloads() []workload {
	search := func(d *load.Dataset) load.Workload { return load.NewIndexSearch(d) }
	holding := func(d *load.Dataset) load.Workload { return load.NewHoldingSearch(d, hold) }
	return []workload{
		{name: "search", about: "index search (HNSW, 10 nearest)", make: search},
		{name: "holding", about: "index search that keeps its transaction open for 10 ms", make: holding},
		{name: "exact", about: "exact scan of a small table", make: func(d *load.Dataset) load.Workload { return load.NewExactScan(d) }},
		{name: "update", about: "updates of a few contended rows", make: func(d *load.Dataset) load.Workload { return load.NewHotUpdate(d) }},
		{name: "search-open", about: "index search", make: search, openOf: "search"},
		{name: "holding-open", about: "index search that keeps its transaction open for 10 ms", make: holding, openOf: "holding"},
		{name: "shift", about: "index and holding searches in turns", shift: true},
		{name: "mix", about: "70 % index search, 20 % holding, 10 % insert", make: newMix, writes: true},
		{name: "insert", about: "inserts with maintenance of the HNSW index", make: func(d *load.Dataset) load.Workload { return load.NewInsert(d) }, writes: true},
	}
}

func workloadNames() (names []string) {
	for _, w := range allWorkloads() {
		names = append(names, w.name)
	}
	return names
}

// chooseWorkloads returns those named, and those that they depend on, in the
// order in which they are run.
func chooseWorkloads(names []string) (chosen []workload, err error) {
	all := allWorkloads()
	want := map[string]bool{}
	for _, name := range names {
		i := slices.IndexFunc(all, func(w workload) bool { return w.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no workload %q; there are %s", name, strings.Join(workloadNames(), ", "))
		}
		want[name] = true
		if of := all[i].openOf; of != "" {
			want[of] = true
		}
	}
	for _, w := range all {
		if want[w.name] {
			chosen = append(chosen, w)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no workload named; there are %s", strings.Join(workloadNames(), ", "))
	}
	return chosen, nil
}

// mix is a service's traffic: of ten requests seven search, two hold and one
// inserts, in an order that looks random and is not.
type mix [10]load.Workload

func newMix(d *load.Dataset) load.Workload {
	s, h, i := load.NewIndexSearch(d), load.NewHoldingSearch(d, hold), load.NewInsert(d)
	return &mix{s, s, s, s, s, s, s, h, h, i}
}

// Do makes the n-th request.
func (m *mix) Do(ctx context.Context, p load.Pool, n uint64) error {
	// Fibonacci hashing: consecutive ordinals spread evenly over the ten.
	return m[(n*0x9e3779b97f4a7c15>>32)%uint64(len(m))].Do(ctx, p, n)
}
