package main

import (
	"fmt"
	"time"

	"github.com/pgautotune/autotune/internal/load"
)

// phase is one stretch of the load.
type phase struct {
	name     string // at most 12 characters, for the table
	about    string
	share    float64 // of the duration
	workload load.Workload
	shape    load.Shape
}

const (
	// quietRate is what one core answers with nine tenths of it idle.
	quietRate = 50 // searches per second

	// holdTime is what a caller does between begin and commit, e.g. asking a
	// cache or another service in the same data centre.
	holdTime = 10 * time.Millisecond
)

// demoPhases is a service's day in five parts.
func demoPhases(d *load.Dataset, clients int) []phase {
	search := load.NewIndexSearch(d)
	busy := load.Closed{Clients: clients}
	each := func(what string) string { return fmt.Sprintf("%d clients %s", clients, what) }
	return []phase{
		{"quiet", fmt.Sprintf("%d index searches a second", quietRate), 0.15, search, load.Open{Rate: quietRate}},
		{"search rush", each("search the index without a pause"), 0.30, search, busy},
		{"held 10 ms", each(fmt.Sprintf("hold their transaction %d ms", holdTime.Milliseconds())), 0.25, load.NewHoldingSearch(d, holdTime), busy},
		{"insert burst", each("insert vectors into the index"), 0.15, load.NewInsert(d), busy},
		{"quiet again", fmt.Sprintf("%d index searches a second", quietRate), 0.15, search, load.Open{Rate: quietRate}},
	}
}
