package model

import (
	"encoding/csv"
	"errors"
	"io/fs"
	"math"
	"os"
	"strconv"
	"testing"
)

// table is one published scalability curve.
type table struct {
	id     string
	points []Point
}

// publishedCurves reads the shared collection of published curves, which lies
// beside the repository on development machines, and skips the test without it.
func publishedCurves(t *testing.T) []table {
	t.Helper()
	f, err := os.Open("../../../shared/curves/scalability-dev.csv")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("published curves are not on this machine")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	var tables []table
	for _, row := range rows[1:] {
		n, errN := strconv.ParseFloat(row[column["clients"]], 64)
		x, errX := strconv.ParseFloat(row[column["throughput"]], 64)
		if errN != nil || errX != nil {
			continue
		}
		id := row[column["table_id"]]
		if len(tables) == 0 || tables[len(tables)-1].id != id {
			tables = append(tables, table{id: id})
		}
		last := &tables[len(tables)-1]
		last.points = append(last.points, Point{N: n, X: x})
	}
	return tables
}

func published(t *testing.T, id string) []Point {
	t.Helper()
	for _, c := range publishedCurves(t) {
		if c.id == id {
			return c.points
		}
	}
	t.Fatalf("no curve %q", id)
	return nil
}

// tableLoss is the share of the table's highest throughput that is given away at
// n, reading the table straight between its rows.
func tableLoss(points []Point, n float64) float64 {
	peak := 0.0
	for _, p := range points {
		peak = math.Max(peak, p.X)
	}
	pts := clean(points)
	for i := 1; i < len(pts); i++ {
		if n <= pts[i].N {
			part := (n - pts[i-1].N) / (pts[i].N - pts[i-1].N)
			return 1 - (pts[i-1].X+part*(pts[i].X-pts[i-1].X))/peak
		}
	}
	return 1 - pts[len(pts)-1].X/peak
}

func TestOnPublishedCurvesAnIdentifiedKneeLosesAtMostFivePercentOfThePeak(t *testing.T) {
	curves, identified, good := 0, 0, 0
	for _, c := range publishedCurves(t) {
		if len(c.points) < 4 {
			continue
		}
		curves++
		fit := FitCapacity(c.points)
		loss := tableLoss(c.points, float64(fit.Knee.N))
		mark := "-"
		if fit.Knee.Identified {
			identified++
			mark = "identified"
			if loss <= 0.05 {
				good++
			} else {
				mark = "BAD"
			}
		}
		t.Logf("%-42s %2d points %-10s rms %.3f noise %.3f  knee %3d (%d–%d) loss %5.1f%%  throughput %d (%d–%d) latency %d (%d–%d) peak %d  %s %s",
			c.id, len(c.points), fit.Model, fit.RMSLogError, fit.Noise, fit.Knee.N, fit.Knee.Lower, fit.Knee.Upper, 100*loss,
			fit.ThroughputKnee.N, fit.ThroughputKnee.Lower, fit.ThroughputKnee.Upper, fit.LatencyKnee.N, fit.LatencyKnee.Lower, fit.LatencyKnee.Upper, fit.PeakN, mark, fit.Knee.Missing)
	}
	t.Logf("%d curves with 4 points or more, %d knees identified, %d of them lose at most 5 %%", curves, identified, good)
	if float64(good) < 0.95*float64(identified) {
		t.Errorf("%d of %d identified knees lose at most 5 %% of the peak, want 95 %%", good, identified)
	}
	if 2*identified < curves {
		t.Errorf("only %d of %d knees identified: the estimator refuses instead of answering", identified, curves)
	}
}
