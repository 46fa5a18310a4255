package fire

import (
	"fmt"
	"os"
)

// Some faults befall a whole process. The test binary is then started again as
// that process, with this variable naming what it shall do.
const childVariable = "AUTOTUNE_FIRE_CHILD"

var children = map[string]func() error{}

func childMain(name string) int {
	run, ok := children[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "there is no child %q\n", name)
		return 2
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
