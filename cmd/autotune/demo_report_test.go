package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pgautotune/autotune/internal/pgtest"
	"github.com/pgautotune/autotune/internal/sizing"
)

// change is one line of the decisions.
func change(at float64, action string, reason sizing.Reason, limitFrom, limit, maxFrom, high int, bound sizing.Bound) demoChange {
	return demoChange{At: at, Phase: "search rush", Action: action, Reason: string(reason), Sentence: sentence(reason), Bound: string(bound),
		LimitFrom: limitFrom, Limit: limit, MaxFrom: maxFrom, Max: high}
}

// turn is a line between the two limits of a trial.
func turn(at float64, from, to, high int) demoChange {
	c := change(at, "grow", sizing.Learning, from, to, high, high, sizing.NoBound)
	c.Turn = true
	return c
}

func TestTheReportAsAPersonReadsIt(t *testing.T) {
	tuned := &demoResult{
		Server: demoServer{PostgreSQL: "17.5", PGVector: "0.8.0", Throwaway: true, ClientCores: 2},
		Data:   demoData{Vectors: 20000, Dimensions: 128}, Pool: demoSettings{Tuned: true, Profile: "auto", Clients: 64},
		Requests: 1_234_567,
		Phases: []demoPhase{
			{Name: "quiet", Requests: 300, Throughput: 50.2, P50: 0.71, P99: 1.26, InUse: 0.06, LimitLow: 4, LimitHigh: 4, MaxLow: 4, MaxHigh: 4},
			{Name: "search rush", Requests: 1_234_267, Throughput: 41_142.2, P50: 15.04, P99: 12345.6, InUse: 151.25, LimitLow: 100, LimitHigh: 200, MaxLow: 100, MaxHigh: 200, Swaps: 12},
		},
		Decisions: []demoChange{
			change(-0.1, "grow", sizing.Profile, 4, 4, 4, 100, sizing.ProfileBound),
			change(6.2, "grow", sizing.Learning, 4, 8, 100, 100, sizing.NoBound),
			change(6.9, "shrink", sizing.Learning, 8, 2, 100, 100, sizing.NoBound),
			change(7.5, "grow", sizing.Learning, 2, 120, 100, 200, sizing.CeilingBound),
			change(9.5, "shrink", sizing.PastKnee, 120, 2, 200, 200, sizing.NoBound),
			change(14.1, "grow", sizing.Learning, 2, 4, 200, 200, sizing.NoBound),
			turn(14.2, 4, 2, 200), turn(14.3, 2, 4, 200), turn(14.4, 4, 2, 200),
			change(14.5, "shrink", sizing.Learning, 2, 1, 200, 200, sizing.NoBound),
			change(15.2, "grow", sizing.ServerSaturated, 1, 2, 200, 200, sizing.NoBound),
			change(21, "grow", sizing.Learning, 2, 3, 200, 200, sizing.NoBound),
			turn(21.1, 3, 2, 200), turn(21.2, 2, 3, 200), turn(21.3, 3, 2, 200),
			change(29, "grow", sizing.Learning, 2, 3, 200, 200, sizing.NoBound), // another attempt, where the one before ended
			change(29.8, "shrink", sizing.ServerSaturated, 3, 2, 200, 200, sizing.NoBound),
			change(33.3, "shrink", sizing.DemandFell, 2, 2, 200, 8, sizing.NoBound),
		},
	}
	broken := *tuned
	broken.Pool = demoSettings{Fixed: 50, Clients: 64}
	broken.Server.Throwaway = false
	broken.Decisions, broken.Errors = nil, 1200
	broken.Failures = []demoFail{{"ERROR: deadlock detected (SQLSTATE 40P01)", 1199}, {"unexpected EOF", 1}}
	still := *tuned
	still.Decisions = nil
	for name, r := range map[string]*demoResult{"tuned": tuned, "broken": &broken, "still": &still} {
		var b bytes.Buffer
		if err := writeDemoReport(&b, r, style{}); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(b.String(), "\n") {
			if utf8.RuneCountInString(line) > helpWidth {
				t.Errorf("%s: longer than %d: %s", name, helpWidth, line)
			}
		}
		golden(t, filepath.Join("testdata", "report", name+".txt"), b.String())
	}
	if tuned.failure() != nil || broken.failure() == nil || !strings.Contains(broken.failure().Error(), "1,200 of 1,235,767 requests failed") {
		t.Errorf("failures: %v, %v", tuned.failure(), broken.failure())
	}
}

