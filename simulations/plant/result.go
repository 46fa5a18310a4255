package plant

import "time"

// Result is what became of a run. The counts and times are of the requests that
// arrived after the warm-up; means over time are of the whole run.
type Result struct {
	Elapsed  time.Duration `json:"elapsed"`  // virtual time of the run
	Span     time.Duration `json:"span"`     // of it, until callers came no more: what rates are over, less the warm-up
	Requests int64         `json:"requests"` // that arrived, the warm-up included
	Events   int64         `json:"events"`   // simulated, the warm-up included

	Arrivals    int64 `json:"arrivals"`
	Completions int64 `json:"completions"`
	Canceled    int64 `json:"canceled"`    // gave up waiting, or were turned away
	TurnedAway  int64 `json:"turned_away"` // of the canceled: the queue was full
	Failed      int64 `json:"failed"`      // no connection could be opened, or the server went away
	Unfinished  int64 `json:"unfinished"`  // still there at the end
	WithinSLO   int64 `json:"within_slo"`  // of the completions

	Throughput float64 `json:"throughput"` // completions per second of the span after the warm-up
	Goodput    float64 `json:"goodput"`    // those within the SLO

	Wait     Summary `json:"wait"`     // asking → getting, dialling included; of completions
	Service  Summary `json:"service"`  // connection held; of completions
	Response Summary `json:"response"` // of completions
	GaveUp   Summary `json:"gave_up"`  // time waited in vain, of the canceled
	Waited   int64   `json:"waited"`   // completions that waited at all

	Looks        int64         `json:"looks"`
	LimitChanges int64         `json:"limit_changes"`
	Swaps        int64         `json:"swaps"`
	FailedSwaps  int64         `json:"failed_swaps"`
	SwapTime     time.Duration `json:"swap_time"` // while two generations were there
	Connects     int64         `json:"connects"`
	MaxBackends  int           `json:"max_backends"`

	MeanLimit    float64 `json:"mean_limit"`
	MeanInUse    float64 `json:"mean_in_use"`
	MeanQueued   float64 `json:"mean_queued"`
	MeanBackends float64 `json:"mean_backends"`
	MeanRunnable float64 `json:"mean_runnable"` // backends of this pool's requests on CPU or ready for it
	Work         float64 `json:"work"`          // CPU that the pool's backends got, in cores

	// Moves are the changes of limit and max, the latest 10,000 of them.
	Moves  []Move     `json:"moves,omitempty"`
	Series []Interval `json:"series,omitempty"`
}

// Move is a change of the limit or of max.
type Move struct {
	At    time.Duration `json:"at"`
	Limit int           `json:"limit"`
	Max   int           `json:"max"`
}

// Interval is a point of the series: what happened in it, and how it ended.
type Interval struct {
	At        time.Duration `json:"at"` // its end
	Length    time.Duration `json:"length"`
	Arrivals  int64         `json:"arrivals"`
	Completed int64         `json:"completed"`
	Canceled  int64         `json:"canceled"`
	Failed    int64         `json:"failed"`
	WithinSLO int64         `json:"within_slo"`

	WaitP99     time.Duration `json:"wait_p99"`     // of the completed; of merged intervals the worse
	ResponseP99 time.Duration `json:"response_p99"` // as WaitP99

	InUse    float64 `json:"in_use"`   // means over the interval
	Queued   float64 `json:"queued"`   //
	Backends float64 `json:"backends"` //

	Limit int `json:"limit"` // at the end
	Max   int `json:"max"`
}
