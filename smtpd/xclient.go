package smtpd

import (
	"log/slog"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/serve"
)

// xclientKeyword is what EHLO says to those who may use XCLIENT.
const xclientKeyword = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

// mechanismXClient is the mechanism of users whom a proxy has named.
const mechanismXClient = "xclient"

// xclient runs XCLIENT, by which a proxy tells who its client is (Postfix,
// XCLIENT_README). The session begins anew, as that client's.
func (s *session) xclient(arg string) {
	switch {
	case !s.trusted:
		s.event(slog.LevelInfo, "refused", slog.String("condition", "SNDR::XCLIENT"), slog.String("reply", replyXClient.String()))
		s.bad(replyXClient)
		return
	case s.refuseForTLS():
		return
	case s.tx != nil:
		s.say(replyInTransaction)
		return
	}
	peer := *s.peer
	peer.Hello, peer.User, peer.Mechanism = "", "", ""
	if err := parseXClient(&peer, arg); err != nil {
		s.bad(replyValue)
		return
	}
	if peer.TLS != nil { // is the proxy's, whose certificate proves nothing for its client
		state := *peer.TLS
		state.VerifiedChains = nil
		peer.TLS = &state
	}
	proxy := s.peer.Remote
	s.end()
	*s.peer = peer
	s.relayed, s.base, s.bads, s.authFailures, s.transactions = true, "", 0, 0, 0
	s.setProtocol(false)
	s.set = s.srv.settings()
	s.conn.SetTimeouts(s.set.timeouts)
	s.event(slog.LevelInfo, "client named by proxy", slog.String("proxy", proxy.Addr().String()))
	if err := s.configure(); err != nil {
		s.refuseConnection(err)
		return
	}
	s.greet()
}

// mayXClient reports whether the client, as it has come, may use XCLIENT.
func (s *session) mayXClient() bool {
	return serve.Within(s.set.xclientFrom, s.peer.Remote.Addr())
}

// parseXClient enters the attributes of XCLIENT in peer. Whoever has a new
// address has no name and no port but those that come with it.
func parseXClient(peer *sqmail.Peer, arg string) error {
	attrs, err := xclientAttributes(arg)
	if err != nil {
		return err
	}
	if name, ok := attrs["NAME"]; ok {
		peer.Name = strings.TrimSuffix(strings.ToLower(name), ".")
	} else if _, ok := attrs["ADDR"]; ok {
		peer.Name = ""
	}
	peer.Hello = attrs["HELO"]
	if user := attrs["LOGIN"]; user != "" {
		peer.User, peer.Mechanism = user, mechanismXClient
	}
	if peer.Remote, err = moved(peer.Remote, attrs, "ADDR", "PORT"); err != nil {
		return err
	}
	peer.Local, err = moved(peer.Local, attrs, "DESTADDR", "DESTPORT")
	return err
}

// xclientAttributes returns the attributes by name; what a proxy does not know
// is "".
func xclientAttributes(arg string) (map[string]string, error) {
	attrs := make(map[string]string)
	for {
		p, rest, err := nextParam(arg)
		if err != nil {
			return nil, err
		}
		if p.keyword == "" {
			return attrs, nil
		}
		if _, twice := attrs[p.keyword]; twice {
			return nil, errSyntax
		}
		value, err := decodeXtext(p.value, true)
		if err != nil || !validAttribute(p.keyword, value) {
			return nil, errSyntax
		}
		if unavailable(value) {
			value = ""
		}
		attrs[p.keyword] = value
		arg = rest
	}
}

func unavailable(value string) bool {
	return equalFold(value, "[UNAVAILABLE]") || equalFold(value, "[TEMPUNAVAIL]")
}

func validAttribute(keyword, value string) bool {
	switch keyword {
	case "ADDR", "DESTADDR", "PORT", "DESTPORT":
		return true // checked where they are used
	case "NAME", "HELO", "LOGIN":
		return value != "" && len(value) <= maxHello && (keyword != "NAME" || !strings.Contains(value, " "))
	case "PROTO": // the client's hello will say it
		return equalFold(value, "SMTP") || equalFold(value, "ESMTP") || unavailable(value)
	}
	return false
}

// moved is an end of the connection with the address and port that attrs
// tell.
func moved(at netip.AddrPort, attrs map[string]string, addrKey, portKey string) (netip.AddrPort, error) {
	addr, port := at.Addr(), at.Port()
	if text, ok := attrs[addrKey]; ok {
		addr, port = netip.Addr{}, 0
		if text != "" {
			var err error
			rest, _ := cutPrefixFold(text, "IPV6:")
			if addr, err = netip.ParseAddr(rest); err != nil || addr.Zone() != "" {
				return at, errSyntax
			}
			addr = addr.Unmap()
		}
	}
	if text, ok := attrs[portKey]; ok {
		n, err := strconv.ParseUint(orDefault(text, "0"), 10, 16)
		if err != nil {
			return at, errSyntax
		}
		port = uint16(n)
	}
	return netip.AddrPortFrom(addr, port), nil
}
