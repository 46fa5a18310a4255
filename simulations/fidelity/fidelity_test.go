package fidelity

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/pgautotune/autotune/internal/bench"
)

// database is the benchmark's result of a database that follows theory: so many
// cores, and requests of 1 ms, or with BEGIN and COMMIT of more, that hold for 10 ms more.
func database(cores, transaction float64) *bench.Result {
	m := &bench.Result{Settings: bench.Settings{Clients: 120}, Server: bench.Server{Cores: int(cores)}}
	for name, hold := range map[string]float64{"search": 0, "holding": 10} {
		w := bench.WorkloadResult{Name: name}
		for _, n := range sizes() {
			demand := 1.0
			if hold > 0 {
				demand = transaction
			}
			x := math.Min(float64(n)*1000/(demand+hold), cores*1000/demand)
			row := bench.Row{Name: "fixed-" + fmtInt(n), Throughput: bench.Spread{Median: x, Mean: x, Min: x, Max: x}}
			w.Contenders = append(w.Contenders, row)
		}
		m.Workloads = append(m.Workloads, w)
	}
	return m
}

func fmtInt(n int) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

func TestADatabaseThatFollowsTheoryIsPredicted(t *testing.T) {
	r, err := predict(database(4, 1.4))
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(r.ServiceMs-1) > 0.001 || math.Abs(r.HoldingMs-1.4) > 0.001 || math.Abs(r.HoldMs-10) > 0.001 {
		t.Errorf("service %v ms, in a transaction %v ms, hold %v ms", r.ServiceMs, r.HoldingMs, r.HoldMs)
	}
	if r.MedianError > 0.03 {
		t.Errorf("median error %.3f", r.MedianError)
	}
	for _, c := range r.Workloads {
		for _, row := range c.Rows {
			if math.Abs(row.Error) > 0.15 {
				t.Errorf("%s, %d connections: error %.2f", c.Name, row.Size, row.Error)
			}
		}
		if !c.KneeNear {
			t.Errorf("%s: knee %d, predicted %d", c.Name, c.KneeMeasured, c.KneePredicted)
		}
		if math.Abs(c.Rows[0].Error) > 0.01 {
			t.Errorf("%s: one connection: error %.3f", c.Name, c.Rows[0].Error)
		}
	}
	var text bytes.Buffer
	if err := WriteText(&text, r); err != nil || !strings.Contains(text.String(), "Median error of all 19 predictions") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

// Of 64 cores the connections are the limit, so how much CPU BEGIN and COMMIT need does
// not show, and is not made up.
func TestTheServersPartOfATransactionShowsWhereTheServerIsTheLimit(t *testing.T) {
	for _, c := range []struct{ cores, transaction, want float64 }{{4, 1, 1}, {4, 1.4, 1.4}, {64, 1.4, 1}} {
		m := database(c.cores, c.transaction)
		search, err := rows(m, "search")
		if err != nil {
			t.Fatal(err)
		}
		holding, err := rows(m, "holding")
		if err != nil {
			t.Fatal(err)
		}
		if got := demandRatio(search, holding); math.Abs(got-c.want) > 0.001 {
			t.Errorf("%v: got %v", c, got)
		}
	}
}

func TestWhatCannotCalibrateSaysWhy(t *testing.T) {
	m := database(4, 1)
	m.Workloads[0].Contenders[0].Throughput.Mean = 0
	if _, err := predict(m); err == nil || !strings.Contains(err.Error(), "nothing to calibrate with") {
		t.Errorf("no requests: %v", err)
	}
	m = database(4, 1)
	for i := range m.Workloads {
		m.Workloads[i].Contenders[0].Throughput.Mean = 500
	}
	if _, err := predict(m); err == nil || !strings.Contains(err.Error(), "quieter machine") {
		t.Errorf("holding as fast as searching: %v", err)
	}
}
