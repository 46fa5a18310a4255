// Command autotune shows, measures and explains the tuner of connection pools.
//
// Read in this order: main.go dispatches; command.go has the table of commands
// that everything else is made from, settings.go how a flag gets its value;
// help.go, completion.go and version.go are the small commands; demo.go begins
// the demo, which demo_*.go go on with.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/pgautotune/autotune/internal/redact"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.LookupEnv, os.Stdin, os.Stdout, os.Stderr))
}

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitNo     = 3 // ran well, but the answer is no
)

// session is what a command runs with besides its flags.
type session struct {
	env    environment
	stdin  io.Reader
	stdout io.Writer // results
	stderr io.Writer // everything else
}

// environment looks up a variable, as [os.LookupEnv] does.
type environment func(name string) (string, bool)

// sameSignal is how long signals count as one: timeout(1) and some shells signal a
// process and then its group, which would cut its clean-up off.
const sameSignal = time.Second

// run does all that main does. The first SIGINT or SIGTERM ends ctx, after which
// commands clean up; another one, from a second later on, ends the process.
func run(ctx context.Context, args []string, env environment, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer func() {
		if ctx.Err() == nil { // else the same signal may come once more, up to the last moment
			stop()
		}
	}()
	context.AfterFunc(ctx, func() { time.AfterFunc(sameSignal, stop) })

	err := dispatch(ctx, args, &session{env: env, stdin: stdin, stdout: stdout, stderr: stderr})
	return report(ctx, err, stderr)
}

// dispatch finds the command in the table and runs it.
func dispatch(ctx context.Context, args []string, s *session) error {
	root := pflag.NewFlagSet("autotune", pflag.ContinueOnError)
	root.SetInterspersed(false) // what follows the command's name is the command's
	root.Usage = func() {}
	root.SetOutput(io.Discard)
	help := root.BoolP("help", "h", false, "")
	version := root.Bool("version", false, "")
	if err := root.Parse(args); err != nil && redact.Suspect(err.Error()) {
		return usagef("Name a command first: autotune recommend --dsn DSN. See: autotune help", "a connection string is not a flag; it is not shown")
	} else if err != nil {
		return usagef("Try: autotune help", "%v", err)
	}
	switch {
	case *help:
		return writeOverview(s.stdout)
	case *version:
		return writeVersion(s.stdout, outputText)
	case root.NArg() == 0:
		return usagef("Try: autotune help", "no command given")
	}
	name := root.Arg(0)
	c := find(name)
	if c == nil {
		return unknownCommand(name)
	}
	return c.run(ctx, root.Args()[1:], s)
}

// usageError is a mistake in how the command was called: what was wrong, and what
// to try.
type usageError struct{ wrong, try string }

func (e *usageError) Error() string { return e.wrong }

// usagef makes one. What the person gave may be a connection string, or an error
// about one: those are not repeated.
func usagef(try, format string, args ...any) error {
	for i := range args {
		switch arg := args[i].(type) {
		case string:
			args[i] = redact.Text(arg)
		case error:
			args[i] = redact.Error(arg)
		}
	}
	return &usageError{wrong: fmt.Sprintf(format, args...), try: try}
}

// errNo ends a command that ran well and whose answer is no. What the answer is
// about has been written by then.
var errNo = errors.New("the answer is no")

// leftBehind is a clean-up that failed: it says what is left and what to do.
type leftBehind struct{ error }

// report writes an error for a person and returns the exit code.
func report(ctx context.Context, err error, stderr io.Writer) int {
	var usage *usageError
	var left leftBehind
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "autotune: %s\n%s\n", redact.Text(usage.wrong), usage.try)
		return exitUsage
	case errors.Is(err, errNo):
		return exitNo
	case ctx.Err() != nil && errors.As(err, &left):
		fmt.Fprintf(stderr, "autotune: interrupted; %s\n", redact.Error(left))
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "autotune: interrupted; nothing is left behind")
	default:
		fmt.Fprintf(stderr, "autotune: %s\n", redact.Error(err))
	}
	return exitFailed
}
