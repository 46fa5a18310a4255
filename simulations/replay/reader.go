package replay

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/simulations/trace"
)

// Version is the version of the journals that can be read.
const Version = 1

// maxLine is the longest line of a journal, in bytes. One is about 2,000 long.
const maxLine = 1 << 20

// headerStart begins the first line of a journal, however it is cut.
const headerStart = `{"autotune_journal":`

// Header is what a tuner writes when it starts, and again into each further file
// when it rotates its journal by itself.
type Header struct {
	Version int               `json:"autotune_journal"`
	Start   time.Time         `json:"start"`
	Config  controller.Config `json:"config"`
	// State is what the tuner remembered when the file began; absent where it
	// remembered nothing.
	State *controller.State `json:"state,omitempty"`
}

// Entry is one look and what was decided on it.
type Entry struct {
	Observation controller.Observation `json:"observation"`
	Decision    controller.Decision    `json:"decision"`
}

// Record is an Entry and where it stands.
type Record struct {
	Entry
	Header *Header // of the tuner
	Fresh  bool    // the first entry of a tuner
	// State is what the tuner remembered before this entry, where the journal
	// tells: at the start of a tuner, and after a header that holds it.
	State *controller.State
	// Unknown is a field of the line, or of the header before it, that this program
	// does not know: what it said of the decision cannot be told.
	Unknown string
	File    string
	Line    int64
}

// Reader reads the journal of one tuner or of several in turn, from one file or
// from the pieces it was rotated into, oldest first, each plain or gzipped.
//
// A header begins a tuner, unless it repeats that of the tuner before: then a
// rotation wrote it and the tuner goes on. The same holds where a file begins
// without one. A header with a state needs nothing before it: such a piece replays
// alone, and a missing one in between does no harm. Memory does not grow with the
// files.
type Reader struct {
	files []File
	at    int // the file that is read
	lines *bufio.Reader
	name  string
	line  int64
	held  []byte // what follows a line that was cut off, on the same line

	header    *Header
	fresh     bool
	state     *controller.State // of the next entry, where a header told it
	again     bool              // a header without a state was repeated
	unknown   string            // of the next entry, where a header has it
	last      time.Duration     // of the entry before
	truncated []string
	tuners    int
}

// File is a piece of a journal.
type File struct {
	Name string
	Open func() (io.ReadCloser, error)
	src  io.ReadCloser
}

// Files names files on disk; "-" is stdin.
func Files(stdin io.Reader, paths ...string) (files []File) {
	for _, p := range paths {
		if p == "-" {
			files = append(files, File{Name: "stdin", Open: func() (io.ReadCloser, error) { return io.NopCloser(stdin), nil }})
			continue
		}
		files = append(files, File{Name: p, Open: func() (io.ReadCloser, error) { return os.Open(p) }})
	}
	return files
}

// NewReader reads files one after the other.
func NewReader(files ...File) *Reader { return &Reader{files: slices.Clone(files), at: -1} }

// Truncated says which lines at the end of a piece were cut off and so left out,
// as a crash or a full disk leaves them.
func (r *Reader) Truncated() []string { return r.truncated }

// Tuners is how many tuners have been met so far.
func (r *Reader) Tuners() int { return r.tuners }

// Close closes the file that is open.
func (r *Reader) Close() error {
	if r.at < 0 || r.at >= len(r.files) || r.files[r.at].src == nil {
		return nil
	}
	err := r.files[r.at].src.Close()
	r.files[r.at].src = nil
	return err
}

// Next is the next entry; [io.EOF] after the last.
func (r *Reader) Next() (Record, error) {
	for {
		b, whole, err := r.nextLine()
		if err != nil {
			return Record{}, err
		}
		record, found, err := r.parse(b)
		if err != nil && !whole && !json.Valid(b) {
			r.cutOff("the last line is cut off")
			continue
		}
		if err != nil || found {
			return record, err
		}
	}
}

func (r *Reader) cutOff(what string) {
	r.truncated = append(r.truncated, fmt.Sprintf("%s:%d: %s; the tuner's process or its disk ended there", r.name, r.line, what))
}

func (r *Reader) fail(format string, args ...any) error {
	return &trace.Error{File: r.name, Line: r.line, Reason: fmt.Sprintf(format, args...)}
}

