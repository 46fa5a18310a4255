// Package replay reads the journals of tuned pools and feeds them back through
// [controller.Step].
//
// A journal has everything that its decisions rest on: the configuration in its
// first line, then each observation with the decision that followed. The same
// code must decide the same again, bit for bit; [Run] proves that it does, or shows
// where not. With another configuration it shows where that one would have decided
// otherwise on what was seen.
//
// What would have been seen then, a journal cannot tell: the observations stay
// those of the pool that was recorded. A simulation can.
package replay
