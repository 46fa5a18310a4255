package dashboard

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	mostViewers = 100
	// viewerBuffer is how many events a viewer may be behind before it is let go.
	// Its browser comes again, says what it had last, and gets the rest from the
	// history: nobody waits for it, and it misses nothing.
	viewerBuffer = 16
	writeWithin  = 15 * time.Second // of one event, the whole history included
	retryAfter   = time.Second      // for browsers that lost the stream
)

// stream sends every viewer what is new. It is safe for concurrent use.
type stream struct {
	run     string // of this handler: numbers of points mean nothing in another
	history *history

	mu      sync.Mutex
	viewers map[*viewer]struct{} // guarded by mu
	state   []byte               // guarded by mu: the last one, as JSON
	closed  bool                 // guarded by mu
	ended   sync.WaitGroup
}

// viewer is one open page.
type viewer struct {
	events chan []byte // closed to let the viewer go
}

func newStream(h *history) *stream {
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails
	return &stream{run: hex.EncodeToString(id[:]), history: h, viewers: map[*viewer]struct{}{}, state: []byte("null")}
}

// watched tells whether anybody looks.
func (s *stream) watched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.viewers) > 0
}

// publish keeps a point and sends it to all viewers without waiting for any.
func (s *stream) publish(p point, decisions [][]byte, state []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.history.add(p, decisions)
	s.state = state
	if len(s.viewers) == 0 {
		return
	}
	b := make([]byte, 0, 1024+len(state))
	b = fmt.Appendf(b, "event: tick\nid: %s.%d\ndata: {\"point\":", s.run, n)
	b = p.append(b)
	b = append(b, `,"decisions":[`...)
	b = appendList(b, decisions)
	b = append(b, `],"state":`...)
	b = append(b, state...)
	b = append(b, "}\n\n"...)
	for v := range s.viewers {
		select {
		case v.events <- b:
		default:
			delete(s.viewers, v)
			close(v.events)
		}
	}
}

func appendList(b []byte, items [][]byte) []byte {
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, item...)
	}
	return b
}

// join adds a viewer that has seen everything up to the event of the given id,
// and returns the event that brings it up to date. ok is false when there is no
// room for it.
func (s *stream) join(lastID string) (v *viewer, first []byte, ok bool) {
	s.mu.Lock()
	if s.closed || len(s.viewers) >= mostViewers {
		s.mu.Unlock()
		return nil, nil, false
	}
	v = &viewer{events: make(chan []byte, viewerBuffer)}
	s.viewers[v] = struct{}{}
	s.ended.Add(1)
	points, decisions, last, whole := s.history.since(s.after(lastID))
	state := s.state
	s.mu.Unlock()

	b := make([]byte, 0, 1024+64*len(points)+2048*len(decisions))
	b = fmt.Appendf(b, "event: history\nid: %s.%d\ndata: {\"whole\":%t,\"points\":[", s.run, last, whole)
	for i := range points {
		if i > 0 {
			b = append(b, ',')
		}
		b = points[i].append(b)
	}
	b = append(b, `],"decisions":[`...)
	for i, d := range decisions {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, d.json...)
	}
	b = append(b, `],"state":`...)
	b = append(b, state...)
	return v, append(b, "}\n\n"...), true
}

// after is the number of the point in an event's id; 0 when it is none of ours.
func (s *stream) after(id string) int64 {
	run, number, ok := strings.Cut(id, ".")
	if !ok || run != s.run {
		return 0
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func (s *stream) leave(v *viewer) {
	s.mu.Lock()
	delete(s.viewers, v)
	s.mu.Unlock()
	s.ended.Done()
}

// close lets all viewers go and waits until they have gone.
func (s *stream) close() {
	s.mu.Lock()
	s.closed = true
	for v := range s.viewers {
		delete(s.viewers, v)
		close(v.events)
	}
	s.mu.Unlock()
	s.ended.Wait()
}

// hello is the first event: what does not change while a stream lasts.
type hello struct {
	Run      string          `json:"run"`
	Name     string          `json:"name"`
	Columns  [columns]string `json:"columns"`
	Kept     int             `json:"kept"` // seconds of history
	Settings []settingsGroup `json:"settings"`
}

// serveEvents sends what was and what comes, until the browser goes, or is too
// slow, or the handler is closed.
func (h *Handler) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no") // nginx: pass on at once
	if r.Method == http.MethodHead {
		return
	}
	lastID := r.Header.Get("Last-Event-ID")
	if lastID == "" {
		lastID = r.URL.Query().Get("after") // of a page whose browser gave up
	}
	v, first, ok := h.stream.join(lastID)
	if !ok {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many viewers, or the page is being closed: try again soon", http.StatusServiceUnavailable)
		return
	}
	defer h.stream.leave(v)
	h.verdict.wish()

	greeting, err := json.Marshal(hello{Run: h.stream.run, Name: h.options.Name, Columns: columnNames, Kept: pointsKept, Settings: describe(h.source)})
	if err != nil {
		return // cannot be: it is made of strings and numbers
	}
	conn := http.NewResponseController(w)
	send := func(event []byte) bool {
		// A wrapped ResponseWriter may know no deadlines; then TCP's hold.
		_ = conn.SetWriteDeadline(time.Now().Add(writeWithin))
		if _, err := w.Write(event); err != nil {
			return false
		}
		return conn.Flush() == nil
	}
	if !send(fmt.Appendf(nil, "retry: %d\nevent: hello\ndata: %s\n\n", retryAfter.Milliseconds(), greeting)) || !send(first) {
		return
	}
	for {
		select {
		case event, more := <-v.events:
			if !more || !send(event) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
