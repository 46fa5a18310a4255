package main

import (
	"net"
	"strings"
	"testing"

	"github.com/pgautotune/autotune/internal/pgtest"
)

// A secret is made of two parts, for half of it is too much already.
const secretHead, secretTail = "s3", "cr3t"

func TestNoMessageRepeatsAConnectionString(t *testing.T) {
	const url, pairs = "postgres://me:s3cr3t@127.0.0.1:1/db", "host=127.0.0.1 port=1 password = 's3 cr3t'"
	type example struct {
		env  map[string]string
		args []string
		says string
	}
	examples := []example{
		{nil, []string{url}, "--dsn"},
		{nil, []string{"--x" + url}, "not a flag"},
		{nil, []string{"help", url}, "which does not belong"},
		{nil, []string{"record", "-o", "x.gz", url, url}, "which does not belong"},
		{nil, []string{"record", "-o", t.TempDir() + "/x.gz", "host=h port=x password = s3cr3t"}, "invalid port"},
		{nil, []string{"simulate", "--calibrate", "host=h port=x PASSWORD=s3cr3t"}, "invalid port"},
		{nil, []string{"replay", "journal.jsonl", url}, "which does not belong"},
		{nil, []string{"simulate", "--scenario", "postgres://me:s3,cr3t@h/db"}, "--scenario is a URL"},
		{map[string]string{"AUTOTUNE_FOR": url}, []string{"recommend"}, "AUTOTUNE_FOR: [connection string, not shown] is not a value of --for (duration)"},
		{map[string]string{"AUTOTUNE_CHECK": url}, []string{"recommend"}, "--check is a URL"},
		{map[string]string{"DATABASE_URL": "postgres://me:s3@cr3t@h:x/db"}, []string{"recommend"}, "%40 for @"},
		{nil, []string{"demo", "--dsn", "postgres://me:1/s3cr3t@127.0.0.1:x/db"}, ""},
	}
	for _, name := range []string{"recommend", "watch", "demo", "bench", "simulate", "version", "replay", "completion"} {
		for _, dsn := range []string{url, pairs} {
			examples = append(examples, example{nil, []string{name, dsn}, "which does not belong"}, example{nil, []string{name, "-x" + dsn}, ""}, example{nil, []string{name, "--" + dsn}, ""})
		}
	}
	for _, flag := range []string{"simulate --scenario", "simulate --trace", "simulate --show", "simulate --policy", "simulate --from", "simulate --seeds", "simulate --duration", "recommend --check", "recommend --from", "recommend --save", "recommend --for", "recommend --output", "replay --what-if", "watch --listen", "bench --workloads", "bench --svg", "record --from", "record --out"} {
		command, name, _ := strings.Cut(flag, " ")
		for _, dsn := range []string{url, pairs, "PASSWORD=s3cr3t"} {
			examples = append(examples, example{nil, []string{command, name, dsn}, "which does not belong"})
		}
	}
	for _, command := range []string{"recommend", "watch", "demo", "bench"} {
		for _, dsn := range []string{"host=h port=x password = s3cr3t", "host=h port=x PASSWORD=s3cr3t", "postgres://me:s3@cr3t@h:x/db", "host=h password='s3 cr3t", "postgres://me:s3/cr3t@h/db"} {
			examples = append(examples, example{nil, []string{command, "--dsn", dsn}, "connection string"})
		}
	}
	for _, x := range examples {
		got := call(t, x.env, x.args...)
		if got.code != exitUsage && got.code != exitFailed || got.stdout != "" || !strings.Contains(got.stderr, x.says) || got.stderr == "" {
			t.Errorf("%q: exit %d, without %q:\n%s%s", x.args, got.code, x.says, got.stdout, got.stderr)
		}
		if strings.Contains(got.stderr, secretHead) || strings.Contains(got.stderr, secretTail) {
			t.Errorf("%q: the password is out:\n%s", x.args, got.stderr)
		}
	}
}

func TestAServerThatIsNotThereIsToldOnceWithAdvice(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"recommend", "watch", "demo"} {
		got := call(t, nil, command, "--dsn", "postgres://me:hunter2@"+address+"/db")
		if got.code != exitFailed || !strings.HasPrefix(got.stderr, "autotune: the database cannot be reached: ") || strings.Count(got.stderr, "refused") != 1 ||
			!strings.Contains(got.stderr, "\nis PostgreSQL running there? Check host, port and what a firewall") || strings.Contains(got.stderr, "hunter2") || strings.Contains(got.stderr, "pgstat") {
			t.Errorf("%s: exit %d:\n%s", command, got.code, got.stderr)
		}
	}
}

func TestAServerThatRefusesIsNotSaidToBeDown(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	got := call(t, nil, "recommend", "--dsn", dsn, "--database", "x", "--for", "1s")
	if got.code == exitUsage {
		t.Fatalf("the test's own server: %s", got.stderr)
	}
	at := strings.LastIndex(dsn, "/")
	none, query, _ := strings.Cut(dsn[at+1:], "?")
	got = call(t, nil, "recommend", "--dsn", dsn[:at+1]+none+"_none?"+query)
	if got.code != exitFailed || !strings.Contains(got.stderr, "refuses the connection") || !strings.Contains(got.stderr, "3D000") || !strings.Contains(got.stderr, "check the name") {
		t.Errorf("exit %d:\n%s", got.code, got.stderr)
	}
}
