package redact_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/pgautotune/autotune/internal/redact"
)

func TestTheCauseIsToldWithoutTheString(t *testing.T) {
	for _, c := range []struct{ conn, says string }{
		{"host=h port=x password = s3cret", "invalid port"},
		{"host=h port=x PASSWORD=s3cret", "invalid port"},
		{"host=h PASSWORD=s3cret pool_max_conns=many", "cannot parse pool_max_conns (invalid syntax)"},
		{"host=h password='s3 cret", "unterminated quoted string"},
		{"host=h password=s3 cret", "failed to parse as keyword/value"},
		{"postgres://me:s3@cret@h:x/db", "%40 for @"},
		{"postgres://me:s3%zzcret@h/db", "%40 for @"},
		{"postgres://me:s3/cret@h/db", "%40 for @"},
		{"postgres://me:s3cret@h/db?sslmode=nonsense", "sslmode is invalid"},
		{"postgres://me@h/db?target_session_attrs=s3cret", "unknown target_session_attrs value"},
		{"postgres://me:s3cret@h/db?sslrootcert=/no/such/s3cret&sslmode=verify-full", "unable to read CA file: no such file"},
		{"postgres://me:s3cret@h/db?pool_max_conn_lifetime=s3cret", "pool_max_conn_lifetime"},
		{"postgres://me:s3cret@a,b/db?port=1,2,3", "port"},
	} {
		_, err := pgxpool.ParseConfig(c.conn)
		if err == nil {
			t.Errorf("%s is fine for pgx: it proves nothing", c.conn)
			continue
		}
		for _, got := range []string{redact.Cause(err), redact.Error(fmt.Errorf("no: %w", err))} {
			if !strings.Contains(got, c.says) || strings.Contains(got, "s3") || strings.Contains(got, "cret") || strings.Contains(got, "\n") {
				t.Errorf("%s: %q instead of something with %q", c.conn, got, c.says)
			}
		}
	}
}

// pgx would send the beginning of each to a server, as the name of a setting.
func TestAStringThatWouldEndUpInAServersLogIsRefused(t *testing.T) {
	for conn, says := range map[string]string{
		"jdbc:postgresql://me:s3cret@h/d?sslmode=disable":    "scheme",
		"postgresql+asyncpg://me:s3cret@h/d?ssl=1":           "scheme",
		"mysql://me:s3cret@h/d":                              "scheme",
		"POSTGRES://me:s3cret@h/d?sslmode=disable":           "small letters",
		"\"postgres://me:s3cret@h/d?sslmode=disable\"":       "nothing before it",
		" postgres://me:s3cret@h/d?sslmode=disable":          "nothing before it",
		"host=h password=x s3cret!=1 sslmode=disable":        "single quotes",
		"host=h me:s3cret@h?sslmode=disable":                 "name that none can have",
		"postgres://h/d?me:s3cret@h=1":                       "%XX",
		"host=h jdbc:postgresql://me:s3cret@h/d?ssl=disable": "name that none can have",
	} {
		if _, err := redact.ParsePool(conn); err == nil || !strings.Contains(redact.Error(err), says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", conn, err)
		}
	}
	for _, conn := range []string{"postgres://me@h/d?statement_timeout=1&search.path=x", "postgresql://h", "host=h options='-c a=b://'", "password=a://b", ""} {
		if _, err := redact.ParsePool(conn); err != nil {
			t.Errorf("%s: %v", conn, err)
		}
	}
}

func TestAnErrorOfTheEnvironmentNamesItsVariable(t *testing.T) {
	for _, c := range []struct{ name, value, conn, says string }{
		{"PGPORT", "s3cret", "host=h", "invalid port, which comes from PGPORT in the environment"},
		{"PGPORT", "s3cret", "postgres://me:s3cret@h/d", "invalid port, which comes from PGPORT in the environment"},
		{"PGSERVICE", "s3cret", "", "which comes from PGSERVICE"},
		{"PGSSLMODE", "s3cret", "host=h", "(sslmode is invalid), which comes from PGSSLMODE"},
		{"PGCONNECT_TIMEOUT", "s3cret", "host=h", "which comes from PGCONNECT_TIMEOUT"},
		{"PGPORT", "5433", "host=h port=s3cret", "invalid port"},
	} {
		t.Run(c.name+" "+c.conn, func(t *testing.T) {
			t.Setenv(c.name, c.value)
			_, err := redact.ParsePool(c.conn)
			if err == nil {
				t.Fatal("no error")
			}
			for _, got := range []string{redact.Cause(err), redact.Error(err)} {
				if !strings.Contains(got, c.says) || strings.Contains(got, "s3cret") || strings.Contains(got, "environment") != strings.Contains(c.says, "comes from") {
					t.Errorf("%q", got)
				}
			}
		})
	}
}

