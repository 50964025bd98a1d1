package smtpd

import (
	"strings"

	"github.com/sqmail/sqmail"
)

// eachParam hands the parameters of MAIL or RCPT to take, one after the other.
// None may be named twice. A Reply with a code refuses.
func eachParam(params string, take func(p param) sqmail.Reply) sqmail.Reply {
	seen := ""
	for {
		p, rest, err := nextParam(params)
		switch {
		case err != nil:
			return replyValue
		case p.keyword == "":
			return sqmail.Reply{}
		case contains(&seen, p.keyword):
			return replyValue
		}
		if r := take(p); r.Code != 0 {
			return r
		}
		params = rest
	}
}

// contains reports whether keyword is in list, and adds it.
func contains(list *string, keyword string) bool {
	if strings.Contains(*list, " "+keyword+" ") {
		return true
	}
	if *list == "" {
		*list = " "
	}
	*list += keyword + " "
	return false
}

// mailParams sets env from the parameters of MAIL.
func (s *session) mailParams(env *sqmail.Envelope, params string) sqmail.Reply {
	return eachParam(params, func(p param) sqmail.Reply { return s.mailParam(env, p) })
}

func (s *session) mailParam(env *sqmail.Envelope, p param) sqmail.Reply {
	var err error
	switch p.keyword {
	case "SIZE": // RFC 1870
		env.Size, err = parseSize(p.value)
	case "BODY": // RFC 6152
		if !s.offers(ext8BitMIME) {
			return replyParameter
		}
		env.Body, err = parseBody(p.value)
	case "SMTPUTF8": // RFC 6531
		if !s.offers(extUTF8) {
			return replyParameter
		}
		env.SMTPUTF8, err = true, noValue(p)
	case "REQUIRETLS": // RFC 8689
		if !s.offers(extRequireTLS) {
			return replyParameter
		}
		env.RequireTLS, err = true, noValue(p)
	case "RET": // RFC 3461, 4.3
		if !s.offers(extDSN) {
			return replyParameter
		}
		env.Return, err = parseReturn(p.value)
	case "ENVID": // RFC 3461, 4.4
		if !s.offers(extDSN) {
			return replyParameter
		}
		env.EnvelopeID, err = parseEnvelopeID(p.value)
	case "AUTH": // RFC 4954, 5: a claim that nobody here believes
		if !s.authOffered() && !s.authenticated() {
			return replyParameter
		}
		_, err = decodeXtext(p.value, false)
	default:
		return replyParameter // RFC 5321, 4.1.1.11
	}
	if err != nil {
		return replyValue
	}
	return sqmail.Reply{}
}

// rcptParams sets to from the parameters of RCPT.
func (s *session) rcptParams(to *sqmail.Recipient, params string) sqmail.Reply {
	return eachParam(params, func(p param) sqmail.Reply { return s.rcptParam(to, p) })
}

func (s *session) rcptParam(to *sqmail.Recipient, p param) sqmail.Reply {
	var err error
	switch {
	case p.keyword == "NOTIFY" && s.offers(extDSN): // RFC 3461, 4.1
		to.Notify, err = parseNotify(p.value)
	case p.keyword == "ORCPT" && s.offers(extDSN): // RFC 3461, 4.2
		to.Original, err = parseOriginal(p.value, s.tx.env.SMTPUTF8)
	default:
		return replyParameter
	}
	if err != nil {
		return replyValue
	}
	return sqmail.Reply{}
}

func noValue(p param) error {
	if p.hasValue {
		return errSyntax
	}
	return nil
}

func parseBody(s string) (sqmail.BodyKind, error) {
	switch {
	case equalFold(s, string(sqmail.Body7Bit)):
		return sqmail.Body7Bit, nil
	case equalFold(s, string(sqmail.Body8Bit)):
		return sqmail.Body8Bit, nil
	}
	return "", errSyntax
}

func parseReturn(s string) (sqmail.Return, error) {
	switch {
	case equalFold(s, string(sqmail.ReturnFull)):
		return sqmail.ReturnFull, nil
	case equalFold(s, string(sqmail.ReturnHeaders)):
		return sqmail.ReturnHeaders, nil
	}
	return "", errSyntax
}

func parseEnvelopeID(s string) (string, error) {
	if s == "" || len(s) > maxEnvelopeID {
		return "", errSyntax
	}
	return decodeXtext(s, false)
}
