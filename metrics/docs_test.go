package metrics

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgautotune/autotune"
	watch "github.com/pgautotune/autotune/internal/advice/live"
	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

func TestTheDocumentationListsTheMetricsAsTheyAre(t *testing.T) {
	const path = "../docs/metrics.md"
	want := markdown()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the code says; write it anew with: go test ./metrics -run Documentation -update", path)
	}
}

// markdown is docs/metrics.md.
func markdown() string {
	var b strings.Builder
	b.WriteString(`# Metrics

<!-- Made from metrics/table.go and internal/advice/live/metrics.go by: go test ./metrics -run Documentation -update -->

` + "`metrics.Handler(metrics.New(pool, metrics.Options{}))`" + ` serves these to Prometheus. With
` + "`Options.Pool`" + ` set, each has the label ` + "`pool`" + ` too. One scrape is one snapshot of the
pool. What is not known is left out, and not 0. Times are in seconds, shares from 0
to 1. Histograms have classic buckets from 100 µs to a minute, and native ones (four
to a doubling) for a Prometheus that asks for them.

` + "`autotune demo --listen`" + ` and ` + "`autotune bench --listen`" + ` serve them at ` + "`/metrics`" + `; those of
a benchmark have the label ` + "`pool`" + `, and are there while that pool is open.

Alerts are in ` + "`metrics/rules`" + `, with a runbook in [operating.md](operating.md); a Grafana
board is in ` + "`metrics/grafana`" + `.
`)
	group := ""
	for _, m := range table {
		if m.group != group {
			group = m.group
			fmt.Fprintf(&b, "\n## %s\n\n| name | type | labels | meaning |\n|---|---|---|---|\n", group)
		}
		labels := "–"
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind(), labels, m.help)
	}
	b.WriteString(`
## autotune watch

` + "`autotune watch --listen`" + ` serves these at ` + "`/metrics`" + ` instead, about the server that
it watches and its last answer. They have no label ` + "`pool`" + `.

| name | type | labels | meaning |
|---|---|---|---|
`)
	for _, m := range watch.Table {
		label, kind := "–", "gauge"
		if m.Label != "" {
			label = "`" + m.Label + "`"
		}
		if m.Counter {
			kind = "counter"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, kind, label, m.Help)
	}
	b.WriteString(`
## OpenTelemetry

The semantic conventions have these names for metrics of connection pools. The label
` + "`pool`" + ` is their attribute ` + "`db.client.connection.pool.name`" + `.

| semantic convention | here |
|---|---|
`)
	for _, m := range table {
		if m.otel != "" {
			fmt.Fprintf(&b, "| `%s` | `%s` |\n", m.otel, m.name)
		}
	}
	b.WriteString("| `db.client.connection.create_time` | not measured for each connection; `autotune_connect_wait_seconds_total` is what callers waited for it |\n" +
		"| `db.client.connection.idle.max` | pgxpool has no such limit |\n" + `
Traces: a tracer such as otelpgx in ` + "`Config.Pool.ConnConfig.Tracer`" + ` sees acquires
(queueing included), queries, batches and copies as it does in a plain pgxpool, across
hot-swaps too.
`)
	return b.String()
}

func (m metric) kind() string {
	switch {
	case m.histogram != nil:
		return "histogram"
	case m.counter:
		return "counter"
	}
	return "gauge"
}

var metricName = regexp.MustCompile(`\bautotune_[a-z_]+`)

// exported are the names that a query may use.
func exported() map[string]string {
	names := map[string]string{}
	for _, m := range table {
		names[m.name] = m.name
		if m.histogram != nil {
			for _, suffix := range []string{"_count", "_sum", "_bucket"} {
				names[m.name+suffix] = m.name
			}
		}
	}
	return names
}

