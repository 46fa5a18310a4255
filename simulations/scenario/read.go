package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/token"
	"github.com/pgautotune/autotune/internal/spelling"
)

// maxFile is the longest scenario that is read: 20 times the longest that a
// person would write.
const maxFile = 1 << 20

// Error says what is wrong with a scenario's file, and where.
type Error struct {
	File   string
	Line   int // from 1; 0 when it is the file as a whole
	Column int // from 1
	Reason string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Reason)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Reason)
}

// Read reads a scenario. name is what errors call the file, and where what it
// names is relative to.
func Read(src io.Reader, name string) (*Scenario, error) {
	text, err := io.ReadAll(io.LimitReader(src, maxFile+1))
	if err != nil {
		return nil, &Error{File: name, Reason: err.Error()}
	}
	if len(text) > maxFile {
		return nil, &Error{File: name, Reason: fmt.Sprintf("longer than %d bytes: this is no scenario", maxFile)}
	}
	s := &Scenario{path: name, Name: stem(name)}
	decoder := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := decoder.Decode(s); errors.Is(err, io.EOF) {
		return nil, &Error{File: name, Reason: "empty: a scenario has at least a title and a world"}
	} else if err != nil {
		return nil, explain(err, name)
	}
	if wrong := fraction(text); wrong != nil {
		return nil, &Error{File: name, Line: wrong.Position.Line, Column: wrong.Position.Column, Reason: fmt.Sprintf("%q is no whole number", wrong.Value)}
	}
	var more any
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, &Error{File: name, Reason: "more than one document: a file holds one scenario"}
	}
	if err := s.complete(); err != nil {
		return nil, &Error{File: name, Reason: strings.ReplaceAll(err.Error(), "\n", "\n"+name+": ")}
	}
	return s, nil
}

// explain makes an error of the decoder one that names file, line and column.
func explain(err error, file string) error {
	out := &Error{File: file, Reason: err.Error()}
	at := func(t *token.Token) {
		if t != nil && t.Position != nil {
			out.Line, out.Column = t.Position.Line, t.Position.Column
		}
	}
	var unknown *yaml.UnknownFieldError
	var mistyped *yaml.TypeError
	var located yaml.Error
	switch {
	case errors.As(err, &unknown) && unknown.Token != nil:
		at(unknown.Token)
		out.Reason = fmt.Sprintf("unknown key %q", unknown.Token.Value)
		switch near := spelling.Nearest(unknown.Token.Value, keys()); near {
		case "":
			out.Reason += ": docs/scenarios.md lists all keys"
		case unknown.Token.Value:
			out.Reason = fmt.Sprintf("the key %q does not belong here: docs/scenarios.md says where it does", near)
		default:
			out.Reason += fmt.Sprintf(": did you mean %s?", near)
		}
	case errors.As(err, &mistyped) && mistyped.Token != nil:
		at(mistyped.Token)
		kind, _ := describe(mistyped.DstType)
		out.Reason = fmt.Sprintf("%q is no %s", mistyped.Token.Value, kind)
	case errors.As(err, &located):
		at(located.GetToken())
		out.Reason = located.GetMessage()
	}
	return out
}

// keys are all that a file may hold at any place.
func keys() []string {
	var names []string
	seen := make(map[string]bool)
	for _, t := range tables(reflect.TypeFor[Scenario]()) {
		for _, f := range t.fields {
			if !seen[f.name] {
				seen[f.name] = true
				names = append(names, f.name)
			}
		}
	}
	return names
}
