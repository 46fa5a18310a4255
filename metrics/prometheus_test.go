package metrics

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/internal/promtest"
)

func TestEachAlertFiresAboveItsThresholdAndIsSilentAtIt(t *testing.T) {
	promtool := promtest.Program(t, "promtool")
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
	promtool := promtest.Program(t, "promtool")
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
		{"> 0) > 0.05", "> 0) >= 0.05"}, {"visible == 0", "visible == 1"},
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
	// At the usual interval: what is scraped twice a second is older than five of
	// live's looks, and would be a stall.
	p := open(t, pgtest.DSN(t), 3, live, func(cfg *autotune.Config) { cfg.Interval = time.Second })
	app := httptest.NewServer(Handler(New(p, Options{Pool: "main"})))
	defer app.Close()
	for range 5 {
		exec(t, p, "select pg_sleep(0.002)")
	}

	prometheus := promtest.Start(t, app.Listener.Addr().String(), "rules/autotune.rules.yml")
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
		prometheus.Expect(t, query, want)
	}
	rules := prometheus.Evaluated(t)
	for _, r := range rules {
		if r.State != "inactive" {
			t.Errorf("the alert %s is %s for a pool that is well", r.Name, r.State)
		}
	}
	if len(rules) != 10 {
		t.Errorf("%d rules are loaded, not 10", len(rules))
	}
}
