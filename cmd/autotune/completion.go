package main

import (
	"context"
	_ "embed"
	"strings"
	"text/template"

	"github.com/spf13/pflag"
)

// Each template gets the table and writes one script.
var (
	//go:embed completion/bash.tmpl
	bashTemplate string
	//go:embed completion/zsh.tmpl
	zshTemplate string
	//go:embed completion/fish.tmpl
	fishTemplate string
)

var shells = map[string]*string{"bash": &bashTemplate, "zsh": &zshTemplate, "fish": &fishTemplate}

func completionCommand() *command {
	return &command{
		name: "completion", args: "bash|zsh|fish", values: []string{"bash", "zsh", "fish"},
		summary: "write a completion script for a shell",
		about:   "Writes a script that teaches a shell to complete autotune's commands and flags.",
		example: []string{
			"source <(autotune completion bash)    # in ~/.bashrc",
			"source <(autotune completion zsh)     # in ~/.zshrc, after compinit",
			"autotune completion fish | source     # in ~/.config/fish/config.fish",
		},
		flags: func(*pflag.FlagSet) runner {
			return func(_ context.Context, args []string, s *session) error {
				const try = "Try: autotune completion bash, or zsh, or fish"
				if len(args) != 1 {
					return usagef(try, "completion: name one shell")
				}
				text, ok := shells[args[0]]
				if !ok {
					return usagef(try, "completion: no script for the shell %q", args[0])
				}
				quote := template.FuncMap{"quote": func(s string) string { return strings.ReplaceAll(s, "'", `'\''`) }, "join": strings.Join}
				return template.Must(template.New(args[0]).Funcs(quote).Parse(*text)).Execute(s.stdout, completions())
			}
		},
	}
}

// completion is a command as the templates see it.
type completion struct {
	Name, Summary string
	Values        []string
	Flags         []completedFlag
}

type completedFlag struct {
	Name, Usage string
	Values      []string // what it may be
	File        bool     // it names a file
	Argument    bool     // a value follows
}

func completions() (all []completion) {
	for _, c := range commands() {
		done := completion{Name: c.name, Summary: c.summary, Values: c.values}
		fs, _ := c.flagSet()
		fs.VisitAll(func(f *pflag.Flag) {
			if f.Hidden {
				return
			}
			_, usage := pflag.UnquoteUsage(f)
			done.Flags = append(done.Flags, completedFlag{
				Name: f.Name, Usage: usage, Values: f.Annotations[annotationValues],
				File: f.Annotations[annotationFile] != nil, Argument: f.NoOptDefVal == "",
			})
		})
		done.Flags = append(done.Flags, completedFlag{Name: "help", Usage: "explain this command"})
		all = append(all, done)
	}
	return all
}
