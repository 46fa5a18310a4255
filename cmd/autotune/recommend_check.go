package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pgautotune/autotune/internal/advice"
)

// recommend --check: is the size that a service has within the recommended range?

// checked is what --check asks about, of one instance; max 0 is nothing, min
// below 0 is not asked.
type checked struct{ max, min int }

func parseCheck(text string) (checked, error) {
	if text == "" {
		return checked{}, nil
	}
	c := checked{min: -1}
	largest, least, both := strings.Cut(text, "/")
	var err, err2 error
	c.max, err = strconv.Atoi(largest)
	if both {
		c.min, err2 = strconv.Atoi(least)
	}
	if err != nil || err2 != nil || c.max < 1 || both && (c.min < 0 || c.min > c.max) {
		return checked{}, usagef("Give MAX or MAX/MIN, such as 40 or 40/5", "recommend: --check is %q, which is not a size", text)
	}
	return c, nil
}

// verdict is the answer to --check, a part of the JSON document.
type verdict struct {
	Max      int    `json:"max"`
	Min      *int   `json:"min"` // nil when it was not asked
	MaxRange [2]int `json:"max_range"`
	MinRange [2]int `json:"min_range"`
	MaxFits  bool   `json:"max_fits"`
	MinFits  *bool  `json:"min_fits"` // nil when it was not asked
	Fits     bool   `json:"fits"`
}

// judge compares with the recommended ranges, shared out among the instances. nil
// is no answer: nothing was asked, or no size is known.
func (c checked) judge(a *advice.Advice) *verdict {
	z, n := a.Size, max(1, a.Question.Instances)
	if c.max == 0 || !z.Known && a.Batch == nil {
		return nil
	}
	each := func(low, high int) [2]int {
		high = (high + n - 1) / n
		if z.Ceiling > 0 {
			high = min(high, z.Ceiling/n) // what all have together must not exceed a wall
		}
		return [2]int{max(1, low/n), max(1, high)}
	}
	largest := each(z.Lower, z.Upper)
	largest[1] = max(largest[1], z.MaxEach)
	within := func(size int, r [2]int) bool { return size >= r[0] && size <= r[1] }
	v := &verdict{Max: c.max, MaxRange: largest, MinRange: each(z.MinLower, z.MinUpper)}
	if b := a.Batch; b != nil { // by its workers, and nothing else
		v.MaxRange, v.MinRange = [2]int{b.Max, b.Max}, [2]int{b.Min, b.Min}
	}
	v.MaxFits = within(c.max, v.MaxRange)
	v.Fits = v.MaxFits
	if c.min >= 0 {
		fits := within(c.min, v.MinRange)
		v.Min, v.MinFits, v.Fits = &c.min, &fits, v.Fits && fits
	}
	return v
}

// tell writes the verdict as a line and makes it an exit code.
func (c checked) tell(a *advice.Advice, w io.Writer) error {
	if c.max == 0 {
		return nil
	}
	v := c.judge(a)
	if v == nil {
		return fmt.Errorf("--check has no answer: %s", strings.Join(a.Size.Why, " "))
	}
	part := func(what string, size int, fits bool, r [2]int) string {
		where := "within"
		if !fits {
			where = "outside"
		}
		return fmt.Sprintf("%s %d is %s the recommended %s", what, size, where, between(r[0], r[1]))
	}
	answer, text := "yes", part("max", v.Max, v.MaxFits, v.MaxRange)
	if v.Min != nil {
		text += ", " + part("min", *v.Min, *v.MinFits, v.MinRange)
	}
	if !v.Fits {
		answer = "no"
	}
	if a.Size.Confidence == advice.Low && a.Batch == nil {
		text += " (confidence low: another look may move the range)"
	}
	fmt.Fprintf(w, "autotune: %s: %s, for %s\n", answer, text, a.Question.Filter)
	if !v.Fits {
		return errNo
	}
	return nil
}
