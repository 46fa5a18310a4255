//go:build !race

package plant_test

import "os"

// effort is the length of the runs against theory, as a share of what 1 % of
// accuracy needs in most lines. The race detector makes a run ten times as long;
// make theory takes the time for all lines.
var effort = func() float64 {
	if os.Getenv("AUTOTUNE_FIRE") == "full" {
		return 4
	}
	return 1
}()
