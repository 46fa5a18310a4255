package autotune_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The controller and what it rests on have to give the same decisions from the
// same journal, bit for bit. So they may not look at anything but their
// arguments, and may not leave anything to the scheduler.

const module = "github.com/pgautotune/autotune"

// impureImports bring in a clock, IO, goroutines or chance. A path stands for
// everything below it, too.
var impureImports = []string{
	"os", "net", "io", "sync", "math/rand", "crypto/rand", "runtime", "syscall", "unsafe", "log", "context", "database/sql",
	"bufio", "plugin", "reflect", "C", "github.com/jackc", "github.com/shirou",
}

// impureTime are the functions of package time that read the clock or wait.
var impureTime = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer", "Timer", "Ticker"}

// impurities lists what in a Go file is not pure.
func impurities(name string, src any) (found []string, err error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, 0)
	if err != nil {
		return nil, err
	}
	note := func(at token.Pos, format string, args ...any) {
		found = append(found, fmt.Sprintf("%s: %s", fset.Position(at), fmt.Sprintf(format, args...)))
	}
	timeName := ""
	for _, spec := range file.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		for _, bad := range impureImports {
			if p == bad || strings.HasPrefix(p, bad+"/") {
				note(spec.Pos(), "imports %s", p)
			}
		}
		if p == "time" {
			timeName = "time"
			if spec.Name != nil {
				timeName = spec.Name.Name
			}
			if timeName == "." {
				note(spec.Pos(), "imports time with a dot")
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			note(n.Pos(), "starts a goroutine")
		case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
			note(n.Pos(), "uses a channel")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				note(n.Pos(), "uses a channel")
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && timeName != "" && x.Name == timeName && slices.Contains(impureTime, n.Sel.Name) {
				note(n.Pos(), "uses time.%s", n.Sel.Name)
			}
		}
		return true
	})
	return found, nil
}

// goFiles lists the Go files below a folder of the repository, tests apart, as
// slash-separated paths.
func goFiles(t *testing.T, folder string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != folder && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case strings.HasSuffix(p, ".go") && !strings.HasSuffix(p, "_test.go"):
			files = append(files, filepath.ToSlash(p))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var purePackages = []string{"internal/model", "internal/sizing", "internal/controller", "internal/ramp"}

func TestModelSizingControllerAndRampArePure(t *testing.T) {
	for _, folder := range purePackages {
		files := goFiles(t, folder)
		if len(files) == 0 {
			t.Errorf("%s has no files: is this the right folder?", folder)
		}
		for _, file := range files {
			found, err := impurities(file, nil)
			if err != nil {
				t.Error(err)
			}
			for _, f := range found {
				t.Error(f)
			}
		}
	}
}

func TestTheCheckForPurityFindsEachImpurity(t *testing.T) {
	for src, want := range map[string]string{
		`import "os"`:                                         "imports os",
		`import "os/exec"`:                                    "imports os/exec",
		`import "sync/atomic"`:                                "imports sync/atomic",
		`import r "math/rand/v2"`:                             "imports math/rand/v2",
		`import _ "runtime"`:                                  "imports runtime",
		`import "net"`:                                        "imports net",
		`import "io"`:                                         "imports io",
		`import "time"; var t = time.Now()`:                   "uses time.Now",
		`import clock "time"; var s = clock.Since`:            "uses time.Since",
		`import "time"; func f() { time.Sleep(1) }`:           "uses time.Sleep",
		`import "time"; func f() { <-time.After(1) }`:         "uses time.After",
		`import "time"; type s struct { t *time.Ticker }`:     "uses time.Ticker",
		`import "time"; var t = time.NewTimer`:                "uses time.NewTimer",
		`import . "time"`:                                     "imports time with a dot",
		`func f() { go f() }`:                                 "starts a goroutine",
		`var c chan int`:                                      "uses a channel",
		`func f(c <-chan int) {}`:                             "uses a channel",
		`func f() { select {} }`:                              "uses a channel",
		`import "time"; const d = 3 * time.Second`:            "",
		`import ("errors"; "fmt"; "math"); var e = math.Pi`:   "",
		`func f(now, time struct{ Now int }) { _ = now.Now }`: "",
	} {
		found, err := impurities("planted.go", "package p; "+src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
		}
		if all := strings.Join(found, "; "); want == "" && all != "" || !strings.Contains(all, want) {
			t.Errorf("of %q the check says %q, want %q", src, all, want)
		}
	}
}

// mayImport tells whether a folder of the module may import another; "" is the root.
func mayImport(from, to string) bool {
	below := func(folder, of string) bool { return folder == of || strings.HasPrefix(folder, of+"/") }
	only := func(allowed ...string) bool { return slices.Contains(allowed, to) }
	if from == to || from != "" && to != "" && (below(to, from) || below(from, to)) {
		return true // parts of one thing
	}
	switch {
	case from == "internal/model", from == "internal/ramp", from == "internal/pgstat", from == "internal/host", from == "internal/redact", below(from, "internal/pgtest"):
		return false // the leaves
	case from == "internal/sizing":
		return only("internal/model")
	case from == "internal/controller":
		return only("internal/sizing", "internal/model")
	case from == "":
		return only("internal/controller", "internal/sizing", "internal/model", "internal/pgstat", "internal/host", "internal/redact", "internal/ramp")
	case below(from, "dashboard") && to == "internal/redact":
		return true // it shows settings, among which a password can be where none belongs
	case below(from, "metrics"), below(from, "dashboard"):
		// Through the root, whose types are aliases of the controller's; embedders
		// get no server reader by importing a page.
		return only("", "internal/controller", "internal/sizing", "internal/model")
	case below(from, "simulations"):
		return to != "" && !below(to, "cmd") && !below(to, "internal/pgtest") // pure, as what it simulates
	case below(from, "cmd"):
		return true
	}
	return !below(to, "cmd") // what the command is made of
}

// wrongImports lists the imports of a Go file that run against the arrows.
func wrongImports(name string, src any) (wrong []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	from := path.Dir(name)
	if from == "." {
		from = ""
	}
	for _, spec := range file.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		if p != module && !strings.HasPrefix(p, module+"/") {
			continue
		}
		if to := strings.TrimPrefix(strings.TrimPrefix(p, module), "/"); !mayImport(from, to) {
			wrong = append(wrong, fmt.Sprintf("%s imports %s", name, p))
		}
	}
	return wrong, nil
}

