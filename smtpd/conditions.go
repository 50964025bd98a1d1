package smtpd

import (
	"log/slog"
	"strings"

	"github.com/sqmail/sqmail"
)

// condition names what was decided, in the words of qmail-smtpd's log
// (spec/smtpd.md 9), and info what stands in quotes behind it.
type condition struct{ name, info string }

func (c condition) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("condition", c.name)}
	if c.info != "" {
		attrs = append(attrs, slog.String("info", clean(c.info)))
	}
	return attrs
}

// conditions are the names of refusals by the filter that refuses. What a site
// adds is named by its stage.
var conditions = map[string]string{
	"badhelo":        "SNDR::Bad_Helo",
	"mfdnscheck":     "ORIG::DNS_MF",
	"badmailfrom":    "ORIG::Bad_Mailfrom",
	"localmfcheck":   "ORIG::Invalid_Mailfrom",
	"rcpthosts":      "SNDR::Invalid_Relay",
	"badrcptto":      "RCPT::Bad_Rcptto",
	"recipients":     "RCPT::Failed_Rcptto",
	"tarpit":         "RCPT::Toomany_Rcptto",
	"maxrecipients":  "RCPT::Toomany_Rcptto",
	"spf":            "SPF::Fail",
	"greylist":       "SNDR::Grey_Listed",
	"postgrey":       "SNDR::Grey_Listed",
	"badmimetypes":   "DATA::Bad_MIME",
	"badloadertypes": "DATA::Bad_Loader",
	"spamd":          "DATA::Spam_Message",
	"rspamd":         "DATA::Spam_Message",
	"mime":           "DATA::MIME_Attach",
	"qhpsi":          "DATA::Virus_Infected",
	"clamd":          "DATA::Virus_Infected",

	// What a program says that stands in for the queue.
	"queue virus":      "DATA::Virus_Infected",
	"queue spam":       "DATA::Spam_Message",
	"queue attachment": "DATA::MIME_Attach",
}

var stageConditions = map[string]string{
	"connect": "SNDR::Policy", "hello": "SNDR::Policy", "reverse-path": "ORIG::Policy", "recipient": "RCPT::Policy",
}

// refusal names a refusal at a stage. The rule is that of the verdict, if the
// filter has left one.
func (s *session) refusal(stage, filter string, r sqmail.Reply) condition {
	name, known := conditions[filter]
	switch {
	case known && r.Class() == sqmail.Deferral && strings.HasPrefix(name, "DATA::"):
		return condition{"DATA::Policy", ""} // who should have looked could not
	case known:
	case r == replyNoRelay:
		return condition{"SNDR::Invalid_Relay", ""}
	case r == s.set.tooBig:
		return condition{"DATA::Invalid_Size", ""}
	case r == replyLoop:
		return condition{"DATA::Toomany_Hops", ""}
	case r == replyBareLF:
		return condition{"DATA::Bare_LF", ""}
	default:
		if name = stageConditions[stage]; name == "" {
			name = "DATA::Policy"
		}
		return condition{name, ""}
	}
	rule := ""
	if step := s.peer.Trace.Present(); step.Decided().Filter == filter {
		rule = step.Decided().Rule
	} else if s.tx != nil {
		if n := len(s.tx.env.Verdicts); n > 0 && s.tx.env.Verdicts[n-1].Filter == filter {
			rule = s.tx.env.Verdicts[n-1].Rule
		}
	}
	return inform(filter, condition{name, rule})
}

// avScanner stands for a virus scanner that says no more.
const avScanner = "AV scanner"

// inform turns the rule into what qmail-smtpd says of it.
func inform(filter string, c condition) condition {
	rule := c.info
	switch filter {
	case "badhelo":
		switch {
		case rule == "=" || rule == "A" || rule == "M":
			return condition{"SNDR::DNS_Helo", rule}
		case rule == "no greeting":
			c.info = "0"
		case rule == "empty greeting":
			c.info = "!"
		default:
			c.info = marked(rule, ".")
		}
	case "badmailfrom":
		c.info = marked(rule, "@")
	case "badmimetypes", "badloadertypes":
	case "spamd", "rspamd", "queue spam":
		c.info = "spam"
	case "mime", "queue attachment":
		c.info = "MIME"
	case "qhpsi", "clamd", "queue virus":
		c.info = orDefault(rule, avScanner)
	default:
		c.info = ""
	}
	return c
}

// marked is the mark of an entry, "*" for a pattern, or else plain.
func marked(rule, plain string) string {
	switch {
	case strings.HasPrefix(rule, "~"):
		return "~"
	case strings.HasPrefix(rule, "@") && strings.IndexByte("=-+", rule[len(rule)-1]) >= 0:
		return rule[len(rule)-1:]
	case strings.ContainsAny(rule, "*?["):
		return "*"
	}
	return plain
}

// acceptance names why a recipient is taken: the first of spec/smtpd.md 9.3
// that fits. seen is the number of verdicts there were before the recipient.
func (s *session) acceptance(env *sqmail.Envelope, seen int) condition {
	how, spf, relay := "Rcpthosts_Rcptto", false, s.set.ownPolicy
	for _, v := range env.Verdicts {
		if v.Filter == "spf" {
			spf = v.Rule == "pass"
		}
	}
	present := env.Verdicts[min(seen, len(env.Verdicts)):]
	if s.peer.Trace != nil { // an envelope has no room for all
		present = s.peer.Trace.Present().Verdicts
	}
	for _, v := range present {
		switch v.Filter {
		case "recipients":
			how = knownBy(v.Rule)
		case "relayclient":
			relay = true
		}
	}
	switch {
	case env.SenderVerified:
		return condition{"ORIG::Local_Sender", ""}
	case s.authenticated():
		return condition{"AUTH::" + s.peer.Mechanism, ""}
	case relay:
		return condition{"SNDR::Relay_Client", ""}
	case spf:
		return condition{"SPF::" + how, ""}
	}
	return condition{"RCPT::" + how, ""}
}

// knownBy says what kind of rule of the recipients file knows a recipient.
func knownBy(rule string) string {
	switch {
	case rule == "!*":
		return "Rcpthosts_Rcptto"
	case strings.HasPrefix(rule, "!"):
		return "Recipients_Wild"
	case strings.Contains(rule, "|"):
		return "Recipients_Pam"
	case strings.HasSuffix(rule, "assign.cdb"):
		return "Recipients_Users"
	}
	return "Recipients_Cdb"
}
