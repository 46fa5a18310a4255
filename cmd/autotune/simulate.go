package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/pgautotune/autotune/simulations"
	"github.com/pgautotune/autotune/simulations/policy"
	"github.com/pgautotune/autotune/simulations/scenario"
)

// simulateFlags are the flags. What a flag of the trace leaves out is as in the
// scenario.
type simulateFlags struct {
	scenarios []string
	list      bool
	show      string
	policies  []string
	seeds     int
	parallel  int
	duration  time.Duration

	trace                   string
	rateScale, timeCompress float64
	fanOut                  int
	cores                   float64

	table, speed   bool
	millions       int
	from, picture  string
	calibrate      string
	output, toFile string
}

// The README's picture: a load that changes its kind, which no fixed size that
// somebody would choose beforehand fits.
const pictureScenario = "changing-service"

var picturePolicies = []string{"auto@4", "fixed-9", "fixed-100"}

// The forms of a result that only simulations have.
const (
	outputHTML     = "html"
	outputMarkdown = "markdown"
)

func simulateCommand() *command {
	return &command{
		name: "simulate", summary: "try policies and sizes in simulated worlds, or on your own trace",
		about: `Runs a discrete-event simulation of callers, pool and PostgreSQL, with the same
decision code as the live pool, and compares autotune and other policies with the
fixed size that was best in hindsight. Nothing is connected to, except by --calibrate.

A scenario is a name of the library (--list), a YAML file, or "all"; --show prints one
of the library to begin your own with, docs/scenarios.md lists its keys. With --trace
the requests come from a recorded trace instead of the scenario's arrivals; without a
scenario, the database is a plain one of four cores.

Policies: ` + strings.Join(append(policy.Names(), policy.Families()...), ", ") + `.
NAME@N begins with N connections.

--table reproduces docs/simulation.md: all scenarios, all policies, from 4 and from
100 connections. --speed measures the simulator itself. --calibrate measures a real
database for a minute, predicts other sizes from it, and compares.`,
		example: []string{
			"autotune simulate --scenario steady-70",
			"autotune simulate --scenario all --policy auto,fixed-9,fixed-100 --seeds 3",
			"autotune simulate --scenario flash-crowd --output html -o crowd.html",
			"autotune simulate --trace week.gz --time-compress 24 --policy auto,fixed-32",
			"autotune simulate --table --seeds 10 -o docs/simulation.md",
		},
		flags: func(fs *pflag.FlagSet) runner {
			f := &simulateFlags{}
			fs.StringSliceVar(&f.scenarios, "scenario", nil, "`names or files` of scenarios, or all")
			fs.BoolVar(&f.list, "list", false, "list the scenarios of the library")
			fs.StringVar(&f.show, "show", "", "print the scenario of a `name` as YAML")
			fs.StringSliceVar(&f.policies, "policy", nil, "`names` of the policies to compare (default the scenario's own)")
			fs.IntVar(&f.seeds, "seeds", 1, "`runs` of each policy, each with other random numbers")
			fs.IntVar(&f.parallel, "parallel", 0, "`runs` at once (default one for each CPU)")
			fs.DurationVar(&f.duration, "duration", 0, "virtual `time` of a run, instead of the scenario's")
			fs.StringVar(&f.trace, "trace", "", "`file` with the requests, instead of the scenario's arrivals")
			fs.Float64Var(&f.rateScale, "rate-scale", 0, "`factor` of the trace's arrival rates (default 1)")
			fs.IntVar(&f.fanOut, "fan-out", 0, "`queries` of each request of the trace, asked for at one instant (default 1)")
			fs.Float64Var(&f.timeCompress, "time-compress", 0, "`factor` by which the trace's time passes faster (default 1)")
			fs.Float64Var(&f.cores, "trace-cores", 0, "`cores` of the recorded database, to take its contention out of observed service times")
			fs.BoolVar(&f.table, "table", false, "compare all policies in all scenarios, as docs/simulation.md does")
			fs.BoolVar(&f.speed, "speed", false, "measure requests a second, and memory from 1 to 100 million requests")
			fs.IntVar(&f.millions, "millions", 100, "most `requests` of --speed, in millions")
			fs.StringVar(&f.from, "from", "", "`file` with the JSON of an earlier result, to write in another form")
			fs.StringVar(&f.picture, "picture", "", "`file` for the README's picture, as SVG: load, limit and wait over time")
			fs.StringVar(&f.calibrate, "calibrate", "", "`database` to predict and compare with: a URL, key=value pairs, or throwaway")
			addOutput(fs, &f.output, outputHTML, outputMarkdown)
			fs.StringVarP(&f.toFile, "output-file", "o", "", "`file` to write the result to (default stdout)")
			for _, name := range []string{"trace", "from", "picture", "output-file"} {
				_ = fs.SetAnnotation(name, annotationFile, []string{"true"})
			}
			return func(ctx context.Context, _ []string, s *session) error {
				if err := f.together(fs); err != nil {
					return err
				}
				return f.run(ctx, s)
			}
		},
	}
}

