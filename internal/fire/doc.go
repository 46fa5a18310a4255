// Package fire holds the pool into the fire: what people will do to it under
// their production databases, and worse. It has tests only. The suites:
//
//   - model_test.go: random operations against a plain model of a pool (make model);
//   - load_*_test.go: what it gives under load, with figures (make load);
//   - fault_*_test.go: every fault we could think of, under load, with the
//     books kept in the database (make chaos);
//   - soak_test.go: shifting load and random faults for as long as you like
//     (make soak), and week_test.go: a week of virtual time;
//   - security_test.go: what docs/security.md promises.
//
// Fuzz targets are beside what they test (make fuzz). main_test.go is the stage, book_test.go the accounting, figures_test.go the
// table that is printed at the end.
//
// go test runs short versions of some. AUTOTUNE_FIRE=brief runs short versions of
// all, AUTOTUNE_FIRE=full, which the make targets set, all at their full length, and
// AUTOTUNE_FIRE_PG=plain runs them on a PostgreSQL without pgvector where there is one
// beside the one with it (Debian 12: 15), without the lines that need vectors.
package fire