func TestDependenciesRunOneWay(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil || !strings.HasPrefix(string(mod), "module "+module+"\n") {
		t.Fatalf("this is not the root of %s: %v", module, err)
	}
	files := goFiles(t, ".")
	if len(files) < 40 {
		t.Errorf("only %d files found", len(files))
	}
	for _, file := range files {
		wrong, err := wrongImports(file, nil)
		if err != nil {
			t.Error(err)
		}
		for _, w := range wrong {
			t.Error(w)
		}
	}
}

func TestTheCheckOfDependenciesFindsEachWrongOne(t *testing.T) {
	for _, tt := range []struct {
		file, imports string
		wrong         bool
	}{
		{"pool.go", "internal/controller", false},
		{"pool.go", "internal/pgtest", true},
		{"pool.go", "metrics", true},
		{"pool.go", "cmd/autotune", true},
		{"internal/model/usl.go", "internal/sizing", true},
		{"internal/sizing/bounds.go", "internal/model", false},
		{"internal/sizing/bounds.go", "internal/controller", true},
		{"internal/controller/step.go", "", true},
		{"internal/controller/step.go", "internal/pgstat", true},
		{"internal/pgstat/reader.go", "internal/model", true},
		{"internal/host/cpu.go", "", true},
		{"metrics/collector.go", "", false},
		{"metrics/collector.go", "internal/pgstat", true},
		{"dashboard/settings.go", "internal/redact", false},
		{"dashboard/settings.go", "internal/pgstat", true},
		{"simulations/plant.go", "internal/controller", false},
		{"simulations/plant.go", "", true},
		{"cmd/autotune/main.go", "", false},
		{"internal/load/load.go", "cmd/autotune", true},
	} {
		p := module
		if tt.imports != "" {
			p += "/" + tt.imports
		}
		wrong, err := wrongImports(tt.file, fmt.Sprintf("package p; import %q", p))
		if err != nil || (len(wrong) > 0) != tt.wrong {
			t.Errorf("%s importing %q: %q, %v", tt.file, tt.imports, wrong, err)
		}
	}
}
