package control

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Service is a listener: a line of control/services,
//
//	NAME PROTOCOL ADDRESS [VARIABLE=value...] [rules=FILE]
//
// A value that has blanks in it, or is empty, stands in double or in single
// quotes. FILE is below control. Lines that begin with "#" are comments.
type Service struct {
	// Name is the service's name in logs, unique in the file.
	Name string

	// Protocol is "smtp", "submission", "smtps", "lmtp", "qmtp", "qmtps",
	// "qmqp", "pop3" or "pop3s".
	Protocol string

	// Address is where it listens: host:port. The host is an address;
	// "0.0.0.0" stands for all of IPv4, "::" for all of IPv6, and "" for both
	// (see Network). A port of 0 lets the system choose.
	Address string

	// Variables are those of the line, in its order.
	Variables []Variable

	// RulesFile is the name of the rules file below control: the text that
	// tcprules takes, or, if it ends with .cdb or only its .cdb is there, what
	// tcprules makes. "": no rules.
	RulesFile string

	// ProxyFrom are the proxies in front of it (PROXYFROM); nil: none.
	ProxyFrom []netip.Prefix

	// TLS is the service's side of TLS, for implicit TLS and STARTTLS. Nil:
	// neither is wanted.
	TLS *tls.Config

	// File is "control/services", Line the service's line.
	File string
	Line int

	rules    *Rules
	profiles map[*Rule]*Profile // by rule, nil for none
}

// Profile is what holds for a client of a service. There is one for each rule,
// and one for clients without a rule; pointers to them may be compared.
type Profile struct {
	// Allow says that the client may connect.
	Allow bool

	// Settings are what the variables of the service and of the rule mean.
	// Rules of a service with the same variables share them, so that a rules
	// file of any length makes a few; pointers to them may be compared.
	*Settings

	// Rule is the rule that decided; nil: none did.
	Rule *Rule
}

// For returns the profile of a client.
func (s *Service) For(c Client) *Profile {
	if s.rules == nil {
		return s.profiles[nil]
	}
	return s.profiles[s.rules.Match(c)]
}

// Profiles returns all profiles that For can return, in no order.
func (s *Service) Profiles() []*Profile { return slices.Collect(maps.Values(s.profiles)) }

// ImplicitTLS reports whether a connection begins with TLS.
func (s *Service) ImplicitTLS() bool { return protocols[s.Protocol].implicitTLS }

// protocol is what is known of a protocol. later: there is no server for it
// yet.
type protocol struct{ implicitTLS, startTLS, later bool }

var protocols = map[string]protocol{
	"smtp":       {startTLS: true},
	"submission": {startTLS: true},
	"smtps":      {implicitTLS: true},
	"lmtp":       {startTLS: true},
	"qmtp":       {later: true},
	"qmtps":      {later: true, implicitTLS: true},
	"qmqp":       {later: true},
	"pop3":       {startTLS: true},
	"pop3s":      {implicitTLS: true},
}

// ParseService parses a line of control/services, without line end. Variables
// and rules are not looked into.
func ParseService(line string) (*Service, error) {
	s := &Service{}
	for _, field := range []*string{&s.Name, &s.Protocol, &s.Address} {
		*field, line = cutWord(line)
	}
	if s.Address == "" {
		return nil, errors.New("a service is NAME PROTOCOL ADDRESS, with variables behind")
	}
	if !validVariable(strings.ReplaceAll(s.Name, "-", "_")) {
		return nil, fmt.Errorf("%.40q is no name of a service: letters, digits, \"-\" and \"_\"", s.Name)
	}
	if _, known := protocols[s.Protocol]; !known {
		return nil, fmt.Errorf("protocol %.40q is none of smtp, submission, smtps, lmtp, qmtp, qmtps, qmqp, pop3, pop3s", s.Protocol)
	}
	if err := checkAddress(s.Address); err != nil {
		return nil, err
	}
	for line = strings.TrimLeft(line, " \t"); line != ""; line = strings.TrimLeft(line, " \t") {
		v, rest, err := cutAssignment(line)
		if err != nil {
			return nil, err
		}
		line = rest
		if v.Name == "rules" {
			if v.Value == "" || s.RulesFile != "" {
				return nil, errors.New("rules= names one file in control")
			}
			s.RulesFile = v.Value
			continue
		}
		for _, other := range s.Variables {
			if other.Name == v.Name {
				return nil, fmt.Errorf("%s is set twice", v.Name)
			}
		}
		s.Variables = append(s.Variables, v)
	}
	return s, nil
}

// cutWord cuts the first word off.
func cutWord(s string) (word, rest string) {
	s = strings.TrimLeft(s, " \t")
	if end := strings.IndexAny(s, " \t"); end >= 0 {
		return s[:end], s[end:]
	}
	return s, ""
}

