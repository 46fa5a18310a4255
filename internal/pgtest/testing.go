package pgtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// These helpers sit beside the server, although that is in the command too (for
// demo and bench): importing testing has registered no flags since Go 1.13, and a
// package of its own would only be a second name to know.

// setUpPatience bounds a start, with a set-up over a slow line.
const setUpPatience = 8 * time.Minute

// startPatience bounds what is done on a server that runs.
const startPatience = time.Minute

// shared is the one server of a test binary.
var shared struct {
	options Options
	once    sync.Once
	server  *Server
	err     error
}

// Main is for TestMain: it runs the tests, which get one server started by the
// first of them that asks ([Shared], [DSN]), stops it and exits.
func Main(m *testing.M, o Options) {
	shared.options = o
	code := m.Run()
	shared.once.Do(func() {}) // from here on, none is started
	if shared.server != nil {
		if err := shared.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// Shared returns the server that all tests of the binary share. Where none can be
// had the test fails and says what to do: a test that is skipped proves nothing.
// Without [Main], the server goes when the test binary ends.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), setUpPatience)
		defer cancel()
		shared.server, shared.err = Start(ctx, shared.options)
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// DSN returns the connection string of a fresh database on the shared server,
// with the extension vector. It is dropped when the test ends.
func DSN(t testing.TB) string {
	t.Helper()
	s := Shared(t)
	ctx, cancel := context.WithTimeout(t.Context(), startPatience)
	defer cancel()
	dsn, drop, err := s.NewDatabase(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(drop)
	return dsn
}

// New returns a server for this test alone: to kill it, or with settings of its
// own. It is stopped when the test ends. With AUTOTUNE_TEST_DATABASE set there is
// no such server, and the test is skipped, saying so.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), setUpPatience)
	defer cancel()
	s, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Owned() {
		t.Skipf("needs a server of its own, and %s is set", EnvDatabase)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}
