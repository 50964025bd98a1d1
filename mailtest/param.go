package mailtest

import (
	"errors"
	"strconv"
	"strings"

	"github.com/sqmail/sqmail"
)

// parseArg takes "FROM:<path> parameters" apart.
func parseArg(arg, keyword string) (sqmail.Path, []string, error) {
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return sqmail.Path{}, nil, errors.New("mailtest: keyword missing")
	}
	path, rest, err := sqmail.ParseAnglePath(arg[len(keyword):])
	if err == nil && rest != "" && rest[0] != ' ' {
		err = sqmail.ErrPathSyntax
	}
	return path, strings.Fields(rest), err
}

const (
	badValue     = "501 5.5.4 bad value of a parameter"
	badParameter = "555 5.5.4 unknown parameter"
)

// parseMail reads the parameters of MAIL into env, and returns the reply that
// refuses them, or "".
func parseMail(env *sqmail.Envelope, params []string) string {
	for _, param := range params {
		key, value, _ := strings.Cut(param, "=")
		var err error
		switch strings.ToUpper(key) {
		case "SIZE":
			env.Size, err = strconv.ParseInt(value, 10, 64)
		case "BODY":
			env.Body = sqmail.BodyKind(strings.ToUpper(value))
		case "SMTPUTF8":
			env.SMTPUTF8 = true
		case "REQUIRETLS":
			env.RequireTLS = true
		case "RET":
			env.Return = sqmail.Return(strings.ToUpper(value))
		case "ENVID":
			env.EnvelopeID, err = decodeXtext(value)
		case "AUTH":
			_, err = decodeXtext(value)
		default:
			return badParameter
		}
		if err != nil {
			return badValue
		}
	}
	return ""
}

// parseRcpt does the same for RCPT.
func parseRcpt(to *sqmail.Recipient, params []string) string {
	for _, param := range params {
		key, value, _ := strings.Cut(param, "=")
		var err error
		switch strings.ToUpper(key) {
		case "NOTIFY":
			to.Notify, err = parseNotify(value)
		case "ORCPT":
			to.Original, err = decodeXtext(value)
		default:
			return badParameter
		}
		if err != nil {
			return badValue
		}
	}
	return ""
}

func parseNotify(value string) (set sqmail.Notify, err error) {
	bits := map[string]sqmail.Notify{
		"NEVER": sqmail.NotifyNever, "SUCCESS": sqmail.NotifySuccess, "FAILURE": sqmail.NotifyFailure, "DELAY": sqmail.NotifyDelay,
	}
	for word := range strings.SplitSeq(strings.ToUpper(value), ",") {
		if bits[word] == 0 {
			return 0, errors.New("mailtest: bad NOTIFY")
		}
		set |= bits[word]
	}
	if set&sqmail.NotifyNever != 0 && set != sqmail.NotifyNever {
		return 0, errors.New("mailtest: NEVER stands alone") // RFC 3461, 4.1
	}
	return set, nil
}

// decodeXtext decodes RFC 3461, 4.
func decodeXtext(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			if i+2 >= len(s) {
				return "", errors.New("mailtest: bad xtext")
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil || strings.ToUpper(s[i+1:i+3]) != s[i+1:i+3] {
				return "", errors.New("mailtest: bad xtext")
			}
			c = byte(n)
			i += 2
		case c < '!' || c > '~' || c == '=':
			return "", errors.New("mailtest: bad xtext")
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}
