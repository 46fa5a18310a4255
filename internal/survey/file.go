package survey

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/pgautotune/autotune/internal/advice"
	"github.com/pgautotune/autotune/internal/pgstat"
)

// Saved samples are JSON lines: the first is the header, each other a sample.

const (
	// FileSchema names the form of saved samples.
	FileSchema = "autotune.samples/v1"
	// longestLine bounds a sample of a server with thousands of applications.
	longestLine = 16 << 20
	// mostSamples is far more than a survey takes; more are refused.
	mostSamples = 4_000_000
)

type fileHeader struct {
	Schema   string         `json:"schema"`
	Database string         `json:"database"`
	Machine  advice.Machine `json:"machine"`
	Facts    pgstat.Facts   `json:"facts"`
}

// Writer saves samples as they come.
type Writer struct{ json *json.Encoder }

// NewWriter writes the header.
func NewWriter(w io.Writer, known *advice.Recording) (*Writer, error) {
	e := json.NewEncoder(w)
	return &Writer{e}, e.Encode(fileHeader{FileSchema, known.Database, known.Machine, known.Facts})
}

// Add saves a sample.
func (w *Writer) Add(s advice.Sample) error { return w.json.Encode(s) }

// Read reads saved samples, or a recording in the autotune-trace form, plain or
// gzipped. An error says in which line; nothing of a damaged file is used.
func Read(r io.Reader) (*advice.Recording, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("the file begins like gzip and is not: %w", err)
		}
		in = bufio.NewReaderSize(z, 64<<10)
	}
	lines := &lineReader{scan: bufio.NewScanner(in)}
	lines.scan.Buffer(make([]byte, 64<<10), longestLine)
	first, ok := lines.next()
	switch {
	case !ok && lines.err() != nil:
		return nil, lines.err()
	case !ok:
		return nil, errors.New("the file is empty")
	case bytes.HasPrefix(first, []byte(traceMagic)):
		return readTrace(first, lines)
	}
	return readSamples(first, lines)
}

func readSamples(first []byte, lines *lineReader) (*advice.Recording, error) {
	var h fileHeader
	if err := json.Unmarshal(first, &h); err != nil || h.Schema != FileSchema {
		return nil, fmt.Errorf("line 1 is the header of neither saved samples (schema %q) nor a trace (%s): the file was made by something else", FileSchema, traceMagic)
	}
	rec := &advice.Recording{Facts: h.Facts, Machine: h.Machine, Database: h.Database, Source: "saved samples"}
	for {
		line, ok := lines.next()
		if !ok {
			break
		}
		var s advice.Sample
		if err := json.Unmarshal(line, &s); err != nil {
			return nil, fmt.Errorf("line %d is not a sample: %w", lines.number, err)
		}
		if err := check(rec, &s); err != nil {
			return nil, fmt.Errorf("line %d: %w", lines.number, err)
		}
		rec.Samples = append(rec.Samples, s)
	}
	return rec, lines.err()
}

// check refuses what no server can have said.
func check(rec *advice.Recording, s *advice.Sample) error {
	const mostBackends = 262_143 // MAX_BACKENDS of PostgreSQL
	switch {
	case s.At < 0:
		return errors.New("a time below 0")
	case len(rec.Samples) >= mostSamples:
		return fmt.Errorf("more than %d samples", mostSamples)
	case len(rec.Samples) > 0 && s.At < rec.Samples[len(rec.Samples)-1].At:
		return errors.New("the time goes back")
	case s.Spent < 0:
		return errors.New("a cost below 0")
	}
	total := 0
	for i := range s.Groups {
		g := &s.Groups[i]
		if g.Backends < 0 || g.Backends > mostBackends {
			return fmt.Errorf("%d backends in a group", g.Backends)
		}
		if g.Ages < 0 || g.Oldest < 0 {
			return errors.New("an age below 0")
		}
		if total += g.Backends; total > mostBackends {
			return fmt.Errorf("%d backends at once", total)
		}
	}
	return nil
}

// lineReader gives lines that are not empty, and their numbers.
type lineReader struct {
	scan   *bufio.Scanner
	number int
}

func (l *lineReader) next() ([]byte, bool) {
	for l.scan.Scan() {
		l.number++
		if line := bytes.TrimSpace(l.scan.Bytes()); len(line) > 0 {
			return line, true
		}
	}
	return nil, false
}

func (l *lineReader) err() error {
	if err := l.scan.Err(); err != nil {
		return fmt.Errorf("after line %d: %w", l.number, err)
	}
	return nil
}
