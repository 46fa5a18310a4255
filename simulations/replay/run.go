package replay

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"reflect"
	"slices"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/trace"
)

// Options say what to replay with.
type Options struct {
	// WhatIf changes the configuration of a tuner; nil replays without.
	WhatIf func(*controller.Config)
	Keep   int // how many differences of each sort to keep, the first ones
}

// Result is what a replay found.
type Result struct {
	Tuners    int
	Looks     int64         // observations with their decisions
	Span      time.Duration // sum over tuners of last look − first
	Truncated []string

	// Different counts the decisions that the recorded configuration did not
	// give again, or of which it is unknown: the journal has a field there that this
	// program does not know. Not one is to be.
	Different   int64
	Differences []Difference

	// Otherwise counts the decisions whose size or action the other
	// configuration would have had otherwise, Reasons those with only another
	// reason or bound.
	Otherwise int64
	Reasons   int64
	Others    []Difference

	Recorded, WhatIf Tally
}

// Tally counts decisions by what they do.
type Tally struct {
	Changes   int64 `json:"limit_changes"` // decisions that move the limit
	Swaps     int64 `json:"swaps"`         // decisions that take a hot-swap
	Freezes   int64 `json:"freezes"`
	LastLimit int   `json:"last_limit"`
	LastMax   int   `json:"last_max"`
}

func (t *Tally) add(o *controller.Observation, d *controller.Decision) {
	if d.Limit != o.Gauges.Limit {
		t.Changes++
	}
	if d.Swap {
		t.Swaps++
	}
	if d.Action == controller.Freeze {
		t.Freezes++
	}
	t.LastLimit, t.LastMax = d.Limit, d.Max
}

// Difference is a look on which two decisions were not the same.
type Difference struct {
	File     string              `json:"file"`
	Line     int64               `json:"line"`
	Limit    int                 `json:"limit"` // before it
	Recorded controller.Decision `json:"recorded"`
	Replayed controller.Decision `json:"replayed"`
	Fields   []Field             `json:"fields"`
}

// Field is a value of a decision that differs.
type Field struct {
	Name     string `json:"name"` // path of JSON names
	Recorded string `json:"recorded"`
	Replayed string `json:"replayed"`
}

// Run replays a journal to its end.
func Run(r *Reader, o Options) (Result, error) {
	var (
		res          Result
		state, other controller.State
		config       controller.Config
		first, last  time.Duration
	)
	for {
		rec, err := r.Next()
		if err == io.EOF {
			res.Span += last - first
			res.Tuners, res.Truncated = r.Tuners(), r.Truncated()
			if res.Looks == 0 {
				return res, fmt.Errorf("the journal has no decisions in it")
			}
			return res, nil
		}
		if err != nil {
			return res, err
		}
		if rec.Fresh {
			res.Span += last - first
			first, last = rec.Observation.At, rec.Observation.At
			config = rec.Header.Config
			if o.WhatIf != nil {
				o.WhatIf(&config)
				if err := possible(config); err != nil {
					return res, err
				}
			}
		}
		if rec.State != nil {
			// Where nothing is missing before it, a header repeats what the replay
			// has come to, and the other configuration goes on with its own memory.
			goesOn := !rec.Fresh && state.Looks == rec.State.Looks
			if goesOn && state != *rec.State {
				res.Different++
				keepFields(&res.Differences, o.Keep, &rec, rec.Decision, []Field{{"memory in the header", short(rec.State), short(&state)}})
			}
			if !goesOn {
				other = *rec.State
			}
			state = *rec.State
		}
		res.Looks++
		last = max(last, rec.Observation.At)

		var d controller.Decision
		if state, d, err = step(&rec, rec.Header.Config, state); err != nil {
			return res, err
		}
		res.Recorded.add(&rec.Observation, &rec.Decision)
		switch {
		case rec.Unknown != "":
			res.Different++
			keepFields(&res.Differences, o.Keep, &rec, d, append([]Field{{rec.Unknown, "by another version", ""}}, fields(rec.Decision, d)...))
		case !reflect.DeepEqual(d, rec.Decision):
			res.Different++
			keep(&res.Differences, o.Keep, &rec, d)
		}
		if o.WhatIf == nil {
			continue
		}
		if other, d, err = step(&rec, config, other); err != nil {
			return res, err
		}
		res.WhatIf.add(&rec.Observation, &d)
		switch was := rec.Decision; {
		case d.Action != was.Action || d.Limit != was.Limit || d.Max != was.Max || d.Min != was.Min:
			res.Otherwise++
			keep(&res.Others, o.Keep, &rec, d)
		case d.Reason != was.Reason || d.Bound != was.Bound:
			res.Reasons++
		}
	}
}

