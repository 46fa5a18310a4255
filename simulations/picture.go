package simulations

import (
	"errors"
	"io"

	"gonum.org/v1/plot/vg"
)

// WritePicture writes the README's picture, of the first scenario of a result
// with series: one file that follows the reader's light or dark theme.
func WritePicture(out io.Writer, r *Result) error {
	var lines []Line
	if len(r.Scenarios) > 0 {
		lines = drawable(r.Scenarios[0].Lines)
	}
	if len(lines) == 0 {
		return errors.New("a picture needs a scenario that was run with series")
	}
	c, err := timePicture(lines, 9*vg.Inch, 5.8*vg.Inch)
	if err != nil {
		return err
	}
	text, err := c.text("Arrival rate, limit and wait over time: "+r.Scenarios[0].Title, false)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return err
}
