package metrics

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/pgtest"
)

// program finds promtool or prometheus: installed, or unpacked from the package
// prometheus of Debian or Ubuntu into the user's cache, which needs no root.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := osexec.LookPath(name); err == nil {
		return path
	}
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	tree := filepath.Join(base, "autotune", "prometheus")
	path := filepath.Join(tree, "usr", "bin", name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	// Made beside its place and renamed: there is a whole one or none.
	work := t.TempDir()
	const script = `cd "$0" && apt-get -q download prometheus && dpkg -x prometheus_*.deb tree && rm -rf "$1" && mkdir -p "$(dirname "$1")" && mv tree "$1"`
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if out, err := osexec.CommandContext(ctx, "sh", "-c", script, work, tree).CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: there is no %s, and apt-get download prometheus gave none (%v):\n%s\nInstall the package prometheus to test alerts and scraping.", name, err, out)
	}
	return path
}

func TestEachAlertFiresAboveItsThresholdAndIsSilentAtIt(t *testing.T) {
	promtool := program(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "autotune.rules.yml"}, {"test", "rules", "autotune.test.yml"}} {
		ctx, cancel := context.WithTimeout(t.Context(), promtoolPatience)
		defer cancel()
		cmd := osexec.CommandContext(ctx, promtool, args...)
		cmd.Dir = "rules"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// The unit tests above would pass if they tested nothing: with thresholds moved to
// where they do not belong, they have to fail.
func TestTheTestsOfAlertsNoticeAThresholdThatMoved(t *testing.T) {
	promtool := program(t, "promtool")
	rules, err := os.ReadFile("rules/autotune.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("rules/autotune.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	moved := string(rules)
	for _, move := range [][2]string{
		{"> 0.70 and", ">= 0.70 and"}, {"[5m]) > 0.90", "[5m]) >= 0.90"}, {"> 0) > 0.1", "> 0) > 0.09"},
		{"< 0.95", "< 0.96"}, {"> 5 *", ">= 5 *"}, {"> 0.5)", ">= 0.5)"}, {"0.95 * autotune_budget", "0.94 * autotune_budget"}, {`"lost"} == 1`, `"works"} == 1`},
		{"rate(autotune_decisions_total[5m])) > 0.5\n        for: 10m", "rate(autotune_decisions_total[5m])) >= 0.5\n        for: 10m"},
	} {
		before := moved
		if moved = strings.Replace(before, move[0], move[1], 1); moved == before {
			t.Errorf("the rules do not hold %q", move[0])
		}
	}
	folder := t.TempDir()
	for name, text := range map[string]string{"autotune.rules.yml": moved, "autotune.test.yml": string(tests)} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), promtoolPatience)
	defer cancel()
	cmd := osexec.CommandContext(ctx, promtool, "test", "rules", "autotune.test.yml")
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("the tests pass")
	}
	for _, m := range regexp.MustCompile(`(?m)- alert: (\w+)$`).FindAllStringSubmatch(moved, -1) {
		if !strings.Contains(string(out), "alertname: "+m[1]+",") && !strings.Contains(string(out), `alertname="`+m[1]+`"`) {
			t.Errorf("no test of %s noticed:\n%s", m[1], out)
		}
	}
}

// promtoolPatience is for a busy machine: promtool opens a database for each test.
const promtoolPatience = 2 * time.Minute

// A real Prometheus scrapes a live pool: names, values and native histograms
// arrive, and the rules load and evaluate.
func TestARealPrometheusScrapesALivePoolAndEvaluatesTheRules(t *testing.T) {
	binary := program(t, "prometheus")
	p := open(t, pgtest.DSN(t), 3, live)
	app := httptest.NewServer(Handler(New(p, Options{Pool: "main"})))
	defer app.Close()
	for range 5 {
		exec(t, p, "select pg_sleep(0.002)")
	}

	folder := t.TempDir()
	rules, err := filepath.Abs("rules/autotune.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`
global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}
rule_files: [%q]
scrape_configs:
  - job_name: app
    static_configs: [{targets: [%q]}]
`, rules, app.Listener.Addr().String())
	if err := os.WriteFile(filepath.Join(folder, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	var log bytes.Buffer
	ctx, stop := context.WithCancel(t.Context())
	cmd := osexec.CommandContext(ctx, binary, "--config.file="+filepath.Join(folder, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(folder, "data"),
		"--web.listen-address="+address, "--enable-feature=native-histograms", "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		_ = cmd.Wait() // interrupted
		if t.Failed() {
			t.Logf("Prometheus said:\n%s", log.String())
		}
	}()

	value := func(query string) (v string, err error) {
		var answer struct {
			Data struct {
				Result []struct{ Value [2]any }
			}
		}
		if err := api(address, "query?query="+url.QueryEscape(query), &answer); err != nil {
			return "", err
		}
		if len(answer.Data.Result) != 1 {
			return "", fmt.Errorf("%s has %d results", query, len(answer.Data.Result))
		}
		return fmt.Sprint(answer.Data.Result[0].Value[1]), nil
	}
	const main = `{pool="main",job="app"}`
	for query, want := range map[string]string{
		"up{job=\"app\"}":                                                         "1",
		"autotune_max_connections" + main:                                         "3",
		"autotune_completions_total" + main:                                       "5",
		"histogram_count(autotune_service_seconds" + main + ")":                   "5", // the native one
		"histogram_quantile(1, autotune_service_seconds" + main + ") >bool 0.002": "1",
		"count(autotune_decisions_total" + main + ")":                             fmt.Sprint(len(actions) * 16),
		"autotune_controller_mode" + `{mode="running"}`:                           "1",
	} {
		eventually(t, func() string {
			if got, err := value(query); err != nil {
				return err.Error()
			} else if got != want {
				return fmt.Sprintf("%s is %s, not %s", query, got, want)
			}
			return ""
		})
	}

	eventually(t, func() string {
		var answer struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Health, State, LastError, LastEvaluation string }
				}
			}
		}
		if err := api(address, "rules", &answer); err != nil {
			return err.Error()
		}
		n := 0
		for _, g := range answer.Data.Groups {
			for _, r := range g.Rules {
				n++
				if r.Health != "ok" {
					return fmt.Sprintf("the rule %s is %s %s", r.Name, r.Health, r.LastError)
				}
				if r.State != "inactive" {
					return fmt.Sprintf("the alert %s is %s for a pool that is well", r.Name, r.State)
				}
			}
		}
		if n != 8 {
			return fmt.Sprintf("%d rules are loaded, not 8", n)
		}
		return ""
	})
}

func api(address, query string, answer any) error {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + address + "/api/v1/" + query)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return json.Unmarshal(body, answer)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
