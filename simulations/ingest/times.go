package ingest

import (
	"fmt"
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
	t, ok := parseDate(text)
	if s := t.Unix(); !ok || strangeZone(t) || s < 0 || float64(s) > latest {
		return 0, false
	}
	return t.UnixNano(), true
}

func parseDate(text string) (time.Time, bool) {
	for _, l := range layouts {
		if t, err := time.Parse(l, strings.TrimSpace(text)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// strangeZone tells whether a time was given in a zone that is only abbreviated and not
// this machine's: EST is not the same everywhere, and package time takes it for UTC.
func strangeZone(t time.Time) bool {
	name, offset := t.Zone()
	return offset == 0 && t.Location() != time.Local && name != "" && name != "UTC" && name != "GMT" && name != "Z"
}

// undated says what is wrong with a time that date does not take, for an error.
func undated(text string) string {
	if t, ok := parseDate(text); ok && strangeZone(t) {
		zone, _ := t.Zone()
		return fmt.Sprintf("in the zone %s, which this machine does not know: import it where that is the local time (TZ=America/New_York, for one), or write times with an offset", zone)
	}
	return "not a time that is known"
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

// coarse looks whether all times are whole seconds, and some the same: then requests are
// recorded by the second in which they came.
type coarse struct {
	last           int64
	seen, off, tie bool
}

func (c *coarse) see(at int64) {
	c.off = c.off || at%int64(time.Second) != 0
	c.tie = c.tie || c.seen && at == c.last
	c.seen, c.last = true, at
}

// quantum is the resolution in s; 0: finer than a second, as far as can be told.
func (c *coarse) quantum() float64 {
	if c.off || !c.tie {
		return 0
	}
	return 1
}