// nextLine is the next line of any file. whole is false for a last line without
// its end.
func (r *Reader) nextLine() (b []byte, whole bool, err error) {
	if r.held != nil {
		b, r.held = r.held, nil
		return b, true, nil
	}
	for {
		if r.lines == nil {
			if err := r.nextFile(); err != nil {
				return nil, false, err
			}
		}
		b, err := r.lines.ReadSlice('\n')
		if len(b) == 0 && err == io.EOF {
			r.lines = nil
			continue
		}
		r.line++
		switch {
		case err == nil:
			return bytes.TrimSuffix(b, []byte("\n")), true, nil
		case err == io.EOF:
			return b, false, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			r.cutOff(trace.Describe(err))
			r.lines = nil
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, false, r.fail("the line is longer than %d bytes, which no line of a journal is", maxLine)
		default:
			return nil, false, r.fail("%s", trace.Describe(err))
		}
	}
}

func (r *Reader) nextFile() error {
	if err := r.Close(); err != nil {
		return err
	}
	if r.at++; r.at >= len(r.files) {
		r.at = len(r.files)
		return io.EOF
	}
	f := &r.files[r.at]
	r.name, r.line = f.Name, 0
	var err error
	if f.src, err = f.Open(); err != nil {
		return err
	}
	plain, err := trace.Decompress(f.src)
	if err != nil {
		return r.fail("%v", err)
	}
	r.lines = bufio.NewReaderSize(plain, maxLine)
	return nil
}

// parse takes a line: a header, after which found is false, or an entry.
func (r *Reader) parse(b []byte) (record Record, found bool, err error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return record, false, nil
	}
	if bytes.HasPrefix(b, []byte(headerStart)) {
		return record, false, r.parseHeader(b)
	}
	var line struct {
		Observation *controller.Observation `json:"observation"`
		Decision    *controller.Decision    `json:"decision"`
	}
	unknown, err := decode(b, &line)
	if err != nil {
		// A tuner that starts again appends behind the line that its predecessor
		// could not finish.
		if at := bytes.Index(b, []byte(headerStart)); at > 0 {
			r.cutOff("the line is cut off and another tuner begins in it")
			r.held = bytes.Clone(b[at:])
			return record, false, nil
		}
		return record, false, r.fail("the line is not of a journal: %s", reason(err))
	}
	switch {
	case line.Observation == nil || line.Decision == nil:
		return record, false, r.fail("the line is not of a journal: it has no observation and decision")
	case r.header == nil:
		return record, false, r.fail("the journal does not begin with its header; if it was rotated, give the pieces before this one too, oldest first")
	}
	if r.again && line.Observation.At <= r.last {
		r.state = &controller.State{} // the first piece after later ones: its tuner remembered nothing
	}
	record = Record{Entry: Entry{*line.Observation, *line.Decision}, Header: r.header, Fresh: r.fresh, State: r.state, Unknown: cmp.Or(r.unknown, unknown), File: r.name, Line: r.line}
	r.fresh, r.state, r.again, r.unknown, r.last = false, nil, false, "", line.Observation.At
	return record, true, nil
}

func (r *Reader) parseHeader(b []byte) error {
	var h Header
	unknown, err := decode(b, &h)
	if err != nil {
		return r.fail("the header of the journal cannot be read: %s", reason(err))
	}
	if h.Version != Version {
		return r.fail("the journal is of version %d; this program reads version %d", h.Version, Version)
	}
	r.unknown = unknown
	if r.header != nil && r.header.Start.Equal(h.Start) && r.header.Config == h.Config {
		r.state, r.again = h.State, h.State == nil
		return nil // a rotation repeats it
	}
	r.header, r.fresh, r.state, r.again = &h, true, h.State, false
	if r.state == nil {
		r.state = &controller.State{}
	}
	r.tuners++
	return nil
}

// decode reads a line, and names the first field that is not known.
func decode(b []byte, into any) (unknown string, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err == nil && d.InputOffset() == int64(len(b)) {
		return "", nil
	} else if err != nil {
		unknown, _ = strings.CutPrefix(err.Error(), `json: unknown field `)
	}
	return strings.Trim(unknown, `"`), json.Unmarshal(b, into)
}

// reason is an error of encoding/json in one line, without its package's name.
func reason(err error) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "json: "), "\n", " ")
}
