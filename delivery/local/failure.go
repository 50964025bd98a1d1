package local

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sqmail/sqmail"
)

// failure is why an attempt ended.
type failure struct {
	class  sqmail.Class
	status sqmail.EnhancedCode
	text   string // for the report; "" if a program has said it all
	err    error  // cause, for the log; may be nil
}

// fail makes a failure. The text ends in an enhanced status code, "(#5.1.1)",
// whose class is that of the failure. Operands, all for %s, are untrusted: see
// clean.
func fail(cause error, format string, operands ...any) *failure {
	for i, o := range operands {
		operands[i] = clean(fmt.Sprint(o))
	}
	f := &failure{text: fmt.Sprintf(format, operands...), err: cause}
	if f.status = statusOf(f.text); f.status[0] == 5 {
		f.class = sqmail.Rejection
	}
	return f
}

// reply gives a failure the form of a reply.
func (f *failure) reply() sqmail.Reply {
	r := sqmail.Reply{Code: 450, Enhanced: f.status, Text: f.text}
	if f.class == sqmail.Rejection {
		r.Code = 550
	}
	if i := strings.LastIndex(r.Text, " (#"); i >= 0 {
		r.Text = r.Text[:i]
	}
	if r.Text == "" {
		r.Text = "the recipient's program has refused the message"
	}
	return r
}

func (f *failure) Error() string {
	text := f.text
	if text == "" {
		text = f.class.String()
	}
	if f.err == nil {
		return text
	}
	return text + " " + f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// statusOf returns the last enhanced status code in a text that is written
// "(#5.1.1)", or zero.
func statusOf(text string) (code sqmail.EnhancedCode) {
	start := strings.LastIndex(text, "(#")
	if start < 0 {
		return code
	}
	inner, _, found := strings.Cut(text[start+2:], ")")
	parts := strings.Split(inner, ".")
	if !found || len(parts) != len(code) {
		return code
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 10)
		if err != nil {
			return sqmail.EnhancedCode{}
		}
		code[i] = int(n)
	}
	return code
}

// clean makes text from outside harmless within a report.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, s)
}
