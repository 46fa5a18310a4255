package pgstat

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// ApplicationName is the application_name of the reader's own connection.
const ApplicationName = "autotune"

// Defaults of [Config].
const (
	// DefaultTimeout is two of the tuner's usual sampling intervals: a later
	// answer describes a moment that has passed.
	DefaultTimeout = 2 * time.Second

	// DefaultFactsTimeout is ample for a catalog of 100,000 tables, and short
	// enough to not delay a loop that asks every few minutes.
	DefaultFactsTimeout = 5 * time.Second

	// PatientConnect is how long a command that a person has started waits for a
	// server that wakes up or is far away, unless connect_timeout says otherwise.
	PatientConnect = 15 * time.Second
)

// ErrClosed is returned by every method of a [Reader] after [Reader.Close].
var ErrClosed = errors.New("pgstat: the reader is closed")

// ErrSetUp is in the error where a connection came about and its first statements
// failed, which have no timeout but that of the role.
var ErrSetUp = errors.New("setting up the reader's own connection")

// Config says which server to read, whose backends are "ours", and how long a
// read may take.
type Config struct {
	// ConnConfig is where and as whom to connect: normally that of the tuned
	// pool. It must come from [pgx.ParseConfig]; a copy is made. Hooks that
	// belong to the pool's connections (Tracer, AfterConnect, notices) are not
	// called. DialFunc, LookupFunc, TLS and ValidateConnect stay, because
	// without them the server may be out of reach; so pass the config from
	// before a budget of connections was put into DialFunc.
	ConnConfig *pgx.ConnConfig

	// BeforeConnect, if set, may change the copied config before each
	// connection, as the field of the same name in pgxpool.Config does: tokens
	// that expire are renewed here.
	BeforeConnect func(context.Context, *pgx.ConnConfig) error

	// Database, User and ApplicationName tell the tuned pool's backends from
	// others. Empty Database and User mean those the reader is connected as;
	// empty ApplicationName means the application_name of ConnConfig, and if
	// that is empty too, backends without a name.
	Database        string
	User            string
	ApplicationName string
	// AnyUser and AnyApplication count the backends of every role, or with every
	// application name, as ours: for a census of a whole database.
	AnyUser        bool
	AnyApplication bool

	// Timeout bounds Read, connecting included. Default [DefaultTimeout].
	Timeout time.Duration

	// FactsTimeout bounds Facts and CheckVector, connecting included. Default
	// [DefaultFactsTimeout].
	FactsTimeout time.Duration

	// ConnectTimeout is what Facts may take beyond that to connect to each host, for
	// those who ask once and would rather wait; 0: connecting is within FactsTimeout
	// and Timeout.
	ConnectTimeout time.Duration

	// Logger receives connects at Debug. Nil is silent.
	Logger *slog.Logger
}

// Reader reads one PostgreSQL server over one connection, which it opens when
// it is first needed and again after it broke. There is never more than one: a
// broken connection is gone before the next is dialled. Its methods are safe for
// concurrent use and take turns; waiting for the turn counts against the
// timeout.
type Reader struct {
	cfg     Config
	connect *pgx.ConnConfig // ours alone; copied for each connection
	poolApp string          // raw application_name of the tuned pool

	// turn holds the right to use the fields below. A channel instead of a
	// mutex, because waiting for it must end with the context.
	turn chan struct{}

	closing atomic.Bool // Close was called; may be read without the turn

	closed  bool
	conn    *pgx.Conn
	app     string          // application_name of the tuned pool as the server writes it
	pooled  bool            // a pooler stands between us and the server
	cleanup <-chan struct{} // closed when the last connection is gone from the server's view
}

