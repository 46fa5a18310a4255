// Package scenario reads scenarios: files that describe one simulated world, who
// is compared in it, and what it shows.
//
// A scenario is YAML, in which comments are welcome and an unknown key is an
// error that names file, line, column and the key that was perhaps meant.
// [Library] are those that come with the command; docs/scenarios.md lists every
// key, and a test keeps it true ([Schema] writes it).
//
// In order of use: scenario.go is what a file may hold, read.go and whole.go read
// it, and library.go finds one by name or path; schema.go writes the documentation.
package scenario
