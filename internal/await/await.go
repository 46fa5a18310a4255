// Package await is how tests wait for a condition: by asking again and again, with
// an end to it, and never by sleeping for as long as it usually takes.
package await

import (
	"testing"
	"time"
)

// Until asks until wrong returns "", and fails the test with its last word if it
// has not within patience.
func Until(t testing.TB, patience time.Duration, wrong func() string) {
	t.Helper()
	if said := Poll(patience, wrong); said != "" {
		t.Fatalf("after %s still: %s", patience, said)
	}
}

// Poll asks until wrong returns "" or patience is over, and returns its last word.
// It asks often at first: most waits are for a goroutine that has to be scheduled.
func Poll(patience time.Duration, wrong func() string) (said string) {
	const shortest, longest = 20 * time.Microsecond, 5 * time.Millisecond
	start, pause := time.Now(), shortest
	for {
		if said = wrong(); said == "" || time.Since(start) > patience {
			return said
		}
		timer := time.NewTimer(pause)
		<-timer.C
		pause = min(2*pause, longest)
	}
}
