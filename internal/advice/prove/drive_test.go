package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// One application's clients are all there three seconds before the other's: what it does
// alone is not what both do together. pgbench's own "tps" would count it.
func TestOnlyWhatAllApplicationsDidTogetherCounts(t *testing.T) {
	every := func(from, to, step time.Duration, ms float64) (done []transaction) {
		for at := from; at <= to; at += step {
			done = append(done, transaction{at, ms})
		}
		return done
	}
	alone := every(0, 3*time.Second, time.Millisecond, 1)
	first := append(alone, every(3010*time.Millisecond, 6*time.Second, 10*time.Millisecond, 10)...)
	second := every(3020*time.Millisecond, 7*time.Second, 20*time.Millisecond, 20)
	r := together([][]transaction{first, second, nil}, 2*time.Second)
	if r.tps != 150 || r.p99 != 20 {
		t.Fatalf("%.0f per second and a p99 of %.0f ms, want 100 + 50 and 20", r.tps, r.p99)
	}
}

func TestPgbenchLogsAreRead(t *testing.T) {
	folder := t.TempDir()
	text := "0 1 2500 0 1700000000 250000\n1 7 failed 0 1700000000 300000\n2 1 900 0 1700000001 5 0\n"
	if err := os.WriteFile(filepath.Join(folder, "log.1"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	done, err := readLogs(filepath.Join(folder, "log*"), time.Millisecond)
	want := []transaction{{1700000000250 * time.Millisecond, 1.5}, {1700000001*time.Second + 5*time.Microsecond, 0}}
	if err != nil || len(done) != 2 || done[0] != want[0] || done[1] != want[1] {
		t.Fatalf("read %v, %v, want %v", done, err, want)
	}
}
