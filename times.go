package autotune

import "time"

// Times are the wait and response times of all callers since the pool was
// opened, as histograms whose buckets are a fifth wide at most. Two of them
// give the quantiles of what came between.
type Times struct {
	waits, responses durations
	granted          int64
}

// Times reads the histograms. It costs microseconds and never waits for callers.
func (p *Pool) Times() Times {
	g := p.gate.peek()
	t, _ := p.ledger.totals(p.now())
	return Times{waits: g.stat.waits, responses: p.ledger.responses(), granted: t.granted()}
}

// WaitQuantile is the wait time, from asking to being let in, that a share q of
// the callers let in since an earlier reading did not exceed. ok is false when
// there were none.
func (t *Times) WaitQuantile(since *Times, q float64) (d time.Duration, ok bool) {
	granted := t.granted - since.granted
	if granted <= 0 {
		return 0, false
	}
	zeros := granted - (t.waits.total() - since.waits.total())
	return t.waits.quantile(&since.waits, zeros, q), true
}

// ResponseQuantile is the response time, wait and service together, that a share
// q of the holds that ended since an earlier reading did not exceed. ok is false
// when none ended. The dial that a caller may have had to wait for is not in it.
func (t *Times) ResponseQuantile(since *Times, q float64) (d time.Duration, ok bool) {
	if t.responses.total() == since.responses.total() {
		return 0, false
	}
	return t.responses.quantile(&since.responses, 0, q), true
}