func TestNamesFollowTheRulesOfPrometheus(t *testing.T) {
	p := open(t, pgtest.DSN(t), 2, live)
	c := New(p, Options{Pool: "main"})
	eventually(t, func() string {
		if p.Snapshot().LookedAt.IsZero() {
			return "no look yet"
		}
		return ""
	})
	problems, err := testutil.CollectAndLint(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	seen := map[string]bool{}
	for _, m := range table {
		if seen[m.name] || !strings.HasPrefix(m.name, "autotune_") || (strings.HasSuffix(m.name, "_total") != m.counter) {
			t.Errorf("%s (%s): twice, without the prefix, or _total on what is no counter", m.name, m.kind())
		}
		seen[m.name] = true
	}
}

func TestSeveralPoolsShareARegistryByName(t *testing.T) {
	one, two := open(t, pgtest.DSN(t), 1), open(t, pgtest.DSN(t), 2)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(New(one, Options{Pool: "one"}), New(two, Options{Pool: "two"}))
	n, err := testutil.GatherAndCount(registry, "autotune_max_connections", "autotune_acquire_wait_seconds")
	if err != nil || n != 4 {
		t.Errorf("%d series of 2 metrics of 2 pools: %v", n, err)
	}
	if err := registry.Register(New(two, Options{Pool: "two"})); err == nil {
		t.Error("the same pool is registered twice")
	}
}

// secret is in no metric, as a value or a label, however the pool fares.
func TestNoMetricHoldsThePassword(t *testing.T) {
	const secret = "hunter2hunter2"
	p := open(t, "postgres://somebody:"+secret+"@127.0.0.1:1/none?sslmode=disable", 1, live, func(c *autotune.Config) { c.ConnectRetry = -1 })
	if err := p.Ping(within(t)); err == nil {
		t.Fatal("something listens on port 1")
	}
	for series := range scrape(t, New(p, Options{})) {
		if strings.Contains(series, secret) || strings.Contains(series, "somebody") {
			t.Errorf("%s tells who logs in", series)
		}
	}
}

// board is the part of a Grafana board that tests read.
type board struct {
	Annotations struct{ List []struct{ Expr string } }
	Panels      []struct {
		Type, Title, Description string
		Targets                  []struct{ Expr string }
	}
}

func TestTheBoardShowsEveryMetricAndNoOther(t *testing.T) {
	text, err := os.ReadFile("grafana/autotune.json")
	if err != nil {
		t.Fatal(err)
	}
	var b board
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	names, shown := exported(), map[string]bool{}
	use := func(where, expr string) {
		found := metricName.FindAllString(expr, -1)
		if len(found) == 0 {
			t.Errorf("%s: %q uses no metric", where, expr)
		}
		for _, name := range found {
			if names[name] == "" {
				t.Errorf("%s: %q uses %s, which is not exported", where, expr, name)
			}
			shown[names[name]] = true
		}
	}
	annotated := false
	for _, a := range b.Annotations.List {
		if a.Expr != "" {
			use("annotation", a.Expr)
			annotated = annotated || strings.Contains(a.Expr, "autotune_decisions_total")
		}
	}
	if !annotated {
		t.Error("decisions are not annotations")
	}
	var rows []string
	for _, p := range b.Panels {
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		if len(p.Targets) == 0 || p.Title == "" {
			t.Errorf("the panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			use(p.Title, target.Expr)
		}
	}
	if want := []string{"Objective met?", "Decisions", "Pool", "Server", "Estimates", "Health"}; !slices.Equal(rows, want) {
		t.Errorf("the rows are %q, not %q", rows, want)
	}
	for _, m := range table {
		if !shown[m.name] {
			t.Errorf("the board does not show %s", m.name)
		}
	}
}

// Each alert uses metrics that exist, and its runbook is a section of the manual;
// each runbook is of an alert.
func TestEachAlertHasARunbook(t *testing.T) {
	rules, err := os.ReadFile("rules/autotune.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	names := exported()
	for _, name := range metricName.FindAllString(string(rules), -1) {
		if names[name] == "" {
			t.Errorf("the rules use %s, which is not exported", name)
		}
	}
	var alerts, runbooks, sections []string
	for _, m := range regexp.MustCompile(`(?m)- alert: (\w+)$`).FindAllStringSubmatch(string(rules), -1) {
		alerts = append(alerts, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)runbook: docs/operating\.md#(\w+)$`).FindAllStringSubmatch(string(rules), -1) {
		runbooks = append(runbooks, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^### (Autotune\w+)$`).FindAllStringSubmatch(string(manual), -1) {
		sections = append(sections, m[1])
	}
	if !slices.Equal(alerts, sections) {
		t.Errorf("the alerts are %q, the runbooks in docs/operating.md %q", alerts, sections)
	}
	for i, a := range alerts {
		if i >= len(runbooks) || runbooks[i] != strings.ToLower(a) {
			t.Errorf("the alert %s links to another runbook", a)
		}
	}
}
