package main

import (
	"fmt"
	"math"
	"time"

	"github.com/pgautotune/autotune/internal/load"
)

// demoResult is the document of --output json. Names end in their unit; rates are
// per second, counts of connections and requests have none.
type demoResult struct {
	Schema    string       `json:"schema"`
	Autotune  string       `json:"autotune"`
	Started   time.Time    `json:"started"` // of the load
	Server    demoServer   `json:"server"`
	Data      demoData     `json:"data"`
	Pool      demoSettings `json:"pool"`
	Requests  int64        `json:"requests"`
	Errors    int64        `json:"errors"`
	Phases    []demoPhase  `json:"phases"`
	Decisions []demoChange `json:"decisions"` // that changed the pool
	Series    []demoPoint  `json:"series"`    // one a second
	Failures  []demoFail   `json:"failures"`
}

type demoServer struct {
	PostgreSQL  string `json:"postgresql"`
	PGVector    string `json:"pgvector"`
	Throwaway   bool   `json:"throwaway"`
	ClientCores int    `json:"client_cores"`
}

type demoData struct {
	Vectors    int     `json:"vectors"`
	Dimensions int     `json:"dimensions"`
	Seed       uint64  `json:"seed"`
	LoadTime   float64 `json:"load_time_s"`
}

type demoSettings struct {
	Tuned    bool    `json:"tuned"`
	Profile  string  `json:"profile,omitempty"`
	Fixed    int     `json:"fixed,omitempty"`
	Clients  int     `json:"clients"`
	Duration float64 `json:"duration_s"`
}

type demoPhase struct {
	Name       string  `json:"phase"`
	Seconds    float64 `json:"length_s"`
	Requests   int64   `json:"requests"` // completed
	Errors     int64   `json:"errors"`
	Throughput float64 `json:"throughput"`
	P50        float64 `json:"response_p50_ms"`
	P99        float64 `json:"response_p99_ms"`
	InUse      float64 `json:"in_use_mean"`
	LimitLow   int     `json:"limit_low"`
	LimitHigh  int     `json:"limit_high"`
	MaxLow     int     `json:"max_low"`
	MaxHigh    int     `json:"max_high"`
	Swaps      int64   `json:"swaps"`
}

type demoChange struct {
	At        float64 `json:"at_s"` // below 0: before the load
	Phase     string  `json:"phase"`
	Action    string  `json:"action"`
	Reason    string  `json:"reason"`
	Sentence  string  `json:"sentence"`
	Bound     string  `json:"bound"`
	Turn      bool    `json:"turn,omitempty"` // back to a limit that is being compared with
	LimitFrom int     `json:"limit_from"`
	Limit     int     `json:"limit"`
	MaxFrom   int     `json:"max_from"`
	Max       int     `json:"max"`

	again bool // for the report: the limit is that of before the attempt
}

type demoPoint struct {
	At          float64 `json:"at_s"`
	Phase       string  `json:"phase"`
	ArrivalRate float64 `json:"arrival_rate"`
	Throughput  float64 `json:"throughput"`
	InUse       float64 `json:"in_use"`
	Queued      float64 `json:"queued"`
	Limit       int     `json:"limit"`
	Max         int     `json:"max"`
	P99         float64 `json:"response_p99_ms"`
	Errors      int64   `json:"errors"`
}

type demoFail struct {
	Text  string `json:"text"`
	Count int64  `json:"count"`
}

// result puts together what the driver saw.
func (d *driver) result(db *demoDatabase) (*demoResult, error) {
	changes, err := d.decisions.all()
	if err != nil {
		return nil, fmt.Errorf("the tuner's journal could not be read: %w", err)
	}
	o := d.options
	r := &demoResult{
		Schema: "autotune.demo/v1", Autotune: readVersion().Version, Started: d.start.UTC(),
		Server:    demoServer{PostgreSQL: db.version, PGVector: db.pgvector, Throwaway: db.server != nil && db.server.Owned(), ClientCores: cores()},
		Data:      demoData{Vectors: o.vectors, Dimensions: o.dimensions, Seed: o.seed, LoadTime: rounded(db.loadTime.Seconds(), 3)},
		Pool:      demoSettings{Tuned: o.fixed == 0, Fixed: o.fixed, Clients: o.clients, Duration: o.duration.Seconds()},
		Phases:    d.done,
		Decisions: []demoChange{},
		Series:    d.series,
		Failures:  failures(d.failures),
	}
	if r.Pool.Tuned {
		r.Pool.Profile = o.profile
	}
	for _, p := range r.Phases {
		r.Requests += p.Requests
		r.Errors += p.Errors
	}
	for _, c := range changes {
		at := c.at.Sub(d.start).Seconds()
		r.Decisions = append(r.Decisions, demoChange{
			At: rounded(at, 3), Phase: d.phaseAt(at), Action: string(c.decision.Action), Reason: string(c.decision.Reason),
			Sentence: sentence(c.decision.Reason), Bound: string(c.decision.Bound), Turn: c.decision.Turn,
			LimitFrom: c.limit, Limit: c.decision.Limit, MaxFrom: c.max, Max: c.decision.Max,
		})
	}
	return r, nil
}

// phaseAt names the phase of a second of the load.
func (d *driver) phaseAt(at float64) string {
	for _, p := range d.done {
		if at -= p.Seconds; at < 0 {
			return p.Name
		}
	}
	return d.done[len(d.done)-1].Name
}

func failures(all []load.Failure) []demoFail {
	sum := []demoFail{}
next:
	for _, f := range all {
		for i := range sum {
			if sum[i].Text == f.Text {
				sum[i].Count += f.Count
				continue next
			}
		}
		sum = append(sum, demoFail{f.Text, f.Count})
	}
	return sum
}

// failure is the error of a demo in which requests failed: that must not happen.
func (r *demoResult) failure() error {
	if r.Errors == 0 {
		return nil
	}
	text := "cut off: not answered within 10 s of their phase's end"
	if len(r.Failures) > 0 {
		text = r.Failures[0].Text
	}
	return fmt.Errorf("%s of %s requests failed; first: %s", thousands(r.Errors), thousands(r.Errors+r.Requests), text)
}

func rounded(x float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(x*scale) / scale
}

func milliseconds(d time.Duration) float64 { return rounded(float64(d)/float64(time.Millisecond), 3) }
