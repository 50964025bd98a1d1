package control

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sqmail/sqmail/auth"
)

// profiles works out what holds for the clients of a service: for those without
// a rule, and for those of each rule. All values are checked here, so that
// nothing can be wrong once a client connects.
func (s *source) profiles(c *Config, service *Service) {
	base := defaultSettings(c)
	where := func(file string, line int, about string) func(bool, string, ...any) {
		return func(fatal bool, format string, args ...any) {
			s.add(Problem{file, line, about + fmt.Sprintf(format, args...), fatal})
		}
	}
	complain := where(service.File, service.Line, "")
	base.apply(service.Variables, false, complain)
	s.settle(c, service, &base, service.Variables, complain)
	service.profiles = map[*Rule]*Profile{nil: {Allow: true, Settings: &base}}
	if base.RelayClient && !onLoopback(service.Address) {
		complain(false, "RELAYCLIENT makes this an open relay: set it in a rules file, for clients that may")
	}
	s.advise(service, &base)
	if service.rules == nil {
		return
	}
	made := map[string]*Settings{"": &base} // by the rule's variables
	for _, rule := range service.rules.all {
		settings := base
		about := where(rule.File, rule.Line, "")
		settings.apply(rule.Variables, true, about)
		s.settle(c, service, &settings, rule.Variables, about)
		key := variablesKey(rule.Variables)
		if made[key] == nil {
			made[key] = &settings
		}
		service.profiles[rule] = &Profile{Allow: rule.Allow, Settings: made[key], Rule: rule}
		if rule.Allow && settings.RelayClient && forAnybody(rule.Address) && !onLoopback(service.Address) {
			about(false, "RELAYCLIENT for %s makes %s an open relay", describe(rule.Address), service.Name)
		}
	}
}

// variablesKey is equal for variables that are.
func variablesKey(vars []Variable) string {
	var b strings.Builder
	for _, v := range vars {
		b.WriteString(v.Name + "=" + v.Value + "\x00")
	}
	return b.String()
}

// settle makes settings fit the protocol, and looks at what the variables that
// they were given last name.
func (s *source) settle(c *Config, service *Service, settings *Settings, vars []Variable, complain func(bool, string, ...any)) {
	if !protocols[service.Protocol].startTLS {
		settings.STARTTLS = Off
	}
	for _, v := range vars {
		switch v.Name {
		case "UCSPITLS", "SMTPAUTH", "POP3AUTH", "AUTHTLS":
			checkWord(v, complain)
		case "RBL":
			s.dnsLists(c, settings.DNSLists.File, complain)
		case "DELIVERTO":
			checkCopies(c, v.Value, complain)
		case "QMAILQUEUE":
			checkProgram(c, v, settings.QueueProgram, complain)
		case "QHPSI":
			checkProgram(c, v, settings.Scanner.Program, complain)
		}
	}
}

// words are the values of variables of which any other value means "", as in
// the original.
var words = map[string][]string{
	"UCSPITLS": {"", "-", "!", "?", "@"},
	"SMTPAUTH": {"", "-", "!", "cram", "+cram", "!cram", "!+cram", "login", "plain"},
	"POP3AUTH": {"", "apop", "+apop"},
	"AUTHTLS":  {"", "-"},
}

// checkWord warns of a value that does not mean what it says: "required" does not
// require TLS.
func checkWord(v Variable, complain func(bool, string, ...any)) {
	if all := words[v.Name]; !slices.Contains(all, lower(v.Value)) {
		complain(false, "%s=%.40q means the same as \"\"; other values are %s", v.Name, v.Value, strings.Join(all[1:], " "))
	}
}

// advise warns of settings that are seldom meant.
func (s *source) advise(service *Service, settings *Settings) {
	set := func(name string) bool {
		for _, v := range service.Variables {
			if v.Name == name {
				return true
			}
		}
		return false
	}
	warn := func(format string, args ...any) { s.warn(service.File, service.Line, format, args...) }
	s.idleFilters(service)
	switch service.Protocol {
	case "submission", "smtps":
		if settings.Auth != Required && !settings.CertRelay {
			warn(`a service for submission should ask for authentication: SMTPAUTH="!"`)
		}
	case "smtp", "lmtp":
	default:
		for _, name := range []string{"SMTPAUTH", "XCLIENTFROM", "MAXTRANSACTIONS", "UTF8"} {
			if set(name) {
				warn("%s has no effect on %s", name, service.Protocol)
			}
		}
	}
	switch {
	case !takesPasswords(service, settings) || service.ImplicitTLS() || onLoopback(service.Address):
	case settings.CleartextAuth && settings.STARTTLS != Required:
		warn(`passwords go over the network in clear: AUTHTLS="-"`)
	case settings.STARTTLS == Off:
		warn(`passwords are taken from this host alone, for others need TLS: set UCSPITLS="!"`)
	}
	if set("UCSPITLS") && !protocols[service.Protocol].startTLS {
		warn("UCSPITLS has no effect on %s", service.Protocol)
	}
}

// takesPasswords reports whether clients may show their passwords.
func takesPasswords(service *Service, settings *Settings) bool {
	if strings.HasPrefix(service.Protocol, "pop3") {
		return settings.UserPass
	}
	return slices.ContainsFunc(settings.Mechanisms, auth.ShowsPassword)
}

// idleFilters warns of filters on a service that takes no mail.
func (s *source) idleFilters(service *Service) {
	if !strings.HasPrefix(service.Protocol, "pop3") {
		return
	}
	for _, v := range service.Variables {
		if _, isFilter := filterVariables[v.Name]; isFilter || replyTexts[v.Name] != "" {
			s.warn(service.File, service.Line, "%s has no effect on %s", v.Name, service.Protocol)
		}
	}
}

// forAnybody reports whether a rule's address shuts nobody out.
func forAnybody(address string) bool {
	switch address {
	case "", "=", "0.0.0.0/0", "::/0", "::":
		return true
	}
	return false
}

func describe(address string) string {
	if address == "" {
		return "everybody"
	}
	return fmt.Sprintf("%q", address)
}
