package model

import (
	"encoding/json"
	"fmt"
	"time"
)

// LevelCount is how many entries the numbers of connections in use fall into: each
// n up to 16, then each entry 12 % wide, up to 1,000.
const LevelCount = 52

// Levels counts, for each number of connections in use, for how long so many
// were, and how many were given back out of it: cumulative, like every counter
// of an observation. The entry of n is [LevelOf](n); entries above 16 share
// neighbouring n within 6 %.
type Levels [LevelCount]Level

// Level is one entry of [Levels].
type Level struct {
	Time time.Duration // with so many in use
	Left int64         // connections given back while so many were in use
}

// LevelOf is the entry of n connections in use; below 1 as 1, and all above 1,000 as
// one. It is read at every hold that ends, so it is a table and not a logarithm.
func LevelOf(n int) int { return int(levelIndex[min(max(n, 1), len(levelIndex)-1)]) }

// LevelTop is the most connections in use that share the entry of n.
func LevelTop(n int) int {
	n = min(max(n, 1), sampleMax)
	for n < sampleMax && LevelOf(n+1) == LevelOf(n) {
		n++
	}
	return n
}

var levelIndex = func() (t [sampleMax + 1]uint8) {
	for n := range t {
		t[n] = uint8(sampleBucketOf(float64(n)))
	}
	return t
}()

// MarshalJSON writes only what was ever used, as [entry, nanoseconds, left].
func (l Levels) MarshalJSON() ([]byte, error) {
	rows := make([][3]int64, 0, 16)
	for i, v := range l {
		if v != (Level{}) {
			rows = append(rows, [3]int64{int64(i), int64(v.Time), v.Left})
		}
	}
	return json.Marshal(rows)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (l *Levels) UnmarshalJSON(data []byte) error {
	var rows [][3]int64
	if err := json.Unmarshal(data, &rows); err != nil {
		return err
	}
	*l = Levels{}
	for _, r := range rows {
		if r[0] < 0 || r[0] >= LevelCount {
			return fmt.Errorf("level %d is outside 0 to %d", r[0], LevelCount-1)
		}
		l[r[0]] = Level{Time: time.Duration(r[1]), Left: r[2]}
	}
	return nil
}
