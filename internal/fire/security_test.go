package fire

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "embed"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgautotune/autotune"
)

//go:embed least_privilege.sql
var leastPrivilege string

// script fills in the variables of psql.
func script(role, database, password string) string {
	return strings.NewReplacer(`:"role"`, pgx.Identifier{role}.Sanitize(), `:"database"`, pgx.Identifier{database}.Sanitize(),
		`:'password'`, "'"+password+"'").Replace(leastPrivilege)
}

func sees(t testing.TB, p *autotune.Pool) {
	t.Helper()
	eventually(t, func() string {
		if p.Snapshot().Observation.Server == nil {
			return fmt.Sprintf("the controller does not see the server: %v", p.Health(t.Context()).Reasons)
		}
		return ""
	})
}

func TestSecurityTheLeastPrivilegedRoleIsEnough(t *testing.T) {
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	name, password := "least_"+strings.ToLower(rand.Text()), rand.Text()
	do(t, boss, script(name, boss.Config().Database, password), pgx.QueryExecModeSimpleProtocol)
	t.Cleanup(func() {
		_, _ = boss.Exec(context.Background(), "drop owned by "+name)
		_, _ = boss.Exec(context.Background(), "drop role "+name)
	})
	p := open(t, as(t, dsn, name, password), 4)
	sees(t, p)
	if s := p.Snapshot().Observation.Server; s.Partial {
		t.Error("with pg_read_all_stats the view is partial")
	}
	for _, sql := range []string{"create table mine ()", "alter system set work_mem = '1GB'", "select pg_read_file('PG_VERSION')", "create extension vector"} {
		if _, err := p.Exec(t.Context(), sql); err == nil {
			t.Errorf("the role may: %s", sql)
		}
	}
	do(t, boss, "revoke pg_read_all_stats from "+name)
	p.Reset()
	sees(t, p)
	closes(t, p)
	figure(t, "security", "least-privilege role", "login and connect suffice; it may not create, read files or set anything")
}

// An operator or a function that stands in front of pg_catalog in search_path is
// taken by every query that does not name its schema. Each of these leaves a
// trace when it is called.
func TestSecurityAHostileSchemaInFrontIsNeverEntered(t *testing.T) {
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	do(t, boss, `create schema hostile;
		create table hostile.caught (what text);
		grant all on schema hostile to public; grant all on hostile.caught to public;
		create function hostile.trap(what text) returns void language sql as $$ insert into hostile.caught values (what) $$;
		create function hostile.eq(a text, b text) returns bool language plpgsql as $$ begin perform hostile.trap('operator ='); return true; end $$;
		create operator hostile.= (leftarg = text, rightarg = text, function = hostile.eq);
		create function hostile.namecmp(a name, b text) returns bool language plpgsql as $$ begin perform hostile.trap('operator = of name'); return true; end $$;
		create operator hostile.= (leftarg = name, rightarg = text, function = hostile.namecmp);
		create function hostile.count(a bigint) returns bigint language plpgsql as $$ begin perform hostile.trap('count'); return 1; end $$;
		create function hostile.pg_backend_pid() returns int language plpgsql as $$ begin perform hostile.trap('pg_backend_pid'); return 1; end $$;
		create function hostile.set_config(a text, b text, c bool) returns text language plpgsql as $$ begin perform hostile.trap('set_config'); return b; end $$;
		create function hostile.current_setting(a text) returns text language plpgsql as $$ begin perform hostile.trap('current_setting'); return '1'; end $$;
		create function hostile.clock_timestamp() returns timestamptz language plpgsql as $$ begin perform hostile.trap('clock_timestamp'); return null; end $$;
		create table hostile.pg_stat_activity (pid int); create table hostile.pg_settings (name text); create table hostile.pg_class (oid oid);
		create table hostile.pg_stat_database (datname name); create table hostile.pg_extension (extname name); create table hostile.pg_roles (rolname name)`, pgx.QueryExecModeSimpleProtocol)
	hostile := with(t, dsn, "search_path", "hostile, pg_catalog, public")
	// The trap has to work, or it proves nothing.
	victim, err := pgx.Connect(t.Context(), hostile)
	if err != nil {
		t.Fatal(err)
	}
	var path string
	var pid int
	if err := victim.QueryRow(t.Context(), "select pg_backend_pid(), setting from pg_catalog.pg_settings where name::text operator(pg_catalog.=) 'search_path'").Scan(&pid, &path); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(path, "hostile,") {
		t.Fatalf("search_path is %q", path)
	}
	_ = victim.Close(t.Context())
	if n := count(t, boss, "select pg_catalog.count(*) from hostile.caught"); n != 1 {
		t.Fatalf("the trap caught %d", n)
	}
	p := open(t, hostile, 4, func(c *autotune.Config) {
		if common(t).HasVector() {
			c.Profile = autotune.ProfileVector // its checks run on connections of the pool
		}
	})
	sees(t, p)
	s := p.Snapshot().Observation.Server
	if s.MaxConnections != 200 {
		t.Errorf("max_connections is read as %d", s.MaxConnections)
	}
	if err := p.Resize(t.Context(), autotune.Size{Max: 3}); err != nil {
		t.Fatal(err)
	}
	_ = p.Health(t.Context())
	closes(t, p)
	if n := count(t, boss, "select pg_catalog.count(*) from hostile.caught"); n != 1 {
		var what string
		_ = boss.QueryRow(t.Context(), "select string_agg(distinct what, ', ') from hostile.caught").Scan(&what)
		t.Errorf("the hostile schema was entered %d times: %s", n-1, what)
	}
	figure(t, "security", "hostile schema in front of pg_catalog", "never entered, everything seen as it is")
}

