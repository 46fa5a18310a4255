// Package plant simulates callers, a connection pool and a PostgreSQL server in
// virtual time.
package plant
