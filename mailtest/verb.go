package mailtest

import (
	"strings"

	"github.com/sqmail/sqmail"
)

// verbs is what a Peer understands; filled once, by verbTable.
var verbs = verbTable()

func verbTable() map[string]func(s *session, verb, arg string) error {
	return map[string]func(*session, string, string) error{
		"HELO":     (*session).hello,
		"EHLO":     (*session).hello,
		"LHLO":     (*session).hello,
		"STARTTLS": (*session).startTLS,
		"AUTH":     (*session).auth,
		"MAIL":     (*session).mail,
		"RCPT":     (*session).rcpt,
		"DATA":     (*session).data,
		"BDAT":     (*session).bdat,
		"RSET":     (*session).rset,
		"NOOP":     (*session).noop,
		"QUIT":     (*session).quit,
	}
}

func (s *session) hello(verb, arg string) error {
	if s.peer.LMTP != (verb == "LHLO") {
		return s.say("500 5.5.1 not the protocol spoken here")
	}
	if arg == "" || strings.ContainsAny(arg, " \t") {
		return s.say("501 5.5.4 one argument, please")
	}
	d := s.event(Hello, arg)
	if err := s.suffer(d); err != nil {
		return err
	}
	text := s.peer.name()
	if verb != "HELO" {
		text = strings.Join(append([]string{text}, s.extensions()...), "\n")
	}
	ok, err := s.answer(d, formatReply(250, "", text))
	if ok {
		s.abandon()
		s.greeted = true
		s.who.Hello = arg
		s.who.Protocol = s.protocol(verb)
	}
	return err
}

func (s *session) extensions() []string {
	all := s.peer.Extensions
	if all == nil {
		all = []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING", "SIZE"}
	}
	all = all[:len(all):len(all)]
	if s.peer.TLS != nil && s.who.TLS == nil {
		all = append(all, "STARTTLS")
	}
	if s.peer.Users != nil {
		all = append(all, "AUTH PLAIN LOGIN CRAM-MD5")
	}
	return all
}

// protocol is the word of RFC 3848 for a session.
func (s *session) protocol(verb string) string {
	p := map[string]string{"HELO": "SMTP", "EHLO": "ESMTP", "LHLO": "LMTP"}[verb]
	if s.who.TLS != nil {
		p += "S"
	}
	if s.who.User != "" {
		p += "A"
	}
	return p
}

func (s *session) startTLS(_, arg string) error {
	switch {
	case s.peer.TLS == nil:
		return s.say("502 5.5.1 no TLS here")
	case s.who.TLS != nil || !s.greeted:
		return s.say("503 5.5.1 not now")
	case arg != "":
		return s.say("501 5.5.4 no argument, please")
	case s.r.Buffered() > 0:
		s.say("554 5.5.1 nothing may come behind STARTTLS") // RFC 3207, 4.2
		return errEnd
	}
	d := s.event(StartTLS, "")
	if d.end == garbles {
		s.say("220 2.0.0 go on")
	}
	if err := s.suffer(d); err != nil {
		return err
	}
	ok, err := s.answer(d, "220 2.0.0 go on")
	if !ok || err != nil {
		return err
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	if err := s.handshake(); err != nil {
		return err
	}
	s.abandon()
	s.greeted = false
	s.who.Hello, s.who.User, s.who.Mechanism = "", "", ""
	return nil
}

func (s *session) mail(_, arg string) error {
	path, rest, err := parseArg(arg, "FROM:")
	if err != nil {
		return s.say("501 5.1.7 bad reverse-path")
	}
	if !s.greeted || s.inMail {
		return s.say("503 5.5.1 not now")
	}
	env := sqmail.Envelope{ReversePath: path}
	if code := parseMail(&env, rest); code != "" {
		return s.say(code)
	}
	d := s.event(Mail, path.String())
	if err := s.suffer(d); err != nil {
		return err
	}
	ok, err := s.answer(d, "250 2.1.0 ok")
	if ok {
		s.inMail = true
		s.env = env
	}
	return err
}

func (s *session) rcpt(_, arg string) error {
	path, rest, err := parseArg(arg, "TO:")
	if err != nil || path.IsNull() {
		return s.say("501 5.1.3 bad forward-path")
	}
	if !s.inMail {
		return s.say("503 5.5.1 MAIL first")
	}
	to := sqmail.Recipient{Path: path}
	if code := parseRcpt(&to, rest); code != "" {
		return s.say(code)
	}
	d := s.event(Rcpt, path.String())
	if err := s.suffer(d); err != nil {
		return err
	}
	ok, err := s.answer(d, "250 2.1.5 ok")
	if ok {
		s.env.Recipients = append(s.env.Recipients, to)
	}
	return err
}

func (s *session) rset(_, _ string) error {
	s.abandon()
	return s.simple(Rset, "", "250 2.0.0 ok")
}

func (s *session) noop(_, arg string) error { return s.simple(Noop, arg, "250 2.0.0 ok") }

func (s *session) quit(_, _ string) error {
	if err := s.simple(Quit, "", "221 2.0.0 bye"); err != nil {
		return err
	}
	return errEnd
}

// abandon ends a transaction without a message.
func (s *session) abandon() {
	s.inMail = false
	s.env = sqmail.Envelope{}
	s.chunks, s.chunking = nil, false
}
