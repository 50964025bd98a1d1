package resolver

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	ednsSize = 1232 // fits every path without fragments (RFC 9715)

	// maxForged is how many datagrams that do not answer the question are
	// passed over before TCP is tried, which cannot be forged blindly.
	maxForged = 16
)

// datagrams lends buffers for UDP. A server may ignore the size asked for.
var datagrams = sync.Pool{New: func() any { b := make([]byte, 4096); return &b }}

// resolve asks until there is a result, following aliases that the server did
// not follow.
func (c *Client) resolve(ctx context.Context, q question) *result {
	whole := reading{ttl: maxTTL}
	whole.answer.Authenticated = true
	name, size := q.name, 0
	for {
		m, s, err := c.ask(ctx, question{name, q.t})
		if err != nil {
			return c.failure(q, s, err)
		}
		r, err := read(m, question{name, q.t})
		if err != nil {
			return c.failure(q, s, err)
		}
		size += 4 * m.Len()
		whole.join(r, m.AuthenticatedData && (c.TrustAD || s.loopback))
		if len(whole.answer.Aliases) > maxAliases {
			return c.failure(q, s, errTooDeep)
		}
		if r.next == "" {
			return whole.result(q, s, size)
		}
		name = r.next
	}
}

// join adds a further response to what is known.
func (r *reading) join(next reading, authenticated bool) {
	next.answer.Aliases = append(r.answer.Aliases, next.answer.Aliases...)
	next.answer.Authenticated = r.answer.Authenticated && authenticated
	next.ttl = min(r.ttl, next.ttl)
	*r = next
}

func (r *reading) result(q question, s *server, size int) *result {
	if r.notFound != nil {
		return &result{err: notFound(q.name, s.address, r.notFound), until: time.Now().Add(r.ttl)}
	}
	return &result{answer: &r.answer, until: time.Now().Add(r.ttl), size: size}
}

func (c *Client) failure(q question, s *server, err error) *result {
	return &result{err: failed(q.name, s.address, err), until: time.Now().Add(failureTTL)}
}

// ask puts q to one server after the other until one knows. It returns the
// server that was asked last, also with an error.
func (c *Client) ask(ctx context.Context, q question) (m *dns.Msg, s *server, err error) {
	for round := range rounds {
		if round > 0 && !pause(ctx, round) {
			break
		}
		silent := false
		for _, s = range c.servers.inOrder(c.Servers, time.Now()) {
			m, err = c.askServer(ctx, s, q)
			if err == nil {
				s.answered()
				return m, s, nil
			}
			if ctx.Err() != nil {
				return nil, s, context.Cause(ctx)
			}
			c.log().DebugContext(ctx, "name server failed", "server", s.address, "name", q.name, "type", q.t.String(), "err", err)
			if isTimeout(err) {
				s.timedOut(time.Now())
			}
			silent = silent || err != errRefused
		}
		if !silent {
			break // they all answered that they cannot say
		}
	}
	if s == nil {
		s, err = &server{}, errRefused
	}
	return nil, s, err
}

// pause waits a moment that grows with each round and differs from caller to
// caller.
func pause(ctx context.Context, round int) bool {
	t := time.NewTimer(rand.N(time.Duration(round) * 250 * time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// askServer asks s, by TCP if its answer does not fit a datagram, and without
// EDNS if it knows none (RFC 6891, 6.2.2).
func (c *Client) askServer(ctx context.Context, s *server, q question) (*dns.Msg, error) {
	m, err := c.askBoth(ctx, s, q, true)
	if err == errFormat {
		m, err = c.askBoth(ctx, s, q, false)
	}
	if err != nil {
		return nil, err
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, errRefused
	}
	return m, nil
}

func (c *Client) askBoth(ctx context.Context, s *server, q question, edns bool) (*dns.Msg, error) {
	m, err := c.exchange(ctx, "udp", s, q, edns)
	if err == errForged || err == nil && m.Truncated {
		m, err = c.exchange(ctx, "tcp", s, q, edns)
		if err == nil && m.Truncated {
			return nil, errTruncated
		}
	}
	if err == nil && edns && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) {
		return nil, errFormat
	}
	return m, err
}

// exchange sends one query over a connection of its own, so that each has a
// source port of its own (RFC 5452, 9.2), and waits for the answer.
func (c *Client) exchange(ctx context.Context, network string, s *server, q question, edns bool) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	conn, err := c.dialer().DialContext(ctx, network, s.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()

	query, err := newQuery(q, edns)
	if err != nil {
		return nil, err
	}
	if network == "tcp" {
		return overTCP(conn, query, q)
	}
	return overUDP(conn, query, q)
}

func newQuery(q question, edns bool) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.Id = uint16(rand.Uint32())
	m.RecursionDesired = true
	m.AuthenticatedData = true // tell us if you validated it (RFC 6840, 5.7)
	m.Question = []dns.Question{{Name: q.name, Qtype: uint16(q.t), Qclass: dns.ClassINET}}
	if edns {
		m.SetEdns0(ednsSize, false)
	}
	return m, nil
}

func overUDP(conn net.Conn, query *dns.Msg, q question) (*dns.Msg, error) {
	wire, err := query.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	buf := datagrams.Get().(*[]byte)
	defer datagrams.Put(buf)
	for range maxForged {
		n, err := conn.Read(*buf)
		if err != nil {
			return nil, err
		}
		if m := parse((*buf)[:n], query.Id, q); m != nil {
			return m, nil
		}
	}
	return nil, errForged
}

func overTCP(conn net.Conn, query *dns.Msg, q question) (*dns.Msg, error) {
	wire, err := query.PackBuffer(make([]byte, 512))
	if err != nil {
		return nil, err
	}
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)
	if _, err := conn.Write(framed); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	response := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, response); err != nil {
		return nil, err
	}
	if m := parse(response, query.Id, q); m != nil {
		return m, nil
	}
	return nil, errForged
}

// parse returns the response in wire if it answers the query with this number
// and question; else nil. A truncated one may break off anywhere.
func parse(wire []byte, id uint16, q question) *dns.Msg {
	m := new(dns.Msg)
	err := m.Unpack(wire)
	switch {
	case err != nil && !m.Truncated,
		!m.Response,
		m.Id != id,
		m.Opcode != dns.OpcodeQuery:
		return nil
	}
	if len(m.Question) == 0 && m.Rcode == dns.RcodeFormatError {
		return m // it did not get as far as the question
	}
	if len(m.Question) != 1 {
		return nil
	}
	asked := m.Question[0]
	if asked.Qtype != uint16(q.t) || asked.Qclass != dns.ClassINET || !strings.EqualFold(asked.Name, q.name) {
		return nil
	}
	return m
}
