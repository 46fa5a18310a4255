package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/pgautotune/autotune/internal/sizing"
)

// decode reads one JSON document in which every name is known.
func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	if d.More() {
		t.Fatalf("more than one document:\n%s", text)
	}
	return v
}

func TestHelpGoesToStdoutIn80Columns(t *testing.T) {
	check := func(file string, calls ...[]string) {
		for _, args := range calls {
			got := call(t, nil, args...)
			if got.code != exitDone || got.stderr != "" {
				t.Errorf("%q: exit %d, stderr %q", args, got.code, got.stderr)
			}
			for _, line := range strings.Split(got.stdout, "\n") {
				if utf8.RuneCountInString(line) > helpWidth {
					t.Errorf("%q: longer than %d: %s", args, helpWidth, line)
				}
			}
			golden(t, filepath.Join("testdata", "help", file+".txt"), got.stdout)
		}
	}
	check("overview", []string{"--help"}, []string{"-h"}, []string{"help"})
	for _, c := range commands() {
		check(c.name, []string{c.name, "--help"}, []string{"help", c.name})
	}
}

func TestEveryFlagIsInTheDocumentation(t *testing.T) {
	got := call(t, nil, "help", "--markdown")
	golden(t, filepath.Join("..", "..", "docs", "flags.md"), got.stdout)
	for _, c := range commands() {
		fs, _ := c.flagSet()
		for _, name := range flagNames(fs) {
			if !strings.Contains(got.stdout, "--"+name+" ") && !strings.Contains(got.stdout, "--"+name+"`") {
				t.Errorf("%s --%s is not in it", c.name, name)
			}
		}
	}
}

func TestTheManualPageHasEveryFlagAndNoFaults(t *testing.T) {
	got := call(t, nil, "help", "--man")
	golden(t, filepath.Join("testdata", "help", "autotune.1"), got.stdout)
	for _, c := range commands() {
		fs, _ := c.flagSet()
		for _, name := range flagNames(fs) {
			if !strings.Contains(got.stdout, `\fB\-\-`+strings.ReplaceAll(name, "-", `\-`)+`\fR`) {
				t.Errorf("%s --%s is not in it", c.name, name)
			}
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Log("groff is not installed: the page is compared, not set; on Debian: apt-get install groff-base")
		return
	}
	cmd := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z")
	cmd.Stdin = strings.NewReader(got.stdout)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v %s", err, out)
	}
}

func TestTheTableIsWhole(t *testing.T) {
	for _, c := range commands() {
		if find(c.name).name != c.name {
			t.Errorf("%s is in it twice", c.name)
		}
		if c.summary == "" || c.about == "" || strings.HasSuffix(c.summary, ".") {
			t.Errorf("%s: summary %q", c.name, c.summary)
		}
		fs, _ := c.flagSet()
		fs.VisitAll(func(f *pflag.Flag) {
			// The completion scripts put usages between brackets and colons.
			if f.Usage == "" || strings.ContainsAny(f.Usage, "[]") || f.Name != strings.ToLower(f.Name) {
				t.Errorf("%s --%s: %q", c.name, f.Name, f.Usage)
			}
		})
	}
}

func TestEveryReasonHasASentence(t *testing.T) {
	for _, r := range sizing.Reasons {
		if sentence(r) == string(r) || utf8.RuneCountInString(sentence(r)) > 46 {
			t.Errorf("%s: %q", r, sentence(r))
		}
	}
}