func TestSecurityTelemetryIsReadOnlyAndBounded(t *testing.T) {
	long(t, "chaos")
	leakFree(t)
	server := ours(t, map[string]string{"log_statement": "all"})
	dsn := server.DSN()
	boss := admin(t, dsn)
	before := count(t, boss, "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint from pg_stat_all_tables where schemaname not in ('pg_catalog', 'information_schema', 'pg_toast')")
	p := open(t, dsn, 4)
	sees(t, p)
	var app, readOnly, timeout string
	eventually(t, func() string {
		// What the controller's own session has set can be read only by itself:
		// so look at what it may do by the text of its last statement.
		err := boss.QueryRow(t.Context(), "select application_name, query, state from pg_stat_activity where application_name = 'autotune'").Scan(&app, &readOnly, &timeout)
		if err != nil {
			return err.Error()
		}
		return ""
	})
	if text := strings.ToLower(readOnly); !strings.Contains(text, "select") && !strings.Contains(text, "with") {
		t.Errorf("the controller runs %q", readOnly)
	}
	guard, err := os.ReadFile("../pgstat/sql/guard.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, belt := range []string{"'default_transaction_read_only', 'on'", "'statement_timeout'", "'lock_timeout'", "'search_path', 'pg_catalog'"} {
		if !bytes.Contains(guard, []byte(belt)) {
			t.Errorf("guard.sql does not set %s", belt)
		}
	}
	// As it is set in a session of the same kind.
	for _, sql := range []string{"create table t ()", "select pg_sleep(60)"} {
		conn := admin(t, dsn)
		if _, err := conn.Exec(t.Context(), string(guard), pgx.QueryExecModeExec, "200", false); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := conn.Exec(t.Context(), sql); err == nil || time.Since(start) > 5*time.Second {
			t.Errorf("in a guarded session %s: %v after %s", sql, err, time.Since(start))
		}
	}
	after := count(t, boss, "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint from pg_stat_all_tables where schemaname not in ('pg_catalog', 'information_schema', 'pg_toast')")
	if after != before {
		t.Errorf("%d rows were written", after-before)
	}
	figure(t, "security", "telemetry", "read-only, bounded by statement_timeout and lock_timeout, writes nothing")
}

