package scenario

import (
	"testing"
	"time"
)

func TestTheLibraryIsReadAndEveryScenarioRuns(t *testing.T) {
	all, err := Library()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 22 {
		t.Errorf("%d scenarios, of at least 22", len(all))
	}
	seen := make(map[string]bool)
	for _, s := range all {
		if seen[s.Name] {
			t.Errorf("%s: twice", s.Name)
		}
		if seen[s.Name] = true; s.Shows == "" || len(s.Title) > 60 {
			t.Errorf("%s: shows is %q, the title %d long", s.Name, s.Shows, len(s.Title))
		}
		if s.World.Duration < 5*time.Minute || s.World.Warmup == 0 {
			t.Errorf("%s: %v long, %v of it warm-up", s.Name, s.World.Duration, s.World.Warmup)
		}
		s.World.Duration, s.World.Warmup = max(3*time.Second, 2*s.World.SLO), time.Second
		for _, start := range s.Starts {
			r, err := s.Run("auto", start, 1)
			if err != nil {
				t.Errorf("%s from %d: %v", s.Name, start, err)
			} else if r.Completions == 0 {
				t.Errorf("%s from %d: nothing was served", s.Name, start)
			}
		}
	}
}
