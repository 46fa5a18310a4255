package dashboard

import (
	"crypto/tls"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/redact"
)

// settingsGroup is a part of the configuration.
type settingsGroup struct {
	Name string `json:"name"`
	Rows []fact `json:"rows"`
}

func settingsOf(s Source) *autotune.Config {
	if c, ok := s.(configured); ok {
		return c.Settings()
	}
	return nil
}

// describe is the configuration in words. It names what may be shown, one by
// one; whatever is not named here, be it a password, a key or a setting invented
// later, is not shown.
func describe(s Source) []settingsGroup {
	c := settingsOf(s)
	if c == nil {
		return []settingsGroup{}
	}
	groups := []settingsGroup{{"Controller", controllerRows(c)}}
	if c.Pool != nil {
		groups = append(groups, settingsGroup{"Pool", poolRows(c)})
		if c.Pool.ConnConfig != nil {
			groups = append(groups, settingsGroup{"Connection", connectionRows(c.Pool.ConnConfig)})
		}
	}
	return groups
}

func controllerRows(c *autotune.Config) []fact {
	return []fact{
		{"controller", pick(c.Manual, "switched off", "on")},
		{"profile", string(c.Profile)},
		{"objective", string(c.Objective)},
		{"wait objective (p99)", orNone(c.WaitObjective)},
		{"floor", strconv.Itoa(c.Floor)},
		{"ceiling", strconv.Itoa(c.Ceiling)},
		{"budget", strconv.Itoa(c.Budget)},
		{"interval", span(c.Interval)},
		{"swap timeout", span(c.SwapTimeout)},
		{"drain timeout", span(c.DrainTimeout)},
		{"journal", pick(c.Journal != nil, "written", "none")},
	}
}

func poolRows(c *autotune.Config) []fact {
	p := c.Pool
	return []fact{
		{"max now", strconv.Itoa(int(p.MaxConns))},
		{"min now", strconv.Itoa(int(p.MinConns))},
		{"acquire timeout", orNone(c.AcquireTimeout)},
		{"connect retry", orNone(c.ConnectRetry)},
		{"validated before use", pick(c.ValidateBeforeUse, "always", "after a second idle")},
		{"lifetime of a connection", orNone(p.MaxConnLifetime)},
		{"lifetime jitter", orNone(p.MaxConnLifetimeJitter)},
		{"idle time of a connection", orNone(p.MaxConnIdleTime)},
		{"health check period", span(p.HealthCheckPeriod)},
	}
}

// shownParameters are the server parameters whose values may be shown. Others
// can hold anything, such as a token in options, so only their names are.
var shownParameters = []string{"application_name", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
	"search_path", "timezone", "client_encoding", "work_mem", "hnsw.ef_search", "hnsw.iterative_scan", "ivfflat.probes", "jit",
	"default_transaction_isolation", "default_transaction_read_only"}

func connectionRows(c *pgx.ConnConfig) []fact {
	rows := []fact{
		{"host", c.Host},
		{"port", strconv.Itoa(int(c.Port))},
		{"database", redact.Database(c.Database)},
		{"user", c.User},
		{"password", pick(c.Password != "", "set, not shown", "none in the configuration")},
		{"TLS", encryption(c.TLSConfig)},
		{"connect timeout", orNone(c.ConnectTimeout)},
		{"query mode", c.DefaultQueryExecMode.String()},
		{"statement cache", strconv.Itoa(c.StatementCacheCapacity)},
	}
	for _, f := range c.Fallbacks {
		if f.Host != c.Host || f.Port != c.Port {
			rows = append(rows, fact{"further host", fmt.Sprintf("%s:%d", f.Host, f.Port)})
		}
	}
	names := make([]string, 0, len(c.RuntimeParams))
	for name := range c.RuntimeParams {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		value := "set, not shown"
		if slices.Contains(shownParameters, name) {
			value = c.RuntimeParams[name]
		}
		rows = append(rows, fact{redact.Database(name), value}) // what follows an unescaped ? in a password is one too
	}
	return rows
}

func encryption(t *tls.Config) string {
	switch {
	case t == nil:
		return "off"
	case t.InsecureSkipVerify && t.VerifyPeerCertificate == nil && t.VerifyConnection == nil:
		return "on, the server's certificate is not verified"
	}
	return "on, the server's certificate is verified"
}

func pick(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

func orNone(d time.Duration) string {
	if d <= 0 {
		return "none"
	}
	return span(d)
}
