package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgautotune/autotune/internal/pgtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// asCommand makes the test binary the command, for tests that need a process.
const asCommand = "AUTOTUNE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	flag.Parse()
	pgtest.Main(m, pgtest.Options{})
}

// called is what a call of the command left.
type called struct {
	code           int
	stdout, stderr string
}

// call runs the command in this process, with only the given environment.
func call(t *testing.T, env map[string]string, args ...string) called {
	t.Helper()
	var stdout, stderr bytes.Buffer
	lookUp := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	code := run(t.Context(), args, lookUp, strings.NewReader(""), &stdout, &stderr)
	return called{code, stdout.String(), stderr.String()}
}

// golden compares text with a file, or rewrites it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./cmd/autotune -update rewrites it):\n%s", path, got)
	}
}

func TestUsageErrorsAreTwoLinesOnStderr(t *testing.T) {
	for _, c := range []struct {
		name       string
		env        map[string]string
		args       []string
		wrong, try string // parts of the two lines
	}{
		{"no command", nil, nil, "no command given", "autotune help"},
		{"unknown command, near one", nil, []string{"dmeo"}, `unknown command "dmeo"`, "autotune demo?"},
		{"unknown command, near another", nil, []string{"verison"}, `unknown command "verison"`, "autotune version?"},
		{"unknown command, near none", nil, []string{"frobnicate"}, `"frobnicate"`, "The commands are demo, "},
		{"unknown command to explain", nil, []string{"help", "dem"}, `"dem"`, "autotune demo?"},
		{"unknown flag before the command", nil, []string{"--clients", "3", "demo"}, "--clients", "autotune help"},
		{"unknown flag", nil, []string{"demo", "--clinets=3"}, "--clinets", "--clients?"},
		{"flag without its value", nil, []string{"demo", "--clients"}, "--clients", "autotune demo --help"},
		{"not a number", nil, []string{"demo", "--clients", "many"}, `"many"`, "autotune demo --help"},
		{"not one of the values", nil, []string{"demo", "--output", "xml"}, "must be text or json", "autotune demo --help"},
		{"out of bounds", nil, []string{"demo", "--dimensions", "2001"}, "2001, outside its bounds of 1 to 2000", "autotune demo --help"},
		{"too short", nil, []string{"demo", "--duration", "0s"}, "--duration is 0s", "autotune demo --help"},
		{"contradiction", nil, []string{"demo", "--fixed", "5", "--start", "5"}, "--start is about tuning", "Leave out --start"},
		{"unexpected argument", nil, []string{"demo", "now"}, `"now"`, "autotune demo --help"},
		{"bad environment", map[string]string{"AUTOTUNE_CLIENTS": "many"}, []string{"demo"}, "AUTOTUNE_CLIENTS", "autotune demo --help"},
		{"bad choice in the environment", map[string]string{"AUTOTUNE_OUTPUT": "xml"}, []string{"version"}, "AUTOTUNE_OUTPUT", "autotune version --help"},
		{"no shell", nil, []string{"completion"}, "name one shell", "bash, or zsh, or fish"},
		{"unknown shell", nil, []string{"completion", "tcsh"}, `"tcsh"`, "bash, or zsh, or fish"},
		{"a connection string that is none", nil, []string{"demo", "--dsn", "postgres://u:hunter2@h:notaport/d"}, "connection string", "autotune demo --help"},
		{"a URL for another driver", map[string]string{"DATABASE_URL": "jdbc:postgresql://u:hunter2@h/d?sslmode=disable"}, []string{"recommend"}, "scheme of a URL must be postgres or postgresql", "autotune recommend --help"},
		{"the same for the demo", nil, []string{"demo", "--dsn", "jdbc:postgresql://u:hunter2@h/d?sslmode=disable"}, "scheme", "autotune demo --help"},
		{"the same for the bench", nil, []string{"bench", "--dsn", "jdbc:postgresql://u:hunter2@h/d?sslmode=disable"}, "scheme", "autotune bench --help"},
		{"the same for a recording", nil, []string{"record", "-o", "x.csv", "jdbc:postgresql://u:hunter2@h/d?sslmode=disable"}, "scheme", "autotune record --help"},
		{"a start above the pool's ceiling", nil, []string{"demo", "--dsn", "postgres://u:hunter2@h/d?pool_max_conns=8", "--start", "9"}, "autotune: demo: --start is 9", "autotune demo --help"},
		{"a start of nothing", nil, []string{"demo", "--start", "0"}, "--start is 0, outside its bounds of 1 to 1000", "autotune demo --help"},
		{"a port that is none", nil, []string{"demo", "--listen", "bogus"}, `--listen "bogus" has no port that there can be`, "--listen :8080"},
		{"a port beyond all", nil, []string{"demo", "--listen", ":99999"}, `--listen ":99999" has no port that there can be`, "--listen :8080"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := call(t, c.env, c.args...)
			lines := strings.Split(strings.TrimSuffix(got.stderr, "\n"), "\n")
			if got.code != exitUsage || got.stdout != "" || len(lines) != 2 {
				t.Fatalf("exit %d, stdout %q, stderr:\n%s", got.code, got.stdout, got.stderr)
			}
			if !strings.HasPrefix(lines[0], "autotune: ") || !strings.Contains(lines[0], c.wrong) || !strings.Contains(lines[1], c.try) {
				t.Errorf("stderr:\n%s", got.stderr)
			}
			if strings.Contains(got.stderr, "hunter2") {
				t.Error("the password is in it")
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{{nil, 0}, {os.ErrNotExist, 1}, {usagef("b", "a"), 2}, {errNo, 3}, {leftBehind{os.ErrClosed}, 1}} {
		var stderr bytes.Buffer
		if got := report(t.Context(), c.err, &stderr); got != c.code {
			t.Errorf("%v: %d instead of %d", c.err, got, c.code)
		}
		if said := stderr.Len() > 0; said != (c.code == 1 || c.code == 2) {
			t.Errorf("%v: stderr %q", c.err, stderr.String())
		}
	}
}

func TestAnInterruptionSaysWhatIsLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for want, err := range map[string]error{
		"autotune: interrupted; nothing is left behind\n":          errors.Join(context.Canceled, nil),
		"autotune: interrupted; the schema may be left: drop it\n": errors.Join(context.Canceled, leftBehind{errors.New("the schema may be left: drop it")}),
	} {
		var stderr bytes.Buffer
		if code := report(ctx, err, &stderr); code != exitFailed || stderr.String() != want {
			t.Errorf("exit %d, %q instead of %q", code, stderr.String(), want)
		}
	}
}

func TestVersion(t *testing.T) {
	text := call(t, nil, "version")
	if flag := call(t, nil, "--version"); text.code != 0 || !strings.HasPrefix(text.stdout, "autotune ") || flag.stdout != text.stdout {
		t.Errorf("version %+v, --version %+v", text, flag)
	}
	document := decode[buildVersion](t, call(t, nil, "version", "--output", "json").stdout)
	if document.Schema != "autotune.version/v1" || document.Version == "" || !strings.HasPrefix(document.Go, "go1") {
		t.Errorf("got %+v", document)
	}
}
