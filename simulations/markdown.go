package simulations

import "io"

// WriteMarkdown writes the published table.
func WriteMarkdown(out io.Writer, r *Result, command string) error { return nil }
