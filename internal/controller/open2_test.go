package controller_test

import (
	"math"
	"os"
	"testing"
)

func TestTMPOne(t *testing.T) {
	wait := func(_ float64, k int) float64 {
		n := float64(k)
		x := math.Min(n/0.03, 400)
		return x / (1 + 0.002*math.Max(0, n-14))
	}
	capac := func(_ float64, k int) float64 {
		n := float64(k)
		x := math.Min(n, 4) / 0.02
		over := math.Max(0, n-4)
		return x / (1 + 0.01*over)
	}
	w := openWorld{func(float64) float64 { return 320 }, wait, 0.25, 4, 600}
	if os.Getenv("W") == "98" {
		w = openWorld{func(float64) float64 { return 196 }, capac, 1, 4, 600}
	}
	if os.Getenv("W") == "90" {
		w = openWorld{func(float64) float64 { return 180 }, capac, .5, 4, 600}
	}
	if os.Getenv("W") == "70" {
		w = openWorld{func(float64) float64 { return 140 }, capac, .25, 4, 600}
	}
	t.Log(runOpen(w, 0, 20, 1, true).good)
}
