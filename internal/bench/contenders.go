package bench

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// kind is what sort of pool a contender is.
type kind string

const (
	tuned   kind = "autotune"    // this project's pool, starting at a size
	fixed   kind = "fixed"       // a plain pgxpool.Pool of a size
	limited kind = "failsafe-go" // failsafe-go's adaptive limiter in front of a plain pool
)

// contender is one column of the matrix.
type contender struct {
	name string
	kind kind
	size int    // connections: where it starts, or what it is
	note string // what else a fixed size is known as
}

// learns tells whether it adapts, and so has to be left its state.
func (c contender) learns() bool { return c.kind != fixed }

// limiterPool is the size of the plain pool behind failsafe-go's limiter, and so
// its highest limit: the most of the fixed sizes.
const limiterPool = 150

// limiterStart is where the limiter starts: its own default.
const limiterStart = 20

// fixedSizes span what people set: one, a few, the guideline's 50 to 150.
var fixedSizes = []int{1, 2, 4, 8, 16, 32, 64, 100, 150}

func defaultContenders() []string {
	names := []string{"autotune-4", "autotune-100"}
	for _, n := range fixedSizes {
		names = append(names, fmt.Sprintf("fixed-%d", n))
	}
	return append(names, "cores", "pgx", "failsafe")
}

// ContenderForms says what [Options].Contenders may hold.
const ContenderForms = "autotune-N, fixed-N, cores (2 × cores + 1), pgx (its default size), failsafe"

// chooseContenders returns those named, in the order: tuned, fixed by size,
// others. Names of the same size are one contender.
func chooseContenders(names []string) (chosen []contender, err error) {
	cores := runtime.NumCPU()
	for _, name := range names {
		c := contender{name: name}
		form, number, _ := strings.Cut(name, "-")
		n, numErr := strconv.Atoi(number)
		switch {
		case name == "cores":
			c.kind, c.size, c.note = fixed, 2*cores+1, "2 × cores + 1"
		case name == "pgx":
			c.kind, c.size, c.note = fixed, max(4, cores), "the default of pgx"
		case name == "failsafe":
			c.kind, c.size = limited, limiterPool
		case form == "autotune" && numErr == nil && n >= 1 && n <= 10_000:
			c.kind, c.size = tuned, n
		case form == "fixed" && numErr == nil && n >= 1 && n <= 10_000:
			c.kind, c.size = fixed, n
		default:
			return nil, fmt.Errorf("there is no contender %q; there are %s", name, ContenderForms)
		}
		if c.kind == fixed {
			c.name = fmt.Sprintf("fixed-%d", c.size)
		}
		if i := slices.IndexFunc(chosen, func(o contender) bool { return o.name == c.name }); i < 0 {
			chosen = append(chosen, c)
		} else if c.note != "" {
			chosen[i].note = strings.TrimPrefix(chosen[i].note+", "+c.note, ", ")
		}
	}
	slices.SortStableFunc(chosen, func(a, b contender) int {
		rank := map[kind]int{tuned: 0, fixed: 1, limited: 2}
		if a.kind != b.kind {
			return rank[a.kind] - rank[b.kind]
		}
		return a.size - b.size
	})
	if !slices.ContainsFunc(chosen, func(c contender) bool { return c.kind == fixed }) {
		return nil, fmt.Errorf("no contender has a fixed size, so there is nothing to compare with: add, for example, fixed-16")
	}
	return chosen, nil
}
