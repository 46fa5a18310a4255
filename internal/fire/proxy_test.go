package fire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// proxy is a toxiproxy in this process between a pool and its server.
type proxy struct {
	*toxiproxy.Proxy
	t testing.TB
}

func newProxy(t testing.TB, dsn string) (p *proxy, through string) {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p = &proxy{toxiproxy.NewProxy(server, "db", "127.0.0.1:0", hostport(t, dsn)), t}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Toxics.ResetToxics(t.Context())
		p.Stop()
	})
	return p, at(t, dsn, p.Listen)
}

// poison adds a toxic in both directions, or one if it is named.
func (p *proxy) poison(kind, attributes string, toxicity float64, streams ...string) {
	p.t.Helper()
	if len(streams) == 0 {
		streams = []string{"upstream", "downstream"}
	}
	for _, s := range streams {
		text := fmt.Sprintf(`{"type":%q,"stream":%q,"toxicity":%g,"attributes":%s}`, kind, s, toxicity, attributes)
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *proxy) heal() { p.Toxics.ResetToxics(p.t.Context()) }

// liar is a proxy that passes everything on as it is, except for the rows that
// the server sends to the controller's own connection: their values it replaces
// by nonsense, as long as lying is set.
type liar struct {
	l       net.Listener
	to      string
	mu      sync.Mutex
	lying   bool // guarded by mu
	told    int  // guarded by mu: values replaced
	rng     *rand.Rand
	running sync.WaitGroup
}

func newLiar(t testing.TB, dsn string) (l *liar, through string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l = &liar{l: listener, to: hostport(t, dsn), rng: rand.New(rand.NewPCG(3, 4))}
	l.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.running.Go(func() { l.serve(conn) })
		}
	})
	t.Cleanup(func() { listener.Close(); l.running.Wait() })
	return l, at(t, dsn, listener.Addr().String())
}

func (l *liar) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer server.Close()
	startup, err := readSized(client, 0)
	if err != nil {
		return
	}
	if _, err := server.Write(startup); err != nil {
		return
	}
	victim := strings.Contains(string(startup), "application_name\x00autotune\x00")
	var up sync.WaitGroup
	defer up.Wait()
	up.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	})
	for {
		m, err := readSized(server, 1)
		if err != nil {
			_ = client.Close()
			return
		}
		if victim && m[0] == 'D' {
			m = l.twist(m)
		}
		if _, err := client.Write(m); err != nil {
			_ = server.Close()
			return
		}
	}
}

// readSized reads a message whose length stands after so many bytes.
func readSized(r io.Reader, after int) ([]byte, error) {
	head := make([]byte, after+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[after:]))
	if n < 4 || n > 1<<24 {
		return nil, errors.New("not a message")
	}
	m := append(head, make([]byte, n-4)...)
	_, err := io.ReadFull(r, m[after+4:])
	return m, err
}

// twist replaces the values of a DataRow.
func (l *liar) twist(m []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.lying {
		return m
	}
	fields := int(binary.BigEndian.Uint16(m[5:]))
	out := append([]byte(nil), m[:7]...)
	rest := m[7:]
	for range fields {
		n := int(int32(binary.BigEndian.Uint32(rest)))
		value := []byte(nil)
		if n >= 0 {
			value = append(value, rest[4:4+n]...)
			rest = rest[4+n:]
		} else {
			rest = rest[4:]
		}
		if l.rng.IntN(2) == 0 {
			l.told++
			switch l.rng.IntN(6) {
			case 0:
				value = nil
			case 1:
				value = []byte("NaN")
			case 2:
				value = []byte("-9223372036854775808")
			case 3:
				value = []byte("2147483647")
			default: // of the same length, so that binary values are read
				for i := range value {
					value[i] = byte(l.rng.Uint32())
				}
			}
		}
		if value == nil {
			out = binary.BigEndian.AppendUint32(out, 0xffffffff)
			continue
		}
		out = binary.BigEndian.AppendUint32(out, uint32(len(value)))
		out = append(out, value...)
	}
	binary.BigEndian.PutUint32(out[1:], uint32(len(out)-1))
	return out
}