// Open makes a reader. It does not connect, so it cannot fail; a nil ConnConfig
// panics.
func Open(cfg Config) *Reader {
	if cfg.ConnConfig == nil {
		panic("pgstat: Open needs Config.ConnConfig, made by pgx.ParseConfig")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.FactsTimeout <= 0 {
		cfg.FactsTimeout = DefaultFactsTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Reader{cfg: cfg, connect: cfg.ConnConfig.Copy(), turn: make(chan struct{}, 1)}
	r.poolApp = cfg.ApplicationName
	if r.poolApp == "" {
		r.poolApp = r.connect.RuntimeParams["application_name"]
	}
	return r
}

// Close ends the connection and waits until it is gone or ctx is done; a read that
// is under way then ends it. Closing twice is fine.
func (r *Reader) Close(ctx context.Context) error {
	r.closing.Store(true)
	switch err := r.take(ctx); {
	case errors.Is(err, ErrClosed):
		return nil
	case err != nil:
		select {
		case r.turn <- struct{}{}: // the read has ended before it could know
		default:
			return err
		}
	}
	defer r.give()
	return r.end(ctx)
}

// end closes the connection for good. The turn is held.
func (r *Reader) end(ctx context.Context) error {
	r.closed = true
	if r.conn == nil {
		return nil
	}
	err := r.conn.Close(ctx)
	r.conn = nil
	if gone := r.waitCleanup(ctx); gone != nil {
		return fmt.Errorf("pgstat: closing the reader's connection: %w", gone)
	}
	if err != nil {
		return fmt.Errorf("pgstat: closing the reader's connection: %w", err)
	}
	return nil
}

// session runs read with the connection in hand, opening it first if need be,
// and all of it within timeout. what completes the sentence "cannot …".
func (r *Reader) session(ctx context.Context, timeout time.Duration, what string, read func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := r.take(bounded)
	if err == nil {
		defer r.give()
		if err = r.ensure(bounded, r.cfg.Timeout); err == nil {
			err = read(bounded)
		}
	}
	switch {
	case err == nil, errors.Is(err, ErrClosed):
		return err
	case ctx.Err() == nil && bounded.Err() != nil:
		return fmt.Errorf("pgstat: cannot %s: no answer within %v; the server hangs, is overloaded or is out of reach, and the next read tries again: %w", what, timeout, err)
	default:
		return fmt.Errorf("pgstat: cannot %s: %w", what, err)
	}
}

// connectPatiently opens the connection if there is none, within ConnectTimeout for
// each host.
func (r *Reader) connectPatiently(ctx context.Context) error {
	patience := time.Duration(hosts(r.connect)) * r.cfg.ConnectTimeout
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := r.take(bounded)
	if err == nil {
		defer r.give()
		err = r.ensure(bounded, patience)
	}
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("pgstat: cannot connect: %w", err)
}

func (r *Reader) take(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("another read holds the connection: %w", ctx.Err())
	}
	if r.closed {
		r.give()
		return ErrClosed
	}
	return nil
}

func (r *Reader) give() {
	if r.closing.Load() && !r.closed { // Close could not wait for this turn
		ctx, cancel := context.WithTimeout(context.Background(), r.cfg.Timeout)
		defer cancel()
		_ = r.end(ctx) // nobody is left to be told
	}
	<-r.turn
}

// ensure leaves a usable connection in r.conn, within timeout for all hosts.
func (r *Reader) ensure(ctx context.Context, timeout time.Duration) error {
	if r.conn != nil && !r.conn.IsClosed() {
		return nil
	}
	r.conn = nil
	if err := r.waitCleanup(ctx); err != nil {
		return err
	}
	cfg := r.connect.Copy()
	if r.cfg.BeforeConnect != nil {
		if err := r.cfg.BeforeConnect(ctx, cfg); err != nil {
			return fmt.Errorf("the BeforeConnect hook failed: %w", err)
		}
	}
	conn, err := pgx.ConnectConfig(ctx, ownConfig(cfg, timeout))
	if err != nil {
		return fmt.Errorf("the reader's own connection (it is not one of the pool) failed: %w", err)
	}
	r.conn, r.cleanup = conn, conn.PgConn().CleanupDone()
	if err := r.greet(ctx); err != nil {
		// A connection without its seat belts must not be used.
		_ = conn.Close(ctx)
		return fmt.Errorf("%w: %w", ErrSetUp, err)
	}
	r.cfg.Logger.DebugContext(ctx, "statistics connection opened",
		"backend_pid", conn.PgConn().PID(), "pooler", r.pooled)
	return nil
}

// ownConfig turns the pool's config into the reader's.
func ownConfig(cfg *pgx.ConnConfig, timeout time.Duration) *pgx.ConnConfig {
	cfg.Tracer = nil
	cfg.AfterConnect = nil
	cfg.AfterNetConnect = nil
	cfg.OnNotice = nil
	cfg.OnNotification = nil
	// The pool's handlers may report to the pool, or delay what ends a read.
	cfg.OnPgError = func(_ *pgconn.PgConn, err *pgconn.PgError) bool {
		return err.SeverityUnlocalized != "FATAL"
	}
	cfg.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
	}
	// Without prepared statements unless asked for one by one, see query.
	if cfg.DefaultQueryExecMode != pgx.QueryExecModeSimpleProtocol {
		cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	cfg.StatementCacheCapacity = 16 // this package has fewer statements
	if cfg.ConnectTimeout <= 0 || cfg.ConnectTimeout > timeout {
		cfg.ConnectTimeout = timeout
	}
	// That is of one address. Where the first does not answer, the next (host=a,b) has
	// to have its turn before the context, which bounds their sum, is done.
	if share := timeout / time.Duration(hosts(cfg)); share < cfg.ConnectTimeout {
		cfg.ConnectTimeout = share
	}
	if cfg.RuntimeParams == nil {
		cfg.RuntimeParams = make(map[string]string)
	}
	// The only startup parameter of our own: poolers refuse those they do not
	// know. Those of the pool stay, so that settings.sql sees what the pool's
	// sessions start with; but a role that the session switches to would hide
	// the login role's own backends.
	cfg.RuntimeParams["application_name"] = ApplicationName
	delete(cfg.RuntimeParams, "role")
	delete(cfg.RuntimeParams, "session_authorization")
	return cfg
}

// Patience is the connect_timeout of a config, PatientConnect where it has none.
func Patience(cfg *pgx.ConnConfig) time.Duration {
	if cfg.ConnectTimeout > 0 {
		return cfg.ConnectTimeout
	}
	return PatientConnect
}

// DatabaseOf is the database that a config connects to: where it names none, that of
// the user's name.
func DatabaseOf(cfg *pgx.ConnConfig) string {
	if cfg.Database != "" {
		return cfg.Database
	}
	return cfg.User
}

// NextPause is how long to wait after a read that failed, by the pause before (0: the
// last one went well): 1 s, doubling up to 5. A server that refuses must not be asked
// ten times a second.
func NextPause(last time.Duration) time.Duration {
	return min(5*time.Second, max(time.Second, 2*last))
}

// hosts is how many a config names; the same again is the same without TLS.
func hosts(cfg *pgx.ConnConfig) int {
	all := map[string]bool{address(cfg.Host, cfg.Port): true}
	for _, f := range cfg.Fallbacks {
		all[address(f.Host, f.Port)] = true
	}
	return len(all)
}

func address(host string, port uint16) string { return host + ":" + strconv.Itoa(int(port)) }

// greet learns what stands at the other end and fastens the seat belts.
func (r *Reader) greet(ctx context.Context) error {
	var pid uint32
	err := r.conn.QueryRow(ctx, statement("hello"), r.poolApp).Scan(&pid, &r.app)
	if err != nil {
		return err
	}
	r.pooled = pid != r.conn.PgConn().PID()
	if r.pooled {
		return nil // every query brings its own, see query
	}
	_, err = r.conn.Exec(ctx, statement("guard"), r.serverTimeout(), false)
	return err
}

// query runs one read-only statement and hands over its rows, in one round
// trip.
//
// On a direct connection it is a prepared statement in the guarded session.
// Behind a pooler a session setting or a prepared statement would surface in
// somebody else's session, so there it travels with its guard inside one
// transaction that leaves nothing behind.
func (r *Reader) query(ctx context.Context, sql string, args []any, scan func(pgx.Rows) error) error {
	if !r.pooled {
		mode := pgx.QueryExecModeCacheStatement
		if r.connect.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
			mode = pgx.QueryExecModeSimpleProtocol // somebody chose it for a reason
		}
		rows, err := r.conn.Query(ctx, sql, append([]any{mode}, args...)...)
		if err != nil {
			return err
		}
		return drain(rows, scan)
	}
	// In exec mode each statement of the batch is parsed only after the one
	// before it ran, so the guarded search_path holds for the parser too.
	var batch pgx.Batch
	batch.Queue("begin read only")
	batch.Queue(statement("guard"), r.serverTimeout(), true)
	batch.Queue(sql, args...).Query(func(rows pgx.Rows) error { return drain(rows, scan) })
	batch.Queue("commit")
	err := r.conn.SendBatch(ctx, &batch).Close()
	if err != nil && !r.conn.IsClosed() && r.conn.PgConn().TxStatus() != 'I' {
		// Refused midway: hand the backend back to the pooler clean, or not
		// at all.
		if _, undo := r.conn.Exec(ctx, "rollback"); undo != nil {
			_ = r.conn.Close(ctx)
		}
	}
	return err
}

func drain(rows pgx.Rows, scan func(pgx.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// serverTimeout is the statement_timeout: the server's own bound, for the case
// that this process is gone and nobody cancels, and for one statement of Facts
// that is too slow: the others still have time.
func (r *Reader) serverTimeout() string {
	return strconv.FormatInt(max(r.cfg.Timeout, r.cfg.FactsTimeout/2).Milliseconds(), 10)
}

// waitCleanup waits until the last connection has left. pgx ends a connection
// whose context expired in the background (it cancels the query first), for up
// to 15 s if the server hangs.
func (r *Reader) waitCleanup(ctx context.Context) error {
	if r.cleanup == nil {
		return nil
	}
	select {
	case <-r.cleanup:
		r.cleanup = nil
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the last connection is still being ended: %w", ctx.Err())
	}
}

//go:embed sql/*.sql
var files embed.FS

// statement is the text of sql/name.sql. A name without a file is a bug of this
// package.
func statement(name string) string {
	text, err := files.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err)
	}
	return string(text)
}
