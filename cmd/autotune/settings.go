package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pgautotune/autotune/internal/redact"
)

// Where a setting comes from, the first that says something:
//
//	the flag  >  AUTOTUNE_<FLAG>  >  for --dsn: DATABASE_URL  >  PG*  >  the default
//
// An environment variable that is set and empty says nothing.

const (
	annotationNoEnv  = "no-env" // the flag has no environment variable
	annotationValues = "values" // what the flag may be
	annotationFile   = "file"   // the flag names a file
	annotationSetBy  = "set-by" // the environment variable that its value came from
	databaseURL      = "DATABASE_URL"
	libpqConnections = "PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGSERVICE" // any of these says which server is meant
)

// variable is the environment variable of a flag, "" for none.
func variable(f *pflag.Flag) string {
	if f.Annotations[annotationNoEnv] != nil || f.Name == "help" {
		return ""
	}
	return "AUTOTUNE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// readEnvironment gives every flag that was not given the value of its variable.
func readEnvironment(fs *pflag.FlagSet, env environment) (err error) {
	fs.VisitAll(func(f *pflag.Flag) {
		name := variable(f)
		if f.Changed || name == "" || err != nil {
			return
		}
		if v, ok := env(name); ok && v != "" {
			if e := fs.Set(f.Name, v); e != nil {
				// pflag's text names the flag, which nobody gave.
				err = errors.New(redact.About(fmt.Errorf("environment variable %s: %q is not a value of --%s (%s)", name, v, f.Name, allowed(f)), v))
				return
			}
			_ = fs.SetAnnotation(f.Name, annotationSetBy, []string{name})
		}
	})
	return err
}

// onCommandLine tells of a flag whether it was given there: what the environment says is
// for all commands, and need not fit one.
func onCommandLine(fs *pflag.FlagSet) func(name string) bool {
	return func(name string) bool {
		f := fs.Lookup(name)
		return f != nil && f.Changed && f.Annotations[annotationSetBy] == nil
	}
}

// blameEnvironment adds to an error the variables that it may come from. Commands
// share names (--show is a number in one and a name in another), and nobody looks
// for a flag that was not given. Values stay out: a connection string has a password.
func blameEnvironment(fs *pflag.FlagSet, err error) error {
	if err == nil || errors.Is(err, errNo) {
		return err
	}
	var usage *usageError
	isUsage := errors.As(err, &usage)
	var from []string
	fs.VisitAll(func(f *pflag.Flag) {
		// How flags go together may be wrong without one of them being named.
		if by := f.Annotations[annotationSetBy]; by != nil && (isUsage || strings.Contains(err.Error(), f.Value.String())) {
			from = append(from, fmt.Sprintf("%s, which sets --%s", by[0], f.Name))
		}
	})
	switch {
	case from == nil:
		return err
	case isUsage:
		return &usageError{wrong: usage.wrong, try: usage.try + ". In the environment is " + strings.Join(from, ", and ")}
	}
	return fmt.Errorf("%w (in the environment is %s)", err, strings.Join(from, ", and "))
}

func allowed(f *pflag.Flag) string {
	if values := f.Annotations[annotationValues]; values != nil {
		return strings.Join(values, ", ")
	}
	return f.Value.Type()
}

// connString is the database to use: the flag (or AUTOTUNE_DSN), else DATABASE_URL.
// ok is false when nothing says which; with PG* set the string may be empty, for
// pgx reads those itself, below whatever the string says.
func connString(flag string, env environment) (dsn string, ok bool) {
	if flag != "" {
		return flag, true
	}
	if v, set := env(databaseURL); set && v != "" {
		return v, true
	}
	for _, name := range strings.Fields(libpqConnections) {
		if v, set := env(name); set && v != "" {
			return "", true
		}
	}
	return "", false
}

// choice is a flag with a closed set of values.
type choice struct {
	value  *string
	values []string
}

func (c choice) String() string { return *c.value }
func (c choice) Type() string   { return "string" }
func (c choice) Set(v string) error {
	if !slices.Contains(c.values, v) {
		return fmt.Errorf("must be %s", orList(c.values))
	}
	*c.value = v
	return nil
}

func orList(values []string) string {
	last := len(values) - 1
	if last == 0 {
		return values[0]
	}
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// addChoice adds a flag that is one of values, the first being the default. They
// are named in its usage.
func addChoice(fs *pflag.FlagSet, p *string, name, usage string, values ...string) {
	*p = values[0]
	fs.Var(choice{p, values}, name, usage+": "+orList(values))
	_ = fs.SetAnnotation(name, annotationValues, values)
}

// The values of --output.
const (
	outputText = "text"
	outputJSON = "json"
)

func addOutput(fs *pflag.FlagSet, p *string, also ...string) {
	addChoice(fs, p, "output", "`form` of the result", append([]string{outputText, outputJSON}, also...)...)
}