// certificates makes a CA and a certificate of the server for one host.
func certificates(t testing.TB, host string) (ca, cert, key []byte) {
	t.Helper()
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	sign := func(template, parent *x509.Certificate, pub *ecdsa.PrivateKey, by *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &pub.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	caKey, serverKey := newKey(), newKey()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "throwaway CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		DNSNames: []string{host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.MarshalECPrivateKey(serverKey)
	if err != nil {
		t.Fatal(err)
	}
	return encode("CERTIFICATE", sign(root, root, caKey, caKey)), encode("CERTIFICATE", sign(leaf, root, serverKey, caKey)), encode("EC PRIVATE KEY", der)
}

func TestSecurityVerifyFull(t *testing.T) {
	leakFree(t)
	server := ours(t, nil)
	boss := admin(t, server.DSN())
	ca, cert, key := certificates(t, "localhost")
	var dir string
	if err := boss.QueryRow(t.Context(), "show data_directory").Scan(&dir); err != nil {
		t.Fatal(err)
	}
	// The server writes its own files: its folder may lie in another root, and
	// a key has to belong to it.
	for name, text := range map[string][]byte{"server.crt": cert, "server.key": key} {
		do(t, boss, fmt.Sprintf("copy (select unnest(string_to_array('%s', E'\\n'))) to program 'umask 077; cat > %s/%s'", strings.TrimSpace(string(text)), dir, name))
	}
	do(t, boss, "alter system set ssl = on")
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(caFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(hostport(t, server.DSN()))
	if err != nil {
		t.Fatal(err)
	}
	verify := func(host, root string) string {
		return with(t, at(t, server.DSN(), net.JoinHostPort(host, port)), "sslmode", "verify-full", "sslrootcert", root)
	}
	p := open(t, verify("localhost", caFile), 4)
	var tls bool
	if err := p.QueryRow(t.Context(), "select ssl from pg_stat_ssl where pid = pg_backend_pid()").Scan(&tls); err != nil || !tls {
		t.Fatalf("TLS %t, %v", tls, err)
	}
	sees(t, p)
	if n := count(t, admin(t, verify("localhost", caFile)), "select count(*) from pg_stat_activity a join pg_stat_ssl s using (pid) where application_name = 'autotune' and not ssl"); n > 0 {
		t.Error("the controller's own connection is in the clear")
	}
	if err := p.Resize(t.Context(), autotune.Size{Max: 2}); err != nil {
		t.Error(err)
	}
	otherCA, _, _ := certificates(t, "localhost")
	otherFile := filepath.Join(t.TempDir(), "other.crt")
	if err := os.WriteFile(otherFile, otherCA, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, dsn := range map[string]string{"another CA": verify("localhost", otherFile), "another name": verify("127.0.0.1", caFile)} {
		bad := open(t, dsn, 2, func(c *autotune.Config) { c.ConnectRetry = -1 })
		if err := bad.Ping(t.Context()); err == nil {
			t.Errorf("a certificate of %s was accepted", what)
		}
	}
	figure(t, "security", "TLS verify-full with a throwaway CA", "pool, controller and a swap encrypted; another CA and another name refused")
}

func TestSecurityNoPasswordAnywhere(t *testing.T) {
	leakFree(t)
	dsn := database(t)
	boss := admin(t, dsn)
	roled := cheapRole(t, boss, dsn)
	u, err := url.Parse(roled)
	if err != nil {
		t.Fatal("not a URL")
	}
	first, _ := u.User.Password()
	const second, wrong = "a-second-S3CRET", "a-wrong-S3CRET"
	var everything buffer
	say := func(v any) {
		fmt.Fprintf(&everything, "%v\n%+v\n", v, v)
		if text, err := json.Marshal(v); err == nil {
			_, _ = everything.Write(text)
		}
	}
	p := open(t, roled, 4, logTo(&everything), func(c *autotune.Config) { c.Journal, c.ConnectRetry = &everything, -1 })
	sees(t, p)
	set := func(password string) error {
		return p.Reconfigure(t.Context(), func(c *pgxpool.Config) error { c.ConnConfig.Password = password; return nil })
	}
	say(set(wrong))
	do(t, boss, "alter role "+u.User.Username()+" password '"+second+"'", pgx.QueryExecModeSimpleProtocol)
	do(t, boss, "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = $1", u.User.Username())
	say(p.Ping(t.Context()))
	say(p.Resize(t.Context(), autotune.Size{Max: 3}))
	say(p.Health(t.Context()))
	say(set(second))
	sees(t, p)
	say(p.Snapshot())
	say(p.Decision())
	for _, bad := range []string{strings.Replace(roled, "127.0.0.1", "no-such-host.invalid", 1), strings.Replace(roled, "postgres://", "postgres://%zz", 1), roled + "&pool_max_conns=many", roled + "&sslmode=nonsense",
		"host=h port=x password = " + wrong, "host=h port=x PASSWORD=" + wrong, "postgres://me:a@" + wrong + "@h:x/db", "host=h password='a " + wrong} {
		q, err := autotune.New(t.Context(), bad)
		say(err)
		if q != nil {
			say(q.Ping(t.Context()))
			q.Close()
		}
	}
	closes(t, p)
	text := everything.String()
	if len(text) < 5000 || !strings.Contains(text, "28P01") {
		t.Errorf("%d bytes, no refusal among them: it proves nothing", len(text))
	}
	for i, secret := range []string{first, second, wrong} {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("password %d is out: …%s…", i, strings.ReplaceAll(text[max(0, at-200):at], secret, "***"))
		}
	}
	figure(t, "security", "passwords in log, journal, errors, health, snapshot, JSON", "none in %d bytes", len(text))
}