// cutAssignment cuts NAME=value off, where the value may be quoted.
func cutAssignment(s string) (v Variable, rest string, err error) {
	name, value, found := strings.Cut(s, "=")
	if !found || !validVariable(name) {
		word, _ := cutWord(s)
		return v, "", fmt.Errorf("%.40q is not VARIABLE=value", word)
	}
	if value == "" || value[0] != '"' && value[0] != '\'' {
		word, rest := cutWord("=" + value) // "=" keeps an empty value from being skipped
		if strings.ContainsAny(word, `"'`) {
			return v, "", fmt.Errorf("the value of %s has a quote in its midst", name)
		}
		return Variable{name, word[1:]}, rest, nil
	}
	inner, rest, found := strings.Cut(value[1:], value[:1])
	if !found {
		return v, "", fmt.Errorf("the value of %s has no %s at its end", name, value[:1])
	}
	if rest != "" && rest[0] != ' ' && rest[0] != '\t' {
		return v, "", fmt.Errorf("a blank is missing behind the value of %s", name)
	}
	return Variable{name, inner}, rest, nil
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%.60q is not host:port", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %.20q is not a number up to 65535", port)
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return fmt.Errorf("%.60q is no address to listen at", host)
	}
	return nil
}

// onLoopback reports whether only this host can connect.
func onLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// maxServices is how many listeners a home may have.
const maxServices = 1000

// services reads control/services, and all that it names.
func (s *source) services(c *Config) []*Service {
	const file = "control/services"
	text, found := s.read(file)
	if !found {
		if s.missing(file) {
			s.warn(file, 0, "does not exist: nothing listens")
		}
		return nil
	}
	if len(text) == 0 { // as while somebody writes it: all listeners would be closed
		s.fatal(file, 0, "is empty: write the services, or remove it if nothing is to listen")
	}
	var services []*Service
	names := map[string]int{}
	rules := map[string]*Rules{}
	number := 0
	for raw := range bytes.Lines(text) {
		number++
		line := strings.Trim(string(raw), " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if s.enough(file) {
			break
		}
		if len(services) == maxServices {
			s.fatal(file, number, "there are more than %d services", maxServices)
			break
		}
		service, err := ParseService(line)
		if err != nil {
			s.fatal(file, number, "%v", err)
			continue
		}
		service.File, service.Line = file, number
		if protocols[service.Protocol].later {
			s.fatal(file, number, "protocol %s is not served yet", service.Protocol)
		}
		s.unique(service, names, service.Name)
		s.free(service, services)
		s.rulesOf(service, rules)
		s.profiles(c, service)
		service.ProxyFrom = service.profiles[nil].ProxyFrom
		s.tls(service)
		services = append(services, service)
	}
	return services
}

func (s *source) unique(service *Service, seen map[string]int, key string) {
	if line, known := seen[key]; known {
		s.fatal(service.File, service.Line, "%s stands in line %d already", key, line)
		return
	}
	seen[key] = service.Line
}

// free complains if a service before has the address already.
func (s *source) free(service *Service, before []*Service) {
	for _, other := range before {
		if overlap(service.Address, other.Address) {
			s.fatal(service.File, service.Line, "%s is the address of line %d already, %s", service.Address, other.Line, other.Address)
			return
		}
	}
}

// overlap reports whether two listeners cannot have these addresses together.
func overlap(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if portA != portB || portA == "0" {
		return false
	}
	return hostA == "" || hostB == "" || covers(hostA, hostB) || covers(hostB, hostA)
}

// covers reports whether all, an address, is b too.
func covers(all, b string) bool {
	x, y := addressOfHost(all), addressOfHost(b)
	return x == y || x.IsUnspecified() && x.Is4() == y.Is4()
}

func addressOfHost(host string) netip.Addr {
	if host == "localhost" {
		host = "127.0.0.1"
	}
	addr, _ := netip.ParseAddr(host)
	return addr.Unmap()
}

// Network is the network to listen in, as net.Listen takes it: "tcp4" and "tcp6"
// for all addresses of a family, so that each may have a service of its own, else
// "tcp".
func (s *Service) Network() string {
	host, _, _ := net.SplitHostPort(s.Address)
	addr := addressOfHost(host)
	switch {
	case host == "" || !addr.IsUnspecified():
		return "tcp"
	case addr.Is4():
		return "tcp4"
	}
	return "tcp6"
}

// rulesOf reads the rules file of a service, once for all services.
func (s *source) rulesOf(service *Service, known map[string]*Rules) {
	if service.RulesFile == "" {
		return
	}
	if service.rules = known[service.RulesFile]; service.rules != nil {
		return
	}
	file := "control/" + service.RulesFile
	if !validFileName(service.RulesFile) {
		s.fatal(service.File, service.Line, "rules=%.60s is not the name of a file in control", service.RulesFile)
		return
	}
	if service.rules = s.rules(file); service.rules == nil {
		if s.missing(file) && !s.broken[file+".cdb"] {
			s.fatal(service.File, service.Line, "%s does not exist", file)
		}
		return
	}
	known[service.RulesFile] = service.rules
}

func validFileName(name string) bool {
	return name != "" && len(name) < 256 && name[0] != '.' && strings.IndexByte(name, '/') < 0 && printable(name)
}
