package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/sizing"
	"github.com/pgautotune/autotune/internal/spelling"
	"github.com/pgautotune/autotune/simulations/replay"
	"github.com/spf13/pflag"
)

type replayFlags struct {
	whatIf []string
	show   int
	output string
}

func replayCommand() *command {
	return &command{
		name: "replay", args: "JOURNAL...", summary: "prove that a journal's decisions follow from what was seen",
		about: `Feeds the observations of a journal back through the controller and compares each
decision, bit for bit, with the one that was recorded. It ends 3 if any differs, and shows
the first ones: then the journal was changed, or another version of autotune wrote it.

A journal that autotune rotated is given as its files, in any number: each begins with what
the controller remembered, and replays alone. One that another program rotated is given as
its pieces, oldest first. They may be gzipped, and - is stdin. A last line that a crash cut off is left out, and said.

With --what-if it also shows where another configuration would have decided otherwise on
what was seen. What would have been seen then, no journal tells: the observations stay
those of the recorded pool. Keys: ` + strings.Join(replay.Keys(), ", ") + `. What users says
counts only with guideline=true.`,
		example: []string{
			"autotune replay journal.jsonl",
			"autotune replay journal-*.jsonl journal.jsonl",
			"autotune replay journal.jsonl --what-if ceiling=20 --what-if objective=latency",
		},
		flags: func(fs *pflag.FlagSet) runner {
			f := &replayFlags{}
			fs.StringArrayVar(&f.whatIf, "what-if", nil, "`key=value` of another configuration; may be given again")
			fs.IntVar(&f.show, "show", 10, "`differences` to show, the first ones")
			addOutput(fs, &f.output)
			return f.run
		},
	}
}

// keyValue is one --what-if.
type keyValue struct {
	Key      string `json:"key"`
	Value    string `json:"value"`
	Recorded string `json:"recorded"`
}

func (f *replayFlags) run(_ context.Context, args []string, s *session) error {
	if len(args) == 0 {
		return usagef("Try: autotune replay JOURNAL, the file that Config.Journal writes", "replay: no journal given")
	}
	if f.show < 0 {
		return usagef("Try: autotune replay --help", "replay: --show is %d; it may be 0 or more", f.show)
	}
	sets, err := f.sets()
	if err != nil {
		return err
	}
	r := replay.NewReader(replay.Files(s.stdin, args...)...)
	defer r.Close()
	o := replay.Options{Keep: f.show}
	if sets != nil {
		o.WhatIf = func(c *controller.Config) {
			for i := range sets {
				sets[i].Recorded = replay.Get(*c, sets[i].Key)
				_ = replay.Set(c, sets[i].Key, sets[i].Value) // checked before
			}
		}
	}
	found, err := replay.Run(r, o)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			return fmt.Errorf("the journal %s cannot be opened: %w", path.Path, path.Err)
		}
		return err
	}
	res := newReplayResult(found, len(args), sets)
	if f.output == outputJSON {
		err = writeJSON(s.stdout, res)
	} else {
		err = res.writeText(s.stdout)
	}
	if err == nil && !res.Same {
		return errNo
	}
	return err
}

// sets reads --what-if.
func (f *replayFlags) sets() (sets []keyValue, err error) {
	for _, text := range f.whatIf {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, usagef("Try: --what-if ceiling=20", "replay: --what-if %q is not of the form key=value", text)
		}
		var unknown *replay.UnknownKeyError
		var scratch controller.Config
		if err := replay.Set(&scratch, key, value); errors.As(err, &unknown) {
			try := "The keys are " + strings.Join(replay.Keys(), ", ")
			if near := spelling.Nearest(key, replay.Keys()); near != "" {
				try = fmt.Sprintf("Did you mean %s? See: autotune replay --help", near)
			}
			return nil, usagef(try, "replay: --what-if %v", err)
		} else if err != nil {
			return nil, usagef("Try: autotune replay --help", "replay: --what-if %v", err)
		}
		if slices.ContainsFunc(sets, func(s keyValue) bool { return s.Key == key }) {
			return nil, usagef("Give each key once", "replay: --what-if %s is there twice", key)
		}
		sets = append(sets, keyValue{Key: key, Value: value})
	}
	return sets, nil
}

// replayResult is the JSON document, and what the text is made of.
type replayResult struct {
	Schema      string              `json:"schema"`
	Files       int                 `json:"files"`
	Tuners      int                 `json:"tuners"`
	Decisions   int64               `json:"decisions"`
	Span        float64             `json:"span_s"`
	Truncated   []string            `json:"truncated,omitempty"`
	Same        bool                `json:"same"`
	Different   int64               `json:"different"`
	Differences []replay.Difference `json:"differences,omitempty"`
	Recorded    replay.Tally        `json:"recorded"`
	WhatIf      *whatIfResult       `json:"what_if,omitempty"`
}

type whatIfResult struct {
	Config      []keyValue          `json:"config"`
	Otherwise   int64               `json:"otherwise"`
	ReasonsOnly int64               `json:"reasons_only"`
	Tally       replay.Tally        `json:"tally"`
	First       []replay.Difference `json:"first,omitempty"`
}

