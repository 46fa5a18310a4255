// Package fidelity asks how far the simulation can be believed: it calibrates the
// plant with a short measurement of a real PostgreSQL, predicts fixed sizes that
// were not part of it, and compares.
//
// The measurement is the benchmark's (internal/bench): plain pools of fixed sizes
// in a closed loop, alternating in short slices, so that a noisy machine hits what
// is calibrated and what is predicted alike.
package fidelity

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgautotune/autotune/internal/bench"
	"github.com/pgautotune/autotune/simulations/plant"
	"github.com/pgautotune/autotune/simulations/policy"
)

// Schema is the name of the JSON document's form.
const Schema = "autotune.fidelity/v1"

// The sizes that calibrate, and those that are predicted. The former are the ends
// of the range, the least sizes, where the curve bends, and one on the plateau.
// A transaction that holds its connection needs its ends only: the curve is that of the
// search.
var (
	calibrated        = []int{1, 2, 4, 16, 100}
	calibratedHolding = []int{1, 100}
	predicted         = []int{3, 6, 8, 12, 24, 32, 48, 64}
)

// kneeWithin says what the knee is: the least size whose throughput is within this
// share of the best. Closer, slices of a second on a shared machine differ by
// themselves.
const kneeWithin = 0.05

// Options of a comparison.
type Options struct {
	DSN    string        // the database; "": a throwaway server
	Rounds int           // slices of each size; default 7, so that calibrating takes a minute
	Slice  time.Duration // default 1.2 s

	Progress bench.Progress
	Log      io.Writer
}

// Result is the JSON document.
type Result struct {
	Schema string       `json:"schema"`
	Server bench.Server `json:"server"`

	CalibrationS float64      `json:"calibration_s"` // time of the slices that calibrated
	ServiceMs    float64      `json:"service_ms"`    // of one search alone
	HoldingMs    float64      `json:"holding_ms"`    // server's time of a search in a transaction, with its BEGIN and COMMIT
	HoldMs       float64      `json:"hold_ms"`       // idle in the transaction and the round trips around it, of the holding workload
	Workloads    []Comparison `json:"workloads"`

	MedianError float64  `json:"median_error"` // over the sizes that were predicted, 0–1
	Warnings    []string `json:"warnings"`
}

// Comparison is one workload.
type Comparison struct {
	Name          string `json:"name"`
	Rows          []Row  `json:"sizes"`
	KneeMeasured  int    `json:"knee_measured"`
	KneePredicted int    `json:"knee_predicted"`
	KneeNear      bool   `json:"knee_near"` // the same size or its neighbour

	MedianError float64 `json:"median_error"`
}

// Row is one size.
type Row struct {
	Size       int          `json:"size"`
	Calibrated bool         `json:"calibrated"` // part of the calibration, so no prediction
	Measured   bench.Spread `json:"measured_rps"`
	Predicted  float64      `json:"predicted_rps"`
	Error      float64      `json:"error"` // predicted / measured − 1
}

// Compare measures, calibrates, predicts and compares.
func Compare(ctx context.Context, o Options) (*Result, error) {
	plan, settings, err := newPlan(o)
	if err != nil {
		return nil, err
	}
	measured, err := plan.Run(ctx)
	if err != nil {
		return nil, err
	}
	r, err := predict(measured)
	if err != nil {
		return nil, err
	}
	slices := float64(settings.Rounds) * settings.Slice.Seconds()
	r.CalibrationS = float64(len(calibrated)+len(calibratedHolding)) * slices
	return r, nil
}

func newPlan(o Options) (*bench.Plan, bench.Options, error) {
	b := bench.Defaults()
	b.DSN, b.Progress, b.Log = o.DSN, o.Progress, o.Log
	b.Workloads = []string{"search", "holding"}
	b.Clients, b.Vectors = 120, 5_000
	b.Rounds, b.Slice = 7, 1200*time.Millisecond
	if o.Rounds > 0 {
		b.Rounds = o.Rounds
	}
	if o.Slice > 0 {
		b.Slice = o.Slice
	}
	b.Uncounted = b.Slice / 4
	b.Contenders = nil
	for _, n := range sizes() {
		b.Contenders = append(b.Contenders, fmt.Sprintf("fixed-%d", n))
	}
	plan, err := bench.NewPlan(b)
	return plan, b, err
}

