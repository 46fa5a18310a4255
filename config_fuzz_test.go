package autotune

import (
	"strings"
	"testing"
)

// FuzzParseConfig reads connection strings and the environment as a stranger may
// write them: there is a configuration that validates or an error, never a panic,
// and the error holds no password.
func FuzzParseConfig(f *testing.F) {
	f.Add("postgres://u:pass-w0rd@localhost/db?pool_max_conns=4", "10s", "vector", "50")
	f.Add("host=localhost password=pass-w0rd pool_min_conns=2", "1500", "batch", "0")
	f.Add("postgres://u:pass-w0rd@[::1:5432/db", "-1s", "nonsense", "99999999999")
	f.Add("", "1e9", "AUTO", " 7 ")
	f.Fuzz(func(t *testing.T, dsn, timeout, profile, count string) {
		if strings.Contains(dsn, "service") || strings.Contains(dsn, "file") || strings.Contains(dsn, "ssl") || strings.Contains(dsn, "krb") {
			t.Skip("names a file of this machine")
		}
		env := map[string]string{"AUTOTUNE_PROFILE": profile, "DB_MAX_CONNECTIONS": count, "DB_MIN_CONNECTIONS": count,
			"DB_CONNECTION_TIMEOUT": timeout, "DB_STATEMENT_TIMEOUT": timeout, "DB_ENABLE_PREPARED_STATEMENTS": profile, "DB_ENABLE_CONNECTION_VALIDATION": count}
		cfg, err := parseConfig(dsn, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
		if err == nil {
			var settings profileSettings
			if cfg, settings, err = cfg.complete(); err == nil {
				if cfg.Floor < 1 || cfg.Ceiling < cfg.Floor || cfg.Budget < cfg.Ceiling || settings.start.Max < cfg.Floor ||
					settings.start.Max > cfg.Ceiling || settings.start.Min < 0 || settings.start.Min > settings.start.Max || cfg.AcquireTimeout < 0 {
					t.Errorf("validated: floor %d, ceiling %d, budget %d, start %+v, acquire timeout %s", cfg.Floor, cfg.Ceiling, cfg.Budget, settings.start, cfg.AcquireTimeout)
				}
			}
		}
		if err != nil && strings.Contains(err.Error(), "pass-w0rd") && !strings.Contains(timeout+profile+count, "pass-w0rd") {
			t.Errorf("the password is in the error: %v", err)
		}
	})
}