func newReplayResult(r replay.Result, files int, sets []keyValue) replayResult {
	res := replayResult{
		Schema: "autotune.replay/v1", Files: files, Tuners: r.Tuners, Decisions: r.Looks, Span: r.Span.Seconds(), Truncated: r.Truncated,
		Same: r.Different == 0, Different: r.Different, Differences: r.Differences, Recorded: r.Recorded,
	}
	if sets != nil {
		res.WhatIf = &whatIfResult{Config: sets, Otherwise: r.Otherwise, ReasonsOnly: r.Reasons, Tally: r.WhatIf, First: r.Others}
	}
	return res
}

func (r *replayResult) writeText(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		first := true
		for l := range strings.SplitSeq(wrap(fmt.Sprintf(format, args...), helpWidth-12), "\n") {
			if !first {
				name = ""
			}
			first = false
			fmt.Fprintf(&b, "%s\n", strings.TrimRight(fmt.Sprintf("%-11s %s", name, l), " "))
		}
	}
	span := time.Duration(r.Span * float64(time.Second)).Round(time.Second / 10)
	line("journal", "%s decisions of %s over %v, in %s", thousands(r.Decisions), plural(r.Tuners, "tuner"), span, plural(r.Files, "file"))
	for _, t := range r.Truncated {
		line("cut off", "%s", t)
	}
	if r.Same {
		line("replay", "every decision is the same, bit for bit")
	} else {
		line("replay", "%s of %s decisions differ: the journal was changed, or another version of autotune wrote it", thousands(r.Different), thousands(r.Decisions))
		for _, d := range r.Differences {
			fmt.Fprintf(&b, "\n%s:%d, at %s\n", d.File, d.Line, at(d.Recorded.At))
			const most = 6
			for i, f := range d.Fields {
				if i == most {
					fmt.Fprintf(&b, "  and %d more\n", len(d.Fields)-most)
					break
				}
				fmt.Fprintf(&b, "  %s\n", cut(fmt.Sprintf("%-22s recorded %s, replayed %s", f.Name, orAbsent(f.Recorded), orAbsent(f.Replayed)), helpWidth-2))
			}
		}
	}
	if r.WhatIf != nil {
		r.WhatIf.writeText(&b, line, r)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *whatIfResult) writeText(b *strings.Builder, line func(name, format string, args ...any), all *replayResult) {
	b.WriteByte('\n')
	for _, c := range r.Config {
		line("what if", "%s were %s instead of %s", c.Key, c.Value, c.Recorded)
	}
	line("otherwise", "%s of %s decisions; %s more only for another reason or bound", thousands(r.Otherwise), thousands(all.Decisions), thousands(r.ReasonsOnly))
	if r.Otherwise == 0 {
		return
	}
	fmt.Fprintf(b, "\n%-16s %14s %14s\n", "", "recorded", "what if")
	row := func(name string, was, is any) { fmt.Fprintf(b, "%-16s %14v %14v\n", name, was, is) }
	row("limit changes", all.Recorded.Changes, r.Tally.Changes)
	row("swaps", all.Recorded.Swaps, r.Tally.Swaps)
	row("freezes", all.Recorded.Freezes, r.Tally.Freezes)
	row("last limit", all.Recorded.LastLimit, r.Tally.LastLimit)
	row("last max", all.Recorded.LastMax, r.Tally.LastMax)
	if len(r.First) > 0 {
		fmt.Fprintf(b, "\nThe first of them:\n")
	}
	for _, d := range r.First {
		fmt.Fprintf(b, "\n%s:%d, at %s\n", d.File, d.Line, at(d.Recorded.At))
		fmt.Fprintf(b, "  recorded  %s\n", decisionText(d.Limit, d.Recorded))
		fmt.Fprintf(b, "  what if   %s\n", decisionText(d.Limit, d.Replayed))
	}
	b.WriteString("\n" + wrap("Each is a decision on what the recorded pool saw. Once one differs, the pool would have become another, and seen something else: autotune simulate shows what.", helpWidth) + "\n")
}

// decisionText is a decision in a line.
func decisionText(limit int, d autotune.Decision) string {
	text := fmt.Sprintf("%s, limit %d", d.Action, d.Limit)
	if limit != d.Limit {
		text = fmt.Sprintf("%s, limit %d → %d", d.Action, limit, d.Limit)
	}
	text += fmt.Sprintf(", max %d, min %d: ", d.Max, d.Min)
	if d.Bound != "" && d.Bound != sizing.NoBound {
		text = fmt.Sprintf("%s(bound: %s) ", text, d.Bound)
	}
	return cut(text+string(d.Reason), helpWidth-12)
}

func at(d time.Duration) string { return d.Round(10 * time.Millisecond).String() }

func orAbsent(v string) string {
	if v == "" {
		return "nothing"
	}
	return v
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%s %ss", thousands(int64(n)), what)
}
