package ingest

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// latest is the latest time that is believed: the year 2200.
const latest = 7258118400.0

// nanoseconds is a time in s as ns, to the nearest.
func nanoseconds(s float64) int64 { return int64(math.Round(s * 1e9)) }

// number reads a finite number of 0 or more.
func number(text string) (float64, bool) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return v, err == nil && v >= 0 && !math.IsInf(v, 0)
}

// layouts are the ways in which sources write a date, most exact first; a fraction
// of a second is read behind each.
var layouts = []string{
	time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05", "2006-01-02T15:04:05",
	"02/Jan/2006:15:04:05 -0700", time.ANSIC, "Mon 02 Jan 2006 03:04:05 PM MST", "Mon 02 Jan 2006 15:04:05 MST", "Mon Jan _2 15:04:05 MST 2006",
}

// date reads a date in any of the layouts, as ns since 1970.
func date(text string) (int64, bool) {
	text = strings.TrimSpace(text)
	for _, l := range layouts {
		if t, err := time.Parse(l, text); err == nil {
			if s := t.Unix(); s < 0 || float64(s) > latest {
				return 0, false
			}
			return t.UnixNano(), true
		}
	}
	return 0, false
}

// epoch reads a number of units since 1970 or any other start, as ns; digits that a
// float64 would lose are kept.
func epoch(text string, unit time.Duration) (int64, bool) {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n < 0 || float64(n)*unit.Seconds() > latest {
			return 0, false
		}
		return n * int64(unit), true
	}
	v, ok := number(text)
	if !ok || v*unit.Seconds() > latest {
		return 0, false
	}
	whole, part := math.Modf(v)
	return int64(whole)*int64(unit) + int64(math.Round(part*float64(unit))), true
}
