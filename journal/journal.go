// Package journal keeps the journal of a pool in files that do not grow without
// end:
//
//	file, err := journal.Open("autotune.jsonl", journal.Options{})
//	if err != nil {
//		return err
//	}
//	defer file.Close() // after the pool
//	config.Journal = file
//
// The file of that name is the newest. The older ones lie beside it, with the time
// at which they were finished in their names, and the oldest are removed. Each
// begins with a header, from which its decisions can be replayed without the
// others.
package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Options say how much is kept. The zero value keeps about 600 MB.
type Options struct {
	MaxBytes int64 // of one file, after which the next begins; default 100 MB, at least 4 kB
	Keep     int   // older full files, or as much in smaller ones; default 5; negative: all
}

// The defaults. A look takes about 2 kB, so a file of 100 MB has half a day of
// one look a second.
const (
	defaultMaxBytes = 100 << 20
	leastBytes      = 4 << 10
	defaultKeep     = 5
)

// File is an [autotune.JournalRotator], safe for concurrent use.
//
// Usual log rotation (lumberjack, logrotate) does not serve a journal: it breaks
// off between any two lines, and a file that does not begin with a header cannot
// be replayed.
type File struct {
	path string
	max  int64
	keep int

	mu      sync.Mutex
	newest  *os.File // guarded by mu; nil: closed
	written int64    // guarded by mu: to the newest
}

// Open begins a journal. A file of that name, from an earlier run, becomes one of
// the older ones. The folder has to exist. Files can be read by their owner only.
func Open(path string, o Options) (*File, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.Keep == 0 {
		o.Keep = defaultKeep
	}
	if o.MaxBytes < leastBytes {
		return nil, fmt.Errorf("journal: MaxBytes is %d and must be at least %d: a single line takes about 2,000", o.MaxBytes, leastBytes)
	}
	f := &File{path: path, max: o.MaxBytes, keep: o.Keep}
	if err := f.begin(); err != nil {
		return nil, err
	}
	return f, nil
}

// Write appends to the newest file.
func (f *File) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.newest == nil {
		return 0, fmt.Errorf("journal: %s: %w", f.path, os.ErrClosed)
	}
	n, err := f.newest.Write(line)
	f.written += int64(n)
	return n, err
}

// Rotate begins the next file if the newest is full, and tells whether it did.
func (f *File) Rotate() (begun bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.newest == nil || f.written < f.max {
		return false, nil
	}
	err = f.newest.Close()
	f.newest = nil
	if err != nil {
		return false, fmt.Errorf("journal: cannot finish %s: %w", f.path, err)
	}
	return true, f.begin()
}

// stamp is the time in the names of older files, UTC: names sort by it.
const stamp = "20060102T150405.000000000Z"

// begin puts the newest file, if there is one, among the older ones and begins an
// empty one in its place. mu is held, or f is not shared yet.
func (f *File) begin() error {
	info, err := os.Stat(f.path)
	if err == nil && info.IsDir() {
		return fmt.Errorf("journal: %s is a folder; name a file in it", f.path)
	}
	if err == nil && info.Size() > 0 {
		extension := filepath.Ext(f.path)
		name := strings.TrimSuffix(f.path, extension) + "-" + time.Now().UTC().Format(stamp) + extension
		if err := os.Rename(f.path, name); err != nil {
			return fmt.Errorf("journal: cannot put %s aside: %w", f.path, err)
		}
	}
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("journal: cannot begin a file; name one in a folder that exists and can be written to: %w", err)
	}
	if err := f.prune(); err != nil {
		return errors.Join(err, file.Close())
	}
	f.newest, f.written = file, 0
	return nil
}

// small is how many times as many files as are to be kept there may be, where they
// take no more room than those would: a service that is restarted again and again
// begins small ones, and they shall not push out what came before.
const small = 20

// prune removes the oldest files beyond those to keep.
func (f *File) prune() error {
	older := f.older()
	if f.keep < 0 {
		return nil
	}
	var total int64
	sizes := make([]int64, len(older))
	for i, path := range older {
		if info, err := os.Stat(path); err == nil {
			sizes[i] = info.Size()
			total += sizes[i]
		}
	}
	for i, path := range older {
		if left := len(older) - i; left <= f.keep || left <= small*f.keep && total <= int64(f.keep)*f.max {
			return nil
		}
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("journal: cannot remove an old file: %w", err)
		}
		total -= sizes[i]
	}
	return nil
}

// Files lists the files of the journal, oldest first; the last is the newest.
func (f *File) Files() []string { return append(f.older(), f.path) }

// older lists the finished files, oldest first. Only what has a time where this
// package puts it counts, so that nobody else's file is ever removed.
func (f *File) older() (paths []string) {
	extension := filepath.Ext(f.path)
	prefix := strings.TrimSuffix(filepath.Base(f.path), extension) + "-"
	entries, _ := os.ReadDir(filepath.Dir(f.path)) // sorted by name; what cannot be read is not removed
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), prefix)
		if _, err := time.Parse(stamp, strings.TrimSuffix(rest, extension)); ok && err == nil && strings.HasSuffix(rest, extension) && !entry.IsDir() {
			paths = append(paths, filepath.Join(filepath.Dir(f.path), entry.Name()))
		}
	}
	return paths
}

// Close ends the journal. Close the pool first.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.newest == nil {
		return nil
	}
	err := f.newest.Close()
	f.newest = nil
	return err
}
