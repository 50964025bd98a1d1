package control

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Mode says whether a server offers something.
type Mode uint8

// The zero Mode does not offer it.
const (
	Off      Mode = iota // neither offered nor accepted
	Offered              // offered
	Required             // and nothing goes without it
)

// String returns "off", "offered" or "required".
func (m Mode) String() string {
	return [...]string{"off", "offered", "required"}[min(m, Required)]
}

// Settings are what the variables of a service mean, those of the rule that a
// client matches included.
type Settings struct {
	// STARTTLS is whether STARTTLS or STLS is offered (UCSPITLS: unset and "-"
	// off; "!", "?" and "@" required; else offered). It is Off with implicit
	// TLS.
	STARTTLS Mode

	// CertRelay says that a client with a verified certificate may relay
	// (UCSPITLS "?" and "@"), CertUser that its name is the authenticated user
	// ("@").
	CertRelay, CertUser bool

	// Auth is whether AUTH is offered, Mechanisms which, in upper case
	// (SMTPAUTH: unset and "-" off; "" LOGIN and PLAIN; "cram" CRAM-MD5; "+cram"
	// all three; "!" in front of any of these requires it).
	Auth       Mode
	Mechanisms []string

	// CleartextAuth says that passwords are taken also without TLS, and from
	// other hosts than this one (AUTHTLS: "-").
	CleartextAuth bool

	// UserPass and APOP say how a POP3 client may log in (POP3AUTH: "apop" by
	// APOP alone, "+apop" both ways, else by USER and PASS).
	UserPass, APOP bool

	// RelayClient says that the client may relay; RelaySuffix is appended to
	// each of its recipients (RELAYCLIENT).
	RelayClient bool
	RelaySuffix string

	// DataBytes is the greatest message in octets, 0 for any (DATABYTES, or
	// else control/databytes).
	DataBytes int64

	// MaxRecipients is the number of recipients of a message, 0 for any
	// (MAXRECIPIENTS).
	MaxRecipients int

	// MaxTransactions is the number of messages of a session, 0 for any
	// (MAXTRANSACTIONS).
	MaxTransactions int

	// UTF8 says that SMTPUTF8 is offered (UTF8).
	UTF8 bool

	// Vars are the variables of the service and the rule as they were written.
	// Filters and programs find them there (RBLSMTPD, and what is none of ours).
	// They are not to be changed.
	Vars map[string]string

	// ProxyFrom are the proxies whose connections begin with a PROXY header,
	// XCLIENTFrom the hosts that may tell with XCLIENT who their client is
	// (PROXYFROM, XCLIENTFROM). Nil: nobody.
	ProxyFrom, XCLIENTFrom []netip.Prefix

	// FilterSettings are about mail from strangers.
	FilterSettings

	// CertFile, KeyFile, ChainFile and ClientCAFile are where the service's
	// certificate and key are, and the authorities of client certificates;
	// relative to the home (CERTFILE, KEYFILE, CERTCHAINFILE, CCAFILE).
	CertFile, KeyFile, ChainFile, ClientCAFile string
}

// variables are those that have an effect.
var variables = map[string]func(*Settings, string) error{
	"UCSPITLS":      (*Settings).setTLS,
	"SMTPAUTH":      (*Settings).setAuth,
	"POP3AUTH":      (*Settings).setPOP3Auth,
	"AUTHTLS":       func(s *Settings, v string) error { s.CleartextAuth = v == "-"; return nil },
	"RELAYCLIENT":   (*Settings).setRelay,
	"DATABYTES":     func(s *Settings, v string) (err error) { s.DataBytes, err = digits(v, 1<<40); return err },
	"MAXRECIPIENTS": func(s *Settings, v string) error { n, err := digits(v, 1<<20); s.MaxRecipients = int(n); return err },
	"MAXTRANSACTIONS": func(s *Settings, v string) error {
		n, err := digits(v, 1<<20)
		s.MaxTransactions = int(n)
		return err
	},
	"UTF8":          func(s *Settings, _ string) error { s.UTF8 = true; return nil },
	"PROXYFROM":     func(s *Settings, v string) (err error) { s.ProxyFrom, err = trustedNetworks(v); return err },
	"XCLIENTFROM":   func(s *Settings, v string) (err error) { s.XCLIENTFrom, err = trustedNetworks(v); return err },
	"CERTFILE":      func(s *Settings, v string) error { s.CertFile = v; return nonEmpty(v) },
	"KEYFILE":       func(s *Settings, v string) error { s.KeyFile = v; return nil },
	"CERTCHAINFILE": func(s *Settings, v string) error { s.ChainFile = v; return nonEmpty(v) },
	"CCAFILE":       func(s *Settings, v string) error { s.ClientCAFile = v; return nonEmpty(v) },
}

// listenerVariables cannot depend on the client.
var listenerVariables = []string{"CERTFILE", "KEYFILE", "CERTCHAINFILE", "CCAFILE", "PROXYFROM"}

// laterVariables are those of s/qmail that have no effect yet.
var laterVariables = strings.Fields(`
	CADIR CAFILE CIPHERS DHFILE DKIM DNSCACHEIP SPF VERIFYDEPTH`)

// defaultSettings are those of a service without variables.
func defaultSettings(c *Config) Settings {
	return Settings{UserPass: true, DataBytes: c.DataBytes, CertFile: "ssl/localhost.pem", KeyFile: "ssl/localhost.key"}
}