func sizes() []int {
	all := append(slices.Clone(calibrated), predicted...)
	slices.Sort(all)
	return all
}

// predict calibrates with some of what was measured and predicts all of it.
func predict(m *bench.Result) (*Result, error) {
	r := &Result{Schema: Schema, Server: m.Server, Warnings: m.Warnings}
	search, err := rows(m, "search")
	if err != nil {
		return nil, err
	}
	holding, err := rows(m, "holding")
	if err != nil {
		return nil, err
	}
	var curve []plant.Point
	for _, n := range calibrated {
		curve = append(curve, plant.Point{N: n, X: search[n].Mean})
	}
	service := time.Duration(float64(time.Second) / search[1].Mean)
	demand := time.Duration(float64(service) * demandRatio(search, holding))
	// With one connection, a transaction takes as much longer as it holds its
	// connection without the server's CPU.
	hold := time.Duration(float64(time.Second)/holding[1].Mean) - demand
	if hold <= 0 {
		return nil, fmt.Errorf("holding a transaction open made it no longer (%.4g a second instead of %.4g): the measurement was disturbed too much to calibrate; try again on a quieter machine", holding[1].Mean, search[1].Mean)
	}
	r.ServiceMs, r.HoldingMs, r.HoldMs = service.Seconds()*1000, demand.Seconds()*1000, hold.Seconds()*1000
	world := plant.Config{
		Seed: 1, Duration: 15 * time.Second, Warmup: 3 * time.Second,
		Closed: []plant.Closed{{Callers: m.Settings.Clients}},
		Server: plant.Server{Cores: max(1, m.Server.Cores), Curve: curve, CurveDemand: service},
	}
	world.Classes = []plant.Class{{Name: "search", Stages: []plant.Stage{{On: plant.CPU, Service: plant.Distribution{Mean: service}}}}}
	first, err := compare("search", world, search, calibrated)
	if err != nil {
		return nil, err
	}
	world.Classes = []plant.Class{{Name: "holding", Stages: []plant.Stage{
		{On: plant.CPU, Service: plant.Distribution{Mean: demand}},
		{On: plant.IdleInTransaction, Service: plant.Distribution{Kind: plant.Deterministic, Mean: hold}},
	}}}
	second, err := compare("holding", world, holding, calibratedHolding)
	if err != nil {
		return nil, err
	}
	r.Workloads = []Comparison{*first, *second}
	r.MedianError = medianError(append(slices.Clone(first.Rows), second.Rows...))
	return r, nil
}

// demandRatio is how much more of the server's time a search takes in a transaction, with
// its BEGIN and COMMIT. It shows where the server is the limit of both, at the largest
// size; where the transactions' connections are the limit there, it does not, and the
// statements count as time without CPU.
func demandRatio(search, holding map[int]bench.Spread) float64 {
	most := calibratedHolding[len(calibratedHolding)-1]
	if connections := float64(most) * holding[1].Mean; holding[most].Mean > serverLimits*connections {
		return 1
	}
	return max(1, search[most].Mean/holding[most].Mean)
}

// serverLimits is the share of what so many connections would give, each as fast as one
// alone, below which it is the server that limits them.
const serverLimits = 0.5

// rows are the throughputs of a workload, by size.
func rows(m *bench.Result, workload string) (map[int]bench.Spread, error) {
	out := make(map[int]bench.Spread)
	for _, w := range m.Workloads {
		if w.Name != workload {
			continue
		}
		for _, c := range w.Contenders {
			if n, err := strconv.Atoi(strings.TrimPrefix(c.Name, "fixed-")); err == nil {
				out[n] = c.Throughput
			}
		}
	}
	for _, n := range sizes() {
		if out[n].Mean <= 0 {
			return nil, fmt.Errorf("no request of %s was completed with %d connections: nothing to calibrate with", workload, n)
		}
	}
	return out, nil
}

