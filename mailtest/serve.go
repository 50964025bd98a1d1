package mailtest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/miekg/dns"
)

// DialContext connects to the zone as to a name server, whatever the address.
// It makes a Zone the Dialer of a DNS client, "udp" and "tcp", inside a
// synctest bubble too:
//
//	client := &resolver.Client{Servers: []string{"192.0.2.53"}, Dialer: zone}
func (z *Zone) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	if network == "tcp" || network == "tcp4" || network == "tcp6" {
		go z.serveStream(far)
	} else {
		go z.servePackets(far)
	}
	return near, nil
}

// servePackets answers until the client closes: each Write is a datagram.
func (z *Zone) servePackets(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if reply := z.reply(context.Background(), buf[:n], "udp"); reply != nil {
			if _, err := conn.Write(reply); err != nil {
				return
			}
		}
	}
}

// serveStream answers until the client closes: a length stands before each
// message (RFC 1035, 4.2.2).
func (z *Zone) serveStream(conn net.Conn) {
	defer conn.Close()
	var length [2]byte
	for {
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		if reply := z.reply(context.Background(), query, "tcp"); reply != nil {
			if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
				return
			}
		}
	}
}

// Start serves the zone over UDP and TCP on a port of 127.0.0.1 until the
// test ends, and returns the address.
func (z *Zone) Start(t testing.TB) string {
	t.Helper()
	packets, stream, err := listenTwice()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		if m := z.respond(ctx, query, w.LocalAddr().Network()); m != nil {
			w.WriteMsg(m)
		}
	})
	udp := &dns.Server{PacketConn: packets, Handler: handler}
	tcp := &dns.Server{Listener: stream, Handler: handler}
	done := make(chan error, 2)
	for _, server := range []*dns.Server{udp, tcp} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { done <- server.ActivateAndServe() }()
		<-started
	}
	t.Cleanup(func() {
		cancel()
		udp.Shutdown()
		tcp.Shutdown()
		<-done
		<-done
	})
	return packets.LocalAddr().String()
}

// listenTwice finds a port that is free for UDP and TCP.
func listenTwice() (net.PacketConn, net.Listener, error) {
	for try := 0; ; try++ {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		stream, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, stream, nil
		}
		packets.Close()
		if try == 20 {
			return nil, nil, err
		}
	}
}

// reply answers a packed query; nil is no answer.
func (z *Zone) reply(ctx context.Context, packed []byte, network string) []byte {
	query := new(dns.Msg)
	if query.Unpack(packed) != nil || len(query.Question) != 1 {
		return nil
	}
	m := z.respond(ctx, query, network)
	if m == nil {
		return nil
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// respond is a validating recursive server's answer to a query.
func (z *Zone) respond(ctx context.Context, query *dns.Msg, network string) *dns.Msg {
	q := query.Question[0]
	a, err := z.ask(ctx, q.Name, q.Qtype)
	if err != nil || a.silence {
		return nil
	}
	m := new(dns.Msg).SetRcode(query, a.rcode)
	m.RecursionAvailable = true
	m.Answer = a.records
	size := dns.MinMsgSize
	opt := query.IsEdns0()
	if opt != nil {
		size = max(size, int(opt.UDPSize()))
		m.SetEdns0(dns.DefaultMsgSize, opt.Do())
	}
	m.AuthenticatedData = a.secure && (query.AuthenticatedData || opt != nil && opt.Do()) // RFC 6840, 5.7
	if len(m.Answer) == 0 && a.soa != nil {
		m.Ns = []dns.RR{a.soa}
	}
	if network == "udp" {
		m.Truncate(size)
	}
	return m
}
