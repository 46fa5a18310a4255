package dashboard

import (
	"math"
	"strconv"
	"sync"
	"time"
)

// The columns of a point. Rates are per second over the second before it, in use
// and queued their means over it, limit and max what held at its end, times
// milliseconds. NaN is unknown.
const (
	arrivals = iota
	throughput
	canceled
	failed
	inUse
	queued
	limit
	maxConns
	open
	waitP50
	waitP99
	responseP50
	responseP99
	columns
)

// columnNames are what the page calls them.
var columnNames = [columns]string{"arrivals", "throughput", "canceled", "failed", "inUse", "queued", "limit", "max", "open",
	"waitP50", "waitP99", "responseP50", "responseP99"}

const (
	pointEvery    = time.Second
	pointsKept    = 3600 // an hour
	decisionsKept = 400  // about 2 kB each
)

// point is one second of the pool: 64 bytes.
type point struct {
	at     int64 // Unix milliseconds, of its end
	values [columns]float32
}

// history is the last hour. Points are numbered 1, 2, 3, …; a decision comes with
// the point that follows it. It is safe for concurrent use.
type history struct {
	mu        sync.Mutex
	points    [pointsKept]point // guarded by mu: point n is at n modulo its length
	last      int64             // guarded by mu: number of the last point
	decisions []decision        // guarded by mu: oldest first
}

// decision is one entry of the list, encoded once.
type decision struct {
	point int64 // it came with
	json  []byte
}

func newHistory() *history { return &history{} }

// add appends a point with the decisions before it, and returns its number.
func (h *history) add(p point, decisions [][]byte) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	h.points[h.last%pointsKept] = p
	for _, d := range decisions {
		h.decisions = append(h.decisions, decision{h.last, d})
	}
	if extra := len(h.decisions) - decisionsKept; extra > 0 {
		h.decisions = append([]decision(nil), h.decisions[extra:]...)
	}
	return h.last
}

// since returns what came after the n-th point. whole is true when n is not within
// what is kept, and so everything is returned instead.
func (h *history) since(n int64) (points []point, decisions []decision, last int64, whole bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	oldest := max(0, h.last-pointsKept) // the number before the oldest one
	if whole = n <= 0 || n < oldest || n > h.last; whole {
		n = oldest
	}
	for i := n + 1; i <= h.last; i++ {
		points = append(points, h.points[i%pointsKept])
	}
	for _, d := range h.decisions {
		if d.point > n || whole {
			decisions = append(decisions, d)
		}
	}
	return points, decisions, h.last, whole
}

// append adds a point as a JSON array: its time, then its columns.
func (p *point) append(b []byte) []byte {
	b = append(b, '[')
	b = strconv.AppendInt(b, p.at, 10)
	for _, v := range p.values {
		b = append(b, ',')
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendFloat(b, f, 'g', 5, 32) // more digits than a pixel shows
		}
	}
	return append(b, ']')
}
