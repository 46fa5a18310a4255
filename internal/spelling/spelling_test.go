package spelling_test

import (
	"testing"

	"github.com/pgautotune/autotune/internal/spelling"
)

func TestTheNearestWordIsNearOrNone(t *testing.T) {
	words := []string{"demo", "version", "completion", "help"}
	for word, want := range map[string]string{
		"dmeo": "demo", "deno": "demo", "dem": "demo", "demos": "demo", "hlep": "help", "completoin": "completion",
		"vresion": "version", "x": "", "": "", "tune": "", "frobnicate": "",
	} {
		if got := spelling.Nearest(word, words); got != want {
			t.Errorf("%q: %q instead of %q", word, got, want)
		}
	}
}
