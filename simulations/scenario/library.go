package scenario

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pgautotune/autotune/internal/spelling"
)

//go:embed library/*.yaml
var files embed.FS

// library is read once; what is wrong in it is a bug, which a test finds.
var library = sync.OnceValues(func() ([]*Scenario, error) {
	entries, err := fs.ReadDir(files, "library")
	if err != nil {
		return nil, err
	}
	var all []*Scenario
	for _, e := range entries { // in the order of their names, which begin with a number
		s, err := readFrom(files, path.Join("library", e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
})

// Library are the scenarios that come with the command, in their order. The
// caller may change the scenarios, not what they refer to.
func Library() ([]*Scenario, error) {
	all, err := library()
	if err != nil {
		return nil, err
	}
	out := make([]*Scenario, len(all))
	for i, s := range all {
		copied := *s
		out[i] = &copied
	}
	return out, nil
}

// Source is the text of a scenario of the library, to begin one's own with.
func Source(name string) ([]byte, error) {
	entries, err := fs.ReadDir(files, "library")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if stem(e.Name()) == name {
			return files.ReadFile(path.Join("library", e.Name()))
		}
	}
	return nil, unknown(name)
}

// Find is the scenario of a name in the library, of a file, or all of the library
// for "all".
func Find(what string) ([]*Scenario, error) {
	all, err := Library()
	if err != nil || what == "all" {
		return all, err
	}
	for _, s := range all {
		if s.Name == what {
			return []*Scenario{s}, nil
		}
	}
	file, err := os.Open(what)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(what, `./\`):
		return nil, unknown(what)
	case err != nil:
		return nil, fmt.Errorf("the scenario cannot be read: %w", err)
	}
	defer file.Close() // it was only read
	s, err := Read(file, what)
	if err != nil {
		return nil, err
	}
	return []*Scenario{s}, nil
}

func unknown(name string) error {
	all, err := Library()
	if err != nil {
		return err
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	if near := spelling.Nearest(name, names); near != "" {
		return fmt.Errorf("there is no file and no scenario %q: did you mean %s?", name, near)
	}
	return fmt.Errorf("there is no file and no scenario %q: autotune simulate --list shows those of the library", name)
}

func readFrom(fsys fs.FS, name string) (*Scenario, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() // it was only read
	return Read(file, name)
}

// stem is the name of a scenario by that of its file: without the folder, the
// extension, and the number that orders the library.
func stem(file string) string {
	base := filepath.Base(file)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	if number, rest, ok := strings.Cut(base, "-"); ok && number != "" && strings.Trim(number, "0123456789") == "" {
		return rest
	}
	return base
}
