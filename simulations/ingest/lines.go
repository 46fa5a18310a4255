package ingest

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pgautotune/autotune/simulations/trace"
)

// maxLine is the longest line of a log, in bytes. URLs and user agents are long.
const maxLine = 1 << 20

// input is a file that is read line by line.
type input struct {
	name    string
	lines   *bufio.Reader
	line    int64  // that was read last
	at      int64  // that a problem is in; 0: the one read last
	columns string // the map of the options
	ended   error  // of the last line read

	// For a csv.Reader, which skips blank lines and counts lines itself.
	asCSV   bool
	pending string // of a line that it has not taken yet
	record  int    // bytes of the record that is read

	strange      int64 // lines that were left out
	firstStrange string
}

func (in *input) problem(format string, args ...any) error {
	return &trace.Error{File: in.name, Line: cmp.Or(in.at, in.line), Reason: fmt.Sprintf(format, args...)}
}

// next is the next line that is not blank, valid until the one after it. io.EOF
// ends.
func (in *input) next() (text string, err error) {
	defer func() { in.ended = err }()
	for {
		b, err := in.lines.ReadSlice('\n')
		if len(b) == 0 && err == io.EOF {
			return "", io.EOF
		}
		in.line++
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return "", in.problem("the line is longer than %d bytes", maxLine)
		case err != nil && err != io.EOF:
			return "", &trace.Error{File: in.name, Line: in.line, Reason: trace.Describe(err), Err: err}
		}
		if b = bytes.TrimRight(b, "\r\n"); in.asCSV || len(bytes.TrimSpace(b)) > 0 {
			return string(b), nil
		}
	}
}

// rest is what ended the reading of lines, nil if it was the end.
func (in *input) rest() error {
	if in.ended == io.EOF {
		return nil
	}
	return in.ended
}

// skip leaves a line out of a log that may hold others too.
func (in *input) skip(why string) {
	if in.strange == 0 {
		in.firstStrange = fmt.Sprintf("%s:%d: %s", in.name, in.line, why)
	}
	in.strange++
}

// skipped notes what was left out; more than half is not this format.
func (in *input) skipped(out *sink, used int64) error {
	switch {
	case in.strange == 0:
		return nil
	case in.strange > used:
		return fmt.Errorf("%s; %d lines are like it and %d are not, so it is not what it was taken for", in.firstStrange, in.strange, used)
	}
	out.note("%d lines were left out, first %s.", in.strange, in.firstStrange)
	return nil
}

// firstLine is the first line of the begin of a file.
func firstLine(head string) string {
	line, _, _ := strings.Cut(head, "\n")
	return strings.TrimRight(line, "\r")
}
