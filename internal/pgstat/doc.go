// Package pgstat reads PostgreSQL and decides nothing.
//
// A [Reader] has one connection of its own, never one of the tuned pool: a
// tuner that reads through the pool it tunes starves exactly when it is needed.
// It takes two kinds of look:
//
//   - [Reader.Read], once a second: what the backends are doing now, ours and
//     everybody else's (1 ms at 100 backends, over loopback);
//   - [Reader.Facts], rarely: limits, settings, privileges and the inventory of
//     vector columns and indexes.
//
// Both are read-only, bounded in time on both sides of the wire, and work for a
// role that may do nothing but connect: what could not be seen is listed in
// [Facts.Missing], with the GRANT that would show it.
//
// The SQL lies in sql/, one file a question, and each runs by hand in psql as
// its head comment shows.
package pgstat
