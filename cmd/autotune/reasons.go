package main

import "github.com/pgautotune/autotune/internal/sizing"

// sentence explains a reason.
func sentence(r sizing.Reason) string { return r.Sentence() }