// together refuses flags that say nothing about what is asked for.
func (f *simulateFlags) together(fs *pflag.FlagSet) (err error) {
	given := onCommandLine(fs)
	result := []string{"output", "output-file"}
	for _, mode := range []struct {
		flag string
		with []string
	}{
		{"list", nil}, {"show", nil}, {"calibrate", result}, {"speed", append([]string{"millions"}, result...)}, {"from", result},
	} {
		if !given(mode.flag) {
			continue
		}
		fs.Visit(func(other *pflag.Flag) {
			if err == nil && given(other.Name) && other.Name != mode.flag && !slices.Contains(mode.with, other.Name) {
				err = usagef("Leave it out", "simulate: --%s says nothing about --%s", other.Name, mode.flag)
			}
		})
		if err == nil && (mode.flag == "calibrate" || mode.flag == "speed") && (f.output == outputHTML || f.output == outputMarkdown) {
			err = usagef("Use text or json", "simulate: --%s has no form %s", mode.flag, f.output)
		}
		return err
	}
	switch {
	case f.trace == "-":
		return usagef("Write it to a file", "simulate: --trace is read once for each run, and stdin cannot be")
	case given("millions"):
		return usagef("Leave it out", "simulate: --millions is about --speed")
	case given("picture") && (given("output") || given("output-file")):
		return usagef("Leave them out, or --picture", "simulate: --picture is written to its own file, and the result is not")
	}
	return nil
}

