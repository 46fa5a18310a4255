package advice

import (
	"math"

	"github.com/pgautotune/autotune/internal/pgstat"
	"github.com/pgautotune/autotune/internal/sizing"
)

// Vectors is the vector side of the connected database.
type Vectors struct {
	Installed  bool    `json:"installed"`
	Version    string  `json:"version,omitempty"`
	Tables     int     `json:"tables"`
	Rows       float64 `json:"rows"` // -1: never analyzed
	HNSW       int     `json:"hnsw_indexes"`
	IVFFlat    int     `json:"ivfflat_indexes"`
	IndexBytes int64   `json:"index_bytes"`
	TableBytes int64   `json:"table_bytes"`
	Buffers    int64   `json:"shared_buffers_bytes"`

	// Other counts the indexes of other extensions on pgvector's types, by method.
	Other map[string]int `json:"other_indexes,omitempty"`

	EFSearch      int    `json:"ef_search,omitempty"`
	IterativeScan string `json:"iterative_scan,omitempty"`
	ScanBytes     int64  `json:"iterative_scan_bytes,omitempty"` // that one scan may take
}

func vectorsOf(f *pgstat.Facts) Vectors {
	v := Vectors{
		Installed: f.Vectors.Installed, Version: f.Vectors.Version, Rows: f.Vectors.Rows,
		IndexBytes: f.Vectors.IndexBytes, TableBytes: f.Vectors.TableBytes, Buffers: f.Settings.SharedBuffers,
		EFSearch: f.Search.EFSearch, IterativeScan: f.Search.IterativeScan, ScanBytes: scanBytes(f),
	}
	type table struct{ schema, name string }
	tables := map[table]bool{}
	for _, c := range f.Vectors.Columns {
		tables[table{c.Schema, c.Table}] = true
	}
	v.Tables = len(tables)
	for _, i := range f.Vectors.Indexes {
		switch i.Method {
		case "hnsw":
			v.HNSW++
		case "ivfflat":
			v.IVFFlat++
		default:
			if v.Other == nil {
				v.Other = map[string]int{}
			}
			v.Other[i.Method]++
		}
	}
	return v
}

// scanBytes is what an iterative scan may keep: hnsw.scan_mem_multiplier × work_mem.
func scanBytes(f *pgstat.Facts) int64 {
	if f.Search.ScanMemMultiplier <= 0 {
		return 0
	}
	return int64(f.Search.ScanMemMultiplier * float64(f.Settings.WorkMem))
}

// Memory is what the recommended connections may take, and what there is.
type Memory struct {
	Each      int64 `json:"each_bytes"`      // of a connection at work: process and one work_mem, or one scan
	Total     int64 `json:"total_bytes"`     // of max connections; 0 when max is unknown
	ServerRAM int64 `json:"ram_total_bytes"` // 0 when unknown
	Free      int64 `json:"ram_free_bytes"`
}

func memoryOf(f *pgstat.Facts, m Machine, connections int) Memory {
	x := Memory{ServerRAM: m.RAMTotal, Free: m.RAMFree}
	work := f.Settings.WorkMem
	if f.Vectors.Installed && f.Search.IterativeScan != "" && f.Search.IterativeScan != "off" {
		work = max(work, scanBytes(f))
	}
	x.Each = sizing.ConnectionBytes + work
	x.Total = x.Each * int64(connections)
	return x
}

// Batch is the answer for a job of so many workers.
type Batch struct {
	Workers int      `json:"workers"`
	Max     int      `json:"max"` // workers + 2
	Min     int      `json:"min"` // workers
	Why     []string `json:"why"`
	Differs []string `json:"differs"` // where the evidence disagrees
}

// batchSpare is what a batch pool has beyond its workers: one to validate and one
// to keep the books while all workers hold theirs.
const batchSpare = 2

func batchOf(workers int, a *Advice, walls sizing.Walls) *Batch {
	b := &Batch{Workers: workers, Max: workers + batchSpare, Min: workers, Differs: []string{}}
	b.Why = []string{
		"Each worker holds one connection for as long as it works, so fewer would let workers wait for workers.",
		"Two more serve validation and progress without waiting for a worker.",
		"Min is the number of workers, because a batch needs all of them from its first second.",
	}
	if high := walls.Allowed().High; a.Size.Ceiling > 0 && b.Max > high {
		b.Differs = append(b.Differs, "Only "+plural(float64(high), "connection")+" can be had: "+wall(a.Size.CeilingBy)+" ends there. Use "+plural(math.Max(1, float64(high-batchSpare)), "worker")+".")
	}
	if z := a.Size; z.Known && z.Rule != ByDemand && workers > z.Upper {
		b.Differs = append(b.Differs, "The server is kept busy by "+plural(float64(z.Max), "connection")+" ("+span(z.Lower, z.Upper)+"): workers beyond that wait inside it. "+plural(float64(z.Max), "worker")+" would be done as soon.")
	}
	return b
}