// step is one decision. The memory in a header is written by the controller and
// trusted by it; one that was damaged may take it anywhere.
func step(rec *Record, c controller.Config, s controller.State) (next controller.State, d controller.Decision, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &trace.Error{File: rec.File, Line: rec.Line, Reason: fmt.Sprintf("the controller cannot go on from the memory in the header: %v; the journal is damaged, or of another version of autotune", r)}
		}
	}()
	next, d = controller.Step(c, s, rec.Observation)
	return next, d, nil
}

// possible tells whether a pool can be configured so.
func possible(c controller.Config) error {
	switch {
	case c.Floor < 1 || c.Ceiling < c.Floor:
		return fmt.Errorf("what if: floor %d and ceiling %d cannot be: 1 ≤ floor ≤ ceiling", c.Floor, c.Ceiling)
	case c.Budget < c.Ceiling:
		return fmt.Errorf("what if: budget %d and ceiling %d cannot be: ceiling ≤ budget; change both", c.Budget, c.Ceiling)
	}
	return nil
}

func keep(to *[]Difference, most int, rec *Record, d controller.Decision) {
	if len(*to) < most {
		keepFields(to, most, rec, d, fields(rec.Decision, d))
	}
}

func keepFields(to *[]Difference, most int, rec *Record, d controller.Decision, differ []Field) {
	if len(*to) < most {
		*to = append(*to, Difference{rec.File, rec.Line, rec.Observation.Gauges.Limit, rec.Decision, d, differ})
	}
}

// short names a memory by a hash: it has thousands of numbers.
func short(s *controller.State) string {
	text, _ := json.Marshal(s) // read from JSON, or made of finite numbers
	h := fnv.New64a()
	_, _ = h.Write(text)
	return fmt.Sprintf("%016x", h.Sum64())
}

// fields lists what differs between two decisions, the size and action first.
func fields(a, b controller.Decision) (out []Field) {
	was, is := flat(a), flat(b)
	var names []string
	for name := range was {
		names = append(names, name)
	}
	for name := range is {
		if _, ok := was[name]; !ok {
			names = append(names, name)
		}
	}
	rank := func(name string) int {
		if i := slices.Index([]string{"action", "limit", "max", "min", "swap", "reason", "bound", "next"}, name); i >= 0 {
			return i
		}
		return 100
	}
	slices.SortFunc(names, func(x, y string) int {
		if rank(x) != rank(y) {
			return rank(x) - rank(y)
		}
		if x < y {
			return -1
		}
		return 1
	})
	for _, name := range names {
		if was[name] != is[name] {
			out = append(out, Field{name, was[name], is[name]})
		}
	}
	return out
}

// flat is a decision as paths of JSON names and values.
func flat(d controller.Decision) map[string]string {
	text, _ := json.Marshal(d) // a decision holds finite numbers only
	var tree map[string]json.RawMessage
	out := map[string]string{}
	var walk func(prefix string, tree map[string]json.RawMessage)
	walk = func(prefix string, tree map[string]json.RawMessage) {
		for name, raw := range tree {
			var below map[string]json.RawMessage
			if json.Unmarshal(raw, &below) == nil && below != nil {
				walk(prefix+name+".", below)
				continue
			}
			out[prefix+name] = string(raw)
		}
	}
	if json.Unmarshal(text, &tree) == nil {
		walk("", tree)
	}
	return out
}
