package model

// Estimate is what is believed at one look: demand, supply, and how sure.
type Estimate struct {
	Rates

	// Demand quantiles of the decaying histogram of true concurrency
	// (in use + queued + canceled), in connections.
	DemandLower  float64 `json:"demand_lower"`  // median
	DemandTarget float64 `json:"demand_target"` // 95th percentile
	DemandUpper  float64 `json:"demand_upper"`  // 99th percentile

	// Wanted is the connections that keep the share of callers that wait
	// within 5 % at the offered load, by Erlang C; 0 when unknown.
	Wanted int `json:"wanted"`

	// Saturated is the share of the last window in which callers queued, 0–1.
	Saturated float64 `json:"saturated"`

	// Knee is what is known of the top of the throughput curve.
	Knee Knee `json:"knee"`
	// Prior is where the knee is expected before it is measured, from the
	// cores of the database and what its backends do; 0 when unknown.
	Prior int `json:"prior,omitempty"`
	// Crowded is true while at least twice as many backends compute, or want
	// to, as the database has cores.
	Crowded bool `json:"crowded,omitempty"`
	// Running is how many backends are on a core, or ready to be.
	Running float64 `json:"running,omitempty"`
	// PeakThroughput is the highest counted throughput behind the knee, per second.
	PeakThroughput float64 `json:"peak_throughput,omitempty"`
	// KneeThroughput is that at the knee.
	KneeThroughput float64 `json:"knee_throughput,omitempty"`
	// Natural is true when the knee was seen in the pool's own ups and downs
	// (see Occupancy), false when other limits were tried for it.
	Natural bool `json:"natural,omitempty"`
	// Varied is the number in use up to which those ups and downs have shown
	// the curve, without gaps; 0: they show nothing.
	Varied int `json:"varied,omitempty"`
	// Above is true when all that they showed is above the numbers in use at which
	// the server may already serve as much.
	Above bool `json:"above,omitempty"`
	// Least is the smallest number in use that they showed to give four fifths
	// of the peak.
	Least int `json:"least,omitempty"`
	// VariedPeak is the highest throughput that they showed, per second.
	VariedPeak float64 `json:"varied_peak,omitempty"`
	// Plateau is the smallest number in use that they showed to serve as much as
	// any; 0: unknown.
	Plateau int `json:"plateau,omitempty"`
}
