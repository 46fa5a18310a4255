package controller

import (
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/model"
)

// Trials of searches at 8 connections, 2,000/s, go on at 4, and those who come now hold
// their connections ten times as long, at either limit.
func TestALoadThatChangesWhileItIsLearnedIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		n        int     // takes turns with 8
		atN, at8 float64 // per second, as it comes back now
		noticed  bool
	}{
		"as before":                      {4, 1800, 2000, false},
		"a poor limit":                   {4, 1000, 2000, false},
		"on a machine half as fast":      {4, 500, 900, false},
		"another load":                   {4, 100, 200, true},
		"another load, while it climbs":  {16, 400, 200, true},
		"nothing comes back, at 4 alone": {4, 0, 2000, false},
		"nothing comes back":             {4, 0, 0, false}, // that is a stall
	} {
		l := turnsOf(2000)
		l.Current.N = c.n
		var seen time.Duration
		for seen < time.Second {
			n, rate := c.n, c.atN
			if l.Turns.Theirs {
				n, rate = 8, c.at8
			}
			w := look(rate)
			seen += w.Elapsed
			if l.fallsShort(n, w) {
				break
			}
			if over, _ := l.takeTurn(w, time.Millisecond); over {
				l.turn(seen)
			}
		}
		if noticed := seen < time.Second; noticed != c.noticed {
			t.Errorf("%s: noticed %t", name, noticed)
		} else if noticed && seen > 600*time.Millisecond {
			t.Errorf("%s: noticed after %s", name, seen)
		}
	}
}

func TestAnInterruptedEpisodeBeginsAfresh(t *testing.T) {
	l := turnsOf(2000)
	l.Base = 100
	for range 2 {
		l.fallsShort(8, look(100))
	}
	m := l.interrupted(Config{Floor: 1, Ceiling: 200, Budget: 200}, time.Minute, 8, 1, 200, 150, model.Estimate{Prior: 26})
	if !l.Episode || m.limit == 0 || l.at(8) != nil || l.Base != 100 {
		t.Errorf("episode %t at %d, with the trial of 8 %v, back to %d; want a new one without it, back to 100", l.Episode, m.limit, l.at(8), l.Base)
	}
}
