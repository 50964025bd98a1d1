package serve

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ErrProxyHeader: a proxy did not begin with a PROXY header, or with one that
// breaks the rules.
var ErrProxyHeader = errors.New("serve: not a PROXY header")

// ProxyHeader returns a [Server.Preamble] that reads a PROXY header, version 1
// or 2, from the proxies that it is given, and from nobody else: of them the
// header is garbage like any other. The addresses that it tells take the place
// of the connection's. A proxy that speaks for itself (LOCAL) keeps its own;
// one that does not say for whom it speaks (UNKNOWN, UNSPEC, UNIX) leaves the
// connection without addresses, so that nobody takes the proxy for the client.
// Without proxies it returns nil.
//
// The rules are those of HAProxy's proxy-protocol.txt. Of the header as much
// is read as it says, at most 64 KiB, and nothing is kept but the addresses.
func ProxyHeader(proxies []netip.Prefix) func(context.Context, *Conn) error {
	if len(proxies) == 0 {
		return nil
	}
	return func(_ context.Context, c *Conn) error {
		if !Within(proxies, c.remote.Addr()) {
			return nil
		}
		h, err := readProxyHeader((*source)(c)) // past the reader: TLS may follow
		if err == nil && !h.local {
			c.SetAddrs(h.from, h.to)
		}
		return err
	}
}

// Within reports whether addr is in one of prefixes.
func Within(prefixes []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// proxyHeader is what a proxy says. Its addresses are zero if it does not know
// them.
type proxyHeader struct {
	local    bool // the proxy speaks for itself
	from, to netip.AddrPort
}

const (
	proxyPrefix    = "PROXY "
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	minProxyLine   = len("PROXY UNKNOWN\r\n")
	maxProxyLine   = 107
)

// readProxyHeader reads a header, and not an octet more.
func readProxyHeader(r io.Reader) (proxyHeader, error) {
	var head [maxProxyLine]byte
	if _, err := io.ReadFull(r, head[:minProxyLine]); err != nil {
		return proxyHeader{}, fmt.Errorf("the PROXY header that this client must send: %w", err)
	}
	switch begin := string(head[:minProxyLine]); {
	case strings.HasPrefix(begin, proxySignature):
		return readProxyV2(r, head[:16])
	case strings.HasPrefix(begin, proxyPrefix):
		return readProxyV1(r, head[:])
	}
	return proxyHeader{}, ErrProxyHeader
}

// readProxyV1 reads the rest of a line of which minProxyLine octets are in
// buf.
func readProxyV1(r io.Reader, buf []byte) (proxyHeader, error) {
	n := minProxyLine
	for !strings.HasSuffix(string(buf[:n]), "\r\n") {
		if n == len(buf) {
			return proxyHeader{}, fmt.Errorf("%w: line too long", ErrProxyHeader)
		}
		if _, err := io.ReadFull(r, buf[n:n+1]); err != nil {
			return proxyHeader{}, err
		}
		n++
	}
	return parseProxyLine(string(buf[len(proxyPrefix) : n-len("\r\n")]))
}

// parseProxyLine parses what stands between "PROXY " and CRLF.
func parseProxyLine(line string) (h proxyHeader, err error) {
	words := strings.Split(line, " ")
	if words[0] == "UNKNOWN" {
		return proxyHeader{}, nil
	}
	if len(words) != 5 || words[0] != "TCP4" && words[0] != "TCP6" {
		return h, ErrProxyHeader
	}
	v4 := words[0] == "TCP4"
	if h.from, err = parseAddrPort(words[1], words[3], v4); err != nil {
		return h, err
	}
	h.to, err = parseAddrPort(words[2], words[4], v4)
	return h, err
}

func parseAddrPort(addr, port string, v4 bool) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Is4() != v4 || a.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("%w: address", ErrProxyHeader)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, fmt.Errorf("%w: port", ErrProxyHeader)
	}
	return netip.AddrPortFrom(a, uint16(n)), nil
}

// readProxyV2 reads the rest of a binary header, of which minProxyLine octets
// are in head.
func readProxyV2(r io.Reader, head []byte) (h proxyHeader, err error) {
	if _, err := io.ReadFull(r, head[minProxyLine:]); err != nil {
		return h, err
	}
	size := int(binary.BigEndian.Uint16(head[14:]))
	switch head[12] { // version 2 and command
	case 0x20:
		h.local = true
	case 0x21:
		n, err := h.readAddrs(r, head[13], size)
		if err != nil {
			return h, err
		}
		size -= n
	default:
		return h, fmt.Errorf("%w: version or command %#x", ErrProxyHeader, head[12])
	}
	_, err = io.CopyN(io.Discard, r, int64(size)) // addresses of no use here, TLVs
	return h, err
}

// readAddrs reads the addresses of a family and protocol. It returns how many
// octets they are.
func (h *proxyHeader) readAddrs(r io.Reader, family byte, size int) (int, error) {
	var buf [2*16 + 2*2]byte
	length := 0 // of an address
	switch family {
	case 0x11: // TCP over IPv4
		length = 4
	case 0x21: // TCP over IPv6
		length = 16
	case 0x00, 0x31: // UNSPEC, UNIX stream
		return 0, nil
	default:
		return 0, fmt.Errorf("%w: family and protocol %#x", ErrProxyHeader, family)
	}
	n := 2*length + 4
	if size < n {
		return 0, fmt.Errorf("%w: too short", ErrProxyHeader)
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return 0, err
	}
	from, _ := netip.AddrFromSlice(buf[:length])
	to, _ := netip.AddrFromSlice(buf[length : 2*length])
	h.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(buf[2*length:]))
	h.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(buf[2*length+2:]))
	return n, nil
}
