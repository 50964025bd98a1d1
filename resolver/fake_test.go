package resolver_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/sqmail/sqmail/resolver"
)

// A handler answers a query, or not at all if it returns nothing.
type handler func(network string, query *dns.Msg) []*dns.Msg

// network is an in-memory internet of name servers, by address and port. It
// works inside a synctest bubble.
type network struct {
	servers map[string]handler

	mu   sync.Mutex
	asks []string // "network address name type" in order
}

func (n *network) DialContext(_ context.Context, proto, address string) (net.Conn, error) {
	h, found := n.servers[address]
	if !found {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	go n.serve(far, proto, address, h)
	return near, nil
}

// serve answers one query; the client ends the connection.
func (n *network) serve(conn net.Conn, proto, address string, h handler) {
	defer conn.Close()
	query := new(dns.Msg)
	if query.Unpack(readPacket(conn, proto)) != nil {
		return
	}
	q := query.Question[0]
	n.mu.Lock()
	n.asks = append(n.asks, proto+" "+address+" "+q.Name+" "+dns.Type(q.Qtype).String())
	n.mu.Unlock()
	for _, m := range h(proto, query) {
		wire, _ := m.Pack()
		if proto == "tcp" {
			wire = append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)
		}
		if _, err := conn.Write(wire); err != nil {
			return
		}
	}
	io.Copy(io.Discard, conn)
}

func readPacket(conn net.Conn, proto string) []byte {
	buf := make([]byte, 64<<10)
	n, _ := conn.Read(buf)
	if proto == "tcp" && n > 2 {
		return buf[2:n]
	}
	return buf[:n]
}

func (n *network) asked() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.asks...)
}

// zone answers with the records of a zone file that a query asks for, aliases
// followed, as a recursive server does.
func zone(t testing.TB, records ...string) handler {
	t.Helper()
	var all []dns.RR
	for _, r := range records {
		rr, err := dns.NewRR(r)
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		all = append(all, rr)
	}
	return func(_ string, query *dns.Msg) []*dns.Msg { return []*dns.Msg{answerFrom(all, query)} }
}

var soa, _ = dns.NewRR("test. 300 IN SOA ns.test. root.test. 1 1 1 1 60")

func answerFrom(all []dns.RR, query *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(query)
	m.RecursionAvailable = true
	name, exists := query.Question[0].Name, false
	for range 20 {
		alias := ""
		exists = false
		for _, rr := range all {
			if !dns.IsSubDomain(name, rr.Header().Name) {
				continue
			}
			exists = true
			if rr.Header().Name != dns.CanonicalName(name) {
				continue
			}
			if c, ok := rr.(*dns.CNAME); ok {
				alias = c.Target
			}
			if rr.Header().Rrtype == query.Question[0].Qtype || alias != "" {
				m.Answer = append(m.Answer, rr)
			}
		}
		if alias == "" || query.Question[0].Qtype == dns.TypeCNAME {
			break
		}
		name = alias
	}
	if !exists {
		m.Rcode = dns.RcodeNameError
	}
	m.Ns = append(m.Ns, soa)
	return m
}

const (
	ns1 = "192.0.2.1:53"
	ns2 = "192.0.2.2:53"
)

// client returns a client of ns1 and ns2.
func client(h1, h2 handler) (*resolver.Client, *network) {
	n := &network{servers: map[string]handler{ns1: h1, ns2: h2}}
	return &resolver.Client{Servers: []string{"192.0.2.1", ns2}, Dialer: n}, n
}

func silent(string, *dns.Msg) []*dns.Msg { return nil }

func withCode(code int) handler {
	return func(_ string, query *dns.Msg) []*dns.Msg {
		return []*dns.Msg{new(dns.Msg).SetRcode(query, code)}
	}
}

// listen starts a real server on loopback, and returns its address.
func listen(t *testing.T, h handler) string {
	t.Helper()
	pc, l := listenTwice(t)
	mux := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		for _, m := range h(w.LocalAddr().Network(), query) {
			w.WriteMsg(m)
		}
	})
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: mux}, {Listener: l, Handler: mux}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			s.ShutdownContext(ctx)
		})
	}
	return pc.LocalAddr().String()
}

// listenTwice finds a port that is free for UDP and TCP.
func listenTwice(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 50 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if l, err := net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			return pc, l
		}
		pc.Close()
	}
	t.Fatal("no port is free for both")
	return nil, nil
}
