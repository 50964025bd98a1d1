package control

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/compile"
	"github.com/sqmail/sqmail/filter/mimefilter"
	"github.com/sqmail/sqmail/filter/scan"
	"github.com/sqmail/sqmail/internal/wildmat"
)

// FilterSettings are what the variables of a service say about the filters
// that look at mail from strangers.
type FilterSettings struct {
	// HelloCheck says what is asked of hello names besides control/badhelo
	// (HELOCHECK). Nil: nothing, and the file is not used.
	HelloCheck *filter.HelloMode

	// SenderDomain looks the domain of the reverse-path up (MFDNSCHECK).
	SenderDomain bool

	// Tarpit slows down strangers (TARPITCOUNT, TARPITDELAY).
	Tarpit filter.Tarpit

	// MIMETypes switches the signatures of control/badmimetypes on, and says
	// how they are used (BADMIMETYPE); nil: off. LoaderTypes does it for
	// control/badloadertypes (BADLOADERTYPE). The databases are the Config's.
	MIMETypes   *filter.BadMIMEType
	LoaderTypes *filter.BadLoaderType

	// Recipients450 answers unknown recipients with 450 instead of 550
	// (RECIPIENTS450).
	Recipients450 bool

	// SenderCheck lets relay clients send from addresses of their own alone
	// (LOCALMFCHECK); nil: from any. Its databases are the Config's.
	SenderCheck *filter.LocalSender

	// Postgrey is the address, host:port, of a policy server that greylists
	// (POSTGREY). "": none.
	Postgrey string

	// Greylist defers who has not been seen before (GREYLIST); nil: nobody.
	Greylist *filter.Greylist

	// DNSLists are the lists that clients are looked up in (RBL). Blocked says
	// that RBLSMTPD, which is in Settings.Vars, decides in their place.
	DNSLists DNSListSettings
	Blocked  bool

	// DeliverTo gets a copy of each message (DELIVERTO).
	DeliverTo filter.DeliverTo

	// MIME refuses messages by their structure, and by control/mimefilter
	// (MIMEFILTER); Clamd, Spamd and Rspamd ask the daemons of these names
	// (CLAMD, SPAMD, RSPAMD). Nil: that is not done.
	MIME   *mimefilter.Filter
	Clamd  *scan.Clamd
	Spamd  *scan.Spamd
	Rspamd *scan.Rspamd

	// Milters are asked in this order (MILTER).
	Milters []MilterSettings

	// Scanner is a program that looks at messages (QHPSI).
	Scanner ScannerSettings

	// QueueProgram takes the messages in place of our queue (QMAILQUEUE); "":
	// our queue does.
	QueueProgram string

	// GreetDelay is how long the greeting is held back from clients that may
	// not relay (GREETDELAY).
	GreetDelay time.Duration

	// Texts are what the variables REPLY_… add to replies, by the last part of
	// their names.
	Texts map[string]string
}

// filterVariables are those of FilterSettings.
var filterVariables = map[string]func(*FilterSettings, string) error{
	"HELOCHECK": func(f *FilterSettings, v string) error {
		mode := filter.ParseHelloMode(v)
		f.HelloCheck = &mode
		return nil
	},
	"MFDNSCHECK": func(f *FilterSettings, _ string) error { f.SenderDomain = true; return nil },
	"TARPITCOUNT": func(f *FilterSettings, v string) error {
		n, err := digits(v, 1<<20)
		f.Tarpit.Count = int(n)
		return err
	},
	"TARPITDELAY":   (*FilterSettings).setTarpitDelay,
	"GREETDELAY":    func(f *FilterSettings, v string) (err error) { f.GreetDelay, err = secondsOf(v); return err },
	"RECIPIENTS450": func(f *FilterSettings, _ string) error { f.Recipients450 = true; return nil },
	"LOCALMFCHECK": func(f *FilterSettings, v string) error {
		f.SenderCheck = new(filter.LocalSender)
		f.SenderCheck.Check, f.SenderCheck.Domain = filter.ParseSenderCheck(v)
		return nil
	},
	"POSTGREY":   (*FilterSettings).setPostgrey,
	"GREYLIST":   (*FilterSettings).setGreylist,
	"RBL":        (*FilterSettings).setDNSLists,
	"RBLSMTPD":   (*FilterSettings).setBlocked,
	"DELIVERTO":  (*FilterSettings).setDeliverTo,
	"MIMEFILTER": (*FilterSettings).setMIME,
	"CLAMD":      (*FilterSettings).setClamd,
	"SPAMD":      (*FilterSettings).setSpamd,
	"RSPAMD":     (*FilterSettings).setRspamd,
	"MILTER":     (*FilterSettings).setMilters,
	"QHPSI":      (*FilterSettings).setScanner,
	"QHPSIARG1":  setScannerArg(1),
	"QHPSIARG2":  setScannerArg(2),
	"QHPSIARG3":  setScannerArg(3),
	"QHPSIRC":    (*FilterSettings).setInfected,
	"QHPSIMINSIZE": func(f *FilterSettings, v string) (err error) {
		f.Scanner.MinSize, err = digits(v, maxScanSize)
		return err
	},
	"QHPSIMAXSIZE": func(f *FilterSettings, v string) (err error) {
		f.Scanner.MaxSize, err = digits(v, maxScanSize)
		return err
	},
	"BASE64":        func(f *FilterSettings, _ string) error { f.Scanner.OnlyBase64 = true; return nil },
	"QMAILQUEUE":    (*FilterSettings).setQueueProgram,
	"REPLYMAV":      func(f *FilterSettings, v string) error { return f.setText("SENDERINVALID", v) },
	"BADMIMETYPE":   (*FilterSettings).setMIMETypes,
	"BADLOADERTYPE": (*FilterSettings).setLoaderTypes,
}

