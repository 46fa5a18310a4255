package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pgautotune/autotune"
)

const (
	healthWithin = 3 * time.Second // the server has to answer
	healthServes = time.Second     // an answer serves all who ask: they shall be no load on the server
	loopsMissed  = 5               // of the controller's loop until it counts as stopped
)

// verdict asks the source for its health, once for all who want to know. It is
// safe for concurrent use.
type verdict struct {
	source Source

	asking sync.Mutex // held while the server is asked

	mu     sync.Mutex
	health autotune.Health // guarded by mu
	at     time.Time       // guarded by mu: when it was asked; zero: never
	asked  time.Time       // guarded by mu: when somebody last wanted it asked
	wished bool            // guarded by mu: somebody wants to know soon
}

// get returns a health that is at most a second old.
func (v *verdict) get(ctx context.Context, now time.Time) autotune.Health {
	v.asking.Lock()
	defer v.asking.Unlock()
	v.mu.Lock()
	health, at := v.health, v.at
	v.mu.Unlock()
	if !at.IsZero() && now.Sub(at) < healthServes {
		return health
	}
	bounded, cancel := context.WithTimeout(ctx, healthWithin)
	defer cancel()
	health = v.source.Health(bounded)
	if ctx.Err() != nil {
		return health // says nothing about the server
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.health, v.at = health, time.Now()
	return health
}

// wish makes the next point ask.
func (v *verdict) wish() {
	v.mu.Lock()
	v.wished = true
	v.mu.Unlock()
}

// due tells whether it is time to ask again, and counts on being asked.
func (v *verdict) due(now time.Time, every time.Duration) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.wished && now.Sub(v.asked) < every {
		return false
	}
	v.asked, v.wished = now, false
	return true
}

// healthView is a health for the page.
type healthView struct {
	Status  autotune.HealthStatus `json:"status"`
	Reasons []string              `json:"reasons"`
	Facts   []fact                `json:"facts"`
	AgeMS   int64                 `json:"ageMs"`
}

// known is the last answer; nil when there was none.
func (v *verdict) known(now time.Time) *healthView {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.at.IsZero() {
		return nil
	}
	h := v.health
	view := &healthView{Status: h.Status, Reasons: append([]string{}, h.Reasons...), AgeMS: max(0, now.Sub(v.at).Milliseconds())}
	response := unknown
	if h.ResponseTime > 0 {
		response = duration(h.ResponseTime)
	}
	vector := string(h.Vector)
	switch {
	case h.VectorVersion != "" && h.Vector == autotune.VectorUnknown:
		vector = h.VectorVersion + " installed, not checked"
	case h.VectorVersion != "":
		vector = h.VectorVersion + " " + vector
	}
	view.Facts = []fact{
		{"utilization", percent(h.Utilization)},
		{"mean acquire time, last minute", duration(h.AcquireTime)},
		{"acquires served, last minute", percent(h.SuccessRate)},
		{"response time of the server", response},
		{"pgvector", vector},
	}
	return view
}

// answer is what a probe is told.
type answerText struct {
	ok   bool
	text string
}

func answer(w http.ResponseWriter, a answerText) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !a.ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = fmt.Fprintln(w, a.text) // a prober that went away needs no answer
}

// off tells whether the controller is switched off.
func (h *Handler) off() bool {
	s := settingsOf(h.source)
	return s != nil && s.Manual
}

// closed is the answer about a pool that is closed.
var closed = answerText{false, "the pool is closed"}

// alive tells whether the controller's loop runs, or waits for a resize, which may take
// several seconds where the server is slow, and longer while its callers hold on to theirs.
func (h *Handler) alive(now time.Time) answerText {
	snap := h.source.Snapshot()
	if snap.Limit == 0 {
		return closed
	}
	if h.off() {
		return answerText{true, "ok: the controller is switched off, the pool works without it"}
	}
	most := loopsMissed * h.options.Interval
	switch age := now.Sub(snap.LookedAt); {
	case snap.Resizing && age > most: // or it has not looked yet
		return answerText{true, "ok: a resize is under way"}
	case snap.LookedAt.IsZero():
		return answerText{false, "the controller has not looked yet"}
	case age > most:
		return answerText{false, fmt.Sprintf("the controller last looked %s ago, more than %d intervals of %s: its loop is stalled; the pool works on at its last size",
			age.Round(time.Millisecond), loopsMissed, h.options.Interval)}
	}
	return answerText{true, "ok"}
}

// ready tells whether the pool is open and the server answers.
func (h *Handler) ready(ctx context.Context) answerText {
	if h.source.Snapshot().Limit == 0 {
		return closed
	}
	if h.off() {
		return answerText{true, "ok: the pool is open; whether the server answers is unknown, because the controller that would ask it is switched off"}
	}
	// Not cut off with the request: the answer is for all who ask.
	health := h.verdict.get(context.WithoutCancel(ctx), time.Now())
	if health.ResponseTime <= 0 {
		return answerText{false, "the server does not answer: " + strings.Join(health.Reasons, "; ")}
	}
	return answerText{true, fmt.Sprintf("ok: the server answered in %s", duration(health.ResponseTime))}
}
