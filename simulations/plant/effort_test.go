//go:build !race

package plant_test

// effort is the length of the runs against theory, as a share of what 1 % of
// accuracy needs. The race detector makes a run ten times as long.
const effort = 1.0
