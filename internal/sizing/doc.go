// Package sizing turns a belief into a number of connections: how many the
// evidence asks for, within the walls that nobody may pass, and why. It is
// pure: no clock, no IO, no randomness.
package sizing
