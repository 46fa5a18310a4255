package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// helpWidth fits a terminal of the usual 80 columns.
const helpWidth = 80

const purpose = "autotune tunes PostgreSQL connection pools while they are in use."

func helpCommand() *command {
	return &command{
		name: "help", args: "[command]", summary: "explain a command",
		about: `Explains a command, as autotune <command> --help does, or lists them all. With --man it
writes the manual page of all commands.`,
		example: []string{
			"autotune help recommend",
			"autotune help --man | man -l -",
			"autotune help --man >/usr/local/share/man/man1/autotune.1",
		},
		flags: func(fs *pflag.FlagSet) runner {
			markdown := fs.Bool("markdown", false, "write docs/flags.md")
			man := fs.Bool("man", false, "write the manual page autotune(1)")
			noEnv(fs, "markdown", "man")
			_ = fs.MarkHidden("markdown")
			return func(_ context.Context, args []string, s *session) error {
				switch {
				case *markdown && len(args) == 0:
					return writeMarkdown(s.stdout)
				case *man && len(args) == 0:
					return writeMan(s.stdout)
				case len(args) == 0:
					return writeOverview(s.stdout)
				case len(args) > 1:
					return usagef("Try: autotune help "+args[0], "help: one command at a time")
				}
				if c := find(args[0]); c != nil {
					return c.writeHelp(s.stdout)
				}
				return unknownCommand(args[0])
			}
		},
	}
}

// noEnv says that flags have no environment variable.
func noEnv(fs *pflag.FlagSet, names ...string) {
	for _, name := range names {
		_ = fs.SetAnnotation(name, annotationNoEnv, []string{"true"})
	}
}

// writeOverview lists the commands.
func writeOverview(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\nUsage: autotune <command> [flags]\n\nCommands:\n", purpose)
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-12s%s\n", c.name, c.summary)
	}
	b.WriteString(`
Flags of a command follow its name: autotune <command> --help lists them.
Each has an environment variable, AUTOTUNE_ and its name; the flag wins.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 ran well but the answer is no.
`)
	_, err := b.WriteTo(w)
	return err
}

// usageLine is how the command is called.
func (c *command) usageLine() string {
	fs, _ := c.flagSet()
	line := "autotune " + c.name
	if len(flagNames(fs)) > 0 {
		line += " [flags]"
	}
	if c.args != "" {
		line += " " + c.args
	}
	return line
}

// writeHelp explains the command.
func (c *command) writeHelp(w io.Writer) error {
	fs, _ := c.flagSet()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\nUsage: %s\n", wrap(c.about, helpWidth), c.usageLine())
	if len(flagNames(fs)) > 0 {
		fs.VisitAll(func(f *pflag.Flag) {
			if name := variable(f); name != "" {
				f.Usage += " [" + name + "]"
			}
		})
		fmt.Fprintf(&b, "\nFlags, with their environment variables:\n%s", fs.FlagUsagesWrapped(helpWidth))
	}
	if len(c.example) > 0 {
		b.WriteString("\nExamples:\n")
		for _, line := range c.example {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	_, err := b.WriteTo(w)
	return err
}

// writeMarkdown writes docs/flags.md.
func writeMarkdown(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString(`# The command and its flags

<!-- Made by "autotune help --markdown"; a test compares it with the code. -->

`)
	b.WriteString(purpose + `

A setting comes from the flag, else from its environment variable, else from
` + "`DATABASE_URL`, else from `PG*`" + ` (both for the database only), else it is
the default. Results go to stdout, everything else to stderr. Exit status: 0 done,
1 failed, 2 wrong usage, 3 ran well but the answer is no.
`)
	for _, c := range commands() {
		fs, _ := c.flagSet()
		fmt.Fprintf(&b, "\n## autotune %s\n\n%s.\n\n```\n%s\n```\n\n%s\n", c.name, capital(c.summary), c.usageLine(), wrap(c.about, helpWidth))
		if len(flagNames(fs)) > 0 {
			b.WriteString("\n| flag | default | environment | |\n|---|---|---|---|\n")
			fs.VisitAll(func(f *pflag.Flag) {
				if f.Hidden {
					return
				}
				name, usage := pflag.UnquoteUsage(f)
				value := f.DefValue
				if slices.Contains([]string{"", "0", "false", "[]"}, value) {
					value = "–"
				}
				long, env := strings.TrimSpace("--"+f.Name+" "+name), "–"
				if f.Shorthand != "" {
					long = "-" + f.Shorthand + ", " + long
				}
				if v := variable(f); v != "" {
					env = "`" + v + "`"
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", long, value, env, usage)
			})
		}
		if len(c.example) > 0 {
			fmt.Fprintf(&b, "\n```sh\n%s\n```\n", strings.Join(c.example, "\n"))
		}
	}
	_, err := b.WriteTo(w)
	return err
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// wrap breaks paragraphs, which empty lines part, into lines of at most width.
func wrap(text string, width int) string {
	var out []string
	for _, paragraph := range strings.Split(text, "\n\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
				out = append(out, line)
				line = ""
			}
			line = strings.TrimLeft(line+" "+word, " ")
		}
		out = append(out, line, "")
	}
	return strings.Join(out[:len(out)-1], "\n")
}
