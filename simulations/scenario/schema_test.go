package scenario

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/scenarios.md")

// docs is made of the structs that a file is read into, and of their comments.
const docs = "../../docs/scenarios.md"

func TestTheDocumentationListsEveryKey(t *testing.T) {
	want := document(t)
	if *update {
		if err := os.WriteFile(docs, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the code says; go test ./simulations/scenario -update writes it", docs)
	}
}

func TestTheExampleOfTheDocumentationIsValid(t *testing.T) {
	if _, err := Read(strings.NewReader(example), "lunch-rush.yaml"); err != nil {
		t.Error(err)
	}
}

const example = `# Save as lunch-rush.yaml, run: autotune simulate --scenario lunch-rush.yaml
title: The rush at noon
shows: Whether 20 connections are enough.
policies: [auto, fixed-10, fixed-20]
world:
  duration: 15m
  warmup: 1m
  slo: 200ms            # a request is good when it was answered within this
  arrivals:
    - rate: 150         # requests per second, Poisson
      flash:
        - {at: 5m, factor: 4, rise: 1m, hold: 3m, fall: 2m}
  classes:
    - name: search
      stages:
        - {on: cpu, service: {kind: lognormal, mean: 4ms, cv: 1.5}}
        - {on: idle_in_transaction, service: {mean: 5ms}}
  server:
    cores: 4
    sigma: 0.005        # what each runnable backend beyond the cores costs
`

// document writes the documentation.
func document(t *testing.T) string {
	comments := make(map[string]string) // by type, and by type.Field
	for _, dir := range []string{".", "../plant"} {
		readComments(t, dir, comments)
	}
	var b strings.Builder
	b.WriteString(`# Scenarios

<!-- Made by "go test ./simulations/scenario -update" from the structs that a file is read into. -->

A scenario is a YAML file that describes a simulated world, who is compared in it,
and what it shows. Comments are welcome; an unknown key is an error that names its
line and column. A key that is left out has its default. Durations are written
` + "`250us`, `5ms`, `1.5s`, `10m`, `24h`" + `. Begin with one of the library:
` + "`autotune simulate --list` names them, `autotune simulate --show steady-70` prints one.\n\n```yaml\n" + example + "```\n")
	for _, table := range tables(reflect.TypeFor[Scenario]()) {
		path := "The file"
		if table.path != "" {
			path = "`" + table.path + "`"
		}
		fmt.Fprintf(&b, "\n## %s\n\n", path)
		if about := comments[table.of.Name()]; about != "" {
			fmt.Fprintf(&b, "%s\n\n", about)
		}
		b.WriteString("| key | value | |\n|---|---|---|\n")
		for _, f := range table.fields {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.name, f.kind, strings.ReplaceAll(comments[table.of.Name()+"."+f.goes], "|", "\\|"))
		}
	}
	b.WriteString("\n## Words\n\n| key | may be |\n|---|---|\n")
	for _, w := range [][2]string{
		{"`loop`", "open, closed, mixed"},
		{"`on` of a stage", "cpu, io, idle_in_transaction, client"},
		{"`kind` of a distribution", "exponential, deterministic, lognormal, gamma, hyperexponential"},
		{"`law` of the server", "beyond, usl"},
	} {
		fmt.Fprintf(&b, "| %s | %s |\n", w[0], w[1])
	}
	return b.String()
}

// readComments reads the comments of the structs of a folder.
func readComments(t *testing.T, dir string, into map[string]string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no source in %s: %v", dir, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			d, ok := n.(*ast.GenDecl)
			if !ok {
				return true
			}
			for _, spec := range d.Specs {
				ts, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				st, ok := ts.Type.(*ast.StructType)
				if !ok {
					continue
				}
				into[ts.Name.Name] = oneLine(d.Doc.Text())
				for _, f := range st.Fields.List {
					text := oneLine(strings.TrimSpace(f.Doc.Text() + " " + f.Comment.Text()))
					for _, name := range f.Names {
						into[ts.Name.Name+"."+name.Name] = text
					}
				}
			}
			return true
		})
	}
}

// oneLine takes the line ends and the links of Go's comments out.
func oneLine(text string) string {
	return strings.NewReplacer("[Config.Validate]", "the command", "[Tuner]", "policy", "[", "", "]", "").Replace(strings.Join(strings.Fields(text), " "))
}
