package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pgautotune/autotune/internal/redact"
	"github.com/pgautotune/autotune/internal/spelling"
	"github.com/spf13/pflag"
)

// command is one line of the table that dispatch, help, completion and
// docs/flags.md are made from.
type command struct {
	name    string
	args    string   // its arguments, in the usage line
	values  []string // what its argument may be, for completion
	summary string   // one line, in the overview
	about   string   // the paragraphs of its help
	example []string // command lines

	// flags defines the flags, in order of use, and returns what runs with them.
	flags func(fs *pflag.FlagSet) runner
}

// argDSN is the argument of a command that may have a connection string as its first.
const argDSN = "[DSN]"

// runner does a command's work after its flags were read.
type runner func(ctx context.Context, args []string, s *session) error

// commands is the table, in the order in which a newcomer meets them. A function,
// because help and completion are in it and read it.
func commands() []*command {
	help := helpCommand()
	all := []*command{demoCommand(), recommendCommand(), watchCommand(), recordCommand(), simulateCommand(), replayCommand(), benchCommand(), versionCommand(), completionCommand(), help}
	for _, c := range all {
		help.values = append(help.values, c.name) // what it can explain
	}
	return all
}

func find(name string) *command {
	all := commands()
	i := slices.IndexFunc(all, func(c *command) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

// flagSet returns the command's flags and what runs with them.
func (c *command) flagSet() (*pflag.FlagSet, runner) {
	fs := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	fs.SetOutput(io.Discard)
	return fs, c.flags(fs)
}

func (c *command) run(ctx context.Context, args []string, s *session) error {
	fs, run := c.flagSet()
	try := "Try: autotune " + c.name + " --help"
	if err := fs.Parse(args); errors.Is(err, pflag.ErrHelp) {
		return c.writeHelp(s.stdout)
	} else if err != nil && redact.Suspect(err.Error()) {
		return c.stray(fs, "a flag") // the error repeats it
	} else if err != nil {
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) {
			if near := spelling.Nearest(unknown.GetSpecifiedName(), flagNames(fs)); near != "" {
				try = fmt.Sprintf("Did you mean --%s? See: autotune %s --help", near, c.name)
			}
		}
		return usagef(try, "%s", c.name+": "+strings.TrimSuffix(err.Error(), "."))
	}
	if err := readEnvironment(fs, s.env); err != nil {
		return usagef(try, "%s: %v", c.name, err)
	}
	if err := c.findStray(fs); err != nil {
		return err
	}
	if len(fs.Args()) > 0 && c.args == "" {
		return usagef(try, "%s: unexpected argument %q", c.name, fs.Arg(0))
	}
	return blameEnvironment(fs, run(ctx, fs.Args(), s))
}

// takesAny are the flags with a connection string, or a name that may look like one.
var takesAny = []string{"dsn", "calibrate", "application", "user", "database"}

// findStray refuses a connection string where none belongs, before anything comes
// to repeat it as the name of a file or of a scenario.
func (c *command) findStray(fs *pflag.FlagSet) error {
	for i, arg := range fs.Args() {
		if redact.Suspect(arg) && !(i == 0 && c.args == argDSN) {
			return c.stray(fs, "an argument")
		}
	}
	var err error
	fs.Visit(func(f *pflag.Flag) {
		text := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			text = strings.Join(list.GetSlice(), ",")
		}
		if err == nil && !slices.Contains(takesAny, f.Name) && redact.Suspect(text) {
			err = c.stray(fs, "--"+f.Name)
		}
	})
	return err
}

// stray is a connection string where none belongs; it is not repeated.
func (c *command) stray(fs *pflag.FlagSet, where string) error {
	try := "See: autotune " + c.name + " --help"
	if fs.Lookup("dsn") != nil {
		try = "If it is the database, give it with --dsn. " + try
	}
	return usagef(try, "%s: %s is a URL or a connection string, which does not belong there; it is not shown", c.name, where)
}

func flagNames(fs *pflag.FlagSet) (names []string) {
	fs.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

func unknownCommand(name string) error {
	if redact.Suspect(name) {
		return usagef("Name a command before it, and give it with --dsn: autotune recommend --dsn DSN. See: autotune help", "a connection string is no command")
	}
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	if near := spelling.Nearest(name, names); near != "" {
		return usagef(fmt.Sprintf("Did you mean: autotune %s? All commands: autotune help", near), "unknown command %q", name)
	}
	return usagef("The commands are "+strings.Join(names, ", ")+". See: autotune help", "unknown command %q", name)
}
