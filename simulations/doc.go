// Package simulations compares policies in scenarios: scenario × policy × seed,
// over all cores, against the fixed size that was best in hindsight.
//
// In order of use: runner.go runs a scenario, search.go finds the best fixed
// size, figures.go says what is measured of a run and how two are compared,
// result.go is the JSON document. text.go writes tables of it, markdown.go the
// published table, html.go a page with the pictures of plots.go; picture.go is
// the README's.
//
// Everything is seeded: the same scenarios, policies and number of seeds give the
// same result, on any number of cores. All policies of a scenario meet the same
// requests (common random numbers), so their differences are theirs.
package simulations
