package pgtest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// treeSuite is the release of Debian that is set up beside an older one: the
// first that has pgvector, as postgresql-17-pgvector 0.8.0.
const (
	treeSuite    = "trixie"
	treePackages = "postgresql-17,postgresql-17-pgvector"
)

// treeScript finishes a tree: what no server needs is removed, which leaves 150
// of 680 MB, and the account that will run it is made known.
//
//go:embed tree.sh
var treeScript string

// setUp makes this machine able to run a PostgreSQL with pgvector: by its own
// packages where they have it, else by a tree in the cache folder.
func setUp(ctx context.Context, cache string, o Options, note func(string, ...any)) (in install, err error) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return install{}, errors.New("only on Debian and Ubuntu (with apt-get) is that done without asking")
	}
	if os.Geteuid() != 0 && exec.CommandContext(ctx, "sudo", "-n", "true").Run() != nil {
		return install{}, errors.New("that needs root, or sudo without a password")
	}
	err = locked(ctx, o, filepath.Join(cache, "setup.lock"), func(lock *os.File) error {
		// Another process may have done it while this one waited.
		var ok bool
		if in, ok = choose(local(ctx), false); ok {
			return nil
		}
		if in, ok = cached(ctx, cache); ok {
			return nil
		}
		start := time.Now()
		err := aptInstall(ctx, o)
		if err == nil {
			if in, ok = choose(local(ctx), false); !ok {
				return errors.New("the packages are installed, yet no PostgreSQL with pgvector is found")
			}
		} else {
			note("apt: %v", err)
			if err = makeTree(ctx, cache, o, lock); err != nil {
				return err
			}
			if in, ok = cached(ctx, cache); !ok {
				return fmt.Errorf("the tree %s has been made, yet its PostgreSQL does not run", treeFolder(cache))
			}
		}
		o.logf("PostgreSQL %s with pgvector %s is ready, after %v", in.version, in.vector, time.Since(start).Round(time.Second))
		return nil
	})
	return in, err
}

// errNotOffered says that the machine's own packages have no pgvector.
var errNotOffered = errors.New("offers no postgresql-N-pgvector")

var vectorPackage = regexp.MustCompile(`(?m)^postgresql-(\d+)-pgvector `)

// aptInstall installs PostgreSQL with pgvector from the packages of the machine.
func aptInstall(ctx context.Context, o Options) error {
	if lists, _ := filepath.Glob("/var/lib/apt/lists/*_Packages*"); len(lists) == 0 {
		o.logf("apt-get update: its lists are empty")
		if err := privileged(ctx, o, nil, "apt-get", "-q", "update"); err != nil {
			return err
		}
	}
	major, err := offered(ctx)
	if err != nil {
		return err
	}
	o.logf("installing PostgreSQL %d with pgvector by apt-get", major)
	install := []string{"apt-get", "-q", "install", "--yes", "--no-install-recommends"}
	if err := privileged(ctx, o, nil, append(install, "postgresql-common")...); err != nil {
		return err
	}
	// The package would create a cluster and start it with the machine. A file of
	// our own keeps it from that, for this one installation.
	const off = "/etc/postgresql-common/createcluster.d/autotune.conf"
	const write = `mkdir -p "${0%/*}" && echo "create_main_cluster = false" >"$0"`
	if err := privileged(ctx, o, nil, "sh", "-c", write, off); err != nil {
		return err
	}
	server := fmt.Sprintf("postgresql-%d", major)
	err = privileged(ctx, o, nil, append(install, server, server+"-pgvector")...)
	// Also when ctx has ended.
	return errors.Join(err, privileged(context.WithoutCancel(ctx), o, nil, "rm", "-f", off))
}

// offered returns the major version to install: the newest that is here already
// and has a pgvector package, else the newest that has one.
func offered(ctx context.Context) (int, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "search", "--names-only", `^postgresql-[0-9]+-pgvector$`).Output()
	if err != nil {
		return 0, fmt.Errorf("apt-cache search: %w", err)
	}
	var majors []int
	for _, m := range vectorPackage.FindAllStringSubmatch(string(out), -1) {
		major, _ := strconv.Atoi(m[1])
		policy, err := exec.CommandContext(ctx, "apt-cache", "policy", "postgresql-"+m[1], "postgresql-"+m[1]+"-pgvector").Output()
		if err == nil && major >= oldestMajor && strings.Count(string(policy), "Candidate: ") == 2 && !strings.Contains(string(policy), "Candidate: (none)") {
			majors = append(majors, major)
		}
	}
	if len(majors) == 0 {
		return 0, errNotOffered
	}
	for _, in := range local(ctx) { // newest first
		if slices.Contains(majors, in.major) {
			return in.major, nil
		}
	}
	return slices.Max(majors), nil
}

