package autotune_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// loggedIn lists the messages that a Go file logs, with the levels of each. A
// logger is called through a method, or through one kept in a variable log.
func loggedIn(t *testing.T, name string, src any) map[string][]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	levels := map[string]string{"Debug": "Debug", "DebugContext": "Debug", "Info": "Info", "InfoContext": "Info", "Warn": "Warn", "WarnContext": "Warn", "Error": "Error", "ErrorContext": "Error"}
	found := map[string][]string{}
	var kept []string // levels of loggers that are taken as values: log := x.Debug
	called := map[ast.Node]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			called[n.Fun] = true
			for _, arg := range n.Args[:min(2, len(n.Args))] {
				lit, ok := arg.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					continue
				}
				message, _ := strconv.Unquote(lit.Value)
				switch f := n.Fun.(type) {
				case *ast.SelectorExpr:
					if level := levels[f.Sel.Name]; level != "" {
						found[message] = append(found[message], level)
					}
				case *ast.Ident:
					if f.Name == "log" {
						found[message] = append(found[message], "kept")
					}
				}
				break
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.SelectorExpr); ok && x.Sel.Name == "log" && !called[n] && levels[n.Sel.Name] != "" {
				kept = append(kept, levels[n.Sel.Name])
			}
		}
		return true
	})
	for message, ls := range found {
		if i := slices.Index(ls, "kept"); i >= 0 {
			found[message] = append(slices.Delete(ls, i, i+1), kept...)
		}
	}
	return found
}

func TestEveryLogEventIsDocumentedAndNoOther(t *testing.T) {
	manual, err := os.ReadFile("docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(manual), "## Log events")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| ([A-Za-z, ]+) \\| `([^`]+)` \\|").FindAllStringSubmatch(section, -1) {
		documented[m[2]] = m[1]
	}
	logged := map[string][]string{}
	for _, file := range goFiles(t, ".") {
		if strings.Contains(file, "/") && !strings.HasPrefix(file, "internal/pgstat/") && !strings.HasPrefix(file, "internal/host/") {
			continue // what the pool is not made of
		}
		for message, levels := range loggedIn(t, file, nil) {
			logged[message] = append(logged[message], levels...)
		}
	}
	if len(logged) < 10 {
		t.Fatalf("only %d events are found in the code: %v", len(logged), logged)
	}
	for message, levels := range logged {
		if documented[message] == "" {
			t.Errorf("%q is logged and not documented", message)
		}
		for _, level := range levels {
			if !strings.Contains(documented[message], level) {
				t.Errorf("%q is logged as %s, documented as %q", message, level, documented[message])
			}
		}
	}
	for message := range documented {
		if logged[message] == nil {
			t.Errorf("%q is documented and never logged", message)
		}
	}
}

func TestTheSearchForLogEventsFindsEachKind(t *testing.T) {
	got := loggedIn(t, "planted.go", `package p
func f() {
	p.log.Info("one", "key", 1)
	r.cfg.Logger.DebugContext(ctx, "two")
	log := t.pool.log.Debug
	log = t.pool.log.Warn
	log("three", "key", 1)
	fmt.Errorf("four")
}`)
	if len(got) != 3 || !slices.Equal(got["one"], []string{"Info"}) || !slices.Equal(got["two"], []string{"Debug"}) || !slices.Equal(got["three"], []string{"Debug", "Warn"}) {
		t.Errorf("found %v", got)
	}
}