func (f *simulateFlags) run(ctx context.Context, s *session) error {
	switch {
	case f.list:
		return listScenarios(s.stdout)
	case f.show != "":
		text, err := scenario.Source(f.show)
		if err != nil {
			return usagef("See: autotune simulate --list", "simulate: %v", err)
		}
		_, err = s.stdout.Write(text)
		return err
	}
	switch {
	case f.calibrate != "":
		return f.compareWithReal(ctx, s)
	case f.speed:
		return f.measureSpeed(ctx, s)
	case f.from != "":
		return f.render(s)
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	show := newScreen(s.stderr, s.env)
	defer show.clear()
	var last time.Time
	o.Progress = func(done, total int, doing string) {
		if now := time.Now(); now.Sub(last) > 100*time.Millisecond { // ten pictures a second are enough
			last = now
			show.draw(fmt.Sprintf("%s %d of %d runs  %s", bar(float64(done)/float64(total), 24), done, total, doing))
		}
	}
	result, err := simulations.Run(ctx, o)
	if err != nil {
		return err
	}
	show.clear()
	result.Command = f.commandLine(o)
	if f.picture != "" {
		f.toFile = f.picture
		err = f.write(s.stdout, func(w io.Writer) error { return simulations.WritePicture(w, result) })
	} else {
		err = f.writeResult(s, result)
	}
	if err != nil || len(result.Unmeasured) == 0 {
		return err
	}
	return errors.New(strings.Join(result.Unmeasured, "\n"))
}

func (f *simulateFlags) writeResult(s *session, result *simulations.Result) error {
	return f.write(s.stdout, func(w io.Writer) error {
		switch f.output {
		case outputJSON:
			return writeJSON(w, result)
		case outputHTML:
			return simulations.WriteHTML(w, result)
		case outputMarkdown:
			return simulations.WriteMarkdown(w, result)
		}
		return simulations.WriteText(w, result)
	})
}

// options finds the scenarios and adapts them.
func (f *simulateFlags) options() (simulations.Options, error) {
	o := simulations.Options{Policies: f.policies, Seeds: f.seeds, Parallel: f.parallel, Series: f.output == outputHTML || f.picture != ""}
	if f.picture != "" && len(f.scenarios) == 0 {
		f.scenarios = []string{pictureScenario}
		o.Policies = picturePolicies
	}
	if f.table {
		if len(f.scenarios) == 0 {
			f.scenarios = []string{"all"}
		}
		if len(o.Policies) == 0 {
			o.Policies = append(policy.Names(), "fixed-100")
		}
		if f.output == outputText {
			f.output = outputMarkdown
		}
	}
	if f.seeds < 1 {
		return o, usagef("Try: --seeds 1", "simulate: %d seeds are none", f.seeds)
	}
	for _, name := range o.Policies {
		if err := simulations.CheckPolicy(name); err != nil {
			return o, usagef("See: autotune simulate --help", "simulate: %v", err)
		}
	}
	if len(f.scenarios) == 0 && f.trace == "" {
		return o, usagef("Try: autotune simulate --scenario steady-70, or --list", "simulate: no scenario named")
	}
	if f.trace == "" && (f.rateScale != 0 || f.fanOut != 0 || f.timeCompress != 0 || f.cores != 0) {
		return o, usagef("Try: --trace FILE", "simulate: --rate-scale, --fan-out, --time-compress and --trace-cores adapt a trace, and none is named")
	}
	for _, what := range f.scenarios {
		found, err := scenario.Find(what)
		if err != nil {
			return o, usagef("See: autotune simulate --list, or docs/scenarios.md", "simulate: %v", err)
		}
		o.Scenarios = append(o.Scenarios, found...)
	}
	if len(o.Scenarios) == 0 {
		o.Scenarios = []*scenario.Scenario{scenario.Plain(strings.TrimSuffix(filepath.Base(f.trace), filepath.Ext(f.trace)))}
	}
	for _, s := range o.Scenarios {
		if f.trace != "" {
			s.UseTrace(scenario.Trace{File: f.trace, RateScale: f.rateScale, FanOut: f.fanOut, TimeCompress: f.timeCompress, Cores: f.cores})
		}
		if f.duration != 0 {
			s.World.Duration = f.duration
			if s.World.Warmup >= f.duration {
				s.World.Warmup = f.duration / 5
			}
		}
		if err := s.Validate(); err != nil {
			return o, usagef("Try: autotune simulate --help", "simulate: scenario %s: %s", s.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	return o, nil
}

// commandLine is how to reproduce the result: all that decides it, in order of the
// flags. The form of the output does not.
func (f *simulateFlags) commandLine(o simulations.Options) string {
	line := []string{"autotune simulate"}
	add := func(name, value, zero string) {
		if value != zero {
			line = append(line, "--"+name+" "+quoted(value))
		}
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	scenarios, policies := strings.Join(f.scenarios, ","), strings.Join(o.Policies, ",")
	if f.table {
		line = append(line, "--table")
		if scenarios == "all" {
			scenarios = "" // its defaults
		}
		policies = strings.Join(f.policies, ",")
	}
	add("scenario", scenarios, "")
	add("policy", policies, "")
	line = append(line, fmt.Sprintf("--seeds %d", o.Seeds))
	add("duration", f.duration.String(), "0s")
	add("trace", f.trace, "")
	add("rate-scale", number(f.rateScale), "0")
	add("fan-out", strconv.Itoa(f.fanOut), "0")
	add("time-compress", number(f.timeCompress), "0")
	add("trace-cores", number(f.cores), "0")
	return strings.Join(line, " ")
}

// quoted is a word as a shell takes it.
func quoted(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./,:=@+", r)
	}
	if strings.TrimFunc(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// write writes to --output-file, whole or not at all, or to stdout.
func (f *simulateFlags) write(stdout io.Writer, with func(io.Writer) error) (err error) {
	if f.toFile == "" || f.toFile == "-" {
		return with(stdout)
	}
	to := f.toFile
	if at, err := filepath.EvalSymlinks(to); err == nil { // of a link, what it leads to
		to = at
	}
	if info, err := os.Stat(to); err == nil && !info.Mode().IsRegular() { // a device or a pipe takes what comes
		file, err := os.OpenFile(to, os.O_WRONLY, 0)
		if err == nil {
			err = errors.Join(with(file), file.Close())
		}
		if err != nil {
			return fmt.Errorf("the result cannot be written: %w", err)
		}
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(to), ".autotune-*")
	if err != nil {
		return fmt.Errorf("the result cannot be written: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	if err = errors.Join(with(file), file.Chmod(0o644), file.Close()); err != nil {
		return fmt.Errorf("the result cannot be written: %w", err)
	}
	return os.Rename(file.Name(), to)
}

func listScenarios(out io.Writer) error {
	all, err := scenario.Library()
	if err != nil {
		return err
	}
	for _, s := range all {
		if _, err := fmt.Fprintf(out, "%-25s %s\n", s.Name, s.Title); err != nil {
			return err
		}
	}
	return nil
}
