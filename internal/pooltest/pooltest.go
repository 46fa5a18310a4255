// Package pooltest runs a real PgBouncer, of the machine or of its distribution's
// package, in front of a server, for tests and for the proof of recommend.
package pooltest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/debian"
)

// Pooler is a running PgBouncer.
type Pooler struct {
	cmd    *exec.Cmd
	folder string
	exited chan struct{}
	server *pgx.ConnConfig
	Port   int
}

// Start runs a PgBouncer in transaction mode with so many server connections to
// the database of dsn. extra lines go into [pgbouncer].
func Start(ctx context.Context, dsn string, size int, extra string) (_ *Pooler, err error) {
	program, err := debian.Find(ctx, "pgbouncer", "pgbouncer")
	if err != nil {
		return nil, err
	}
	p := &Pooler{exited: make(chan struct{})}
	if p.server, err = pgx.ParseConfig(dsn); err != nil {
		return nil, err
	}
	if p.folder, err = os.MkdirTemp("", "autotune-pgbouncer-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(p.folder))
		}
	}()
	if p.Port, err = freePort(); err != nil {
		return nil, err
	}
	c := p.server
	config := fmt.Sprintf(`[databases]
%s = host=%s port=%d dbname=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = %d
max_client_conn = 1000
ignore_startup_parameters = extra_float_digits
%s
`, c.Database, c.Host, c.Port, c.Database, c.User, c.Password, p.Port, size, extra)
	file := filepath.Join(p.folder, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	// The account that runs it may not reach the cache of this one.
	if program, err = program.Copy(filepath.Join(p.folder, "tree")); err != nil {
		return nil, err
	}
	p.cmd = exec.Command(program.Path, "-q", file)
	p.cmd.Env = program.Env()
	if os.Geteuid() == 0 { // which it refuses to run as
		if err := p.asNobody(file); err != nil {
			return nil, err
		}
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.cmd.Wait(); close(p.exited) }()
	if err := p.ready(ctx); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (p *Pooler) asNobody(file string) error {
	who, err := user.Lookup("nobody")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(who.Uid)
	gid, _ := strconv.Atoi(who.Gid)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return errors.Join(os.Chown(p.folder, uid, gid), os.Chown(file, uid, gid))
}

// ready waits until it serves.
func (p *Pooler) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for {
		conn, err := pgx.Connect(ctx, p.DSN("ready"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.exited:
			return fmt.Errorf("pgbouncer ended: %v", p.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("pgbouncer does not serve: %w", err)
		case <-pause.C:
		}
	}
}

// DSN leads through the pooler.
func (p *Pooler) DSN(application string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s user=%s application_name=%s sslmode=disable", p.Port, p.server.Database, p.server.User, application)
}

// Stop ends it and waits until it is gone.
func (p *Pooler) Stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // a pooler has nothing to lose
	<-p.exited
	return os.RemoveAll(p.folder)
}