func TestTheDecisionsAreReadFromTheJournalHoweverItIsCut(t *testing.T) {
	const journal = `{"autotune_journal":1,"start":"2025-01-02T03:04:05Z","config":{}}
{"observation":{"at":1000000000,"gauges":{"limit":4,"max":4}},"decision":{"at":1000000000,"action":"hold","reason":"steady","limit":4,"max":4}}
{"observation":{"at":2000000000,"gauges":{"limit":4,"max":4}},"decision":{"at":2000000000,"action":"grow","reason":"demand_rose","limit":8,"max":16}}
`
	for size := 1; size < len(journal); size += 7 {
		l := &decisionLog{}
		for rest := []byte(journal); len(rest) > 0; {
			n, err := l.Write(rest[:min(size, len(rest))])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		changes, err := l.all()
		if err != nil || len(changes) != 1 {
			t.Fatalf("in pieces of %d: %v, %v", size, changes, err)
		}
		c := changes[0]
		if c.limit != 4 || c.decision.Limit != 8 || c.max != 4 || c.decision.Max != 16 || c.decision.Reason != sizing.DemandRose || c.at.Unix() != 1735787047 || l.latest().at != c.at {
			t.Errorf("in pieces of %d: %+v", size, c)
		}
	}
	l := &decisionLog{}
	_, _ = l.Write([]byte("no JSON\n"))
	if _, err := l.all(); err == nil {
		t.Error("what is not a journal was taken")
	}
}

func TestATerminalIsRedrawnInPlaceAndNotesStay(t *testing.T) {
	notATerminal, err := os.Open(os.DevNull) // its size is unknown, so 80 columns
	if err != nil {
		t.Fatal(err)
	}
	defer notATerminal.Close()
	var b bytes.Buffer
	s := &screen{w: &b, file: notATerminal}
	s.note("a note")
	s.step("a step")
	s.draw("one", strings.Repeat("x", 100))
	s.note("another note")
	s.clear()
	const erase = "\x1b[2A\r\x1b[J"
	drawn := "one\n" + strings.Repeat("x", 78) + "…\n"
	if want := "a note\n" + drawn + erase + "another note\n" + drawn + erase; b.String() != want {
		t.Errorf("got  %q\nwant %q", b.String(), want)
	}
	b.Reset()
	s = newScreen(&b, func(string) (string, bool) { return "", false })
	s.note("a note")
	s.step("a step")
	s.draw("drawn")
	s.clear()
	if b.String() != "a note\na step\n" {
		t.Errorf("on a pipe: %q", b.String())
	}
}

func TestSmallPictures(t *testing.T) {
	for got, want := range map[string]string{
		bar(0, 4): "░░░░", bar(0.5, 4): "██░░", bar(7, 4): "████", bar(-1, 4): "░░░░",
		sparkline([]float64{0, 1, 4, 8}, 9): "▁▂▅█", sparkline([]float64{9, 0, 0}, 2): "▁▁", sparkline(nil, 3): "",
		thousands(0): "0", thousands(999): "999", thousands(1000): "1,000", thousands(-1234567): "-1,234,567", thousands(-999): "-999",
		style{on: true}.red("x"): "\x1b[31mx\x1b[0m", style{}.bold("x"): "x",
	} {
		if got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}

// onTerminal runs the demo on a pseudo-terminal and returns all it wrote there.
func onTerminal(t *testing.T, dsn string, env ...string) string {
	t.Helper()
	script, err := exec.LookPath("script")
	if err != nil || runtime.GOOS != "linux" {
		t.Skip("needs the script(1) of util-linux for a pseudo-terminal")
	}
	cmd := exec.CommandContext(t.Context(), script, "-qec", `"$COMMAND" demo --dsn "$DSN" --duration 4s --vectors 500 --clients 4`, os.DevNull)
	cmd.Env = append(os.Environ(), append(env, "COMMAND="+os.Args[0], asCommand+"=1", "DSN="+dsn, "TERM=xterm")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	return string(out)
}

func TestATerminalShowsItLiveAndInColourUnlessNoColor(t *testing.T) {
	const bold = "\x1b[1m"
	live := onTerminal(t, pgtest.DSN(t), "NO_COLOR=")
	for _, part := range []string{"phase 2 of 5, search rush", "done/s", "p99 ms", "\x1b[7A", "█", bold + "500 × 128-d"} {
		if !strings.Contains(live, part) {
			t.Errorf("%q is not in:\n%q", part, live)
		}
	}
	if plain := onTerminal(t, pgtest.DSN(t), "NO_COLOR=1"); strings.Contains(plain, bold) || !strings.Contains(plain, "500 × 128-d") {
		t.Errorf("colour under NO_COLOR:\n%q", plain)
	}
}