// replyTexts are the variables that add to a reply, with the names of the
// texts: some have two variables.
var replyTexts = map[string]string{
	"REPLY_HELO": "HELO", "REPLY_BADMAILFROM": "BADMAILFROM", "REPLY_BADRCPTTO": "BADRCPTTO",
	"REPLY_SENDEREXIST": "SENDEREXIST", "REPLY_SENDERENV": "SENDEREXIST",
	"REPLY_NOGATEWAY": "NOGATEWAY", "REPLY_CONTENT": "CONTENT", "REPLY_MAILBOX": "MAILBOX",
	"REPLY_SENDERINVALID": "SENDERINVALID", "REPLY_MAILFROM": "SENDERINVALID", "REPLY_GREYLISTED": "GREYLISTED",
	"REPLY_MAXSIZE": "MAXSIZE",
}

// set sets what a variable means. known is false for one of no filter.
func (f *FilterSettings) set(name, value string) (known bool, err error) {
	if text, ok := replyTexts[name]; ok {
		return true, f.setText(text, value)
	}
	set, known := filterVariables[name]
	if !known {
		return false, nil
	}
	return true, set(f, value)
}

// setText takes the text of one line of a reply.
func (f *FilterSettings) setText(name, value string) error {
	if !printable(value) || len(value) > 300 {
		return fmt.Errorf("a reply's text is at most 300 printable characters of ASCII")
	}
	texts := make(map[string]string, len(f.Texts)+1) // the map of another rule stays as it is
	for k, v := range f.Texts {
		texts[k] = v
	}
	texts[name] = value
	f.Texts = texts
	return nil
}

// notorious is the TARPITDELAY that is no delay; see filter.Tarpit.
const notorious = 999

func (f *FilterSettings) setTarpitDelay(v string) error {
	n, err := digits(v, 1<<20)
	f.Tarpit.Notorious = n == notorious
	f.Tarpit.Delay = time.Duration(n) * time.Second
	return err
}

func secondsOf(v string) (time.Duration, error) {
	n, err := digits(v, 600)
	return time.Duration(n) * time.Second, err
}

func (f *FilterSettings) setMIMETypes(v string) error {
	switch {
	case v == "-":
		f.MIMETypes = nil
	case v == "!" || v == "+":
		f.MIMETypes = &filter.BadMIMEType{Blanks: true, Strangers: v == "+"}
	case len(v) <= 1:
		f.MIMETypes = &filter.BadMIMEType{}
	default:
		return fmt.Errorf("%.40q is not one character", v)
	}
	return nil
}

func (f *FilterSettings) setLoaderTypes(v string) error {
	switch {
	case v == "" || v == "-":
		f.LoaderTypes = nil
	case v == "+":
		f.LoaderTypes = &filter.BadLoaderType{First: 'M', Strangers: true}
	case len(v) == 1:
		f.LoaderTypes = &filter.BadLoaderType{First: v[0]}
	default:
		return fmt.Errorf("%.40q is not one character", v)
	}
	return nil
}

// recipients reads which recipients exist. Without a file all do.
func (s *source) recipients(c *Config) {
	text, found := s.read("control/recipients")
	if !found {
		return
	}
	rules, err := filter.ParseRecipients(rules(parseList("control/recipients", text, s.complainOf("control/recipients"))))
	for _, wrong := range lineErrors(err) {
		s.fatal("control/recipients", wrong.Line, "%v", wrong.Err)
	}
	s.locate(c, rules)
	c.recipients = append([]filter.RecipientRule{}, rules...)
}