func compare(name string, world plant.Config, measured map[int]bench.Spread, used []int) (*Comparison, error) {
	c := &Comparison{Name: name}
	var real, simulated []float64
	for _, n := range sizes() {
		tuner, err := policy.New(fmt.Sprintf("fixed-%d", n), policy.Env{Ceiling: 200})
		if err != nil {
			return nil, err
		}
		result, err := plant.Run(world, nil, tuner)
		if err != nil {
			return nil, err
		}
		row := Row{Size: n, Calibrated: slices.Contains(used, n), Measured: measured[n], Predicted: throughput(result, world.Warmup)}
		row.Error = row.Predicted/row.Measured.Mean - 1
		c.Rows = append(c.Rows, row)
		real, simulated = append(real, row.Measured.Mean), append(simulated, row.Predicted)
	}
	a, b := knee(real), knee(simulated)
	c.KneeMeasured, c.KneePredicted = c.Rows[a].Size, c.Rows[b].Size
	c.KneeNear = a-b <= 1 && b-a <= 1
	c.MedianError = medianError(c.Rows)
	return c, nil
}

// throughput is the completions a second after the warm-up, whenever their requests
// arrived: in a closed loop of many callers, those present at its end matter, as
// they do in the benchmark.
func throughput(r *plant.Result, warmup time.Duration) float64 {
	var n int64
	var time time.Duration
	for _, i := range r.Series {
		if i.At-i.Length >= warmup {
			n, time = n+i.Completed, time+i.Length
		}
	}
	return float64(n) / time.Seconds()
}

// knee is the index of the least size that is near the best.
func knee(throughput []float64) int {
	best := slices.Max(throughput)
	return slices.IndexFunc(throughput, func(x float64) bool { return x >= (1-kneeWithin)*best })
}

func medianError(rows []Row) float64 {
	var all []float64
	for _, r := range rows {
		if !r.Calibrated {
			all = append(all, math.Abs(r.Error))
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		return 0
	}
	if n := len(all); n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[len(all)/2]
}

// WriteText writes the comparison.
func WriteText(out io.Writer, r *Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "PostgreSQL %s, calibrated with %.0f s: a search alone takes %.3g ms; in a\ntransaction %.3g ms, with %.3g ms more that need no CPU.\n", r.Server.Version, r.CalibrationS, r.ServiceMs, r.HoldingMs, r.HoldMs)
	for _, c := range r.Workloads {
		fmt.Fprintf(&b, "\n%s, requests per second\n  %5s %10s %17s %10s %7s\n", c.Name, "size", "measured", "min–max", "predicted", "error")
		for _, row := range c.Rows {
			mark := ""
			if row.Calibrated {
				mark = "  calibrated"
			}
			fmt.Fprintf(&b, "  %5d %10.1f %17s %10.1f %+6.1f %%%s\n", row.Size, row.Measured.Mean,
				fmt.Sprintf("%.0f–%.0f", row.Measured.Min, row.Measured.Max), row.Predicted, 100*row.Error, mark)
		}
		near := "neither the same nor a neighbour"
		if c.KneeNear {
			near = "the same or a neighbour"
		}
		fmt.Fprintf(&b, "  knee (least size within %.0f %% of the best): measured %d, predicted %d, %s\n  median error of what was predicted: %.1f %%\n", 100*kneeWithin, c.KneeMeasured, c.KneePredicted, near, 100*c.MedianError)
	}
	fmt.Fprintf(&b, "\nMedian error of all %d predictions: %.1f %% (the bar is 10 %%)\n", predictions(r), 100*r.MedianError)
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func predictions(r *Result) (n int) {
	for _, c := range r.Workloads {
		for _, row := range c.Rows {
			if !row.Calibrated {
				n++
			}
		}
	}
	return n
}
