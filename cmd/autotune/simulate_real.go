package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/pgautotune/autotune/simulations"
	"github.com/pgautotune/autotune/simulations/fidelity"
)

// throwaway is the database of --calibrate that is started for it.
const throwaway = "throwaway"

// compareWithReal is --calibrate.
func (f *simulateFlags) compareWithReal(ctx context.Context, s *session) error {
	show := newScreen(s.stderr, s.env)
	defer show.clear()
	o := fidelity.Options{DSN: f.calibrate, Log: show, Progress: func(done float64, doing string) {
		show.draw(fmt.Sprintf("%s %3.0f %%  %s", bar(done, 24), 100*done, doing))
	}}
	if f.calibrate == throwaway {
		o.DSN = ""
	} else {
		show.note("the database gets a schema autotune_bench of its own, is loaded fully for about two minutes, and the schema is dropped")
	}
	result, err := fidelity.Compare(ctx, o)
	if err != nil {
		return err
	}
	show.clear()
	return f.write(s.stdout, func(w io.Writer) error {
		if f.output == outputJSON {
			return writeJSON(w, result)
		}
		return fidelity.WriteText(w, result)
	})
}

// measureSpeed is --speed. It writes each line when it is known.
func (f *simulateFlags) measureSpeed(ctx context.Context, s *session) error {
	if f.millions < 1 || f.millions > 10_000 {
		return usagef("Try: --millions 100", "simulate: %d million requests: use 1 to 10,000", f.millions)
	}
	return f.write(s.stdout, func(w io.Writer) error {
		result := speedResult{Schema: "autotune.speed/v1"}
		var failed error
		err := simulations.MeasureSpeed(ctx, int64(f.millions)*1_000_000, func(one simulations.Speed) {
			result.Runs = append(result.Runs, one)
			if f.output != outputJSON && failed == nil {
				failed = simulations.WriteSpeed(w, one, len(result.Runs) == 1)
			}
		})
		if err != nil || failed != nil {
			return firstError(err, failed)
		}
		if f.output == outputJSON {
			return writeJSON(w, result)
		}
		return nil
	})
}

// speedResult is the JSON document of --speed.
type speedResult struct {
	Schema string              `json:"schema"`
	Runs   []simulations.Speed `json:"runs"`
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// render is --from.
func (f *simulateFlags) render(s *session) error {
	text, err := os.ReadFile(f.from)
	if err != nil {
		return fmt.Errorf("the result cannot be read: %w", err)
	}
	var result simulations.Result
	if err := json.Unmarshal(text, &result); err != nil {
		return fmt.Errorf("%s is not the JSON of a result: %w", f.from, err)
	}
	if result.Schema != simulations.Schema {
		return fmt.Errorf("%s has the schema %q and not %q: it is another document, or of another version", f.from, result.Schema, simulations.Schema)
	}
	return f.writeResult(s, &result)
}
