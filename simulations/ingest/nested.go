package ingest

import (
	"strings"

	"github.com/pgautotune/autotune/simulations/trace"
)

// nestWindow is how many spans of a database may lie in a file between a span and the
// one that it is part of.
const nestWindow = 1 << 16

// nest leaves out spans that are part of another span of a database, such as the
// statements of a batch: they have the connection of the whole. Spans are exported
// when they end, so that a part often comes before its whole: each is held until as
// many as the window came after it, and the names of twice as many are kept.
type nest struct {
	window int // 0 is nestWindow
	names  map[spanName]int
	held   []heldSpan // from first on
	first  int
	order  []spanName // of names, from the oldest on
	oldest int

	left int64 // out
}

// spanName is a span's identity.
type spanName string

type heldSpan struct {
	at     int64
	event  trace.Event
	parent spanName
}

// named is the identity of a span of a trace, "" where there is none.
func named(traceID, spanID string) spanName {
	if strings.Trim(spanID, "0") == "" || len(traceID)+len(spanID) > 128 {
		return ""
	}
	return spanName(traceID + "/" + spanID)
}

// add takes a span, and gives those on that were held for long enough.
func (n *nest) add(name, parent spanName, at int64, e *trace.Event, out *sink) error {
	if n.window == 0 {
		n.window = nestWindow
	}
	if n.names == nil {
		n.names = map[spanName]int{}
	}
	n.order = append(n.order, name)
	n.names[name]++
	if len(n.order)-n.oldest > 2*n.window {
		old := n.order[n.oldest]
		if n.names[old]--; n.names[old] == 0 {
			delete(n.names, old)
		}
		n.oldest = drop(&n.order, n.oldest)
	}
	n.held = append(n.held, heldSpan{at, *e, parent})
	if len(n.held)-n.first > n.window {
		return n.pass(out)
	}
	return nil
}

// pass gives on the span that is held longest.
func (n *nest) pass(out *sink) error {
	s := n.held[n.first]
	n.first = drop(&n.held, n.first)
	if s.parent != "" && n.names[s.parent] > 0 {
		n.left++
		return nil
	}
	return out.event(s.at, &s.event)
}

// flush gives on what is held.
func (n *nest) flush(out *sink) error {
	for n.first < len(n.held) {
		if err := n.pass(out); err != nil {
			return err
		}
	}
	return nil
}

// drop takes the first element off a queue that begins at an index, and returns where
// it begins then. Once half of it is gone, the rest moves to the begin.
func drop[T any](queue *[]T, first int) int {
	q := *queue
	clear(q[first : first+1])
	if first++; 2*first >= len(q) {
		rest := copy(q, q[first:])
		clear(q[rest:])
		*queue, first = q[:rest], 0
	}
	return first
}
