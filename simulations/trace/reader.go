package trace

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
)

// Bounds of what a file can make a Reader remember.
const (
	// MaxLine is the longest line, in bytes: 64 KiB are 50 times the longest row
	// that a person would write.
	MaxLine = 64 << 10

	// maxColumns is the most columns of a CSV.
	maxColumns = 1000

	// maxTexts is how many different texts are kept to be used again. Past it, a
	// new text costs an allocation.
	maxTexts = 1 << 16
)

// Error says what cannot be read, and where.
type Error struct {
	File   string
	Line   int64 // from 1; 0 when it is the file as a whole
	Reason string
	Err    error // the cause, where there is one
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}

func (e *Error) Unwrap() error { return e.Err }

// Reader reads one trace, row by row. It is not safe for concurrent use.
type Reader struct {
	name   string
	lines  *bufio.Reader
	line   int64 // number of the line last read
	closer io.Closer

	header Header
	all    []column // of the kind
	fields []column // those of the CSV's columns; a zero one is ignored
	json   bool
	held   []byte // a line of JSON that was read to see that it is one

	rows  rows // what columns point into
	texts map[string]string
	last  float64 // the time of the row before
	begun bool
	err   error // what ended it
}

// Open opens a file, "-" being stdin.
func Open(path string) (*Reader, error) {
	if path == "-" {
		return NewReader(os.Stdin, "stdin")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(f, path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.closer = f
	return r, nil
}

// NewReader reads the header of a trace. name is what errors call it.
func NewReader(src io.Reader, name string) (*Reader, error) {
	plain, err := Decompress(src)
	if err != nil {
		return nil, &Error{File: name, Reason: err.Error(), Err: err}
	}
	r := &Reader{name: name, lines: bufio.NewReaderSize(plain, MaxLine), texts: make(map[string]string)}
	if err := r.readHeader(); err != nil {
		return nil, err
	}
	return r, nil
}

// Decompress unpacks gzip where src begins as gzip does, and else returns it as
// it is. It holds no more than a buffer of it.
func Decompress(src io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(src, MaxLine)
	if head, _ := b.Peek(2); len(head) < 2 || head[0] != 0x1f || head[1] != 0x8b {
		return b, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("it begins like gzip, but is not: %s", Describe(err))
	}
	return z, nil
}

// Describe says what an error of reading compressed text means.
func Describe(err error) string {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the gzip stream ends early: the file is truncated"
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.As(err, &corrupt):
		return "the gzip stream is damaged: " + err.Error()
	case errors.Is(err, bufio.ErrBufferFull), errors.Is(err, bufio.ErrTooLong):
		return fmt.Sprintf("the line is longer than %d bytes", MaxLine)
	}
	return err.Error()
}

// Header is what the first line says.
func (r *Reader) Header() Header { return r.header }

// Name is what errors call the trace.
func (r *Reader) Name() string { return r.name }

// Event reads the next event into e. It returns [io.EOF] at the end; after an
// error, always the same one.
func (r *Reader) Event(e *Event) error {
	if err := r.row(Events); err != nil {
		return err
	}
	*e = r.rows.event
	return nil
}

// Interval reads the next interval into i, as [Reader.Event] does.
func (r *Reader) Interval(i *Interval) error {
	if err := r.row(Intervals); err != nil {
		return err
	}
	*i = r.rows.interval
	if math.IsNaN(i.Rate) && i.Dur > 0 {
		i.Rate = i.Arrivals / i.Dur
	}
	return nil
}

// Capacity reads the next change of capacity into c, as [Reader.Event] does.
func (r *Reader) Capacity(c *Capacity) error {
	if err := r.row(Capacities); err != nil {
		return err
	}
	*c = r.rows.capacity
	return nil
}

// Close closes the file that [Open] opened.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

func (r *Reader) fail(format string, args ...any) error {
	r.err = &Error{File: r.name, Line: r.line, Reason: fmt.Sprintf(format, args...)}
	return r.err
}

// next is the next line without its end, valid until the one after it.
func (r *Reader) next() ([]byte, error) {
	b, err := r.lines.ReadSlice('\n')
	if err != nil && (err != io.EOF || len(b) == 0) {
		if err == io.EOF {
			r.err = io.EOF
			return nil, io.EOF
		}
		r.line++
		r.err = &Error{File: r.name, Line: r.line, Reason: Describe(err), Err: err}
		return nil, r.err
	}
	r.line++
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return b, nil
}

func (r *Reader) readHeader() error {
	b, err := r.next()
	if err == io.EOF {
		r.line = 0
		return r.fail("the file is empty")
	}
	if err != nil {
		return err
	}
	if r.header, err = parseHeader(bytes.TrimPrefix(b, []byte("\ufeff"))); err != nil {
		return r.fail("%v", err)
	}
	r.all = r.rows.columns(r.header.Kind)
	forget(r.all)
	for {
		b, err = r.next()
		if err == io.EOF {
			return nil // no row at all
		}
		if err != nil {
			return err
		}
		if len(b) > 0 {
			break
		}
	}
	if b[0] == '{' {
		r.json, r.held = true, b
		return nil
	}
	return r.readColumns(b)
}

// readColumns takes the line of names of a CSV.
func (r *Reader) readColumns(b []byte) error {
	names := map[string]bool{}
	for rest, more := b, true; more; {
		var field []byte
		var ok bool
		if field, rest, more, ok = cutField(rest); !ok {
			return r.fail("a quote is not closed in the line of column names")
		}
		name := strings.TrimSpace(string(field))
		if names[name] {
			return r.fail("the column %q is there twice", name)
		}
		if len(r.fields) == maxColumns {
			return r.fail("there are more than %d columns", maxColumns)
		}
		names[name] = true
		c := column{}
		for _, known := range r.all {
			if known.name == name {
				c = known
			}
		}
		r.fields = append(r.fields, c)
	}
	if !names["t_s"] {
		return r.fail("there is no column t_s among the column names, which are to stand in this line")
	}
	return nil
}

// row reads the next row into r.rows.
func (r *Reader) row(k Kind) error {
	if r.err != nil {
		return r.err
	}
	if r.header.Kind != k {
		return r.fail("this is a trace of kind %s; %s are needed here", r.header.Kind, k)
	}
	b := r.held
	r.held = nil
	for len(b) == 0 {
		var err error
		if b, err = r.next(); err != nil {
			return err
		}
	}
	var err error
	if r.json {
		err = r.parseJSON(b)
	} else {
		err = r.parseCSV(b)
	}
	if err != nil {
		return err
	}
	return r.check()
}

func (r *Reader) parseCSV(b []byte) error {
	rest, more := b, true
	for i := range r.fields {
		if !more {
			return r.fail("the row has %d fields, and there are %d columns", i, len(r.fields))
		}
		var field []byte
		if len(rest) > 0 && rest[0] == '"' {
			var ok bool
			if field, rest, more, ok = cutField(rest); !ok {
				return r.fail("a quote is not closed, or text follows it")
			}
		} else if at := bytes.IndexByte(rest, ','); at >= 0 {
			field, rest = rest[:at], rest[at+1:]
		} else {
			field, rest, more = rest, nil, false
		}
		switch c := &r.fields[i]; {
		case c.number != nil:
			if len(field) == 0 {
				*c.number = math.NaN()
				continue
			}
			v, ok := parseNumber(field)
			if !ok {
				if v, ok = parseNumber(bytes.TrimSpace(field)); !ok {
					return r.notANumber(c.name, field)
				}
			}
			*c.number = v
		case c.text != nil:
			if *c.text != string(field) {
				*c.text = r.keep(field)
			}
		}
	}
	if more {
		return r.fail("the row has more fields than the %d columns", len(r.fields))
	}
	return nil
}

func (r *Reader) notANumber(name string, field []byte) error {
	if len(bytes.TrimSpace(field)) == 0 {
		return r.fail("%s is blank; leave it empty where it is unknown", name)
	}
	return r.fail("%s is %.40q, which is not a finite number", name, field)
}

// keep is a string of b, the same one for the same b.
func (r *Reader) keep(b []byte) string {
	if s, ok := r.texts[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(r.texts) < maxTexts {
		r.texts[s] = s
	}
	return s
}

func (r *Reader) parseJSON(b []byte) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(b, &object); err != nil {
		return r.fail("the line is not a JSON object: %s", plain(err))
	}
	if object == nil {
		return r.fail("the line is not a JSON object")
	}
	forget(r.all)
	for _, c := range r.all {
		raw, ok := object[c.name]
		if !ok || string(raw) == "null" {
			continue
		}
		if c.text != nil {
			if json.Unmarshal(raw, c.text) != nil {
				return r.fail("%s is %.40q, which is not a text", c.name, raw)
			}
			*c.text = r.keep([]byte(*c.text))
			continue
		}
		v, ok := parseNumber(raw)
		if !ok {
			return r.notANumber(c.name, raw)
		}
		*c.number = v
	}
	return nil
}

// check tells whether the row can be: its time is known and does not fall, and
// nothing in it is negative.
func (r *Reader) check() error {
	t := *r.all[0].number
	switch {
	case math.IsNaN(t):
		return r.fail("t_s is empty; every row needs its time")
	case r.begun && t < r.last:
		return r.fail("t_s is %v, before the %v of the row above; rows are in order of time", t, r.last)
	}
	for i := range r.all {
		if n := r.all[i].number; n != nil && *n < 0 {
			return r.fail("%s is %v; it cannot be negative", r.all[i].name, *n)
		}
		if n := r.all[i].number; n != nil && *n > MostCV && strings.HasSuffix(r.all[i].name, "_cv") {
			return r.fail("%s is %v; a coefficient of variation is at most %d here", r.all[i].name, *n, MostCV)
		}
	}
	r.last, r.begun = t, true
	return nil
}

// MostCV is the highest coefficient of variation that can be drawn from: one request in
// ten thousand would be all there is.
const MostCV = 100

// Epoch is the time in s above which a time is not from the start of a trace but
// since 1970: three years are longer than any trace, and 1973 is before all of them.
const Epoch = 1e8

// fromStart tells whether a time can be one from the start. Taken for one, a date
// would be decades of nothing before the first request.
func (r *Reader) fromStart(t float64) error {
	if t <= Epoch {
		return nil
	}
	return r.fail("t_s is %v: seconds since 1970, and not from the start of the trace; autotune record --from %s -o NEW makes them so", t, r.name)
}

// cutField takes the first field of a line of CSV. ok is false when its quotes are
// wrong.
func cutField(b []byte) (field, rest []byte, more, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		field, rest, more = bytes.Cut(b, []byte{','})
		return field, rest, more, true
	}
	for i := 1; i < len(b); i++ {
		if b[i] != '"' {
			field = append(field, b[i])
			continue
		}
		if i+1 < len(b) && b[i+1] == '"' {
			field = append(field, '"')
			i++
			continue
		}
		if i+1 == len(b) {
			return field, nil, false, true
		}
		return field, b[i+2:], true, b[i+1] == ','
	}
	return nil, nil, false, false
}
