package scenario

import (
	"reflect"
	"strings"
	"time"
)

// table is the keys of one kind of mapping in a file.
type table struct {
	of     reflect.Type
	path   string // where it first stands, "" for the whole file
	fields []field
}

type field struct {
	name string // the key
	goes string // the Go field, whose comment explains it
	kind string // what its value is
	sub  reflect.Type
}

// tables lists the mappings that a file may hold, from the outermost in, each
// once.
func tables(root reflect.Type) []table {
	var all []table
	seen := make(map[reflect.Type]bool)
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		if seen[t] {
			return
		}
		seen[t] = true
		here := table{of: t, path: path}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if name == "" || name == "-" {
				continue
			}
			kind, sub := describe(f.Type)
			here.fields = append(here.fields, field{name: name, goes: f.Name, kind: kind, sub: sub})
		}
		all = append(all, here)
		for _, f := range here.fields {
			if f.sub == nil {
				continue
			}
			in := strings.TrimPrefix(path+"."+f.name, ".")
			if strings.HasPrefix(f.kind, "list") {
				in += "[]"
			}
			walk(f.sub, in)
		}
	}
	walk(root, "")
	return all
}

// describe says what a value of a type looks like in a file, and which mapping it
// is, if one.
func describe(t reflect.Type) (kind string, sub reflect.Type) {
	switch {
	case t.Kind() == reflect.Pointer:
		return describe(t.Elem())
	case t == reflect.TypeFor[time.Duration]():
		return "duration", nil
	case t.Kind() == reflect.Slice:
		kind, sub = describe(t.Elem())
		return "list of " + kind, sub
	case t.Kind() == reflect.Struct:
		return "mapping", t
	case t.Kind() == reflect.String:
		return "text", nil
	case t.Kind() == reflect.Bool:
		return "true or false", nil
	case t.Kind() == reflect.Float64:
		return "number", nil
	}
	return "whole number", nil
}
