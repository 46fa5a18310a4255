// Package debian finds programs of other projects that tests are run against:
// the machine's own, else unpacked from the packages of Debian or Ubuntu into
// the user's cache, which needs no root and installs no service.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Program is an executable that is there.
type Program struct {
	Path string

	tree string // what it was unpacked into; "" where the machine has it installed
}

// Find returns the program of that name, which the package pkg brings. It fails
// where it is not installed and apt gives no package either, which the error
// explains.
func Find(ctx context.Context, name, pkg string) (Program, error) {
	if path, ok := below("/", name); ok {
		return Program{Path: path}, nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	tree := filepath.Join(base, "autotune", pkg)
	path, ok := below(tree, name)
	if !ok {
		if err := unpack(ctx, tree, pkg); err != nil {
			return Program{}, fmt.Errorf("there is no %s, and apt-get gave no package %s: %w\nInstall it: apt-get install %[2]s", name, pkg, err)
		}
		if path, ok = below(tree, name); !ok {
			return Program{}, fmt.Errorf("the package %s, unpacked in %s, has no program %s", pkg, tree, name)
		}
	}
	return Program{path, tree}, nil
}

// Copy puts a program that was unpacked into folder, where the account that
// shall run it may read it; an installed one stays where it is.
func (p Program) Copy(folder string) (Program, error) {
	if p.tree == "" {
		return p, nil
	}
	rest, err := filepath.Rel(p.tree, p.Path)
	if err != nil {
		return Program{}, err
	}
	return Program{filepath.Join(folder, rest), folder}, os.CopyFS(folder, os.DirFS(p.tree))
}

// Env is the environment to run it in: one that finds the libraries that were
// unpacked with it.
func (p Program) Env() []string {
	if p.tree == "" {
		return os.Environ()
	}
	places, _ := filepath.Glob(filepath.Join(p.tree, "usr/lib/*-linux-*"))
	return append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(places, ":"))
}

// below looks for a program in PATH, if root is the machine's, and where
// packages put programs, which for a server is not in everybody's PATH.
func below(root, name string) (string, bool) {
	if path, err := exec.LookPath(name); root == "/" && err == nil {
		return path, true
	}
	for _, folder := range []string{"usr/bin", "usr/sbin"} {
		path := filepath.Join(root, folder, name)
		if _, err := os.Stat(path); err == nil {
			return path, true
		}
	}
	return "", false
}

// fetch downloads the package $1 and the libraries that it needs and this
// machine lacks (-s only says what an installation would do), and unpacks them.
const fetch = `set -e
cd "$0"
missing=$(apt-get -qq -s install --no-install-recommends "$1" | sed -n 's/^Inst \(lib[^ ]*\) .*/\1/p' | grep -v '^libjs-' || true)
apt-get -q download "$1" $missing
for package in *.deb; do dpkg -x "$package" tree; done`

// unpack makes a tree of the package. It is made beside its place and renamed:
// there is a whole one or none, also when several test binaries want it at once.
func unpack(ctx context.Context, tree, pkg string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := os.MkdirAll(filepath.Dir(tree), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(tree), pkg+"-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if out, err := exec.CommandContext(ctx, "sh", "-c", fetch, work, pkg).CombinedOutput(); err != nil {
		return fmt.Errorf("%w:\n%s", err, out)
	}
	if err := os.Rename(filepath.Join(work, "tree"), tree); err != nil && !errors.Is(err, os.ErrExist) { // another was first
		return err
	}
	return nil
}
