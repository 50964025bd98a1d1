package control

import (
	"fmt"
	"time"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/mimefilter"
	"github.com/sqmail/sqmail/filter/scan"
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