// makeTree sets up a Debian that has pgvector in a folder of the cache. It is
// made beside its place and renamed, so that there is a whole one or none.
func makeTree(ctx context.Context, cache string, o Options, lock *os.File) error {
	id, codename := osRelease()
	uri, source, ok := mirror(readSources("/etc/apt"), codename)
	if id != "debian" || !ok {
		return fmt.Errorf("a tree of Debian %s can be made on Debian only, with its archive in apt's sources", treeSuite)
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		if _, err := os.Stat("/usr/sbin/debootstrap"); err != nil { // not in everybody's PATH
			o.logf("installing debootstrap by apt-get")
			if err := privileged(ctx, o, nil, "apt-get", "-q", "install", "--yes", "--no-install-recommends", "debootstrap"); err != nil {
				return err
			}
		}
	}
	tree := treeFolder(cache)
	partial := tree + ".partial" // ours alone: the lock is held
	if err := removeTree(ctx, o, partial); err != nil {
		return err
	}
	o.logf("setting up %s from %s in %s, once, in about a minute", treePackages, uri, tree)
	args := []string{"debootstrap", "--variant=minbase", "--include=" + treePackages}
	if source.trusted {
		args = append(args, "--no-check-gpg")
	} else if source.signedBy != "" {
		args = append(args, "--keyring="+source.signedBy)
	}
	// debootstrap gets the lock too: should this process be killed, another does
	// not start to remove what is still being made.
	err := privileged(ctx, o, lock, append(args, treeSuite, partial, uri)...)
	if err == nil {
		account := fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid())
		err = privileged(ctx, o, lock, "sh", "-c", treeScript, "tree", partial, account)
	}
	if err == nil {
		err = removeTree(ctx, o, tree) // one whose server does not run
	}
	if err == nil {
		err = os.Rename(partial, tree)
	}
	if err != nil {
		return errors.Join(err, removeTree(context.WithoutCancel(ctx), o, partial))
	}
	return nil
}

// removeTree removes a tree, in which an interrupted debootstrap may have left
// /proc and /sys mounted.
func removeTree(ctx context.Context, o Options, tree string) error {
	if _, err := os.Lstat(tree); err != nil {
		return nil
	}
	const remove = `umount "$0/proc" "$0/sys" 2>/dev/null; exec rm -rf --one-file-system "$0"`
	return privileged(ctx, o, nil, "sh", "-c", remove, tree)
}

// privileged runs a program as root to its end. hold, if not nil, is a file that
// it keeps open.
func privileged(ctx context.Context, o Options, hold *os.File, args ...string) error {
	name := args[0]
	// debootstrap finds mkfs-like tools in sbin, which is in root's PATH only, and
	// knows apt's proxy by the environment only.
	args = append([]string{"env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}, append(proxy(ctx), args...)...)
	if os.Geteuid() != 0 {
		args = append([]string{"sudo", "-n"}, args...) // which closes hold
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.SysProcAttr = detached("", account{})
	cmd.Cancel = func() error { return askToStop(-cmd.Process.Pid) } // all of its group
	cmd.WaitDelay = stopPatience
	if hold != nil {
		cmd.ExtraFiles = []*os.File{hold}
	}
	out := &progress{log: o.logf}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, tail(out.all.String()))
	}
	return nil
}

// proxy returns what apt uses to reach its sources, for programs that are not apt.
func proxy(ctx context.Context) []string {
	const script = `eval "$(apt-config shell p Acquire::http::Proxy)"; [ "$p" = DIRECT ] || printf %s "$p"`
	out, err := exec.CommandContext(ctx, "sh", "-c", script).Output()
	if err != nil || len(out) == 0 {
		return nil
	}
	return []string{"http_proxy=" + string(out)}
}

// phases are the words that begin the longer parts of debootstrap's output: many
// lines like "I: Retrieving libc6 2.41-12".
var phases = []string{"Retrieving", "Extracting", "Unpacking", "Configuring"}

// progress keeps a program's output, and logs the first line of each phase.
type progress struct {
	log  func(string, ...any)
	all  strings.Builder
	line []byte
	next int // phases begun
}

func (p *progress) Write(b []byte) (int, error) {
	p.all.Write(b)
	for _, c := range b {
		if c != '\n' {
			p.line = append(p.line, c)
			continue
		}
		rest, _ := strings.CutPrefix(string(p.line), "I: ")
		word, _, _ := strings.Cut(rest, " ")
		if i := slices.Index(phases, word); i >= p.next {
			p.next = i + 1
			p.log("  %s packages", strings.ToLower(word))
		}
		p.line = p.line[:0]
	}
	return len(b), nil
}

// osRelease returns who made this system and the name of its release.
func osRelease() (id, codename string) {
	text, _ := os.ReadFile("/etc/os-release")
	for _, line := range strings.Split(string(text), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch value = strings.Trim(value, `"'`); key {
		case "ID":
			id = value
		case "VERSION_CODENAME":
			codename = value
		}
	}
	return id, codename
}
