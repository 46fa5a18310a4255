package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompletionScriptsParseAndKnowEveryFlag(t *testing.T) {
	for shell := range shells {
		t.Run(shell, func(t *testing.T) {
			script := call(t, nil, "completion", shell)
			if script.code != 0 {
				t.Fatal(script)
			}
			for _, c := range commands() {
				fs, _ := c.flagSet()
				for _, word := range append(flagNames(fs), c.name) {
					if !strings.Contains(script.stdout, word) {
						t.Errorf("%s is not in it", word)
					}
				}
			}
			path := filepath.Join(t.TempDir(), "autotune."+shell)
			if err := os.WriteFile(path, []byte(script.stdout), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("%s is not installed", shell)
			}
			if out, err := exec.Command(shell, "-n", path).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestBashCompletes(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("bash is not installed")
	}
	script := call(t, nil, "completion", "bash").stdout
	for _, c := range []struct{ words, want string }{
		{"autotune de", "demo"},
		{"autotune demo --pro", "--profile"},
		{"autotune demo --profile v", "vector"},
		{"autotune demo --profile = v", "vector"},
		{"autotune demo --output =", "text json"},
		{"autotune demo --clients 6", ""},
		{"autotune completion f", "fish"},
		{"autotune help c", "completion"},
		{"autotune version --o", "--output"},
	} {
		ask := "\nCOMP_WORDS=(" + c.words + "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _autotune; echo ${COMPREPLY[@]}"
		out, err := exec.Command("bash", "-c", script+ask).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
			t.Errorf("%s: %q instead of %q (%v)", c.words, got, c.want, err)
		}
	}
}
