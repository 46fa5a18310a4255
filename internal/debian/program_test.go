package debian

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cached puts a program that prints what it finds its libraries by where a
// package of that name would have been unpacked.
func cached(t *testing.T, pkg, name string) {
	t.Helper()
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	base, err := os.UserCacheDir() // as the machine has it
	if err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(base, "autotune", pkg)
	for _, folder := range []string{"usr/sbin", "usr/lib/x86_64-linux-gnu"} {
		if err := os.MkdirAll(filepath.Join(tree, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "usr/sbin", name), []byte("#!/bin/sh\necho \"$LD_LIBRARY_PATH\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestAProgramOfTheMachineIsTaken(t *testing.T) {
	cached(t, "pkg", "sh")
	p, err := Find(t.Context(), "sh", "pkg")
	if want, _ := exec.LookPath("sh"); err != nil || p.Path != want {
		t.Fatalf("%+v %v", p, err)
	}
	if same, err := p.Copy(t.TempDir()); err != nil || same != p {
		t.Errorf("an installed program was copied: %+v %v", same, err)
	}
}

func TestAnUnpackedProgramIsFoundCopiedAndRunWithItsLibraries(t *testing.T) {
	cached(t, "pkg", "autotune-nobody-has-this")
	p, err := Find(t.Context(), "autotune-nobody-has-this", "pkg")
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "tree")
	moved, err := p.Copy(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []Program{p, moved} {
		cmd := exec.CommandContext(t.Context(), p.Path)
		cmd.Env = p.Env()
		out, err := cmd.CombinedOutput()
		if want := filepath.Join(p.tree, "usr/lib/x86_64-linux-gnu"); err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s %v, want %s", out, err, want)
		}
	}
	if !strings.HasPrefix(moved.Path, folder) {
		t.Errorf("%s is not in %s", moved.Path, folder)
	}
}

func TestWithoutAPackageItSaysWhatToInstall(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	const pkg = "autotune-no-such-package"
	_, err := Find(t.Context(), "autotune-nobody-has-this", pkg)
	if err == nil || !strings.Contains(err.Error(), "Install it: apt-get install "+pkg) {
		t.Error(err)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(base, "autotune", "*")); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}