// mailFromRules reads which addresses relay clients may send from: the text, or
// else the database that was made of it.
func (s *source) mailFromRules(c *Config) {
	const file = "control/mailfromrules"
	text, found := s.read(file)
	if !found {
		if db := s.database(file + ".cdb"); db != nil && s.missing(file) {
			c.mailFromRules = db
		}
		return
	}
	keys := filter.Keys{}
	err := compile.MailFromRules(bytes.NewReader(text), func(key, value []byte) error {
		if _, known := keys[string(key)]; !known { // the first of equal keys counts, as in a cdb
			keys[string(key)] = bytes.Clone(value)
		}
		return nil
	})
	for _, wrong := range lineErrors(err) {
		s.fatal(file, wrong.Line, "%v", wrong.Err)
	}
	c.mailFromRules = keys
}

// lineErrors takes an error of joined *filter.LineErrors apart.
func lineErrors(err error) (list []*filter.LineError) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			list = append(list, lineErrors(e)...)
		}
		return list
	}
	if e, ok := errors.AsType[*filter.LineError](err); ok {
		return []*filter.LineError{e}
	}
	if err != nil {
		list = append(list, &filter.LineError{Err: err})
	}
	return list
}

// filterFiles reads the files of the filters.
func (s *source) filterFiles(c *Config) {
	s.recipients(c)
	s.mailFromRules(c)
	s.mimeRules(c)
	c.BadHello, _ = s.list("badhelo")
	c.BadMIMETypes = s.keysOf("badmimetypes", 9)
	c.BadLoaderTypes = s.keysOf("badloadertypes", 5)
	c.badHello = filter.NewBadHello(rules(c.BadHello))
	c.badMailFrom = filter.NewBadMailFrom(c.BadMailFromRules(), "")
	c.badRcptTo = filter.NewBadRcptTo(c.BadRcptToRules(), "")
	for _, list := range [][]Entry{c.BadHello, c.BadMailFrom, c.BadRcptTo} {
		for _, e := range list {
			if !wildmat.Valid(strings.TrimPrefix(e.Key, "!")) {
				s.fatal(e.File, e.Line, "%.80q is no pattern: a \"[\" without \"]\", or a \"\\\" at the end", e.Key)
			}
		}
	}
}

// For returns the filters for the clients of a profile, in the order in which
// their verdicts count (smtpd.md, 4.5). They may be shared by any number of
// sessions.
func (f *Filters) For(p *Profile) []filter.Filter {
	c, dns := f.config, f.parts.Resolver
	text := p.Texts
	badMailFrom := c.badMailFrom.WithText(text["BADMAILFROM"])
	rcptHosts := c.RcptFilter()
	rcptHosts.Text = text["NOGATEWAY"]

	list := []filter.Filter{&filter.OwnLiterals{Domain: c.LocalIPHost, IsOwn: f.parts.IsOwn}}
	if lists := f.dnsLists(p.Settings); lists != nil {
		list = append(list, lists)
	}
	if p.HelloCheck != nil {
		hello := *c.badHello
		hello.Mode, hello.Resolver, hello.Text = *p.HelloCheck, dns, text["HELO"]
		list = append(list, &hello)
	}
	if p.SenderDomain {
		list = append(list, &filter.SenderDomain{Resolver: dns, Exempt: badMailFrom.Exempt, Text: text["SENDEREXIST"]})
	}
	list = append(list, rcptHosts)
	if tarpit := p.Tarpit; tarpit.Count > 0 {
		list = append(list, &tarpit)
	}
	if c.recipients != nil {
		list = append(list, &filter.Recipients{Rules: c.recipients, Defer: p.Recipients450, Text: text["MAILBOX"]})
	}
	if p.SenderCheck != nil {
		sender := *p.SenderCheck
		sender.Hosts, sender.Rules, sender.Text = rcptHosts, c.mailFromRules, text["SENDERINVALID"]
		list = append(list, &sender)
	}
	list = append(list, filter.RelaySuffix(p.RelaySuffix), badMailFrom, c.badRcptTo.WithText(text["BADRCPTTO"]))
	list = append(list, f.greylists(p.Settings)...)
	if len(p.DeliverTo) > 0 {
		list = append(list, p.DeliverTo)
	}
	if types := p.MIMETypes; types != nil {
		mime := *types
		mime.Types, mime.Text = c.BadMIMETypes, text["CONTENT"]
		list = append(list, &mime)
	}
	if types := p.LoaderTypes; types != nil && c.BadLoaderTypes != nil {
		loader := *types
		loader.Types, loader.Text = c.BadLoaderTypes, text["CONTENT"]
		list = append(list, &loader)
	}
	return append(list, f.scanners(p.Settings)...)
}
