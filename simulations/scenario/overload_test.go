package scenario

import (
	"testing"
	"time"
)

// The server grows from two cores to eight, and half a minute later three times as many
// requests come as the limit of two or three can serve. What its ups and downs have shown
// is of the smaller server: the limit may not wait for them.
func TestAQueueThatOutgrowsTheUpsAndDownsIsMetInSeconds(t *testing.T) {
	found, err := Find("capacity-rise")
	if err != nil {
		t.Fatal(err)
	}
	s := found[0]
	const rise = 330 * time.Second
	s.World.Duration = rise + 30*time.Second
	for _, start := range []int{4, 100} {
		for seed := range uint64(10) {
			r, err := s.Run("auto", start, seed+1)
			if err != nil {
				t.Fatal(err)
			}
			const enough = 7 // of eight cores, of which the load asks for three quarters
			limit, short := start, time.Duration(0)
			from := rise
			for _, m := range r.Moves {
				if m.At > rise && limit < enough {
					short += m.At - max(from, rise)
				}
				limit, from = m.Limit, m.At
			}
			if limit < enough {
				short += s.World.Duration - max(from, rise)
			}
			if short > 5*time.Second {
				t.Errorf("from %d, seed %d: the limit was below %d for %s: %v", start, seed+1, enough, short, r.Moves)
			}
		}
	}
}