// apply sets variables, in order. Each problem is told by complain: fatal is
// a value that cannot be.
func (s *Settings) apply(vars []Variable, perClient bool, complain func(fatal bool, format string, args ...any)) {
	s.addVars(vars)
	var strange []string
	for _, v := range vars {
		if perClient && slices.Contains(listenerVariables, v.Name) {
			complain(false, "%s has no effect here: it cannot depend on the client", v.Name)
			continue
		}
		known, err := s.set(v.Name, v.Value)
		switch {
		case err != nil:
			complain(true, "%s: %v", v.Name, err)
		case known:
		case slices.Contains(laterVariables, v.Name):
			complain(false, "%s is not supported yet, and has no effect", v.Name)
		default:
			strange = append(strange, v.Name)
		}
	}
	for _, name := range strange {
		switch meant := likely(name); {
		case meant != "":
			complain(false, "%s is a variable that nothing looks at; %s is one", name, meant)
		case !s.runsPrograms(): // which find it in their environment
			complain(false, "%s is a variable that nothing looks at", name)
		}
	}
}

// likely returns the variable that was meant by a name that is no variable: the
// one that differs in case alone, or in one character left out, added or
// changed, or two exchanged. "": none.
func likely(name string) string {
	upper := strings.ToUpper(name)
	for _, known := range knownVariables {
		if len(known) <= len(name)+1 && len(name) <= len(known)+1 && slip(upper, strings.ToUpper(known)) {
			return known
		}
	}
	return ""
}

// knownVariables are all that have an effect, sorted, and "rules".
var knownVariables = func() []string {
	all := slices.Collect(maps.Keys(variables))
	all = slices.AppendSeq(all, maps.Keys(filterVariables))
	all = slices.AppendSeq(all, maps.Keys(replyTexts))
	all = append(all, "rules")
	slices.Sort(all)
	return all
}()

// slip reports whether a is b but for one slip of the pen. Of short words nearly
// everything would be.
func slip(a, b string) bool {
	if a == b {
		return true
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(a) < 4 || len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	return a[i+1:] == b[i+1:] ||
		i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// addVars adds variables; the map of others with these settings stays as it is.
func (s *Settings) addVars(vars []Variable) {
	all := make(map[string]string, len(s.Vars)+len(vars))
	maps.Copy(all, s.Vars)
	for _, v := range vars {
		all[v.Name] = v.Value
	}
	s.Vars = all
}

// set sets what a variable means. known is false for one without effect.
func (s *Settings) set(name, value string) (known bool, err error) {
	if set, known := variables[name]; known {
		return true, set(s, value)
	}
	return s.FilterSettings.set(name, value)
}

func (s *Settings) setTLS(v string) error {
	s.CertRelay, s.CertUser = v == "?" || v == "@", v == "@"
	switch v {
	case "-":
		s.STARTTLS = Off
	case "!", "?", "@":
		s.STARTTLS = Required
	default:
		s.STARTTLS = Offered
	}
	return nil
}

func (s *Settings) setAuth(v string) error {
	s.Auth, s.Mechanisms = Offered, []string{"LOGIN", "PLAIN"}
	if v == "-" {
		s.Auth, s.Mechanisms = Off, nil
		return nil
	}
	v, required := strings.CutPrefix(lower(v), "!")
	if required {
		s.Auth = Required
	}
	switch {
	case strings.HasPrefix(v, "cram"):
		s.Mechanisms = []string{"CRAM-MD5"}
	case strings.HasPrefix(v, "+cram"):
		s.Mechanisms = append(s.Mechanisms, "CRAM-MD5")
	case v == "cert":
		return errors.New(`cert is not supported, UCSPITLS="@" takes certificates in place of AUTH`)
	case required && v != "":
		// Else a slip of the pen would ask for no authentication, or not for the
		// one that was meant.
		return fmt.Errorf("%.40q is none of \"\", \"-\", \"cram\", \"+cram\", with or without \"!\" in front", "!"+v)
	}
	return nil
}

func (s *Settings) setPOP3Auth(v string) error {
	v = lower(v)
	s.APOP = strings.HasPrefix(v, "apop") || strings.HasPrefix(v, "+apop")
	s.UserPass = !strings.HasPrefix(v, "apop")
	return nil
}

// setRelay takes a suffix that can stand at the end of an address.
func (s *Settings) setRelay(v string) error {
	if !printable(v) || strings.ContainsAny(v, " <>,\"\\") || len(v) > 255 {
		return fmt.Errorf("%.80q cannot be appended to an address", v)
	}
	s.RelayClient, s.RelaySuffix = true, v
	return nil
}

// trustedNetworks reads networks and addresses with commas or blanks between
// them. One of everybody is refused: whoever connects could say that he is
// anybody.
func trustedNetworks(v string) ([]netip.Prefix, error) {
	words := strings.FieldsFunc(v, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })
	if len(words) == 0 {
		return nil, errors.New("no network is named")
	}
	var all []netip.Prefix
	for _, word := range words {
		prefix, err := netip.ParsePrefix(word)
		if addr, aerr := netip.ParseAddr(word); aerr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("%.60q is neither an address nor a network", word)
		case prefix.Bits() == 0:
			return nil, fmt.Errorf("%.60q trusts everybody", word)
		}
		all = append(all, prefix.Masked())
	}
	return all, nil
}

func digits(v string, most int64) (int64, error) {
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no number", v)
	}
	if int64(n) > most {
		return 0, fmt.Errorf("%d is more than %d", n, most)
	}
	return int64(n), nil
}

func nonEmpty(v string) error {
	if v == "" {
		return errors.New("the file's name is missing")
	}
	return nil
}

// printable reports whether s is printable ASCII, blanks included.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
