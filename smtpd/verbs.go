package smtpd

import (
	"strconv"

	"github.com/sqmail/sqmail"
)

// verb is one command: what runs it, and whether it takes an argument.
type verb struct {
	run func(s *session, arg string)
	arg argument
}

type argument uint8

const (
	optional argument = iota
	none
	required
)

// verbOf is the table of verbs. Its case does not matter (RFC 5321, 2.4). The
// zero verb is unknown.
func verbOf(name []byte) verb {
	var buf [maxVerb]byte
	switch string(upper(&buf, name)) {
	case "HELO":
		return verb{(*session).helo, required}
	case "EHLO":
		return verb{(*session).ehlo, required}
	case "LHLO":
		return verb{(*session).lhlo, required}
	case "MAIL":
		return verb{(*session).mail, required}
	case "RCPT":
		return verb{(*session).rcpt, required}
	case "DATA":
		return verb{(*session).data, none}
	case "BDAT":
		return verb{(*session).bdat, optional} // whatever follows must not run
	case "RSET":
		return verb{(*session).rset, none}
	case "NOOP":
		return verb{(*session).noop, optional}
	case "VRFY":
		return verb{(*session).vrfy, required}
	case "HELP":
		return verb{(*session).help, optional}
	case "QUIT":
		return verb{(*session).quit, none}
	case "AUTH":
		return verb{(*session).authCommand, required}
	case "XCLIENT":
		return verb{(*session).xclient, required}
	case "STARTTLS":
		return verb{(*session).startTLS, none}
	case "EXPN", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML":
		return verb{(*session).notOffered, optional}
	}
	return verb{}
}

// dispatch runs one command line.
func (s *session) dispatch(line []byte) {
	name, arg := splitCommand(line)
	v := verbOf(name)
	switch {
	case hasControl(line) && isChunk(line): // how many octets follow nobody knows
		s.sayLast(replyCharacters)
	case hasControl(line):
		s.bad(replyCharacters)
	case v.run == nil:
		s.bad(replyUnknown)
	case v.arg == none && len(arg) > 0:
		s.bad(replyNoArgument) // RFC 5321, 4.3.2
	case v.arg == required && len(arg) == 0:
		s.bad(replyArgument)
	default:
		v.run(s, string(arg))
	}
}

const maxVerb = 8

// upper returns a verb in capitals, and nothing for what is longer than any.
func upper(buf *[maxVerb]byte, name []byte) []byte {
	if len(name) > maxVerb {
		return nil
	}
	for i, c := range name {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		buf[i] = c
	}
	return buf[:len(name)]
}

func (s *session) helo(arg string) {
	if s.set.lmtp {
		s.bad(replyUnknown) // RFC 2033, 4.1
		return
	}
	if s.hello(arg, "SMTP") {
		s.sayPlain(250, s.helloName())
	}
}

func (s *session) ehlo(arg string) {
	if s.set.lmtp {
		s.bad(replyUnknown)
		return
	}
	if s.hello(arg, "ESMTP") {
		s.sayPlain(250, s.extensions()...)
	}
}

func (s *session) lhlo(arg string) {
	if !s.set.lmtp {
		s.bad(replyUnknown)
		return
	}
	if s.hello(arg, "LMTP") {
		s.sayPlain(250, s.extensions()...)
	}
}

// hello enters the client's name. It ends a transaction (RFC 5321, 4.1.4).
func (s *session) hello(name, base string) bool {
	s.reset()
	if len(name) > maxHello {
		s.bad(replyArgument)
		return false
	}
	before := s.peer.Hello
	s.peer.Hello = name
	s.peer.Trace.Begin(sqmail.StageHello, name)
	if p := s.policy.hello; p != nil {
		s.conn.Watch()
		err := p.CheckHello(s.ctx, s.peer)
		s.conn.Unwatch()
		if err != nil {
			s.refuse("hello", err)
			s.logStory(nil)
			s.peer.Hello = before
			return false
		}
	}
	s.peer.Trace.End(sqmail.Reply{})
	s.base = base
	s.setProtocol(false)
	return true
}

// extensions are the lines of the reply to EHLO. SIZE is the last.
func (s *session) extensions() []string {
	lines := append(make([]string, 0, 12), s.helloName(), "PIPELINING")
	if s.startTLSOffered() {
		lines = append(lines, "STARTTLS")
	}
	if names := s.mechanisms(); names != "" {
		lines = append(lines, "AUTH"+names)
	}
	for _, e := range extensionKeywords {
		switch {
		case !s.offers(e.bit):
		case e.bit == extLimits:
			lines = append(lines, e.keyword+s.set.limits)
		default:
			lines = append(lines, e.keyword)
		}
	}
	if s.trusted {
		lines = append(lines, xclientKeyword)
	}
	return append(lines, "SIZE "+strconv.FormatInt(s.set.maxMessage, 10)) // 0: no limit
}

// rset drops the transaction, and nothing else.
func (s *session) rset(string) {
	s.reset()
	s.say(replyReset)
}

func (s *session) noop(string) { s.say(replyNoop) }

// vrfy never tells users apart.
func (s *session) vrfy(string) { s.say(replyVerify) }

func (s *session) help(string) { s.say(replyHelp) }

func (s *session) notOffered(string) { s.bad(replyNotOffered) }

func (s *session) quit(string) {
	r := replyBye
	r.Text = s.helloName() + " " + r.Text
	s.say(r)
	s.closing = true
}
