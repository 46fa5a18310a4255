package main

import (
	"strconv"
	"strings"
	"testing"

	"github.com/pgautotune/autotune"
)

func TestTheFlagWinsOverTheEnvironmentOverTheDefault(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		args []string
		want int
	}{
		{"nothing given", nil, nil, 64},
		{"environment", map[string]string{"AUTOTUNE_CLIENTS": "32"}, nil, 32},
		{"flag", nil, []string{"--clients", "16"}, 16},
		{"flag and environment", map[string]string{"AUTOTUNE_CLIENTS": "32"}, []string{"--clients=16"}, 16},
		{"the flag's value is the default", map[string]string{"AUTOTUNE_CLIENTS": "32"}, []string{"--clients=64"}, 64},
		{"environment set and empty", map[string]string{"AUTOTUNE_CLIENTS": ""}, nil, 64},
		{"environment of another flag", map[string]string{"AUTOTUNE_START": "7"}, nil, 64},
		{"environment bad, but the flag given", map[string]string{"AUTOTUNE_CLIENTS": "many"}, []string{"--clients=16"}, 16},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs, _ := demoCommand().flagSet()
			if err := fs.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			if err := readEnvironment(fs, func(name string) (string, bool) { v, ok := c.env[name]; return v, ok }); err != nil {
				t.Fatal(err)
			}
			if got := fs.Lookup("clients").Value.String(); got != strconv.Itoa(c.want) {
				t.Errorf("--clients is %s instead of %d", got, c.want)
			}
		})
	}
}

func TestAnErrorNamesTheVariableThatItComesFrom(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		args []string
		code int
		want string // in stderr; "" is no word of the environment
	}{
		{"a number meant for replay", map[string]string{"AUTOTUNE_SHOW": "5"}, []string{"simulate", "--scenario", "steady-70"}, exitUsage, "AUTOTUNE_SHOW, which sets --show"},
		{"the same by a flag", nil, []string{"simulate", "--show", "5"}, exitUsage, ""},
		{"flags that do not go together", map[string]string{"AUTOTUNE_FAN_OUT": "2"}, []string{"simulate", "--scenario", "steady-70"}, exitUsage, "AUTOTUNE_FAN_OUT"},
		{"a file that is missing", map[string]string{"AUTOTUNE_TRACE": "/nowhere"}, []string{"simulate", "--policy", "auto"}, exitFailed, "AUTOTUNE_TRACE"},
		{"another file that is missing", map[string]string{"AUTOTUNE_POLICY": "auto"}, []string{"simulate", "--trace", "/nowhere"}, exitFailed, ""},
		{"with a secret", map[string]string{"AUTOTUNE_DSN": "postgres://me:weak-1@db/app"}, []string{"recommend", "--instances", "0"}, exitUsage, "AUTOTUNE_DSN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := call(t, c.env, c.args...)
			if got.code != c.code || !strings.Contains(got.stderr, c.want) || c.want == "" && strings.Contains(got.stderr, "AUTOTUNE_") || strings.Contains(got.stderr, "weak-1") {
				t.Errorf("exit %d, %q", got.code, got.stderr)
			}
			if c.code == exitUsage && strings.Count(got.stderr, "\n") != 2 {
				t.Errorf("not two lines: %q", got.stderr)
			}
		})
	}
}

// A variable that was set for another command must not make these write there.
func TestWhatWritesTakesNoDatabaseFromTheEnvironment(t *testing.T) {
	for _, c := range []*command{demoCommand(), benchCommand()} {
		fs, _ := c.flagSet()
		env := map[string]string{"AUTOTUNE_DSN": "postgres://production/", databaseURL: "postgres://production/", "PGHOST": "production"}
		if err := readEnvironment(fs, func(name string) (string, bool) { v, ok := env[name]; return v, ok }); err != nil {
			t.Fatal(err)
		}
		if got := fs.Lookup("dsn").Value.String(); got != "" {
			t.Errorf("%s would use %s", c.name, got)
		}
	}
}

func TestTheDatabaseIsTheFlagOrDatabaseURLOrPG(t *testing.T) {
	const flag, url, tuned = "postgres://flag/", "postgres://url/", "postgres://autotune/"
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		want string // host, "" for no database named
	}{
		{"nothing", nil, nil, ""},
		{"flag", []string{"--dsn", flag}, nil, "flag"},
		{"AUTOTUNE_DSN", nil, map[string]string{"AUTOTUNE_DSN": tuned}, "autotune"},
		{"DATABASE_URL", nil, map[string]string{"DATABASE_URL": url}, "url"},
		{"PGHOST", nil, map[string]string{"PGHOST": "pg"}, "pg"},
		{"all", []string{"--dsn", flag}, map[string]string{"AUTOTUNE_DSN": tuned, "DATABASE_URL": url, "PGHOST": "pg"}, "flag"},
		{"all but the flag", nil, map[string]string{"AUTOTUNE_DSN": tuned, "DATABASE_URL": url, "PGHOST": "pg"}, "autotune"},
		{"DATABASE_URL and PGHOST", nil, map[string]string{"DATABASE_URL": url, "PGHOST": "pg"}, "url"},
		{"DATABASE_URL empty", nil, map[string]string{"DATABASE_URL": "", "PGHOST": "pg"}, "pg"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("PGHOST", c.env["PGHOST"]) // pgx reads it from the process
			env := func(name string) (string, bool) { v, ok := c.env[name]; return v, ok }
			fs, _ := recommendCommand().flagSet()
			if err := fs.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			if err := readEnvironment(fs, env); err != nil {
				t.Fatal(err)
			}
			dsn, named := connString(fs.Lookup("dsn").Value.String(), env)
			if named != (c.want != "") {
				t.Fatalf("named: %v", named)
			}
			if !named {
				return
			}
			cfg, err := autotune.ParseConfig(dsn)
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.Pool.ConnConfig.Host; got != c.want {
				t.Errorf("host %q instead of %q", got, c.want)
			}
		})
	}
}
