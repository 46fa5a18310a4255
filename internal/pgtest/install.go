package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// install is one set of PostgreSQL programs found on this machine.
type install struct {
	root    string // tree to chroot into; "" for the machine itself
	bin     string // folder of the programs, seen from inside root
	version string // "17.5"
	major   int    // 17
	vector  string // version of pgvector it can create, "" if it has none
}

// places are where packages and people put PostgreSQL.
var places = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
	"/usr/pgsql-*/bin",          // RPMs of postgresql.org
	"/usr/local/pgsql*/bin",     // make install
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// find returns the programs to run a server with, setting them up if there are
// none. Its error tells all that was looked at and what to do.
func find(ctx context.Context, o Options) (install, error) {
	if err := supported(); err != nil {
		return install{}, err
	}
	var tried []string
	note := func(format string, args ...any) { tried = append(tried, fmt.Sprintf(format, args...)) }
	note("%s: not set", EnvDatabase)

	all := local(ctx)
	if in, ok := choose(all, o.WithoutVector); ok {
		return in, nil
	}
	for _, in := range all {
		note("%s: PostgreSQL %s without pgvector", in.bin, in.version)
	}
	if len(all) == 0 {
		note("PATH, %s: no PostgreSQL %d or newer", strings.Join(places, ", "), oldestMajor)
	}

	folder, err := cacheFolder()
	if err != nil {
		return install{}, err
	}
	if in, ok := cached(ctx, folder); ok {
		return in, nil
	}
	note("%s: nothing set up earlier", treeFolder(folder))

	in, err := setUp(ctx, folder, o, note)
	if err == nil {
		return in, nil
	}
	if ctx.Err() != nil {
		return install{}, fmt.Errorf("pgtest: setting up PostgreSQL with pgvector was stopped: %w", ctx.Err())
	}
	return install{}, errors.New(nothingFound(tried, err))
}

// choose picks the newest installation of the kind that is asked for.
func choose(all []install, withoutVector bool) (install, bool) {
	var best install
	ok := false
	for _, in := range all { // newest first
		switch {
		case withoutVector && in.vector == "":
			return in, true
		case (withoutVector || in.vector != "") && !ok:
			best, ok = in, true
		}
	}
	return best, ok
}

// local lists the installations of this machine, newest first.
func local(ctx context.Context) []install {
	var bins []string
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		bins = append(bins, strings.TrimSpace(string(out)))
	}
	for _, place := range places {
		found, _ := filepath.Glob(place) // the patterns are constants: no error
		bins = append(bins, found...)
	}
	seen := map[string]bool{}
	var all []install
	for _, bin := range bins {
		if seen[bin] {
			continue
		}
		seen[bin] = true
		if in, err := inspect(ctx, "", bin); err == nil && in.major >= oldestMajor {
			all = append(all, in)
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].major > all[j].major })
	return all
}

var (
	versionLine = regexp.MustCompile(`PostgreSQL\) ((\d+)\S*)`)
	vectorLine  = regexp.MustCompile(`(?m)^\s*default_version\s*=\s*'([^']+)'`)
)

// inspect reads what is in the program folder bin of root.
func inspect(ctx context.Context, root, bin string) (install, error) {
	in := install{root: root, bin: bin}
	if _, err := os.Stat(filepath.Join(root, bin, "initdb")); err != nil {
		return in, err // client programs only
	}
	who, err := serverAccount(in)
	if err != nil {
		return in, err
	}
	out, err := in.command(ctx, who, "/", "postgres", "--version").Output()
	if err != nil {
		return in, fmt.Errorf("%s/postgres --version: %w", bin, err)
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return in, fmt.Errorf("%s/postgres --version says %q", bin, out)
	}
	in.version = string(m[1])
	in.major, _ = strconv.Atoi(string(m[2]))
	for _, share := range in.shareFolders(ctx) {
		text, err := os.ReadFile(filepath.Join(root, share, "extension", "vector.control"))
		if m := vectorLine.FindSubmatch(text); err == nil && m != nil {
			in.vector = string(m[1])
			break
		}
	}
	return in, nil
}

// shareFolders lists where the extensions may be: what pg_config says, else
// (it may be in a development package) where the known packages put them.
func (in install) shareFolders(ctx context.Context) []string {
	if in.root == "" {
		out, err := exec.CommandContext(ctx, filepath.Join(in.bin, "pg_config"), "--sharedir").Output()
		if err == nil {
			return []string{strings.TrimSpace(string(out))}
		}
	}
	up := filepath.Dir(in.bin)
	return []string{
		fmt.Sprintf("/usr/share/postgresql/%d", in.major),
		filepath.Join(up, "share"),
		filepath.Join(up, "share", "postgresql"),
	}
}

// command prepares one of the programs, run as who in the folder dir (seen from
// inside the root). It is in a session of its own, so that an interrupt typed at
// the owner's terminal does not reach it, and sees none of the owner's PG*
// variables.
func (in install) command(ctx context.Context, who account, dir, program string, args ...string) *exec.Cmd {
	path := filepath.Join(in.bin, program)
	var cmd *exec.Cmd
	if in.root != "" && os.Geteuid() != 0 {
		args = append([]string{"-n", "chroot", fmt.Sprintf("--userspec=%d:%d", who.uid, who.gid), in.root, path}, args...)
		cmd = exec.CommandContext(ctx, "sudo", args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = detached("", account{})
	} else {
		cmd = exec.CommandContext(ctx, path, args...)
		cmd.Dir = dir
		cmd.SysProcAttr = detached(in.root, who)
	}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "LC_") && !strings.HasPrefix(v, "LANG") && !strings.HasPrefix(v, "TZ=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C", "TZ=UTC")
	return cmd
}

// nothingFound is the text for a person whose machine gave no server.
func nothingFound(tried []string, why error) string {
	return "pgtest: no PostgreSQL with pgvector on this machine, and none could be set up: " + why.Error() +
		"\nlooked at:\n  " + strings.Join(tried, "\n  ") +
		"\nany one of these makes it work:\n" +
		"  sudo apt-get install postgresql-17 postgresql-17-pgvector   (Debian 13; Ubuntu 24.04: 16 instead of 17)\n" +
		"  sudo dnf install pgvector_17                                (with the repository of postgresql.org)\n" +
		"  brew install postgresql@17 pgvector                         (macOS)\n" +
		"  sudo -v, then again                                         (Debian 12: lets it set one up)\n" +
		"  export " + EnvDatabase + "=postgres://user:password@host/database   (a server with pgvector, whose role may create databases)"
}
