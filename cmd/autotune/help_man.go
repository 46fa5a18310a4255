package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// writeMan writes the manual page autotune(1) from the table of commands, in the
// macros of man(7). `autotune help --man | man -l -` shows it.
func writeMan(w io.Writer) error {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`.\" Made by "autotune help --man".`)
	line(`.TH AUTOTUNE 1 "" "autotune" "User Commands"`)
	line(".SH NAME\nautotune \\- tune PostgreSQL connection pools while they are in use")
	line(".SH SYNOPSIS\n.B autotune\n.I command\n.RI [ flags ]")
	line(".SH DESCRIPTION\n%s", roff("Results go to stdout, everything else to stderr. A setting comes from the flag, else from its environment variable, else from DATABASE_URL, else from PG* (both for the database only), else it is the default."))
	line(".SH COMMANDS")
	for _, c := range commands() {
		fs, _ := c.flagSet()
		line(".SS %s", roff(c.usageLine()))
		for i, paragraph := range strings.Split(c.about, "\n\n") {
			if i > 0 {
				line(".PP")
			}
			line("%s", roff(strings.Join(strings.Fields(paragraph), " ")))
		}
		fs.VisitAll(func(f *pflag.Flag) {
			if f.Hidden {
				return
			}
			value, usage := pflag.UnquoteUsage(f)
			if value != "" {
				value = ` \fI` + roff(value) + `\fR`
			}
			if f.DefValue != "" && f.DefValue != "0" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0s" {
				usage += " (default " + f.DefValue + ")"
			}
			if name := variable(f); name != "" {
				usage += " [" + name + "]"
			}
			line(".TP\n\\fB\\-\\-%s\\fR%s\n%s", roff(f.Name), value, roff(usage))
		})
		if len(c.example) > 0 {
			line(".PP\nExamples:\n.PP\n.nf\n.RS")
			for _, example := range c.example {
				line("%s", roff(example))
			}
			line(".RE\n.fi")
		}
	}
	line(".SH EXIT STATUS")
	for _, x := range []struct {
		code  int
		means string
	}{{exitDone, "done"}, {exitFailed, "failed"}, {exitUsage, "wrong usage"}, {exitNo, "ran well, but the answer is no"}} {
		line(".TP\n%d\n%s", x.code, x.means)
	}
	_, err := b.WriteTo(w)
	return err
}

// roff makes text safe for a line of man(7): a backslash is its escape, a minus a
// hyphen unless escaped, and a leading dot or quote a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	var b strings.Builder
	for _, r := range strings.Join(lines, "\n") {
		if r > 127 { // roff reads Latin-1 unless told by a flag
			fmt.Fprintf(&b, `\[u%04X]`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