func TestWhatIsWrongWithAConnectionStringWhereNoneBelongsStays(t *testing.T) {
	const value = " host=h password='s3 cret' "
	for _, v := range []string{value, strings.TrimSpace(value)} {
		err := fmt.Errorf("%q is not a timeout: write 10s", v)
		if got, want := redact.About(err, value), redact.Hidden+" is not a timeout: write 10s"; got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
	if got := redact.About(errors.New(`"soon" is not a timeout, password=s3cret`), "soon"); got != `"soon" is not a timeout, `+redact.Hidden {
		t.Error(got)
	}
}

func TestTextsWithAConnectionStringAreCut(t *testing.T) {
	for text, want := range map[string]string{
		`open postgres://me:s3cret@h/d: no such file`:        "open " + redact.Hidden,
		`--check is "host=h user=u password = 's3 cret'" no`: `--check is "` + redact.Hidden,
		`PASSWORD=s3cret`:                        redact.Hidden,
		`https://me:s3cret@h/`:                   redact.Hidden,
		`no page at http://127.0.0.1:8080/x, no`: `no page at http://127.0.0.1:8080/x, no`,
		`steady-70.yaml`:                         `steady-70.yaml`,
		`password authentication failed`:         `password authentication failed`,
		"":                                       "",
	} {
		if got := redact.Text(text); got != want {
			t.Errorf("%q: %q instead of %q", text, got, want)
		}
		if got := redact.Suspect(text); got != (text != want) {
			t.Errorf("%q is suspect: %v", text, got)
		}
		if got := redact.Error(errors.New(text)); got != want {
			t.Errorf("%q: %q instead of %q", text, got, want)
		}
	}
}

// The two ends of every secret: no text of pgx or of the standard library has them.
const head, tail = "Zq7", "Xw9"

// messages are all that could be said about a connection string.
func messages(conn string) []string {
	said := []string{redact.Text(conn), redact.Text("open " + conn + ": no such file"), redact.Text(strconv.Quote(conn)), redact.Error(fmt.Errorf("--for is %q", conn))}
	if _, err := pgxpool.ParseConfig(conn); err != nil {
		said = append(said, redact.Cause(err), redact.Error(err), redact.Error(fmt.Errorf("cannot be used: %w", err)))
	}
	return said
}

func leak(said []string) string {
	for _, s := range said {
		if strings.Contains(s, head) || strings.Contains(s, tail) {
			return s
		}
	}
	return ""
}

func TestNoSecretSurvivesWhereverTheMistakeIs(t *testing.T) {
	forms := []string{
		"postgres://me:%s@h:x/db", "postgresql://%s@h:x", "postgres://me:%s@h/db?pool_max_conns=many", "postgres://h/db?password=%s&port=x",
		"POSTGRES://me:%s@h/db", "host=h port=x password=%s", "host=h port=x password = %s", "host=h PASSWORD='%s' port=x", "password='%s",
		"host=h\npassword\t=\t%s\nport=x", "host=h sslpassword=%s sslmode=nonsense", "user=me password=%s connect_timeout=soon",
	}
	rapid.Check(t, func(t *rapid.T) {
		middle := rapid.StringOf(rapid.SampledFrom([]rune(`aZ0@:/?#%&='"\ `+"`\t\n\x00é,;()"))).Draw(t, "middle")
		conn := strings.Replace(rapid.SampledFrom(forms).Draw(t, "form"), "%s", head+middle+tail, 1)
		if got := leak(messages(conn)); got != "" {
			t.Fatalf("%q: %q", conn, got)
		}
	})
}

func FuzzNoSecretSurvives(f *testing.F) {
	f.Add("postgres://me:", "@", "@h:x/db")
	f.Add("host=h port=x password = ", " ", "")
	f.Add("password='", " ", " port=x")
	f.Add("postgres://h/d?pool_max_conns=", "", "")
	f.Add("password\xd7\u200b=", "\x96", "") // which %q writes with digits in between
	f.Fuzz(func(t *testing.T, before, middle, after string) {
		if strings.Contains(before, head) || strings.Contains(after, head) || !redact.Suspect(before) {
			return // not known to be a secret
		}
		if got := leak(messages(before + head + middle + tail + after)); got != "" {
			t.Fatalf("%q", got)
		}
	})
}
