package fire

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// table collects a figure for each line that was proved, to be printed when all
// is over: what the figure is, what it had to be, and whether it was.
type table struct {
	mu       sync.Mutex
	versions []string
	lines    []line
}

type line struct{ suite, what, figure, verdict string }

var figures table

func (f *table) version(v string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, known := range f.versions {
		if known == v {
			return
		}
	}
	f.versions = append(f.versions, v)
}

// figure adds a line to the table. The verdict is the test's at its end.
func figure(t testing.TB, suite, what, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	t.Logf("%s: %s", what, text)
	t.Cleanup(func() {
		verdict := "ok"
		if t.Failed() {
			verdict = "FAILED"
		}
		figures.mu.Lock()
		defer figures.mu.Unlock()
		figures.lines = append(figures.lines, line{suite, what, text, verdict})
	})
}

func (f *table) print(w io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lines) == 0 {
		return
	}
	fmt.Fprintf(w, "\nPostgreSQL %v\n", f.versions)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range f.lines {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", l.suite, l.what, l.figure, l.verdict)
	}
	tw.Flush()
}

// ms rounds a duration for a table.
func ms(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
