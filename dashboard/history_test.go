package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The ring gives the same as a list that is never shortened.
func TestTheRingKeepsTheLastHour(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory()
		var all []point
		n := rapid.IntRange(0, pointsKept+50).Draw(t, "points")
		for i := range n {
			p := point{at: int64(i)}
			all = append(all, p)
			var ds [][]byte
			if i%7 == 0 {
				ds = [][]byte{fmt.Appendf(nil, "%d", i)}
			}
			if got := h.add(p, ds); got != int64(i+1) {
				t.Fatalf("point %d has number %d", i, got)
			}
		}
		after := rapid.Int64Range(-3, int64(n)+3).Draw(t, "after")
		points, decisions, last, whole := h.since(after)
		oldest := max(0, n-pointsKept)
		from := int(after)
		wholeWanted := after <= 0 || from < oldest || from > n
		if wholeWanted {
			from = oldest
		}
		if last != int64(n) || whole != wholeWanted || len(points) != n-from {
			t.Fatalf("%d points to %d (whole %t) instead of %d to %d (whole %t)", len(points), last, whole, n-from, n, wholeWanted)
		}
		for i, p := range points {
			if p != all[from+i] {
				t.Fatalf("point %d is %v", i, p)
			}
		}
		for _, d := range decisions {
			if !whole && d.point <= after {
				t.Fatalf("a decision of point %d after %d", d.point, after)
			}
		}
		if len(decisions) > decisionsKept {
			t.Fatalf("%d decisions", len(decisions))
		}
	})
}

func TestAPointIsAJSONArrayWithNullForUnknown(t *testing.T) {
	p := point{at: 1_700_000_000_123}
	p.values[arrivals], p.values[inUse] = 1234.5678, 0.25
	p.values[waitP99], p.values[open] = float32(math.NaN()), float32(math.Inf(1))
	var got []*float64
	if err := json.Unmarshal(p.append(nil), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1+columns || *got[0] != 1_700_000_000_123 || *got[1+arrivals] != 1234.6 || *got[1+inUse] != 0.25 || got[1+waitP99] != nil || got[1+open] != nil {
		t.Errorf("got %s", p.append(nil))
	}
}

// events takes what a viewer has waiting, and tells whether it was let go.
func events(v *viewer) (all []string, gone bool) {
	for {
		select {
		case e, more := <-v.events:
			if !more {
				return all, true
			}
			all = append(all, string(e))
		default:
			return all, false
		}
	}
}

func TestASlowViewerIsLetGoAndMissesNothing(t *testing.T) {
	s := newStream(newHistory())
	slow, _, ok := s.join("")
	quick, _, _ := s.join("")
	if !ok || !s.watched() {
		t.Fatal("it may not join")
	}
	for i := range viewerBuffer + 5 {
		s.publish(point{at: int64(i)}, [][]byte{fmt.Appendf(nil, `{"n":%d}`, i)}, []byte(`{}`))
		if got, gone := events(quick); len(got) != 1 || gone {
			t.Fatalf("the quick viewer got %d events (let go: %t)", len(got), gone)
		}
	}
	got, gone := events(slow)
	if !gone || len(got) != viewerBuffer {
		t.Fatalf("the slow viewer got %d events (let go: %t)", len(got), gone)
	}
	s.leave(slow)
	_, id, _ := strings.Cut(got[len(got)-1], "id: ")
	id, _, _ = strings.Cut(id, "\n")
	_, first, _ := s.join(id)
	var missed struct {
		Whole     bool
		Points    [][]float64
		Decisions []struct{ N int }
	}
	_, data, _ := bytes.Cut(first, []byte("data: "))
	if err := json.Unmarshal(data, &missed); err != nil {
		t.Fatalf("%v in %s", err, first)
	}
	if missed.Whole || len(missed.Points) != 5 || missed.Points[0][0] != viewerBuffer || len(missed.Decisions) != 5 || missed.Decisions[4].N != viewerBuffer+4 {
		t.Errorf("it was told %+v", missed)
	}
}

func TestAStrangeIDGetsTheWholeHistory(t *testing.T) {
	s := newStream(newHistory())
	for i := range 3 {
		s.publish(point{at: int64(i)}, nil, []byte("null"))
	}
	for id, whole := range map[string]bool{
		s.run + ".2": false, s.run + ".3": false, s.run + ".4": true, s.run + ".0": true, s.run + ".-1": true, s.run + ".x": true,
		s.run: true, "": true, "other.2": true, s.run + ".99999999999999999999": true, ".2": true, "\x00\n.1": true,
	} {
		v, first, ok := s.join(id)
		if !ok || bytes.Contains(first, []byte(`"whole":true`)) != whole {
			t.Errorf("%q: %s", id, first)
		}
		s.leave(v)
	}
}

func TestViewersAreBounded(t *testing.T) {
	s := newStream(newHistory())
	for range mostViewers {
		if _, _, ok := s.join(""); !ok {
			t.Fatal("turned away too soon")
		}
	}
	if _, _, ok := s.join(""); ok {
		t.Error("one too many")
	}
}
