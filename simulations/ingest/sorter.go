package ingest

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/pgautotune/autotune/simulations/trace"
)

// runLength is how many events are sorted in memory at once: about 40 MB.
const runLength = 1 << 18

// stamped is an event with its time in ns.
type stamped struct {
	at    int64
	event trace.Event
}

// sorter puts events in order of time, and leaves those of one time in the order in
// which they came: the merge sort of tapes. Full runs lie in one temporary file.
type sorter struct {
	length int // of a run; 0 is runLength
	count  int64
	first  int64 // the earliest time, valid after finish

	run   []stamped
	file  *os.File
	ends  []int64 // where each run on disk ends
	merge merge
}

// add takes an event. Its texts are short from here on, and their own: cut from a line
// of a log, each would hold the whole line for as long as it waits to be sorted.
func (s *sorter) add(at int64, e *trace.Event) error {
	one := stamped{at, *e}
	for _, text := range texts(&one.event) {
		*text = strings.Clone(short(*text))
	}
	s.run = append(s.run, one)
	s.count++
	if len(s.run) >= cmp.Or(s.length, runLength) {
		return s.spill()
	}
	return nil
}

func (s *sorter) sort() {
	slices.SortStableFunc(s.run, func(a, b stamped) int { return cmp.Compare(a.at, b.at) })
}

// spill moves a full run to disk.
func (s *sorter) spill() (err error) {
	begin := int64(0)
	if s.file == nil {
		if s.file, err = os.CreateTemp("", "autotune-import-*"); err != nil {
			return fmt.Errorf("sorting needs a temporary file: %w", err)
		}
	} else {
		begin = s.ends[len(s.ends)-1]
	}
	s.sort()
	var b []byte
	w := bufio.NewWriterSize(s.file, 1<<18)
	for i := range s.run {
		b = encode(b[:0], &s.run[i])
		begin += int64(len(b))
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("sorting on disk: %w", err)
		}
	}
	s.run = s.run[:0]
	s.ends = append(s.ends, begin)
	return w.Flush()
}

// finish ends adding.
func (s *sorter) finish() error {
	s.sort()
	begin := int64(0)
	for _, end := range s.ends {
		s.merge = append(s.merge, &tape{order: len(s.merge), disk: bufio.NewReaderSize(io.NewSectionReader(s.file, begin, end-begin), 1<<16)})
		begin = end
	}
	s.merge = append(s.merge, &tape{order: len(s.merge), memory: s.run})
	for i := len(s.merge) - 1; i >= 0; i-- {
		if err := s.merge[i].advance(); err == io.EOF {
			s.merge = slices.Delete(s.merge, i, i+1)
		} else if err != nil {
			return err
		}
	}
	heap.Init(&s.merge)
	if len(s.merge) > 0 {
		s.first = s.merge[0].now.at
	}
	return nil
}

// next is the next event in order; io.EOF after the last.
func (s *sorter) next() (int64, trace.Event, error) {
	if len(s.merge) == 0 {
		return 0, trace.Event{}, io.EOF
	}
	t := s.merge[0]
	now := t.now
	switch err := t.advance(); err {
	case nil:
		heap.Fix(&s.merge, 0)
	case io.EOF:
		heap.Pop(&s.merge)
	default:
		return 0, trace.Event{}, fmt.Errorf("sorting on disk: %w", err)
	}
	return now.at, now.event, nil
}

func (s *sorter) discard() {
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name())
	}
}

// tape is a run that is read.
type tape struct {
	order  int // runs that came earlier win ties
	disk   *bufio.Reader
	memory []stamped
	now    stamped
}

func (t *tape) advance() (err error) {
	if t.disk != nil {
		t.now, err = decode(t.disk)
		return err
	}
	if len(t.memory) == 0 {
		return io.EOF
	}
	t.now, t.memory = t.memory[0], t.memory[1:]
	return nil
}

type merge []*tape

func (m merge) Len() int { return len(m) }
func (m merge) Less(i, j int) bool {
	a, b := m[i], m[j]
	return a.now.at < b.now.at || a.now.at == b.now.at && a.order < b.order
}
func (m merge) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m *merge) Push(x any)   { *m = append(*m, x.(*tape)) }
func (m *merge) Pop() any {
	old := *m
	x := old[len(old)-1]
	*m = old[:len(old)-1]
	return x
}

func numbers(e *trace.Event) [6]*float64 {
	return [6]*float64{&e.Service, &e.Wait, &e.InUse, &e.Cost, &e.Deadline, &e.Weight}
}

func texts(e *trace.Event) [4]*string { return [4]*string{&e.Class, &e.Status, &e.Session, &e.Pool} }

// short keeps a name to what a name is: SQL that came as one would fill the trace.
func short(name string) string {
	if len(name) > 80 {
		name = strings.ToValidUTF8(name[:80], "")
	}
	return name
}

func encode(b []byte, s *stamped) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(s.at))
	for _, v := range numbers(&s.event) {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(*v))
	}
	for _, v := range texts(&s.event) {
		b = append(binary.AppendUvarint(b, uint64(len(*v))), *v...)
	}
	return b
}

func decode(r *bufio.Reader) (s stamped, err error) {
	var word [8]byte
	if _, err := io.ReadFull(r, word[:]); err != nil {
		return s, err
	}
	s.at = int64(binary.LittleEndian.Uint64(word[:]))
	for _, v := range numbers(&s.event) {
		if _, err := io.ReadFull(r, word[:]); err != nil {
			return s, err
		}
		*v = math.Float64frombits(binary.LittleEndian.Uint64(word[:]))
	}
	for _, v := range texts(&s.event) {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return s, err
		}
		text := make([]byte, n)
		if _, err := io.ReadFull(r, text); err != nil {
			return s, err
		}
		*v = string(text)
	}
	return s, nil
}
