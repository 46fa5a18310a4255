package trace

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
)

// Form is how a Writer writes.
type Form struct {
	Columns []string // those to write, t_s among them; default all of the kind
	JSON    bool     // JSON lines instead of CSV; what is unknown is left out
	Gzip    bool
}

// Writer writes one trace. Close it. It is not safe for concurrent use.
type Writer struct {
	out    *bufio.Writer
	zip    *gzip.Writer
	file   *os.File
	kind   Kind
	json   bool
	fields []column
	rows   rows
	line   []byte
	count  int64
}

// Create makes a new file: gzipped when its name ends in .gz, JSON lines when it
// then ends in .jsonl or .json. It does not replace a file that is there.
func Create(path string, h Header, columns ...string) (*Writer, error) {
	name, zipped := strings.CutSuffix(path, ".gz")
	lines := strings.HasSuffix(name, ".jsonl") || strings.HasSuffix(name, ".json")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	w, err := NewWriter(f, h, Form{Columns: columns, JSON: lines, Gzip: zipped})
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	w.file = f
	return w, nil
}

// NewWriter writes the header of a trace.
func NewWriter(dst io.Writer, h Header, f Form) (*Writer, error) {
	w := &Writer{kind: h.Kind, json: f.JSON}
	if f.Gzip {
		w.zip = gzip.NewWriter(dst)
		dst = w.zip
	}
	w.out = bufio.NewWriterSize(dst, 1<<16)
	line, err := h.appendTo(nil)
	if err != nil {
		return nil, err
	}
	all := w.rows.columns(h.Kind)
	if len(f.Columns) == 0 {
		f.Columns = Columns(h.Kind)
	}
	for _, name := range f.Columns {
		found := false
		for _, c := range all {
			if c.name == name {
				w.fields, found = append(w.fields, c), true
			}
		}
		if !found {
			return nil, fmt.Errorf("trace: kind %s has no column %q", h.Kind, name)
		}
	}
	if !w.json {
		line = append(append(line, strings.Join(f.Columns, ",")...), '\n')
	}
	_, err = w.out.Write(line)
	return w, err
}

// Event writes an event.
func (w *Writer) Event(e *Event) error {
	w.rows.event = *e
	return w.row(Events)
}

// Interval writes an interval.
func (w *Writer) Interval(i *Interval) error {
	w.rows.interval = *i
	return w.row(Intervals)
}

// Capacity writes a change of capacity.
func (w *Writer) Capacity(c *Capacity) error {
	w.rows.capacity = *c
	return w.row(Capacities)
}

// Rows is how many rows were written.
func (w *Writer) Rows() int64 { return w.count }

func (w *Writer) row(k Kind) error {
	if k != w.kind {
		return fmt.Errorf("trace: a row of %s in a trace of kind %s", k, w.kind)
	}
	b := w.line[:0]
	if w.json {
		b = append(b, '{')
	}
	for i, c := range w.fields {
		if c.number != nil && (math.IsInf(*c.number, 0) || *c.number < 0) {
			return fmt.Errorf("trace: %s is %v; it may be 0 or more, and finite", c.name, *c.number)
		}
		if w.json {
			b = appendMember(b, c)
			continue
		}
		if i > 0 {
			b = append(b, ',')
		}
		if c.number != nil {
			b = appendNumber(b, *c.number)
		} else {
			b = appendText(b, *c.text)
		}
	}
	if w.json {
		b = append(b, '}')
	}
	if len(b) >= MaxLine {
		return fmt.Errorf("trace: row %d is %d bytes long; %d is the most", w.count+1, len(b), MaxLine)
	}
	w.line = append(b, '\n')
	_, err := w.out.Write(w.line)
	if err == nil {
		w.count++
	}
	return err
}

// appendText writes a field of CSV. A row is a line, so what would break it
// becomes a space.
func appendText(b []byte, s string) []byte {
	if !strings.ContainsAny(s, "\",\r\n") {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '\r', '\n':
			b = append(b, ' ')
		case '"':
			b = append(b, '"', '"')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func appendMember(b []byte, c column) []byte {
	if c.number != nil && math.IsNaN(*c.number) || c.text != nil && *c.text == "" {
		return b
	}
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(append(append(b, '"'), c.name...), '"', ':')
	if c.number != nil {
		return appendNumber(b, *c.number)
	}
	text, _ := json.Marshal(*c.text) // a string has no error
	return append(b, text...)
}

// Flush hands everything written so far to the destination, so that a reader sees
// it even if this process is killed.
func (w *Writer) Flush() error {
	err := w.out.Flush()
	if w.zip != nil {
		err = errors.Join(err, w.zip.Flush())
	}
	return err
}

// Close ends the trace, and closes the file if [Create] made it.
func (w *Writer) Close() error {
	err := w.out.Flush()
	if w.zip != nil {
		err = errors.Join(err, w.zip.Close())
	}
	if w.file != nil {
		err = errors.Join(err, w.file.Close())
	}
	return err
}
