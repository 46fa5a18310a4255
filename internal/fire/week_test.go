package fire

import (
	"context"
	"math"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/pgautotune/autotune"
)

// peer speaks just enough of PostgreSQL's protocol to be the other end of a
// connection within a bubble of virtual time, where no network reaches: it lets
// everybody in, takes service for each statement and answers it with no rows. To
// the controller it answers with an error: in this week the controller is blind.
// It serves no other test; everything else here runs on a real server.
func peer(conn net.Conn, service time.Duration) {
	defer conn.Close()
	be := pgproto3.NewBackend(conn, conn)
	first, err := be.ReceiveStartupMessage()
	if err != nil {
		return
	}
	blind := false
	if m, ok := first.(*pgproto3.StartupMessage); ok {
		blind = m.Parameters["application_name"] == "autotune"
	}
	be.Send(&pgproto3.AuthenticationOk{})
	be.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	be.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
	be.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
	be.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for be.Flush() == nil {
		m, err := be.Receive()
		if err != nil {
			return
		}
		q, ok := m.(*pgproto3.Query)
		if !ok {
			return
		}
		switch {
		case blind:
			be.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "0A000", Message: "the peer of the test is no database"})
		case strings.HasPrefix(q.String, "--"): // a ping
			be.Send(&pgproto3.EmptyQueryResponse{})
		default:
			time.Sleep(service) // virtual: the time that the statement takes
			be.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")})
		}
		be.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	}
}

// TestSoakAWeek lets the real pool, tuner loop, gate, budget and generations live for
// a week of virtual time, or six hours: lifetimes end, idle connections are reaped,
// the load goes up and down with the hour, and a swap comes every six hours.
func TestSoakAWeek(t *testing.T) {
	hours := pick(7*24, 6)
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		cfg, err := autotune.ParseConfig("postgres://week@peer.invalid/week?sslmode=disable&pool_max_conns=8&default_query_exec_mode=simple_protocol&pool_max_conn_lifetime=1h&pool_max_conn_idle_time=20m")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Interval = time.Minute
		cfg.Pool.ConnConfig.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"192.0.2.1"}, nil }
		cfg.Pool.ConnConfig.DialFunc = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go peer(theirs, 50*time.Millisecond)
			return ours, nil
		}
		p, err := autotune.NewWithConfig(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		asked := int64(0)
		for hour := range hours {
			// From 1 caller at night to 11 at noon.
			callers := 1 + int(10*math.Pow(math.Sin(math.Pi*float64(hour%24)/24), 2))
			for range 60 {
				done := make(chan error, callers)
				for range callers {
					asked++
					go func() {
						_, err := p.Exec(context.Background(), "select 1", pgx.QueryExecModeSimpleProtocol)
						done <- err
					}()
				}
				for range callers {
					if err := <-done; err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Minute)
			}
			if hour%6 == 5 {
				if err := p.Resize(context.Background(), autotune.Size{Max: 4 + hour%5}); err != nil {
					t.Fatal(err)
				}
			}
		}
		passed := time.Since(start)
		s := p.Snapshot()
		if s.Arrivals != asked || s.Completions != asked || s.Failed+s.Canceled != 0 || s.InUse+s.Queued != 0 || s.OpenPeak > 8 {
			t.Errorf("of %d: %+v", asked, s)
		}
		connects, swaps := s.Connects, s.Swaps
		p.Close()
		if s := p.Snapshot(); s.Open != 0 {
			t.Errorf("%d are open after Close", s.Open)
		}
		figure(t, "soak", "virtual time, the real pool against a peer in memory", "%s: %d acquires = %d completions, %d connects, %d swaps, at most %d of 8 open",
			passed.Round(time.Hour), asked, s.Completions, connects, swaps, s.OpenPeak)
	})
	took := time.Since(began)
	if took > time.Minute {
		t.Errorf("it took %s", took)
	}
	figure(t, "soak", "real time of it", "%s", took.Round(time.Millisecond))
}
