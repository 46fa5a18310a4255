package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryCommandOfTheDocumentsIsUnderstood reads the command lines of the README
// and of docs/, in blocks and in the text, and parses each as it stands: the command
// exists, and so does every flag with its value. Make targets exist too. That the
// commands do what is said of them is tested where they are.
func TestEveryCommandOfTheDocumentsIsUnderstood(t *testing.T) {
	files, err := filepath.Glob(filepath.FromSlash("../../docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.FromSlash("../../Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range append(files, filepath.FromSlash("../../README.md")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range commandLines(string(text)) {
			words := shellWords(line)
			switch {
			case words[0] == "make":
				for _, target := range words[1:] {
					if strings.Contains(target, "=") {
						continue
					}
					seen++
					if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).Match(makefile) {
						t.Errorf("%s: %q: there is no such make target", file, line)
					}
				}
				continue
			case strings.HasPrefix(line, "go run ./cmd/autotune"):
				words = words[3:]
			case words[0] == "autotune":
				words = words[1:]
			default:
				continue
			}
			if len(words) == 0 {
				continue
			}
			seen++
			c := find(words[0])
			if c == nil {
				t.Errorf("%s: %q: there is no command %q", file, line, words[0])
				continue
			}
			fs, _ := c.flagSet()
			if err := fs.Parse(words[1:]); err != nil && !strings.Contains(err.Error(), "needs an argument") { // named in passing, without its value
				t.Errorf("%s: %q: %v", file, line, err)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d commands were found: the documents or this test have changed their ways", seen)
	}
}

// commandLines are the lines of shell blocks, and what stands between backquotes in
// the text, that begin with autotune, make or go run.
func commandLines(text string) (lines []string) {
	command := regexp.MustCompile(`^(autotune|make|go run) [a-z.]`)
	block := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			block = !block
			continue
		}
		found := []string{line}
		if !block {
			found = nil
			for i, part := range strings.Split(line, "`") {
				if i%2 == 1 {
					found = append(found, part)
				}
			}
		}
		for _, f := range found {
			if f = strings.TrimPrefix(f, "$ "); command.MatchString(f) && !strings.Contains(f, "…") && !strings.Contains(f, "[flags]") {
				lines = append(lines, f)
			}
		}
	}
	return lines
}

// shellWords splits a line as a shell does, as far as documents need it: quotes,
// and the end at a comment, a pipe or a redirection.
func shellWords(line string) (words []string) {
	word := regexp.MustCompile(`"([^"]*)"|'([^']*)'|(\S+)`)
	for _, m := range word.FindAllStringSubmatch(line, -1) {
		if strings.HasPrefix(m[3], "#") || strings.HasPrefix(m[3], "|") || strings.HasPrefix(m[3], ">") {
			break
		}
		words = append(words, m[1]+m[2]+m[3])
	}
	return words
}
