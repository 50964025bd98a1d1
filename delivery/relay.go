package delivery

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sqmail/sqmail"
)

// The ports that routes have when they name none.
const (
	portSMTP  = 25
	portQMTP  = 209
	portQMTPS = 6209
)

// ParseRelay parses the value of an entry in control/smtproutes or
// control/authsenders: relay[;port][|user|password]. An empty relay gives one
// without Host: the mail exchangers, or in authsenders an exemption. Without a
// second "|" there is no authentication.
//
// An error means that the table must not be used: without the line, mail would
// go another way.
func ParseRelay(value string) (sqmail.Relay, error) {
	target, credentials, _ := strings.Cut(value, "|")
	relay, err := parseTarget(target)
	if err != nil {
		return sqmail.Relay{}, err
	}
	if user, password, found := strings.Cut(credentials, "|"); found {
		relay.User, relay.Password = user, password
	}
	return relay, nil
}

// ParseQMTPRelay parses the value of an entry in control/qmtproutes:
// relay[;port]. Port 6209 means QMTP over TLS. An empty relay gives one
// without Host: the mail exchangers, by QMTP.
func ParseQMTPRelay(value string) (sqmail.Relay, error) {
	relay, err := parseTarget(value)
	if err != nil {
		return sqmail.Relay{}, err
	}
	relay.Protocol = "qmtp"
	if relay.Port == portQMTPS {
		relay.Protocol = "qmtps"
	}
	return relay, nil
}

// parseTarget parses relay[;port].
func parseTarget(s string) (relay sqmail.Relay, err error) {
	host, port, found := strings.Cut(s, ";")
	if found {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return sqmail.Relay{}, fmt.Errorf("delivery: port %q is not a number from 1 to 65535", port)
		}
		relay.Port = uint16(n)
	}
	if !validHost(host) {
		if name, port, ok := cutPort(host); ok { // as qmail and notqmail have it
			return sqmail.Relay{}, fmt.Errorf("delivery: %q is no host; the port stands behind a semicolon, %s;%s", host, name, port)
		}
		return sqmail.Relay{}, fmt.Errorf("delivery: %q is no host", host)
	}
	relay.Host = host
	return relay, nil
}

// cutPort takes host:port apart.
func cutPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || !validHost(s[:i]) || strings.Trim(s[i+1:], "0123456789") != "" {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// validHost takes a name, an address, an address literal, or nothing.
func validHost(host string) bool {
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		literal, closed := strings.CutSuffix(inner, "]")
		literal = strings.TrimPrefix(strings.TrimPrefix(literal, "IPv6:"), "ipv6:")
		_, err := netip.ParseAddr(literal)
		return closed && err == nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return len(host) <= 255 && strings.IndexFunc(host, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(":;|@/,<>\"\\[]()", r)
	}) < 0
}

// destinationOf names a relay for limits and back-off: host;port.
func destinationOf(r sqmail.Relay) string {
	port := r.Port
	if port == 0 {
		port = portSMTP
		if r.Protocol == "qmtp" {
			port = portQMTP
		}
	}
	return lower(r.Host) + ";" + strconv.Itoa(int(port))
}

// lower folds ASCII case, the only one that domains have.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i] >= 'A' && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
