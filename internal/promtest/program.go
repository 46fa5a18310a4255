// Package promtest runs a real Prometheus, of the machine or of its
// distribution's package, against what a test serves. program.go finds it,
// server.go is its life and what it is asked.
package promtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Program finds promtool or prometheus: installed, or unpacked from the package
// prometheus of Debian or Ubuntu into the user's cache, which needs no root. It
// skips the test where there is neither.
func Program(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	tree := filepath.Join(base, "autotune", "prometheus")
	path := filepath.Join(tree, "usr", "bin", name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := unpack(t.Context(), tree); err != nil {
		t.Skipf("NOT TESTED: there is no %s, and apt-get download prometheus gave none: %v\nInstall the package prometheus to test alerts and scraping.", name, err)
	}
	return path
}

// unpack makes a tree of the package. It is made beside its place and renamed:
// there is a whole one or none, also when several test binaries want it at once.
func unpack(ctx context.Context, tree string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := os.MkdirAll(filepath.Dir(tree), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(tree), "prometheus-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	const script = `cd "$0" && apt-get -q download prometheus && dpkg -x prometheus_*.deb tree`
	if out, err := exec.CommandContext(ctx, "sh", "-c", script, work).CombinedOutput(); err != nil {
		return fmt.Errorf("%w:\n%s", err, out)
	}
	if err := os.Rename(filepath.Join(work, "tree"), tree); err != nil && !errors.Is(err, os.ErrExist) { // another was first
		return err
	}
	return nil
}
