// Package pgtest gives a real PostgreSQL with pgvector, by itself, to the tests,
// the demo and the benchmarks. Nothing has to be installed or configured first,
// and nothing is left behind.
//
// [Start] finds the programs of a server, in this order, and runs one of its own:
//
//  1. AUTOTUNE_TEST_DATABASE is set: that server is used as is, none is started;
//  2. the newest local PostgreSQL that has pgvector;
//  3. a tree of one that an earlier call has set up in the user's cache folder;
//  4. otherwise one is set up without asking: the packages of this system where
//     apt offers pgvector, else (Debian 12 and older) a Debian 13 tree in the
//     user's cache folder. That takes about a minute, once.
//
// The server listens on a loopback port of its own, with a random password and
// SCRAM, on a throwaway data directory. A guard, a small shell process that waits
// for the owner's end of a pipe to close, removes server and directory however
// the owner ends, SIGKILL included.
//
// Files, in order of use: install.go finds, setup.go sets up (sources.go reads
// apt's sources, cache.go is the folder they share), server.go is the life of a
// server, postmaster.go its process, template.go its data directory, guard.go
// its end, testing.go the helpers for tests.
package pgtest

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// EnvDatabase names the environment variable with the connection string of a
// server to use instead of a throwaway one. Its role needs the right to create
// databases and the extension vector.
const EnvDatabase = "AUTOTUNE_TEST_DATABASE"

// database is the database in [Server.DSN].
const database = "autotune_test"

// oldestMajor is the oldest PostgreSQL to run on: what Debian 12 has, and the
// first one in which every statement of the tests works.
const oldestMajor = 15

// Options say what kind of server to start. The zero value is a PostgreSQL with
// pgvector and the settings of [Start].
type Options struct {
	// Settings are postgresql.conf settings, e.g. {"max_connections": "60"}. They
	// replace the defaults of the same name, see [Start].
	Settings map[string]string

	// Log takes progress lines while something slow happens (setting up, the
	// first initdb). nil is silent.
	Log io.Writer

	// WithoutVector says that any PostgreSQL will do. One that does not have
	// pgvector is preferred, and the extension is not created.
	WithoutVector bool
}

// defaults are the settings of a server that is thrown away. What is written is
// never synced: a crash of the server ([Server.Kill]) loses nothing, because the
// operating system has the pages; a crash of the machine would lose all, which
// no test cares about. synchronous_commit stays on for the same reason.
var defaults = map[string]string{
	"fsync":             "off",
	"full_page_writes":  "off",
	"max_connections":   "200", // a swap of pools of 50–100 fits
	"shared_buffers":    "128MB",
	"jit":               "off", // compile times would blur service times
	"log_min_messages":  "warning",
	"lc_messages":       "C", // the log is read for a taken port
	"timezone":          "UTC",
	"log_timezone":      "UTC",
	"listen_addresses":  "127.0.0.1",
	"huge_pages":        "off",
	"logging_collector": "off",
	// A socket would need a short path, and folders differ inside the chroot.
	"unix_socket_directories": "",
	// In files below the data directory, so that a killed server leaves nothing
	// in /dev/shm; a chroot has no /dev/shm either.
	"dynamic_shared_memory_type": "mmap",
}

var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// conf is the text appended to postgresql.conf: the defaults, then the settings
// of the caller, where the last of a name counts.
func (o Options) conf() (string, error) {
	var b strings.Builder
	write := func(settings map[string]string) {
		for name, value := range settings {
			fmt.Fprintf(&b, "%s = '%s'\n", name, strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(value))
		}
	}
	for name, value := range o.Settings {
		if !settingName.MatchString(name) || strings.ContainsAny(value, "\n\r\x00") {
			return "", fmt.Errorf("pgtest: setting %q = %q is not a line of postgresql.conf", name, value)
		}
	}
	b.WriteString("\n# autotune\n")
	write(defaults)
	write(o.Settings)
	return b.String(), nil
}

func (o Options) logf(format string, args ...any) {
	if o.Log != nil {
		fmt.Fprintf(o.Log, "pgtest: "+format+"\n", args...)
	}
}

// Start starts a throwaway PostgreSQL and returns when it accepts connections:
// within a second, the very first time within about a minute (see the
// package comment). The caller owns it and calls [Server.Stop]; if the caller's
// process ends without that, by whatever signal, the server is removed all the
// same. ctx limits the start only, not the life of the server.
//
// Unless Settings say otherwise: max_connections 200, shared_buffers 128 MB,
// fsync off, JIT off, autovacuum on.
func Start(ctx context.Context, o Options) (*Server, error) {
	if dsn := os.Getenv(EnvDatabase); dsn != "" {
		return attach(ctx, dsn, o)
	}
	in, err := find(ctx, o)
	if err != nil {
		return nil, err
	}
	return launch(ctx, in, o)
}
