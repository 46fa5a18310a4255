package main

import "time"

// load is what clients do. Scripts are pgbench's; each runs as an application of
// its own.
type load struct {
	name    string
	scripts []script
	small   bool // on the server with few shared_buffers
	pooled  bool // not a closed loop: what is swept is the size of a pool in front
	cycle   time.Duration
	sizes   []int
}

type script struct {
	application string
	text        string // "" is pgbench's own TPC-B
	clients     int
	rate        float64 // arrivals per second; 0: a closed loop
	pause       time.Duration
}

const search = `\set id random(1, 10000)
select id from autotune_prove.items order by v <-> (select v from autotune_prove.items where id = :id) limit 10;
`

func holding(pause string) string {
	return "begin;\n" + search + `\sleep ` + pause + "\nend;\n"
}

const scan = `\set aid random(1, 1990000)
select sum(abalance) from pgbench_accounts where aid between :aid and :aid + 500;
`

var (
	few  = []int{1, 2, 3, 4, 6, 8, 16, 40, 100}
	many = []int{4, 8, 16, 32, 64, 100, 150}
)

var loads = []load{
	{name: "search-4", scripts: []script{{"search", search, 4, 0, 0}}, sizes: few},
	{name: "search-40", scripts: []script{{"search", search, 40, 0, 0}}, sizes: few},
	{name: "search-100", scripts: []script{{"search", search, 100, 0, 0}}, sizes: few},
	{name: "hold-10-4", scripts: []script{{"hold", holding("10 ms"), 4, 0, 0}}, sizes: many},
	{name: "hold-10-40", scripts: []script{{"hold", holding("10 ms"), 40, 0, 0}}, sizes: many},
	{name: "hold-10-100", scripts: []script{{"hold", holding("10 ms"), 100, 0, 0}}, sizes: many},
	{name: "hold-50-40", scripts: []script{{"hold", holding("50 ms"), 40, 0, 0}}, sizes: []int{8, 32, 64, 100, 150, 200, 250}},
	{name: "hot-row", scripts: []script{{"tpcb", "", 40, 0, 0}}, sizes: few},
	{name: "io-scan", scripts: []script{{"scan", scan, 16, 0, 0}}, small: true, sizes: few},
	{name: "mostly-idle", scripts: []script{{"idle", search, 60, 60, 0}}, pooled: true, sizes: []int{1, 2, 4, 8, 16, 32, 60}},
	{name: "burst", scripts: []script{{"burst", burst, 40, 0, 9 * time.Second}}, pooled: true, cycle: 10 * time.Second, sizes: []int{1, 2, 4, 8, 20, 40}},
	{name: "two-apps", scripts: []script{{"search", search, 20, 0, 0}, {"hold", holding("10 ms"), 40, 0, 0}}, sizes: []int{4, 8, 16, 24, 32, 60, 100}},
}

// burst is nine seconds of nothing and then a search, of all clients at once.
const burst = `\sleep 9000 ms
` + search
