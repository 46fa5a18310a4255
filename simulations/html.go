package simulations

import "io"

// WriteHTML writes the page.
func WriteHTML(out io.Writer, r *Result) error { return nil }
