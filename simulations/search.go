package simulations

import (
	"context"
	"fmt"
	"slices"
)

// Best fixed size in hindsight. The search first tries a coarse grid, then halves
// the gaps beside the best, with a few seeds; the best few of all then run with
// every seed, and these decide.
const (
	searchSeeds  = 2    // of the grid
	finalists    = 4    // sizes that run with every seed
	indifference = 1e-3 // shares of goodput that noise does not tell apart: the lower p99 decides
)

// coarse are the sizes tried first, up to the ceiling.
var coarse = []int{1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100, 150, 200, 300, 500, 1000}

// Size is a fixed size in a scenario.
type Size struct {
	Size       int     `json:"size"`
	Seeds      int     `json:"seeds"` // that it ran with
	Goodput    float64 `json:"goodput_rps"`
	Throughput float64 `json:"throughput_rps"`
	P99Ms      float64 `json:"p99_ms"`
}

// sizes are the fixed sizes of a scenario, by number of connections.
type sizes struct {
	job  *scenarioRun
	runs map[int][]figures // by seed
}

// search finds the best fixed size.
func (z *sizes) search(ctx context.Context) (best int, err error) {
	few, all := min(searchSeeds, z.job.seeds), z.job.seeds
	ceiling := z.job.s.Told.Ceiling
	grid := slices.DeleteFunc(slices.Clone(coarse), func(n int) bool { return n > ceiling })
	if !slices.Contains(grid, ceiling) {
		grid = append(grid, ceiling)
	}
	if err := z.try(ctx, grid, few); err != nil {
		return 0, err
	}
	for {
		tried := z.tried()
		i := slices.Index(tried, z.ranked(few)[0])
		var between []int
		for _, j := range []int{i - 1, i} {
			if j < 0 || j+1 >= len(tried) {
				continue
			}
			low, high := tried[j], tried[j+1]
			if middle := (low + high) / 2; middle > low && high-low > low/8 { // an eighth apart is near enough
				between = append(between, middle)
			}
		}
		if len(between) == 0 {
			break
		}
		if err := z.try(ctx, between, few); err != nil {
			return 0, err
		}
	}
	ranked := z.ranked(few)
	if err := z.try(ctx, ranked[:min(finalists, len(ranked))], all); err != nil {
		return 0, err
	}
	return z.ranked(all)[0], nil
}

// try runs sizes with seeds 1 to seeds, where they have not been run yet.
func (z *sizes) try(ctx context.Context, wanted []int, seeds int) error {
	var jobs []job
	for _, n := range wanted {
		have := len(z.runs[n])
		z.runs[n] = append(z.runs[n], make([]figures, max(0, seeds-have))...)
		for seed := have; seed < seeds; seed++ {
			jobs = append(jobs, job{policy: fmt.Sprintf("fixed-%d", n), seed: uint64(seed + 1), into: &z.runs[n][seed]})
		}
	}
	return z.job.do(ctx, jobs)
}

func (z *sizes) tried() []int {
	var all []int
	for n := range z.runs {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// ranked are the sizes that ran with so many seeds, best first: by goodput, and
// among those that are as good by p99.
func (z *sizes) ranked(seeds int) []int {
	var all []int
	top := 0.0
	for _, n := range z.tried() {
		if len(z.runs[n]) >= seeds {
			all = append(all, n)
			top = max(top, z.goodput(n, seeds))
		}
	}
	slices.SortStableFunc(all, func(a, b int) int {
		ga, gb := z.goodput(a, seeds), z.goodput(b, seeds)
		good := (1 - indifference) * top
		switch {
		case ga >= good && gb >= good:
			return compareFloat(z.p99(a, seeds), z.p99(b, seeds))
		default:
			return compareFloat(gb, ga)
		}
	})
	return all
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (z *sizes) goodput(n, seeds int) (sum float64) {
	for i := range z.runs[n][:seeds] {
		sum += z.runs[n][i].goodput / float64(seeds)
	}
	return sum
}

func (z *sizes) p99(n, seeds int) float64 {
	var all []float64
	for i := range z.runs[n][:seeds] {
		all = append(all, ms(z.runs[n][i].p99))
	}
	return median(all)
}

// curve is every size that was tried, for the report.
func (z *sizes) curve() []Size {
	var out []Size
	for _, n := range z.tried() {
		seeds := len(z.runs[n])
		s := Size{Size: n, Seeds: seeds, Goodput: z.goodput(n, seeds), P99Ms: z.p99(n, seeds)}
		for i := range z.runs[n] {
			s.Throughput += z.runs[n][i].throughput / float64(seeds)
		}
		out = append(out, s)
	}
	return out
}
