package sqmail

import (
	"errors"
	"fmt"
	"strings"
)

// Reply is what an SMTP server answers to a command (RFC 5321, 4.2).
type Reply struct {
	// Code is the three-digit reply code. 0 means that the Reply is not set.
	Code int `json:"code"`

	// Enhanced is the enhanced status code of RFC 3463; zero means none.
	Enhanced EnhancedCode `json:"enhanced,omitzero"`

	// Text is the rest. LF separates the lines of a multi-line reply.
	Text string `json:"text,omitempty"`
}

// EnhancedCode is class, subject and detail of RFC 3463.
type EnhancedCode [3]int

// String returns the code as "5.7.1".
func (c EnhancedCode) String() string { return fmt.Sprintf("%d.%d.%d", c[0], c[1], c[2]) }

// MarshalText returns c's String.
func (c EnhancedCode) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (c *EnhancedCode) UnmarshalText(text []byte) error {
	var code EnhancedCode
	var rest string
	n, _ := fmt.Sscanf(string(text)+" ", "%d.%d.%d%1s", &code[0], &code[1], &code[2], &rest)
	if n != 3 {
		return errors.New("sqmail: malformed enhanced status code")
	}
	*c = code
	return nil
}

// String returns code, enhanced status code and text, a line for each line of
// the text, without CRLF at the end: "550 5.7.1 no". It is for logs and
// reports; servers write replies themselves, with bounds.
func (r Reply) String() string {
	var b strings.Builder
	lines := strings.Split(r.Text, "\n")
	for i, line := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%03d%s", r.Code, sep)
		if r.Enhanced != (EnhancedCode{}) {
			b.WriteString(r.Enhanced.String())
			if line != "" {
				b.WriteByte(' ')
			}
		}
		b.WriteString(line)
	}
	return strings.TrimSuffix(b.String(), " ")
}

// Class returns what the reply code means: 2yz and 3yz accept, 5yz rejects,
// and everything else, a code of 0 among it, is a deferral.
func (r Reply) Class() Class {
	switch r.Code / 100 {
	case 2, 3:
		return Accepted
	case 5:
		return Rejection
	}
	return Deferral
}

// Class says what becomes of a message or a recipient.
type Class uint8

// The zero Class is Deferral: what nobody classified is tried again.
const (
	Deferral  Class = iota // try again later: 4yz, Z
	Rejection              // never: 5yz, D
	Accepted               // done: 2yz, K
)

// String returns "deferral", "rejection" or "accepted".
func (c Class) String() string {
	switch c {
	case Rejection:
		return "rejection"
	case Accepted:
		return "accepted"
	}
	return "deferral"
}

// MarshalText returns c's String.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (c *Class) UnmarshalText(text []byte) error {
	for _, known := range []Class{Deferral, Rejection, Accepted} {
		if known.String() == string(text) {
			*c = known
			return nil
		}
	}
	return errors.New("sqmail: unknown class")
}

// Error is an error that knows what it means for a message.
type Error struct {
	// Op is what was being done, in a word or two: "commit", "connect".
	Op string

	// Class decides what becomes of the message. The zero value defers.
	Class Class

	// Reply is the fixed sentence for the peer. If its code is 0, or does not
	// agree with Class, the peer hears a general sentence for the Class.
	Reply Reply

	// Close asks a server to end the session after the reply.
	Close bool

	// Err is the cause, for the log. It may be nil.
	Err error
}

// Error returns operation, reply and cause: text for the log.
func (e *Error) Error() string {
	var parts []string
	if e.Op != "" {
		parts = append(parts, e.Op)
	}
	if e.Reply.Code != 0 {
		parts = append(parts, e.Reply.String())
	} else {
		parts = append(parts, e.Class.String())
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns Accepted for nil, Rejection if the first [*Error] in err's
// chain has that class, and Deferral for everything else: an error is never
// an acceptance, whatever class it has.
func ClassOf(err error) Class {
	if err == nil {
		return Accepted
	}
	if e, ok := errors.AsType[*Error](err); ok && e != nil && e.Class == Rejection {
		return Rejection
	}
	return Deferral
}

// ReplyFor returns what a peer may be told of err: the Reply of the first
// [*Error] in its chain if that has a code that agrees with its class, else a
// general sentence that tells nothing of the cause. For nil it is 250.
func ReplyFor(err error) Reply {
	class := ClassOf(err)
	if class == Accepted {
		return Reply{Code: 250, Enhanced: EnhancedCode{2, 0, 0}, Text: "ok"}
	}
	if e, ok := errors.AsType[*Error](err); ok && e != nil && e.Reply.Code != 0 && e.Reply.Class() == class {
		return e.Reply
	}
	if class == Rejection {
		return Reply{Code: 554, Enhanced: EnhancedCode{5, 3, 0}, Text: "refused"}
	}
	return Reply{Code: 451, Enhanced: EnhancedCode{4, 3, 0}, Text: "temporary failure, try again later"}
}
