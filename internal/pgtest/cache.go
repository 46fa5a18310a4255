package pgtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// cacheFolder is where what is slow to make is kept between runs: the tree of a
// PostgreSQL and the templates of data directories. It may be deleted any time
// no server runs.
func cacheFolder() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil { // neither HOME nor XDG_CACHE_HOME, as in some CI containers
		base = filepath.Join(os.TempDir(), fmt.Sprintf("cache-%d", os.Geteuid()))
	}
	folder := filepath.Join(base, "autotune")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("pgtest: no cache folder, set XDG_CACHE_HOME to one that can be written: %w", err)
	}
	// Processes are recognised by their working directory, which has no links.
	return filepath.EvalSymlinks(folder)
}

// treeFolder is the tree that [setUp] makes inside the cache folder.
func treeFolder(cache string) string {
	return filepath.Join(cache, "postgresql-"+treeSuite+"-"+runtime.GOARCH)
}

// cached returns the installation of an earlier set-up.
func cached(ctx context.Context, cache string) (install, bool) {
	root := treeFolder(cache)
	found, _ := filepath.Glob(filepath.Join(root, "usr/lib/postgresql/*/bin"))
	for _, bin := range found {
		inside, _ := filepath.Rel(root, bin)
		if in, err := inspect(ctx, root, "/"+inside); err == nil && in.vector != "" {
			return in, true
		}
	}
	return install{}, false
}

// lockEvery is how often a lock held by another process is tried again.
const lockEvery = 50 * time.Millisecond

// locked runs fn while no other process, of the several test binaries that go
// test runs at once, holds the lock file path. The lock ends with the process;
// fn may hand the file on to a child that has to keep it.
func locked(ctx context.Context, o Options, path string, fn func(lock *os.File) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	defer f.Close()
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for told := false; ; told = true {
		ok, err := tryLock(f)
		if err != nil {
			return fmt.Errorf("pgtest: lock %s: %w", path, err)
		}
		if ok {
			return fn(f)
		}
		if !told {
			o.logf("another process is setting up, waiting for it (%s)", path)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("pgtest: waiting for the lock %s: %w", path, ctx.Err())
		case <-tick.C:
		}
	}
}
