package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"
)

// style is the colours of an output: none unless it is a terminal, and never
// under NO_COLOR.
type style struct{ on bool }

func newStyle(w io.Writer, env environment) style {
	noColor, _ := env("NO_COLOR")
	return style{on: isTerminal(w, env) && noColor == ""}
}

func (s style) bold(text string) string { return s.sgr("1", text) }
func (s style) red(text string) string  { return s.sgr("31", text) }

func (s style) sgr(code, text string) string {
	if !s.on {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func isTerminal(w io.Writer, env environment) bool {
	f, ok := w.(*os.File)
	name, _ := env("TERM")
	return ok && name != "dumb" && term.IsTerminal(int(f.Fd()))
}

// screen is where progress goes. On a terminal its last lines are redrawn in
// place; on a pipe there are only notes and steps, a line each. It is safe for
// concurrent use, and takes a logger's lines as a Writer.
type screen struct {
	mu    sync.Mutex
	w     io.Writer
	file  *os.File // the terminal; nil for a pipe
	style style
	drawn []string // the lines that are redrawn, guarded by mu
}

func newScreen(w io.Writer, env environment) *screen {
	s := &screen{w: w, style: newStyle(w, env)}
	if isTerminal(w, env) {
		s.file = w.(*os.File)
	}
	return s
}

// note writes a line that stays.
func (s *screen) note(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

// step writes a line that a terminal does not need, because it shows more.
func (s *screen) step(format string, args ...any) {
	if s.file == nil {
		s.note(format, args...)
	}
}

// draw replaces the lines drawn before. On a pipe it does nothing.
func (s *screen) draw(lines ...string) {
	if s.file == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replace(nil, lines)
}

// clear removes the lines drawn before.
func (s *screen) clear() { s.draw() }

// gap is an empty line between progress and result, where both are on a terminal.
func (s *screen) gap() {
	if s.file != nil {
		s.note("")
	}
}

// Write puts text that stays above the lines that are redrawn.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.replace(p, s.drawn); err != nil {
		return 0, err
	}
	return len(p), nil
}

// replace writes all in one piece, so that the terminal does not flicker.
func (s *screen) replace(above []byte, lines []string) error {
	var b bytes.Buffer
	if len(s.drawn) > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", len(s.drawn)) // up to the first, erase from there
	}
	b.Write(above)
	width := 80
	if s.file != nil {
		if w, _, err := term.GetSize(int(s.file.Fd())); err == nil && w > 0 {
			width = w
		}
	}
	for _, line := range lines {
		b.WriteString(cut(line, width-1)) // a wrapped line would be two
		b.WriteByte('\n')
	}
	s.drawn = lines
	_, err := s.w.Write(b.Bytes())
	return err
}

// cut shortens plain text to a number of characters.
func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(0, width-1)]) + "…"
}

// bar is a share of 1 as a bar.
func bar(share float64, width int) string {
	full := min(width, max(0, int(share*float64(width)+0.5)))
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// sparkline is numbers as eighths of a line's height, the last ones if they are
// more than width.
func sparkline(values []float64, width int) string {
	values = values[max(0, len(values)-width):]
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	var b strings.Builder
	for _, v := range values {
		eighth := 0
		if top > 0 {
			eighth = min(7, int(v/top*8))
		}
		b.WriteRune([]rune("▁▂▃▄▅▆▇█")[eighth])
	}
	return b.String()
}

// thousands writes a number with commas.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
