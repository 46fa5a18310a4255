// Package promtest runs a real Prometheus, of the machine or of its
// distribution's package, against what a test serves.
package promtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/debian"
)

// Bounds of what is waited for: patience for a busy machine, every between two
// questions.
const (
	patience = 30 * time.Second
	every    = 50 * time.Millisecond
)

// Program finds promtool or prometheus, and skips the test where there is neither.
func Program(t testing.TB, name string) string {
	t.Helper()
	p, err := debian.Find(t.Context(), name, "prometheus")
	if err != nil {
		t.Skipf("NOT TESTED: alerts and scraping: %v", err)
	}
	return p.Path
}

// Server is a running Prometheus.
type Server struct {
	address string
	exited  chan struct{}
	log     output
}

// Rule is an alert as the server sees it.
type Rule struct {
	Name, State    string
	Health         string // "ok" once it was evaluated, "err" if that failed
	LastError      string
	LastEvaluation time.Time
}

// Start runs a Prometheus that scrapes /metrics of target, host:port, as the job
// app, and evaluates the rules of a file, both twice a second. It ends with the
// test.
func Start(t testing.TB, target, rules string) *Server {
	t.Helper()
	binary := Program(t, "prometheus")
	rules, err := filepath.Abs(rules)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	config := fmt.Sprintf(`
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: [%q]
scrape_configs:
  - job_name: app
    static_configs: [{targets: [%q]}]
`, rules, target)
	if err := os.WriteFile(filepath.Join(folder, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Server{exited: make(chan struct{}), log: output{listening: make(chan string, 1)}}
	cmd := exec.CommandContext(t.Context(), binary, "--config.file="+filepath.Join(folder, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(folder, "data"),
		"--web.listen-address=127.0.0.1:0", "--enable-feature=native-histograms", "--log.level=info")
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.exited)
		_ = cmd.Wait() // interrupted, or its log says why
	}()
	t.Cleanup(func() { // after the test's context, and so after the interrupt
		<-s.exited
		if t.Failed() {
			t.Logf("Prometheus said:\n%s", s.log.text.String())
		}
	})
	select {
	case s.address = <-s.log.listening:
	case <-s.exited:
		t.Fatal("Prometheus ended at its start")
	case <-time.After(patience):
		t.Fatalf("Prometheus does not listen after %s", patience)
	}
	return s
}

// Expect waits until a query has one result, of a value as Prometheus writes it.
func (s *Server) Expect(t testing.TB, query, want string) {
	t.Helper()
	s.eventually(t, func() error {
		var answer struct {
			Data struct {
				Result []struct{ Value [2]any }
			}
		}
		if err := s.get("query?query="+url.QueryEscape(query), &answer); err != nil {
			return err
		}
		if n := len(answer.Data.Result); n != 1 {
			return fmt.Errorf("%s has %d results", query, n)
		}
		if got := fmt.Sprint(answer.Data.Result[0].Value[1]); got != want {
			return fmt.Errorf("%s is %s, not %s", query, got, want)
		}
		return nil
	})
}

// Evaluated waits until all rules were evaluated after the call, and so over what
// was scraped before it, and gives them; one that fails is an error of the test.
func (s *Server) Evaluated(t testing.TB) []Rule {
	t.Helper()
	called := time.Now()
	var rules []Rule
	s.eventually(t, func() error {
		var answer struct {
			Data struct {
				Groups []struct{ Rules []Rule }
			}
		}
		if err := s.get("rules", &answer); err != nil {
			return err
		}
		rules = nil
		for _, g := range answer.Data.Groups {
			rules = append(rules, g.Rules...)
		}
		for _, r := range rules {
			if !r.LastEvaluation.After(called) {
				return fmt.Errorf("the rule %s was last evaluated at %s, not after %s", r.Name, r.LastEvaluation, called)
			}
		}
		return nil
	})
	for _, r := range rules {
		if r.Health != "ok" {
			t.Errorf("the rule %s is %s: %s", r.Name, r.Health, r.LastError)
		}
	}
	return rules
}

// eventually polls until wrong is nil, and fails with what it said last.
func (s *Server) eventually(t testing.TB, wrong func() error) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		said := wrong()
		if said == nil {
			return
		}
		select {
		case <-s.exited:
			t.Fatalf("Prometheus ended; before: %v", said)
		case <-deadline:
			t.Fatalf("after %s still: %v", patience, said)
		case <-tick.C:
		}
	}
}

func (s *Server) get(question string, answer any) error {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + s.address + "/api/v1/" + question)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return json.Unmarshal(body, answer)
}

// output keeps the log, and tells once where the server listens: a port that
// nobody else can have taken in between.
type output struct {
	text      bytes.Buffer // to be read after the end of the server
	listening chan string  // of one
	told      bool
}

var listeningOn = regexp.MustCompile(`msg="Listening on".* address=(127\.0\.0\.1:\d+)\s`)

func (o *output) Write(p []byte) (int, error) {
	o.text.Write(p)
	if m := listeningOn.FindSubmatch(o.text.Bytes()); m != nil && !o.told {
		o.listening <- string(m[1])
		o.told = true
	}
	return len(p), nil
}
