package scenario

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The decoder cuts the fraction off a number that goes into a whole one: half a core
// would be none, and none is the default of four. So what it has read is looked
// through once more, beside the types that it was read into.

// maxNesting bounds what aliases can make of a file: a scenario is 6 deep.
const maxNesting = 50

// fraction finds a number with a fraction where a whole one belongs; nil: none.
func fraction(text []byte) *token.Token {
	file, err := parser.ParseBytes(text, 0)
	if err != nil || len(file.Docs) == 0 {
		return nil // the decoder has said so
	}
	w := wholes{anchors: make(map[string]ast.Node)}
	w.look(file.Docs[0].Body, reflect.TypeFor[Scenario](), 0)
	return w.wrong
}

type wholes struct {
	anchors map[string]ast.Node
	wrong   *token.Token // the first
}

// look compares a node with the type that it was read into.
func (w *wholes) look(node ast.Node, t reflect.Type, depth int) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if w.wrong != nil || depth > maxNesting {
		return
	}
	depth++
	switch n := node.(type) {
	case *ast.AnchorNode:
		w.anchors[n.Name.GetToken().Value] = n.Value
		w.look(n.Value, t, depth)
	case *ast.AliasNode:
		w.look(w.anchors[n.Value.GetToken().Value], t, depth)
	case *ast.TagNode:
		w.look(n.Value, t, depth)
	case *ast.MappingNode:
		for _, pair := range n.Values {
			w.look(pair, t, depth)
		}
	case *ast.MappingValueNode:
		if n.Key.IsMergeKey() {
			w.look(n.Value, t, depth)
		} else if value := valueType(t, n.Key.GetToken().Value); value != nil {
			w.look(n.Value, value, depth)
		}
	case *ast.SequenceNode:
		if t.Kind() == reflect.Slice {
			for _, value := range n.Values {
				w.look(value, t.Elem(), depth)
			}
		}
	case *ast.FloatNode, *ast.StringNode: // 5e-1 is a text to the decoder, and becomes a number
		if !isWhole(t) {
			return
		}
		text := strings.ReplaceAll(n.GetToken().Value, "_", "")
		if v, err := strconv.ParseFloat(text, 64); err == nil && v != math.Trunc(v) {
			w.wrong = n.GetToken()
		}
	}
}

// valueType is the type of a key's value in a mapping; nil where there is none.
func valueType(t reflect.Type, key string) reflect.Type {
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); name == key {
			return t.Field(i).Type
		}
	}
	return nil
}

func isWhole(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return t != reflect.TypeFor[time.Duration]()
	}
	return false
}
