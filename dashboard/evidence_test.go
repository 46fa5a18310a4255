package dashboard

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/model"
	"github.com/pgautotune/autotune/internal/sizing"
)

func TestWhatADecisionDoesIsSaid(t *testing.T) {
	now := controller.Gauges{Limit: 4, Max: 8, Min: 1}
	for want, d := range map[string]autotune.Decision{
		"limit stays 4":                     {Limit: 4, Max: 8, Min: 1},
		"limit 4 → 6":                       {Limit: 6, Max: 8, Min: 1},
		"max 8 → 16":                        {Limit: 4, Max: 16, Min: 1},
		"limit 4 → 12, max 8 → 24":          {Limit: 12, Max: 24, Min: 1},
		"limit 4 → 2, max 8 → 4, min 1 → 0": {Limit: 2, Max: 4},
	} {
		if got := what(&now, &d); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}

func TestAKneeThatIsNotKnownIsSaidToBeUnknown(t *testing.T) {
	for _, c := range []struct {
		knee model.Knee
		says string
	}{
		{model.Knee{}, "not learned yet"},
		{model.Knee{N: 8, Lower: 8, Upper: 8, Identified: true}, "8 connections"},
		{model.Knee{N: 8, Lower: 6, Upper: 12, Identified: true}, "6–12 cannot be told apart"},
		{model.Knee{N: 8, Missing: model.MissingAbove, SeenMax: 16}, "still rose at 16"},
		{model.Knee{N: 8, Missing: model.MissingPoints}, "fewer than three"},
		{model.Knee{N: 8, Missing: model.MissingBend}, "missing: bend"},
	} {
		if got := kneeText(&c.knee); !strings.Contains(got, c.says) || c.knee.Identified == strings.HasPrefix(got, "not ") {
			t.Errorf("%+v: %q", c.knee, got)
		}
	}
	learning := autotune.Decision{Reason: sizing.Learning}
	learning.Estimate.Knee = model.Knee{N: 8, Lower: 8, Upper: 8, Identified: true}
	if got := viewKnee(&learning, false).Text; !strings.Contains(got, "when last learned") {
		t.Errorf("while learning: %q", got)
	}
	if got := viewKnee(&learning, true).Text; got != unknown {
		t.Errorf("never looked: %q", got)
	}
}

func TestEvidenceSaysWhatCouldNotBeSeen(t *testing.T) {
	text := func(o autotune.Observation) string {
		b, err := json.Marshal(entry(autotune.Change{Observation: o, Decision: autotune.Decision{Reason: sizing.Blind}}))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if blind := text(autotune.Observation{}); !strings.Contains(blind, "unknown: it could not be read") || strings.Contains(blind, "CPU") {
		t.Errorf("blind: %s", blind)
	}
	partly := text(autotune.Observation{Server: &controller.Server{Others: 3, Partial: true}, Host: &controller.Host{CPU: math.NaN(), Cores: 2}})
	for _, part := range []string{"at least 3", `"cores of the server","value":"unknown"`, "unknown of 2 cores"} {
		if !strings.Contains(partly, part) {
			t.Errorf("%q is not in %s", part, partly)
		}
	}
}

func TestTimesAreReadable(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 870 * time.Nanosecond: "0.87 µs", 872_400: "872 µs", 5_148 * time.Microsecond: "5.15 ms", 1234 * time.Millisecond: "1.23 s",
		90 * time.Second: "1m30s", time.Hour: "1h", 90 * time.Minute: "1h30m",
	} {
		if got := duration(d); got != want {
			t.Errorf("%d: %q instead of %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{time.Second: "1s", time.Minute: "1m", 30 * time.Minute: "30m", time.Hour: "1h", 20 * time.Second: "20s", 10 * time.Minute: "10m", time.Hour + time.Second: "1h0m1s"} {
		if got := span(d); got != want {
			t.Errorf("%d: %q instead of %q", d, got, want)
		}
	}
}

// pgx takes what follows an unescaped / or ? in a password for something else.
func TestTheSettingsShowNoPartOfAPassword(t *testing.T) {
	for _, dsn := range []string{"postgres://me:5432/s3cretTail@h/db", "postgres://me:5432?s3cretTail@h/db=x"} {
		cfg, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		rows := fmt.Sprint(connectionRows(cfg))
		if strings.Contains(rows, "s3cretTail") || !strings.Contains(rows, "5432") {
			t.Errorf("of %s are shown %s", dsn, rows)
		}
	}
}

func TestEncryptionIsNamedForWhatItIs(t *testing.T) {
	verify := func(tls.ConnectionState) error { return nil }
	for _, c := range []struct {
		tls  *tls.Config
		says string
	}{
		{nil, "off"},
		{&tls.Config{InsecureSkipVerify: true}, "is not verified"},
		{&tls.Config{InsecureSkipVerify: true, VerifyConnection: verify}, "is verified"}, // pgx's verify-ca does this
		{&tls.Config{ServerName: "db"}, "is verified"},
	} {
		if got := encryption(c.tls); !strings.Contains(got, c.says) {
			t.Errorf("%q instead of %q", got, c.says)
		}
	}
}
